"""Optimizer and learning-rate schedule."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import ml_collections
import optax

from vidact.errors import UserError
from vidact.nn import lora


def learning_rate(config: ml_collections.ConfigDict, steps: int) -> optax.Schedule:
    """Linear warm-up, then constant or a cosine to `config.final` times the peak."""
    warm = optax.linear_schedule(0.0, config.learning_rate, config.warmup)
    rest = max(steps - config.warmup, 1)
    if config.schedule == "cosine":
        after = optax.cosine_decay_schedule(config.learning_rate, rest, alpha=config.final)
    elif config.schedule == "constant":
        after = optax.constant_schedule(config.learning_rate)
    else:
        raise UserError(f"config.optimizer.schedule={config.schedule!r}: choose cosine or constant")
    return optax.join_schedules([warm, after], [config.warmup])


def make_optimizer(config: ml_collections.ConfigDict, steps: int) -> optax.GradientTransformation:
    """AdamW behind a global-norm clip; only matrices decay.

    `config.scales` holds (pattern, factor) pairs: a parameter's learning rate is multiplied by the
    factor of the first pattern that its path matches.
    """
    return optax.chain(
        optax.clip_by_global_norm(config.clip),
        optax.adamw(
            learning_rate(config, steps),
            b1=config.b1,
            b2=config.b2,
            eps=config.eps,
            weight_decay=config.weight_decay,
            mask=lambda params: {k: k.endswith("kernel") or lora.is_factor(k) for k in params},
        ),
        _scaled(tuple(config.scales)),
    )


def check_scales(paths: Iterable[str], scales: Sequence[Any]) -> None:
    """Refuses scales that are no pairs, negative, or match no parameter.

    Raises:
      UserError: names the pair.
    """
    paths = list(paths)
    for pair in scales:
        try:
            pattern, factor = pair
            fits = factor >= 0 and any(re.search(pattern, path) for path in paths)
        except (TypeError, ValueError, re.error) as error:
            raise UserError(
                f"config.optimizer.scales: {pair!r}: {error}; write ('^video/', 0.1)"
            ) from error
        if not fits:
            raise UserError(
                f"config.optimizer.scales: {pair!r} matches no parameter or is negative; they are "
                f"named like {paths[0]}"
            )


def _scaled(scales: Sequence[tuple[str, float]]) -> optax.GradientTransformation:
    def factor(path: str) -> float:
        return next((f for pattern, f in scales if re.search(pattern, path)), 1.0)

    if not scales:
        return optax.identity()
    return optax.stateless(lambda updates, _: {k: v * factor(k) for k, v in updates.items()})
