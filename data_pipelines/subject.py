"""What `inspect` and `statistics` look at: a data set, and which of its features are what."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from data_pipelines import episode
from data_pipelines.episode import Episode
from data_pipelines.oxe.row import Row
from data_pipelines.oxe.view import RowView
from data_pipelines.sources.recording import Recording, Source


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arrays:
    """A view of features as they are; action and state may be several arrays, joined.

    Attributes:
      cameras: paths of frames, any number; also their names.
      action, state: paths of arrays, whose columns follow one another; none where there are none.
      instruction: path of the text, "" for none.
    """

    cameras: Mapping[str, str]
    action: Sequence[str]
    state: Sequence[str]
    instruction: str

    @property
    def paths(self) -> tuple[str, ...]:
        """All features that are read."""
        named = (*self.cameras.values(), *self.action, *self.state, self.instruction)
        return tuple(dict.fromkeys(filter(None, named)))

    def episode(self, recording: Recording) -> Episode:
        """The recording's episode; a camera that was not read is None."""

        def joined(paths: Sequence[str]) -> np.ndarray:
            parts = [episode.columns(recording, path) for path in paths or [""]]
            return np.concatenate(parts, axis=1)

        return Episode(
            index=recording.index,
            name=recording.name,
            cameras={name: recording.cameras.get(path) for name, path in self.cameras.items()},
            states=joined(self.state),
            actions=joined(self.action),
            instructions=episode.texts(recording, self.instruction),
            metadata=recording.metadata,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """A data set and a view of it.

    Attributes:
      source: the data set.
      view: what makes episodes of its recordings.
      row: the registry's, where the view rests on it.
      names: of the columns of 'action' and 'state'.
    """

    source: Source
    view: Arrays | RowView
    row: Row | None
    names: Mapping[str, Sequence[str]]

    @property
    def rate(self) -> float | None:
        """Steps of an episode per second, where data set or registry say it."""
        stored = self.source.fps or (self.row.hz if self.row else None)
        return stored and stored / (self.row.every if self.row else 1)

    @property
    def readable(self) -> tuple[str, ...]:
        """All features that can be read."""
        return tuple(path for path, f in self.source.features.items() if f.kind != "other")

    def numbers(self, index: int) -> Episode:
        """Episode `index` without cameras, unless there is nothing else.

        Raises:
          UserError: it cannot be read or is not sound; names file and record.
        """
        cameras = self.view.cameras.values()
        paths = tuple(path for path in self.view.paths if path not in cameras)
        return self.view.episode(self.source.recording(index, paths or self.view.paths))
