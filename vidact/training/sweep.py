"""Tries meshes, remat policies and batch sizes on a pod, and recommends one."""

import ml_collections

from vidact.errors import UserError
from vidact.training import checked, compile_report
from vidact.training.compile_report import DoesNotFitError, Pod, Report

FSDP = (16, 64)
REMAT = ("dots", "full")
BATCHES = (1, 2, 4, 8)  # per chip
HEAD = "fsdp remat batch per chip   hbm GiB   step s   limit     mfu bound"


def run(config: ml_collections.ConfigDict, pod: Pod, pixels: bool = False) -> None:
    """Prints a line for each setting and, at the end, that of the highest mfu bound.

    With a mesh and a policy batches grow until one does not fit.

    Args:
      config: the whole configuration.
      pod: what to compile for.
      pixels: as for `example.from_stored`.

    Raises:
      UserError: nothing fits.
    """
    print(HEAD, flush=True)
    best: tuple[float, str] | None = None
    for fsdp in FSDP:
        for remat in REMAT:
            for batch in BATCHES:
                found = _try(config, pod, pixels, fsdp, remat, batch)
                if found is None:
                    break
                chosen = f"--config.mesh.fsdp={fsdp} --config.model.remat={remat} --batch={batch}"
                best = max(best or (0.0, ""), (found.bound.mfu, chosen))
    if best is None:
        raise UserError(
            f"--topology {pod.topology}: nothing fits; take a larger one, or freeze more"
        )
    print(f"recommended: {best[1]}")
    print(f"mfu bound: {best[0]:.2f}")


def _try(
    config: ml_collections.ConfigDict, pod: Pod, pixels: bool, fsdp: int, remat: str, batch: int
) -> Report | None:
    """Compiles one setting and prints its line; None where it does not fit or divide."""
    config = config.copy_and_resolve_references()
    config.mesh.fsdp, config.model.remat = fsdp, remat
    config.train.batch_size = batch * pod.chips
    start = f"{fsdp:4} {remat:5} {batch:14}   "
    try:
        step = checked.training_step(config, pod.devices, pixels)
        found = compile_report.report(step, pod)
    except (DoesNotFitError, UserError) as error:
        print(f"{start}{error}", flush=True)
        return None
    gib, bound = found.memory / 2**30, found.bound
    print(f"{start}{gib:7.1f} {bound.seconds:8.3f}   {bound.limit:8} {bound.mfu:10.2f}", flush=True)
    return found
