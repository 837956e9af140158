"""What a conversion is to do: fixed when it first starts, and the same when it goes on."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from data_pipelines.conversion import files
from data_pipelines.sources import converted
from data_pipelines.sources.opening import open_source
from data_pipelines.sources.recording import Feature, Source
from data_pipelines.sources.segments import FRAMES_PER_RECORD
from vidact.errors import UserError

MAX_SHARDS = 512
MIN_EPISODES = 16  # of a shard, where there are enough: what a kill costs at most


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What is converted, and how.

    Attributes:
      source, split: see `sources.opening.open_source`.
      fingerprint: the source's.
      episodes: how many it has.
      fps: the source's.
      resize: height and width that frames get, None to leave them as they are.
      features: those that are converted.
      left_out: those that are not.
      frames_per_record: k.
      shards: number of shards.
    """

    source: str
    split: str
    fingerprint: str
    episodes: int
    fps: float | None
    resize: tuple[int, int] | None
    features: Mapping[str, Feature]
    left_out: tuple[str, ...]
    frames_per_record: int
    shards: int

    def episodes_of(self, shard: int) -> range:
        """The source's episodes that a shard holds."""
        edges = [i * self.episodes // self.shards for i in (shard, shard + 1)]
        return range(*edges)

    def paths(self, kind: str) -> tuple[str, ...]:
        """Features of one kind, sorted."""
        return tuple(sorted(path for path, f in self.features.items() if f.kind == kind))

    def to_json(self) -> dict[str, Any]:
        """As plan.json holds it; where the source lies does not matter."""
        told = dataclasses.asdict(self) | {"features": converted.write_features(self.features)}
        told.pop("source")
        return json.loads(json.dumps(told))


def make_plan(
    spec: str, split: str, cameras: Sequence[str] = (), resize: tuple[int, int] | None = None
) -> Plan:
    """Opens a source and says what is to be done.

    Args:
      spec, split: see `sources.opening.open_source`.
      cameras: paths; by default all that have colours, so that depth is not taken for a picture.
      resize: height and width, or None.

    Raises:
      UserError: the source cannot be opened or has no such camera.
    """
    source = open_source(spec, split)
    images = _cameras(source, cameras)
    features = {
        path: feature._replace(shape=(*resize, 3)) if resize and path in images else feature
        for path, feature in source.features.items()
        if path in images or feature.kind in ("array", "text")
    }
    return Plan(
        source=spec,
        split=split,
        fingerprint=source.fingerprint,
        episodes=len(source),
        fps=source.fps,
        features=features,
        left_out=tuple(sorted(source.features.keys() - features.keys())),
        resize=resize,
        frames_per_record=FRAMES_PER_RECORD,
        shards=min(MAX_SHARDS, max(1, len(source) // MIN_EPISODES)),
    )


def keep_plan(plan: Plan, out: epath.Path) -> None:
    """Writes plan.json, or checks that what began in `out` is the same conversion.

    Raises:
      UserError: names the first thing that differs.
    """
    path, told = out / converted.PLAN, plan.to_json()
    if not path.exists():
        if out.exists() and any(out.iterdir()):
            raise UserError(f"{out}: is not empty and holds no conversion; choose another folder")
        out.mkdir(parents=True, exist_ok=True)
        files.put_text(json.dumps(told, indent=1) + "\n", out, converted.PLAN)
        return
    try:
        then = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}); convert to another folder") from error
    for key, now in told.items():
        if then.get(key) != now:
            raise UserError(
                f"{out}: its conversion began with other {key}; go on with the same, or choose "
                "another folder"
            )


def _cameras(source: Source, wanted: Sequence[str]) -> tuple[str, ...]:
    images = {path: f.shape for path, f in source.features.items() if f.kind == "image"}
    for path in wanted:
        if path not in images:
            raise UserError(
                f"{source.name}: no camera {path}; choose from {', '.join(images) or 'none'}"
            )
    coloured = (path for path, shape in images.items() if shape[2:] in ((), (None,), (3,)))
    return tuple(wanted) or tuple(coloured)
