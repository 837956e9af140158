"""Real processes of one run: they stop together, and none waits for one that is gone."""

import json
import re
import shutil
import signal
import subprocess
import sys

import pytest

from tests import processes_compare, several, soak, tiny
from vidact.training import checkpoints, trace

SAVED_SECONDS = 30.0  # from SIGTERM to one until all have saved and gone: a spot machine's notice
LOST_SECONDS = 60.0  # from the end of one until the others have ended

# A run's loop without its model: each step ends in a sum over both processes.
PROGRAM = """
import os
import signal
import sys
import time
import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from vidact import command
from vidact.errors import UserError
from vidact.training import distributed, preemption

port, fault, number = sys.argv[1], sys.argv[2], int(sys.argv[3])

def main(_):
    preemption.may_end()
    if fault == "early" and number == 1:
        preemption.JOINING_SECONDS = 60  # so that the other's start takes less
        os.kill(os.getpid(), signal.SIGTERM)
    with preemption.watched(), distributed.joined(f"localhost:{port}", 2, number):
        mesh = jax.make_mesh((2,), ("data",))
        rows, whole = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
        mine = jax.make_array_from_process_local_data(rows, np.ones(1, np.float32))
        total = jax.jit(lambda x: x.sum(), out_shardings=whole)
        print(distributed.own("bad.txt"), distributed.slowest((0.7, 0.1)[number]), flush=True)
        for step in range(1, 10_000):
            if fault == "one" and number == 1 or fault == "both":
                raise UserError("the data: broken; mend it")
            assert float(total(mine)) == 2
            if step == 2:
                print("running", flush=True)
            if preemption.reached(step):
                preemption.leave(step)
            time.sleep(0.01)

command.run(main)
"""


@pytest.fixture
def pair(tmp_path, monkeypatch):
    """Starts the program twice; returns the processes."""
    monkeypatch.setenv("PYTHONPATH", str(tiny.ROOT))

    def start(fault: str = "none") -> list[subprocess.Popen]:
        line = [sys.executable, "-c", PROGRAM, str(several.free_port()), fault]
        lines = [[*line, str(number)] for number in range(2)]
        return several.start_each(lines, tmp_path / "pair")

    return start


@pytest.fixture
def told(tmp_path):
    """What process `number` of the pair has printed."""
    return lambda number: several.path(tmp_path / "pair", number).read_text()


def _run_on(pair, told, tmp_path) -> list[subprocess.Popen]:
    running = pair()
    several.wait_until(
        lambda: all("running" in told(i) for i in range(2)), running, tmp_path / "pair"
    )
    return running


@pytest.mark.parametrize("number", [0, 1])
def test_sigterm_to_one_stops_both_at_one_step(pair, told, tmp_path, number):
    running = _run_on(pair, told, tmp_path)
    running[number].send_signal(signal.SIGTERM)
    assert several.codes(running, SAVED_SECONDS) == [75, 75]
    _same_step(told)
    for i, name in enumerate(("bad.txt", "bad.1.txt")):
        assert f"{name} {{'slowest process': 0.0, 'its data wait': 0.69" in told(i)


def test_sigterm_while_they_join_is_not_lost(pair, told):
    assert several.codes(pair("early")) == [75, 75]
    _same_step(told)


def _same_step(told) -> None:
    steps = [re.findall(r"told to go: saved step (\d+); ", told(i)) for i in range(2)]
    assert len(steps[0]) == 1 and steps[0] == steps[1]


def test_one_that_is_killed_takes_the_other_along(pair, told, tmp_path):
    running = _run_on(pair, told, tmp_path)
    running[1].kill()
    assert several.codes(running, LOST_SECONDS) == [1, -signal.SIGKILL]
    assert "error: process 0: another process is gone; its own output says why" in told(0)


def test_the_first_that_is_killed_takes_the_other_along(pair, told, tmp_path):
    running = _run_on(pair, told, tmp_path)
    running[0].kill()
    assert several.codes(running, LOST_SECONDS)[1] not in (0, 75)
    assert "another process is gone" in told(1) or "another task died" in told(1)


@pytest.mark.parametrize(("fault", "codes"), [("one", [1, 2]), ("both", [2, 2])])
def test_a_users_mistake_ends_all(pair, told, fault, codes):
    assert several.codes(pair(fault)) == codes
    assert told(1).splitlines()[-1] == "error: the data: broken; mend it"


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path, capsys):
    assert processes_compare.compare(tmp_path, 2, 10)
    assert "max loss diff 1 vs 2: " in capsys.readouterr().out


@pytest.mark.slow
def test_four_processes_train_as_one(tmp_path):
    assert processes_compare.compare(tmp_path, 4, 50)


@pytest.mark.slow
def test_a_kill_of_one_of_two_changes_nothing(own_programs, tmp_path):
    assert soak.soak(tmp_path, kills=1, steps=24, seed=0, count=2)


@pytest.mark.slow
def test_a_run_goes_on_with_other_processes_on_another_mesh_and_stops_when_told(tmp_path):
    settings = dict(
        train__trace=True,
        **processes_compare.SMOOTH,
        optimizer__schedule="constant",
    )
    data = tiny.write_data(tmp_path)
    one, two = tmp_path / "one", tmp_path / "two"
    short = tiny.train_command(data, one, train__steps=4, mesh__data=4, **settings)
    several.finish(short, 1, one, devices=4)
    shutil.copytree(one, two)
    longer = tiny.train_command(data, one, train__steps=12, mesh__data=4, **settings)
    several.finish(longer, 1, one, devices=4)
    line = tiny.train_command(data, two, train__steps=100_000, mesh__fsdp=2, **settings)
    running = several.start(line, 2, two, devices=1)
    several.wait_until(lambda: trace.read(two)[-1]["step"] >= 12, running, two)
    running[1].send_signal(signal.SIGTERM)
    assert several.codes(running, SAVED_SECONDS) == [75, 75]
    last = trace.read(two)[-1]["step"]
    assert checkpoints.steps(two)[-1] == last
    for i in range(2):
        assert f"told to go: saved step {last}; " in several.path(two, i).read_text()
    same, difference = processes_compare.differences(one, two, 12)
    assert same and difference <= processes_compare.MOST
    assert json.loads((two / "config.json").read_text())["mesh"]["fsdp"] == 2
