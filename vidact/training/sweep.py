"""Tries meshes, remat policies and batch sizes on a pod, and recommends one."""

import itertools

import jax
import ml_collections

from vidact.errors import UserError
from vidact.training import checked, compile_report, sharding
from vidact.training.compile_report import DoesNotFitError, Pod, Report

# 1152 rows in 32 parts are 36 each, which XLA pads and sends at twice their size: columns divide.
COLUMNS = (("/(fc1|kv_linear)/kernel$", (None, "fsdp")),)
REMAT = ("dots", "full")
BATCHES = (1, 2, 4, 8)  # per chip
HEAD = "fsdp remat batch per chip   hbm GiB   step s   limit     mfu bound"


def run(config: ml_collections.ConfigDict, pod: Pod, pixels: bool = False) -> bool:
    """Prints a line for each setting and, at the end, that of the highest mfu bound.

    With a mesh and a policy batches grow until one does not fit or has no higher bound. A policy
    is not compiled where what it computes again alone keeps its bound below the best so far.

    Args:
      config: the whole configuration.
      pod: what to compile for.
      pixels: as for `example.from_stored`.

    Returns:
      Whether anything fits.

    Raises:
      UserError: the configuration is wrong whatever the setting.
    """
    print(HEAD, flush=True)
    config, given = config.copy_and_resolve_references(), tuple(config.mesh.rules)
    best = (0.0, "")
    for (fsdp, rules), remat in itertools.product(_meshes(pod), REMAT):
        config.mesh.fsdp, config.mesh.rules, config.model.remat = fsdp, (*given, *rules), remat
        # A rule of ours may find no parameter, or one that a rule of the configuration has.
        wrong = UserError if rules else sharding.DoesNotDivideError
        before = 0.0
        for batch in BATCHES:
            config.train.batch_size = batch * pod.chips
            found = _try(config, pod, pixels, batch, best[0], wrong)
            if found is None:
                break
            best = max(best, (found.bound.mfu, _flags(config, batch)))
            if found.bound.mfu <= before:
                break
            before = found.bound.mfu
    if not best[0]:
        print(f"--topology {pod.topology}: nothing fits; take a larger one, or freeze more")
        return False
    print(f"recommended: {best[1]}")
    print(f"mfu bound: {best[0]:.2f}")
    return True


def _meshes(pod: Pod) -> list[tuple[int, tuple]]:
    """fsdp, and rules that come before the table's; parameters are not split over slices."""
    chips = pod.chips // pod.slices
    wide = [(32, COLUMNS)] if chips % 32 == 0 else []
    return [(min(chips, 16), ()), *wide]


def _try(
    config: ml_collections.ConfigDict,
    pod: Pod,
    pixels: bool,
    batch: int,
    best: float,
    wrong: type[UserError],
) -> Report | None:
    """Compiles one setting and prints its line.

    None where it does not fit, is `wrong`, or cannot have a higher bound than `best`.
    """
    start = f"{config.mesh.fsdp:4} {config.model.remat:5} {batch:14}   "
    jax.clear_caches()  # else what was compiled before stays: gigabytes after a few settings
    try:
        step = checked.training_step(config, pod.devices, pixels)
        ceiling = step.work.model / step.work.hardware
        if ceiling < best + 1e-6:  # the same, but for rounding
            print(f"{start}mfu at most {ceiling:.2f}, for what is computed again", flush=True)
            return None
        found = compile_report.report(step, pod)
    except (DoesNotFitError, wrong) as error:
        print(f"{start}{error}", flush=True)
        return None
    gib, bound = found.memory / 2**30, found.bound
    print(f"{start}{gib:7.1f} {bound.seconds:8.3f}   {bound.limit:8} {bound.mfu:10.2f}", flush=True)
    return found


def _flags(config: ml_collections.ConfigDict, batch: int) -> str:
    """What the command is to be given for these settings."""
    flags = [f"--config.mesh.fsdp={config.mesh.fsdp}"]
    if config.mesh.rules:
        flags.append(f'--config.mesh.rules="{config.mesh.rules}"')
    return " ".join([*flags, f"--config.model.remat={config.model.remat}", f"--batch={batch}"])
