"""From config.data to the episodes of all its data sets, and their weights."""

import ml_collections

from data_pipelines.data_set import DataSet
from data_pipelines.episode import Keys, View
from data_pipelines.episodes import Episodes
from data_pipelines.oxe import mixtures, registry
from data_pipelines.oxe.view import RowView
from data_pipelines.sources.opening import open_source as open_one
from vidact.errors import UserError

_MEGABYTE = 2**20


def open_source(config: ml_collections.ConfigDict) -> Episodes:
    """Opens the data sets that `config.data` names; config.cache_mb MB of them may stay in memory.

    Raises:
      UserError: one cannot be read or lacks a feature, or the keys contradict each other.
    """
    specs = named(config)
    data_sets = [
        DataSet(open_one(spec, config.split), _view(config, spec), config.fps or None)
        for spec in specs
    ]
    return Episodes(data_sets, int(config.cache_mb * _MEGABYTE), list(specs.values()))


def named(config: ml_collections.ConfigDict) -> dict[str, float]:
    """The data sets, as `sources.opening` takes them, and their weights.

    Raises:
      UserError: an unknown mixture, a weight that is not positive, or one data set twice.
    """
    if config.mixture:
        weights = mixtures.find(config.mixture).weights
        return {f"{config.root.rstrip('/')}/{name}": weight for name, weight in weights.items()}
    if not config.sources:
        return {config.root: 1.0}
    found: dict[str, float] = {}
    for spec, weight in config.sources:
        if spec in found or not weight > 0:
            raise UserError(
                f"config.data.sources: {spec!r} with weight {weight}: give each data set once, "
                "with a weight above 0"
            )
        found[spec] = float(weight)
    return found


def shares(config: ml_collections.ConfigDict) -> bool:
    """Whether weights are shares of the samples rather than factors of numbers of windows."""
    published = mixtures.find(config.mixture).shares if config.mixture else False
    return published or not config.balance


def cameras(config: ml_collections.ConfigDict) -> tuple[str, ...]:
    """Names of the cameras that fill the tiles."""
    if config.registry or config.mixture:
        return tuple(config.cameras)
    return (config.image_key, *config.further_image_keys)


def _view(config: ml_collections.ConfigDict, spec: str) -> View:
    if config.registry or config.mixture:
        row = registry.find(row_name(config.registry, spec))
        return RowView(row, cameras(config), blank_uninformative=config.blank_uninformative)
    return Keys(
        cameras={path: path for path in cameras(config)},
        state=config.state_key,
        action=config.action_key,
        instruction=config.instruction_key,
        deltas=None if config.deltas is None else tuple(config.deltas),
        gripper=config.gripper,
    )


def row_name(name: str, spec: str) -> str:
    """The registry's name of a data set: `name`, or for "" and "auto" that of its folder.

    Raises:
      UserError: no folder of its path is in the registry.
    """
    if name not in ("", "auto"):
        return name
    parts = [part for part in spec.rpartition(":")[2].split("/") if part]
    known = [part for part in parts if part in registry.ROWS]
    if not known:
        raise UserError(
            f"{spec}: no folder of its path is a data set of the registry; name one of "
            "python -m data_pipelines.oxe instead of auto"
        )
    return known[-1]
