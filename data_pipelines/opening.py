"""From config.data to the episodes of all its data sets, and their weights."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import ml_collections

from data_pipelines.data_set import DataSet
from data_pipelines.episode import Keys, View
from data_pipelines.episodes import Episodes
from data_pipelines.oxe import mixtures, registry
from data_pipelines.oxe.view import RowView
from data_pipelines.sources.opening import open_source as open_one
from vidact.errors import UserError

_MEGABYTE = 2**20


# What an entry of config.data.sources may set for its data set alone.
OWN = (
    "registry",
    "cameras",
    "blank_uninformative",
    "split",
    "image_key",
    "further_image_keys",
    "state_key",
    "action_key",
    "instruction_key",
    "deltas",
    "gripper",
    "action_order",
)


class Named(NamedTuple):
    """A data set of a configuration: where it lies, its weight and its own keys."""

    spec: str
    weight: float
    config: ml_collections.ConfigDict


def open_source(config: ml_collections.ConfigDict) -> Episodes:
    """Opens the data sets that `config.data` names; config.cache_mb MB of them may stay in memory.

    Raises:
      UserError: one cannot be read or lacks a feature, or the keys contradict each other.
    """
    found = named(config)
    data_sets = [
        DataSet(
            open_one(spec, own.split), _view(own, spec), own.fps or None, tuple(own.action_order)
        )
        for spec, _, own in found
    ]
    return Episodes(data_sets, int(config.cache_mb * _MEGABYTE), [each.weight for each in found])


def named(config: ml_collections.ConfigDict) -> list[Named]:
    """The data sets, as `sources.opening` takes them.

    Raises:
      UserError: an unknown mixture, a weight that is not positive, one data set twice, or a key
        that an entry cannot set.
    """
    if config.mixture:
        weights, root = mixtures.find(config.mixture).weights, config.root.rstrip("/")
        own = _with(config, {"registry": config.registry or "auto"})
        return [Named(f"{root}/{name}", weight, own) for name, weight in weights.items()]
    if not config.sources:
        return [Named(config.root, 1.0, config)]
    found: dict[str, Named] = {}
    for entry in config.sources:
        spec, weight, changes = _entry(entry)
        if spec in found or not 0 < weight < math.inf:
            raise UserError(
                f"config.data.sources: {spec!r} with weight {weight}: give each data set once, "
                "with a finite weight above 0"
            )
        found[spec] = Named(spec, weight, _with(config, changes))
    return list(found.values())


def _entry(entry: Any) -> tuple[str, float, Mapping[str, Any]]:
    """KIND:DIR, weight and own keys of an entry of config.data.sources."""
    match entry:
        case str(spec), int(weight) | float(weight):
            return spec, float(weight), {}
        case str(spec), int(weight) | float(weight), Mapping() as changes:
            return spec, float(weight), changes
    raise UserError(
        f"config.data.sources: {entry!r}: want (KIND:DIR, weight) or, with keys of its own, "
        "(KIND:DIR, weight, {key: value})"
    )


def _with(
    config: ml_collections.ConfigDict, changes: Mapping[str, Any] | None = None
) -> ml_collections.ConfigDict:
    own = config.copy_and_resolve_references()
    for key, value in (changes or {}).items():
        if key not in OWN:
            raise UserError(
                f"config.data.sources: {key!r} is no key of one data set; those are "
                f"{', '.join(OWN)}"
            )
        own[key] = tuple(value) if isinstance(value, list) else value
    return own


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
    if config.registry:
        row = registry.find(row_name(config.registry, spec))
        return RowView(row, cameras(config), blank_uninformative=config.blank_uninformative)
    deltas = None if tuple(config.deltas) == (-1,) else tuple(config.deltas)
    gripper = None if config.gripper < 0 else config.gripper
    if not config.action_key:  # then nobody needs to say what its columns are
        deltas, gripper = (), None
    return Keys(
        cameras={path: path for path in cameras(config)},
        state=config.state_key,
        action=config.action_key,
        instruction=config.instruction_key,
        deltas=deltas,
        gripper=gripper,
    )


def row_name(name: str, spec: str) -> str:
    """The registry's name of a data set: `name`, or for "auto" that of its folder.

    Raises:
      UserError: no folder of its path is in the registry.
    """
    if name != "auto":
        return name
    parts = [part for part in spec.rpartition(":")[2].split("/") if part]
    known = [part for part in parts if part in registry.ROWS]
    if not known:
        raise UserError(
            f"{spec}: no folder of its path is a data set of the registry; name one of "
            "python -m data_pipelines.oxe instead of auto"
        )
    return known[-1]
