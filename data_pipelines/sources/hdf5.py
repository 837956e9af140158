"""robomimic's and LIBERO's HDF5 files as a source of recordings; needs h5py (`vidact[hdf5]`).

One demonstration, data/demo_7, is one recording; its features are named by their paths in it:
'actions', 'obs/ee_pos', 'obs/agentview_rgb', 'robot_states'. 'language_instruction' is LIBERO's
(attribute problem_info of data), and "" in files that have none: robomimic's, and those that
OpenVLA's script regenerates, which keep it in the file's name alone.

Frames are given as they are stored:
- LIBERO's own files say macros_image_convention "opengl": rows from the bottom up, as its simulator
  renders too. A picture for people, or beside real cameras, wants [::-1] over the rows. OpenVLA and
  those after it turn by 180 degrees instead, which mirrors left and right.
- robomimic turns frames over before it stores them: rows from the top down.

LIBERO's files pair an action with the observation after it (scripts/create_dataset.py steps, then
stores), robomimic's with the one before.

h5py holds one lock for the whole process: reading is safe from several threads but goes one at a
time. HDF5 keeps no checksums unless a file was written with them: damage within stored numbers is
not noticed, damage of compressed pieces and most damage of the structure is. The HDF5 library
itself may crash over a file that was made to harm: take files from people whom you trust.
"""

import importlib.util

from etils import epath

from data_pipelines.sources.recording import Source
from vidact.errors import UserError

_SUFFIXES = (".hdf5", ".h5")


def is_hdf5(path: epath.Path) -> bool:
    """Whether it is named as an HDF5 file is, or a folder that holds such a file."""
    return bool(_files(path))


def open_hdf5(root: str, split: str = "train") -> Source:
    """Opens a file, or all of a folder in order of their names, demonstrations in numeric order.

    What the files say is read now; features are those that the first demonstration of every file
    has. At most 1 GiB is read at once, a feature of a demonstration or the frames of a chunk.

    Args:
      root: a .hdf5 or .h5 file, or a folder of them (LIBERO: one file a task); on this machine.
      split: 'train' or 'valid' as robomimic's mask/train and mask/valid list them; where a file
        has neither, 'train' is all of it.

    Raises:
      UserError: nothing there, h5py is missing, a file is damaged, of another form, without the
        split or at another rate than the others, or it reaches beyond itself by links.
    """
    if "://" in root:
        raise UserError(f"{root}: HDF5 is read from this machine's folders; copy it here")
    path = epath.Path(root)
    if not path.exists():
        raise UserError(f"{root}: no such file or folder; set config.data.root to an HDF5 data set")
    files = _files(path)
    if not files:
        raise UserError(f"{root}: no {' or '.join(_SUFFIXES)} file; give one, or a folder of them")
    if importlib.util.find_spec("h5py") is None:
        raise UserError("h5py: not installed; run `pip install vidact[hdf5]`")
    from data_pipelines.sources import hdf5_file, hdf5_source

    described = [hdf5_file.describe(str(file), split) for file in files]
    return hdf5_source.HDF5(f"{root} split {split}", described)


def _files(path: epath.Path) -> list[epath.Path]:
    # A hidden file is one that is still being copied, or another system's notes.
    inside = sorted(path.iterdir()) if path.is_dir() else [path]
    return [f for f in inside if f.suffix in _SUFFIXES and not f.name.startswith(".")]
