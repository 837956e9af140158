"""Optimizer and learning-rate schedule."""

import ml_collections
import optax

from vidact.errors import UserError


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
    """AdamW behind a global-norm clip; only matrices decay."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip),
        optax.adamw(
            learning_rate(config, steps),
            b1=config.b1,
            b2=config.b2,
            eps=config.eps,
            weight_decay=config.weight_decay,
            mask=lambda params: {k: k.endswith("kernel") for k in params},
        ),
    )
