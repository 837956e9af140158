"""A data set of Open X-Embodiment seen through its row of the registry."""

import math
from collections.abc import Mapping, Sequence

from data_pipelines.episode import Episode, find
from data_pipelines.oxe.oddities import decode_characters
from data_pipelines.oxe.row import Row
from data_pipelines.oxe.standard import standardise
from data_pipelines.sources.recording import Feature, Recording, SelectedFrames, Source
from vidact.errors import UserError

_GRIPPER = 6  # of an end effector's seven columns


class RowView:
    """Episodes in the standard form of `oxe.standard`: a `data_pipelines.episode.View`."""

    def __init__(self, row: Row, cameras: Sequence[str], blank_uninformative: bool = False):
        """Args: row: the data set's. cameras: of primary, secondary and wrist, in the tiles' order.

        'primary|wrist' is the first of these that the data set has.

        Raises:
          UserError: a camera of another name, or a data set without the first one.
        """
        self.cameras: Mapping[str, str] = {name: _path(row, name) for name in cameras}
        if not cameras or not self.cameras[cameras[0]]:
            there = ", ".join(name for name, path in row.cameras._asdict().items() if path)
            raise UserError(
                f"config.data.cameras={tuple(cameras)}: {row.name} has {there} only; put that "
                "first, or after a |, or leave the data set out"
            )
        self.registered, self.every = row.name, row.every
        self._row, self._blank = row, blank_uninformative
        self.paths = tuple(
            dict.fromkeys((*filter(None, self.cameras.values()), *row.arrays, row.text))
        )
        self.deltas = _deltas(row)
        self.gripper = _GRIPPER if row.motion.encoding.startswith("eef") and row.gripper else None
        self.robot, self.fps = row.robot, None if row.hz is None else float(row.hz)
        self.identity = f"{row.identity} {tuple(cameras)} {blank_uninformative}"

    def check(self, source: Source) -> None:
        """See `View`."""
        for path in filter(None, self.cameras.values()):
            find(source, path, "image")
        row, packed = self._row, self._row.compressed
        for path, columns in row.widths.items():
            found = _find(source, row, path, "array", *(("text",) if path in packed else ()))
            width = math.prod(size or 1 for size in found.shape)
            if found.kind == "array" and width < columns:
                raise UserError(
                    f"{source.name}: {path} has {width} columns, of which {row.name} takes the "
                    f"{columns}th; is it that data set?"
                )
        _find(source, row, row.text, "array" if row.decode is decode_characters else "text")

    def width(self, source: Source) -> int:
        """See `View`."""
        return self._row.action_width

    def length(self, steps: int) -> int:
        """See `View`."""
        row = self._row
        kept = -(-max(steps - row.drop_first, 0) // row.every)
        return max(kept - row.drop_last, 0)

    def episode(self, recording: Recording) -> Episode:
        """See `View`."""
        try:
            standard = standardise(self._row, recording.features, self._blank)
        except UserError as error:
            raise UserError(f"{recording.name}: {error}") from error
        return Episode(
            index=recording.index,
            name=recording.name,
            cameras={
                name: SelectedFrames(recording.cameras[path], standard.steps)
                if path in recording.cameras
                else None
                for name, path in self.cameras.items()
            },
            states=standard.state,
            actions=standard.action,
            instructions=standard.instructions,
            metadata=recording.metadata,
        )


def _find(source: Source, row: Row, path: str, *kinds: str) -> Feature:
    feature = source.features.get(path)
    if feature is not None and feature.kind in kinds:
        return feature
    told = f"no {path}" if feature is None else f"{path} is no {' or '.join(kinds)}"
    raise UserError(
        f"{source.name}: {told}, as {row.name} has it by the registry; is it that data set?"
    )


def _path(row: Row, names: str) -> str:
    """Path of the first camera that is there, "" where none is."""
    known = row.cameras._asdict()
    for name in names.split("|"):
        if name not in known:
            raise UserError(f"config.data.cameras: {name!r}: choose from {', '.join(known)}")
    return next(filter(None, (known[name] for name in names.split("|"))), "")


def _deltas(row: Row) -> tuple[int, ...]:
    """The motion's columns where they are displacements; a gripper is a target."""
    if row.motion.encoding == "base" or row.motion.encoding == "eef_delta":
        return tuple(range(_GRIPPER))
    if row.motion.encoding == "joint_delta":
        return tuple(range(row.action_width - (row.gripper is not None)))
    return ()
