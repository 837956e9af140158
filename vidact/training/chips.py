"""TPU generations: what a chip can do, and pods described to the compiler without being there."""

import dataclasses
import os
import re
from collections.abc import Sequence
from typing import Any

from vidact.errors import UserError

# Read by JAX and libtpu when they start: look for no TPU, no metadata server and no lock file.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-16",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """One chip.

    Attributes:
      flops: bfloat16 peak, per second.
      hbm: bytes that libtpu lets a program have, a little less than the data sheet's.
      hbm_bandwidth: bytes per second.
      ici: bytes per second that leave a chip over all of its links within a slice; the data sheets'
        bidirectional figure counts what arrives too.
      dcn: bytes per second between slices, a chip's share of its host's network.
      sides: dimensions of a torus.
      options: what `get_topology_desc` wants beside the name.
    """

    flops: float
    hbm: float
    hbm_bandwidth: float
    ici: float
    dcn: float
    sides: int
    options: tuple[tuple[str, str], ...] = ()


# docs.cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e}, "key specifications", read in 2026; `hbm` is from
# libtpu 0.0.42's own messages. v4: six links of 50 GB/s each way (TPU v4, 2304.01433); its network
# per chip is not published, so v5e's stands there.
CHIPS = {
    "v4": Chip(275e12, 30.75 * GIB, 1200e9, 300e9, 3.125e9, 3, (("chip_config_name", "megacore"),)),
    "v5e": Chip(197e12, 15.75 * GIB, 819e9, 200e9, 3.125e9, 2),
    "v5p": Chip(459e12, 95.74 * GIB, 2765e9, 600e9, 6.25e9, 3),
    "v6e": Chip(918e12, 31.25 * GIB, 1638e9, 400e9, 12.5e9, 2),
}

# Dense bfloat16 peaks per second by a part of the name that the driver gives, the first that fits;
# NVIDIA's data sheets (those of H100 and H200 print twice as much, with sparsity).
GPUS = (
    ("B200", 2250e12),
    ("H200", 989e12),
    ("H100 NVL", 835e12),
    ("H100 PCIe", 756e12),
    ("H100", 989e12),
    ("A100", 312e12),
    ("L40S", 362e12),
    ("RTX 4090", 165e12),
    ("RTX A6000", 155e12),
)
# What JAX calls the generations (device_kind).
TPUS = {
    "TPU v4": "v4",
    "TPU v5 lite": "v5e",
    "TPU v5e": "v5e",
    "TPU v5": "v5p",
    "TPU v5p": "v5p",
    "TPU v6 lite": "v6e",
    "TPU v6e": "v6e",
}


def peak(kind: str) -> float | None:
    """Bfloat16 FLOPs per second of a device that JAX calls so; None where no table has it."""
    if kind in TPUS:
        return CHIPS[TPUS[kind]].flops
    return next((flops for name, flops in GPUS if name in kind), None)


def prepare_environment() -> None:
    """Sets `ENVIRONMENT`; call it before anything imports JAX."""
    os.environ.update(ENVIRONMENT)


def chip_of(topology: str) -> Chip:
    """The chip of a topology such as v5e:4x4 or v5p:4x4x4.

    Raises:
      UserError: the generation is unknown, or the sides are not those of its torus.
    """
    name, _, sides = topology.partition(":")
    chip = CHIPS.get(name)
    if chip is None or not re.fullmatch(rf"[1-9]\d*(x[1-9]\d*){{{chip.sides - 1}}}", sides):
        raise UserError(
            f"--topology {topology}: not a topology; write for example v5e:4x4, v6e:16x16, "
            "v5p:4x4x4 or v4:4x4x4"
        )
    return chip


def devices(topology: str, slices: int = 1) -> Sequence[Any]:
    """The devices of a pod that need not be there, for compiling only.

    Raises:
      UserError: libtpu is not installed, or knows no such pod.
    """
    from jax.experimental import topologies

    options: dict[str, Any] = dict(chip_of(topology).options)
    if not set(topology.partition(":")[2]) - set("1x"):  # one chip; else a host has 4 at least
        options["chips_per_host_bounds"] = (1, 1, 1)
    if slices > 1:
        options["num_slices"] = slices
    try:
        return topologies.get_topology_desc(
            platform="tpu", topology_name=topology, **options
        ).devices
    except Exception as error:  # JAX and libtpu raise several kinds
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"--topology {topology}: {reason}; install the extra tpu, or choose sides that a slice "
            "can have"
        ) from error
