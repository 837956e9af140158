"""Two real processes find out that they do not train the same run; devices, that a copy is off."""

import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from tests.data_pipelines import shards
from tests.training import meshes
from vidact.errors import UserError
from vidact.training import agreement

# The second process goes astray in one thing after the other.
PROGRAM = """
import sys
import jax
from tests.data_pipelines import shards
from configs import base
from data_pipelines import pipeline
from vidact.errors import UserError
from vidact.training import agreement

number, port, root, other = int(sys.argv[1]), *sys.argv[2:]
jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=number)
for seed, rate, folder in ((3, 0.9, root), (4, 0.9, root), (3, 0.8, root), (3, 0.9, other)):
    config = base.get_config()
    config.data = shards.config(folder if number else root)
    config.optimizer.b2 = rate if number else 0.9
    dataset = pipeline.make_dataset(
        config.data,
        seed=seed if number else 3,
        batch_size=4,
        process_index=number,
        process_count=2,
    )
    try:
        agreement.check(config, dataset, 3)
        print("\\nsaid: agreed")
    except UserError as error:
        print("\\nsaid:", error)
"""


@pytest.fixture
def roots(tmp_path):
    """Two data sets of the same description whose frames differ."""
    return [
        str(shards.write(tmp_path / name, [shards.episode(first + i, steps=6) for i in range(4)]))
        for name, first in (("one", 0), ("other", 1))
    ]


def _lines(process: subprocess.Popen) -> list[str]:
    """What a process says; Gloo says something of its own, from two threads at once."""
    told, _ = process.communicate(timeout=300)
    return [line.removeprefix("said: ") for line in told.splitlines() if line.startswith("said: ")]


def test_two_processes(roots):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(number), port, *roots],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    try:
        told = [_lines(process) for process in running]
    finally:
        for process in running:
            process.kill()
    assert told[0] == told[1] and len(told[0]) == 4
    assert told[0][0] == "agreed"
    wanted = ("another order of windows", "another configuration", "another")
    for line, differs in zip(told[0][1:], wanted, strict=True):
        assert line.startswith(f"step 3: processes 1 have {differs} ")


def _array(mesh, spec, values, change=None):
    """`values` on a mesh, the copy of device number `change` with its last bit flipped."""
    sharding = NamedSharding(mesh, spec)
    parts = []
    for device, index in sharding.addressable_devices_indices_map(values.shape).items():
        part = values[index].copy()
        if device.id == change:
            part.view(np.uint8).reshape(-1)[-4] ^= 1
        parts.append(jax.device_put(part, device))
    return jax.make_array_from_single_device_arrays(values.shape, sharding, parts)


def test_a_copy_of_a_parameter_with_one_other_bit_is_named():
    mesh, values = meshes.mesh(4, 2, 1), np.random.default_rng(0).normal(size=(6, 4))
    good = _array(mesh, P(None, "fsdp"), values.astype(np.float32))
    half = _array(mesh, P(), values.astype(jax.numpy.bfloat16))
    agreement.check_parameters({"a/kernel": good, "b/scale": half}, 7)
    bad = _array(mesh, P(None, "fsdp"), values.astype(np.float32), change=5)
    with pytest.raises(UserError, match=r"step 7: b/kernel on device 5 of process 0 is not what"):
        agreement.check_parameters({"b/kernel": bad, "a/scale": half}, 7)


def test_parts_of_which_there_is_one_copy_may_differ():
    mesh = meshes.mesh(1, 8, 1)
    value = _array(mesh, P("fsdp"), np.arange(16, dtype=np.float32), change=3)
    agreement.check_parameters({"a/kernel": value}, 1)
