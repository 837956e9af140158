"""Validates a data set: every feature of every episode is read, every frame decoded."""

import concurrent.futures
import dataclasses
import functools
import os
from typing import Literal, NamedTuple

import numpy as np
import tqdm

from data_pipelines import frames
from data_pipelines.sources.checks import NoSteps
from data_pipelines.sources.recording import Frames, Recording
from data_pipelines.subject import Subject
from vidact.errors import UserError

_AT_ONCE = 32  # frames: a long video does not come into memory as a whole
_TRAINABLE = 2  # steps: an action leads from one frame to another


class Outcome(NamedTuple):
    """What an episode is: bad cannot be used, skipped is sound but holds nothing to train on."""

    kind: Literal["good", "bad", "skipped"]
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Checked:
    """What became of each episode, in order."""

    outcomes: tuple[Outcome, ...]

    def count(self, kind: str) -> int:
        """Number of episodes of a kind."""
        return sum(outcome.kind == kind for outcome in self.outcomes)

    def lines(self) -> list[str]:
        """One for each episode that is not good, and the counts."""
        told = [f"{o.kind}: episode {i}: {o.reason}" for i, o in enumerate(self.outcomes)]
        named = [line for line, o in zip(told, self.outcomes, strict=True) if o.kind != "good"]
        counts = f"bad: {self.count('bad')} skipped: {self.count('skipped')}"
        return [*named, f"episodes: {len(self.outcomes)} {counts}"]


def check(subject: Subject, fast: bool) -> Checked:
    """Reads all episodes; those that cannot be read are told, not raised.

    Args:
      subject: all readable features of its source are read; a row of the registry is applied too.
      fast: no frame is decoded where frames are files, whose headers are read; elsewhere the
        first is, which shows that they can be found.
    """
    look = functools.partial(examine, subject, fast=fast)
    count = len(subject.source)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(tqdm.tqdm(pool.map(look, range(count)), "checking", count, unit="episode"))
    # A reader that met damage may have refused sound neighbours that were asked for meanwhile.
    again = [look(i) if found[i].kind == "bad" else found[i] for i in range(count)]
    return Checked(tuple(again))


def examine(subject: Subject, index: int, fast: bool) -> Outcome:
    """What episode `index` is; see `check`."""
    try:
        paths = dict.fromkeys((*subject.readable, *(subject.view.paths if subject.row else ())))
        recording = subject.source.recording(index, tuple(paths))
        for path, camera in recording.cameras.items():
            stored = subject.source.features[path].shape[:2]
            _check_frames(recording, path, camera, stored, fast)
        steps = len(subject.view.episode(recording)) if subject.row else recording.steps
    except NoSteps as error:
        return Outcome("skipped", str(error))
    except UserError as error:
        return Outcome("bad", str(error))
    if steps >= _TRAINABLE:
        return Outcome("good")
    held = "one step" if steps else "no step"
    left = (
        f" of the {recording.steps} that are stored, by the registry's row" if subject.row else ""
    )
    return Outcome("skipped", f"{recording.name}: {held}{left}: no action to learn")


def _check_frames(
    recording: Recording, path: str, camera: Frames, stored: tuple[int | None, ...], fast: bool
) -> None:
    count = 1 if fast else _AT_ONCE
    for begin in range(0, len(camera), count):
        steps = range(begin, min(begin + count, len(camera)))
        for step, picture in zip(steps, camera.read(steps), strict=True):
            try:
                size = frames.check_size(picture, stored)
                if not fast:
                    frames.decode(picture, np.empty((*size, 3), np.uint8), stored)
            except ValueError as error:
                raise UserError(
                    f"{recording.name}: {path} at step {step}: {error}; mend or remove the episode"
                ) from error
        if fast and isinstance(picture, np.ndarray):
            return
