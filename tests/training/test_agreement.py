"""Two real processes find out that they do not train the same run; devices, that a copy is off.

They also add up how many windows they could not read.
"""

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
from vidact.training import agreement, summary

number, port, root, other, damaged = int(sys.argv[1]), *sys.argv[2:]
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
print("\\nsaid:", summary.of_data(dataset))
config.data.update(root=damaged, on_bad_record="skip")
dataset = pipeline.make_dataset(
    config.data, seed=3, batch_size=4, process_index=number, process_count=2
)
for step in range(8):
    dataset.batch_at(step)
print("\\nsaid:", summary.of_data(dataset))
print("\\nsaid: substituted", dataset.bad.substituted)
"""
FIRST = {"one": 0, "other": 1, "damaged": 0}  # the first episode's number


@pytest.fixture
def roots(tmp_path):
    """Two data sets of the same description whose frames differ, and one with a damaged frame."""
    made = {name: [shards.episode(first + i) for i in range(4)] for name, first in FIRST.items()}
    image = made["damaged"][1]["steps"][3]["observation"]["image"]
    image.truncate(len(image.getvalue()) // 2)
    return [str(shards.write(tmp_path / name, episodes)) for name, episodes in made.items()]


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
    counts = [int(lines.pop().removeprefix("substituted ")) for lines in told]
    assert min(counts) > 0
    assert told[0] == told[1] and len(told[0]) == 6
    assert told[0][0] == "agreed"
    assert told[0][4:] == ["{}", str({"windows substituted": sum(counts)})]
    wanted = ("another order of windows", "another configuration", "another")
    for line, differs in zip(told[0][1:4], wanted, strict=True):
        assert line.startswith(f"step 3: processes 1 have {differs} ")


def _array(mesh, spec, values):
    return jax.device_put(values, NamedSharding(mesh, spec))


def test_a_copy_of_a_parameter_with_one_other_bit_is_named():
    mesh, values = meshes.mesh(4, 2, 1), np.random.default_rng(0).normal(size=(6, 4))
    good = _array(mesh, P(None, "fsdp"), values.astype(np.float32))
    half = _array(mesh, P(), values.astype(jax.numpy.bfloat16))
    agreement.check_parameters({"a/kernel": good, "b/scale": half}, 7)
    bad = meshes.flipped(good, device=5)
    with pytest.raises(UserError, match=r"step 7: b/kernel on device 5 of process 0 is not what"):
        agreement.check_parameters({"b/kernel": bad, "a/scale": half}, 7)


def test_parts_of_which_there_is_one_copy_may_differ():
    mesh = meshes.mesh(1, 8, 1)
    value = _array(mesh, P("fsdp"), np.arange(16, dtype=np.float32))
    agreement.check_parameters({"a/kernel": meshes.flipped(value, device=3)}, 1)
