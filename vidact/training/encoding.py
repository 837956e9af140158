"""Encodes windows into the files of a folder of stored latents (`data_pipelines.encoded`)."""

import dataclasses
import math
import pathlib

import jax
import ml_collections
import numpy as np
from jaxtyping import Array, Int, Key
from tqdm import tqdm

from data_pipelines import encoded, left_out, sidecars
from data_pipelines.bad_records import BadRecords
from data_pipelines.encoded import Encoded
from data_pipelines.loading import WindowDataset
from data_pipelines.windows import Windows
from vidact.batch import Batch
from vidact.encoders.encode import encode
from vidact.encoders.video.codec import VideoCodec
from vidact.errors import UserError
from vidact.training import distributed, sharding

FIELDS = ("latents", "condition", "latent_mask")


def write(dataset: WindowDataset, codec: VideoCodec, found: Encoded, batch: int) -> None:
    """Encodes this process's share of the files, those that are there and whole excepted.

    Args:
      dataset: the windows of all files, in order.
      codec: what encodes them.
      found: the folder, and how many windows go to a file.
      batch: windows at a time.

    Raises:
      UserError: a window cannot be read and config.data.on_bad_record is "error", or a latent is
        not finite in the stored dtype.
    """
    size = found.told["per_file"]
    parts = np.split(np.arange(len(dataset)), range(size, len(dataset), size))
    every = list(zip(encoded.files(found), parts, strict=True))
    # By number alone: who looked which are missing would see what the others write meanwhile.
    mine = every[jax.process_index() :: jax.process_count()]
    todo = [(path, rows) for path, rows in mine if not _is_done(path, dataset.windows.at(rows))]
    encoder = _Encoder(codec, batch, found.told["dtype"])
    total, first = sum(len(rows) for _, rows in todo), distributed.is_first()
    with tqdm(total=total, desc="encoding", unit="window", disable=not first) as bar:
        for path, rows in todo:
            _write_file(path, rows, dataset, encoder, bar)


def narrowed(array: np.ndarray, dtype: str, what: str) -> np.ndarray:
    """The array in the stored dtype.

    Raises:
      UserError: a value is not finite there.
    """
    with np.errstate(over="ignore"):
        result = array.astype(dtype)
    if not np.isfinite(result).all():
        raise UserError(f"{what}: not finite in {dtype}; use --dtype float32, or check the weights")
    return result


def _is_done(path: pathlib.Path, windows: Windows) -> bool:
    done = encoded.is_whole(path, windows)
    if path.is_file() and not done:
        print(f"{path}: torn, or of other windows; it is encoded again", flush=True)
    return done


class _Encoder:
    """A codec on this process's devices.

    Attributes:
      size: windows of a batch.
    """

    def __init__(self, codec: VideoCodec, batch: int, dtype: str):
        """Args: batch: rounded up to a multiple of the devices. dtype: of stored latents."""
        alone = ml_collections.ConfigDict(dict(data=-1, fsdp=1, tensor=1, context=1))
        mesh = sharding.make_mesh(alone, jax.local_devices())
        self.size = math.ceil(batch / mesh.size) * mesh.size
        self._dtype = dtype
        self._split = jax.NamedSharding(mesh, sharding.BATCH)
        self._codec = jax.device_put(codec, jax.NamedSharding(mesh, jax.P()))
        self._run = jax.jit(sharding.traced_for(mesh, encode))

    def __call__(self, batch: Batch, key: Key[Array, ""]) -> dict[str, np.ndarray]:
        """FIELDS of at most `size` windows, which are repeated to fill the batch."""
        count = len(batch.fps)
        rows = np.resize(np.arange(count), self.size)
        arrays = {name: array[rows] for name, array in batch.as_dict().items()}
        inputs = self._run(self._codec, jax.device_put(arrays, self._split), key)
        found = {name: np.asarray(getattr(inputs, name))[:count] for name in FIELDS}
        for name in ("latents", "condition"):
            found[name] = narrowed(found[name], self._dtype, "latents")
        return found


def _write_file(
    path: pathlib.Path,
    rows: Int[np.ndarray, " n"],
    dataset: WindowDataset,
    encoder: _Encoder,
    bar: tqdm,
) -> None:
    """Encodes some windows; those that cannot be read are left out and listed beside the file."""
    bad = BadRecords(dataset.bad.policy)  # this file's, whoever met the same record before
    source = dataclasses.replace(dataset, bad=bad)
    parts, read = [], [rows[:0]]
    for begin in range(0, len(rows), encoder.size):
        some = rows[begin : begin + encoder.size]
        batch, numbers = source.load_readable(some)
        if batch is not None:
            parts.append(encoder(batch, jax.random.fold_in(jax.random.key(0), int(some[0]))))
            read.append(numbers)
        bar.update(len(some))
    kept = np.concatenate(read)
    left_out.write(path, dataset.windows.at(np.setdiff1d(rows, kept)), list(bad.reasons))
    fields = {
        name: np.concatenate([part[name] for part in parts]) if parts else np.zeros(0)
        for name in FIELDS
    }
    sidecars.write(path, dataset.windows.at(kept), fields)
