"""Which files of a folder belong together to an episode."""

import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from etils import epath

from data_pipelines.sources.packets import FORMATS
from vidact.errors import UserError

CAMERA = "image"
"""What the camera of NAME.mp4 is called; that of NAME.wrist.mp4 is called wrist."""
_TABLE, _TEXT = ".csv", ".txt"


class Files(NamedTuple):
    """An episode's files.

    Attributes:
      name: path within the folder, without suffix.
      cameras: camera -> video; CAMERA first.
      table: numbers and texts of the steps.
      text: the instruction.
    """

    name: str
    cameras: Mapping[str, epath.Path]
    table: epath.Path | None
    text: epath.Path | None

    def all(self) -> list[epath.Path]:
        """Every file that there is."""
        return [*self.cameras.values(), *filter(None, (self.table, self.text))]


def find(root: epath.Path) -> list[Files]:
    """The episodes in a folder and those below it, by name.

    Hidden files and folders are left out, and files of other suffixes.

    Raises:
      UserError: there are none, they differ in cameras or tables, a table has no video, or a link
        leads out of the folder.
    """
    folders: dict[epath.Path, list[epath.Path]] = {}
    for path in walk(root):
        _check_link(root, path)
        folders.setdefault(path.parent, []).append(path)
    episodes = [episode for paths in folders.values() for episode in _episodes(root, paths)]
    if not episodes:
        raise UserError(
            f"{root}: no {', '.join(FORMATS)} files in it or below; give another folder"
        )
    episodes.sort(key=lambda episode: episode.name)
    for episode in episodes:
        _check_same(root, episodes[0], episode)
    return episodes


def walk(root: epath.Path) -> Iterator[epath.Path]:
    """Every file, and every link, in a folder or below that is not hidden."""
    for path in sorted(root.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir() and not os.path.islink(path):
            yield from walk(path)
        else:
            yield path


def is_video(path: epath.Path) -> bool:
    """Whether a file's suffix is one of a video."""
    return path.suffix.lower() in FORMATS


def _check_link(root: epath.Path, path: epath.Path) -> None:
    if os.path.islink(path):
        top, target = os.path.realpath(root), os.path.realpath(path)
        if os.path.isdir(target) or os.path.commonpath([top, target]) != top:
            raise UserError(
                f"{path}: a link to a folder or out of the data set; put the files in its place"
            )


def _episodes(root: epath.Path, paths: list[epath.Path]) -> Iterator[Files]:
    """The episodes of one folder's files."""
    videos = _by_stem(filter(is_video, paths))
    tables = _by_stem(path for path in paths if path.suffix.lower() == _TABLE)
    texts = _by_stem(path for path in paths if path.suffix.lower() == _TEXT)
    cameras: dict[str, dict[str, epath.Path]] = {
        stem: {CAMERA: path} for stem, path in videos.items() if _main(stem, videos) is None
    }
    for stem, path in videos.items():
        main = _main(stem, videos)
        if main is None:
            continue
        camera = stem.removeprefix(f"{main}.")
        if main not in cameras or camera == CAMERA:
            raise UserError(f"{path}: whose camera this is cannot be told; name it NAME.CAMERA")
        cameras[main][camera] = path
    for stem, path in tables.items():
        if stem not in cameras:
            raise UserError(f"{path}: no video {stem}.mp4 beside it; add it or remove the table")
    for stem, found in cameras.items():
        name = str((found[CAMERA].parent / stem).relative_to(root))
        yield Files(name, found, tables.get(stem), texts.get(stem))


def _main(stem: str, videos: Mapping[str, epath.Path]) -> str | None:
    """NAME of NAME.CAMERA, if NAME is a video too."""
    main, dot, _ = stem.rpartition(".")
    return main if dot and main in videos else None


def _by_stem(paths: Iterator[epath.Path]) -> dict[str, epath.Path]:
    found: dict[str, epath.Path] = {}
    for path in paths:
        if path.stem in found:
            raise UserError(
                f"{path}: {found[path.stem].name} has the same name; rename one of them"
            )
        found[path.stem] = path
    return found


def _check_same(root: epath.Path, first: Files, episode: Files) -> None:
    if episode.cameras.keys() != first.cameras.keys():
        raise UserError(
            f"{root}: {episode.name} has the cameras {', '.join(episode.cameras)} where "
            f"{first.name} has {', '.join(first.cameras)}; put them into folders of their own"
        )
    if (episode.table is None) != (first.table is None):
        without, with_ = (first, episode) if episode.table else (episode, first)
        raise UserError(
            f"{root}: {without.name} has no {_TABLE} file where {with_.name} has one; put videos "
            "with and without actions into folders of their own"
        )
