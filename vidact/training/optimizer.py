"""Optimizer and learning-rate schedule."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ml_collections
import optax
import optax.contrib

from vidact.errors import UserError
from vidact.nn import lora

# The video blocks' matrices.
TRUNK = re.compile(r"^(video/(spatial|temporal)_blocks|trunk/blocks)/.*/kernel$")


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


def _matrices(params: Mapping[str, Any]) -> dict[str, bool]:
    """What decays."""
    return {k: k.endswith("kernel") or lora.is_factor(k) for k in params}


# The directions of each kind: updates as large as they are wanted, before decay and rate.


def _adamw(config: ml_collections.ConfigDict) -> Sequence[optax.GradientTransformation]:
    return (optax.scale_by_adam(b1=config.b1, b2=config.b2, eps=config.eps),)


def _adafactor(_: ml_collections.ConfigDict) -> Sequence[optax.GradientTransformation]:
    return (optax.scale_by_factored_rms(), optax.clip_by_block_rms(1.0))


def _muon(config: ml_collections.ConfigDict) -> Sequence[optax.GradientTransformation]:
    def axes(params: Mapping[str, Any]) -> dict[str, Any]:
        """In front of a matrix's two axes stands that of the layers."""
        matrix = optax.contrib.MuonDimensionNumbers(reduction_axis=1, output_axis=2)
        return {path: matrix if TRUNK.search(path) else None for path in params}

    # Optax's own decay of what is left to Adam takes no mask, and would fall on norms and biases.
    muon = optax.contrib.muon(
        -1.0,  # the direction itself: a learning rate turns it round
        adam_b1=config.b1,
        adam_b2=config.b2,
        eps=config.eps,
        muon_weight_dimension_numbers=axes,
        consistent_rms=0.2,
    )
    return (muon,)


KINDS = {"adamw": _adamw, "adafactor": _adafactor, "muon": _muon}


def make_optimizer(config: ml_collections.ConfigDict, steps: int) -> optax.GradientTransformation:
    """The optimizer of `config.kind` behind a global-norm clip; only matrices decay.

    adamw: two moments of each parameter. adafactor (1804.04235): sums over rows and columns instead
    of the second, and no first. muon (kellerjordan.github.io/posts/muon): orthogonal updates of the
    matrices of `TRUNK`, as large as AdamW's, so that the rate is the same (2502.16982); AdamW for
    the rest. Both have Nesterov's momentum then.

    `config.scales` holds (pattern, factor) pairs: a parameter's learning rate is multiplied by the
    factor of the first pattern that its path matches.
    """
    moved = optax.chain(
        *KINDS[config.kind](config),
        optax.add_decayed_weights(config.weight_decay, _matrices),
        optax.scale_by_learning_rate(learning_rate(config, steps)),
    )
    return optax.chain(optax.clip_by_global_norm(config.clip), moved, _scaled(tuple(config.scales)))


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
