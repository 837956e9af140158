"""Which settings belong to a run for good, and where two configurations differ."""

import json
import pathlib
from typing import Any

import ml_collections

from vidact.errors import UserError

# What may change when a run is continued. More steps stretch a cosine schedule.
FREE_SECTIONS = ("evaluate", "demos", "mesh")
FREE_KEYS = (
    (
        "train",
        (
            "steps",
            "spike",
            "stop_after_skipped",
            "log_every",
            "checkpoint_every",
            "evaluate_every",
            "keep",
            "picture_every",
            "wandb",
            "profile",
            "keep_every",
            "keep_best",
            "trace",
            "agree_every",
            "compile_cache",
        ),
    ),
    ("optimizer", ("learning_rate",)),
    ("data", ("root", "sources", "encoded", "coarse", "threads", "cache_mb")),
    ("encoder", ("weights", "text_weights", "tokenizer")),
)


def check_config(where: pathlib.Path, config: ml_collections.ConfigDict, other: Any) -> None:
    """Refuses a configuration that makes another model or other batches than `other`.

    Args:
      where: the culprit, for the message.
      config: what is there.
      other: the configuration that it is compared with; a dictionary or a ConfigDict.

    Raises:
      UserError: names the first key that differs.
    """
    difference = first_difference(fixed(config), fixed(other))
    if difference:
        raise UserError(
            f"{where}: belongs to another configuration: {difference}; "
            "choose another --workdir or the old value"
        )


def fixed(config: Any) -> dict[str, Any]:
    """A configuration as JSON has it, without what may change."""
    plain = json.loads(json.dumps(config if isinstance(config, dict) else config.to_dict()))
    for section in FREE_SECTIONS:
        plain.pop(section, None)
    for section, names in FREE_KEYS:
        for name in names:
            plain.get(section, {}).pop(name, None)
    return plain


def first_difference(a: dict[str, Any], b: dict[str, Any], prefix: str = "config") -> str | None:
    """The first key whose value differs between two configurations, dotted, with both values."""
    for key in sorted({*a, *b}):
        left, right = a.get(key), b.get(key)
        name = f"{prefix}.{key}"
        if isinstance(left, dict) and isinstance(right, dict):
            inner = first_difference(left, right, name)
            if inner:
                return inner
        elif json.dumps(left) != json.dumps(right):
            return f"{name} ({left!r} there, {right!r} now)"
    return None
