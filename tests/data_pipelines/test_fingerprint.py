"""A data set's fingerprint is the same in every process, and another for other data."""

import dataclasses
import functools
import itertools
import os
import re
import signal
import subprocess
import sys

from data_pipelines import opening
from data_pipelines.data_set import DataSet
from data_pipelines.episode import keys
from data_pipelines.oxe import oddities
from data_pipelines.oxe.registry import TABLE, find
from data_pipelines.oxe.row import Gripper
from data_pipelines.sources.rlds import open_rlds
from tests import tiny
from tests.data_pipelines import shards
from tests.data_pipelines.oxe import fakes

# A function, and a function with arguments, among what is done to them.
NAMES = ("bridge_dataset", "berkeley_rpt_converted_externally_to_rlds")
SECONDS = 120
SHOW = """
import sys
from data_pipelines import opening
from tests.data_pipelines import shards
sources = tuple((root, 1.0) for root in sys.argv[1:])
config = shards.config("", sources=sources, registry="auto", cameras=("primary|wrist",), fps=0.0)
print(opening.open_source(config).fingerprint)
"""


def printed(processes: list[subprocess.Popen]) -> list[str]:
    """What each prints; none outlives SECONDS, nor does anything that it has started."""
    try:
        return [process.communicate(timeout=SECONDS)[0] for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def test_the_registrys_data_sets_have_the_same_in_two_processes(tmp_path):
    roots = [str(fakes.write(tmp_path, find(name))) for name in NAMES]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", SHOW, *roots],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tiny.ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            start_new_session=True,
        )
        for seed in ("1", "2")
    ]
    one, other = printed(started)
    assert re.fullmatch(r"[0-9a-f]{64}\n", one)
    assert one == other


def test_no_row_tells_what_only_its_process_knows():
    told = [row.identity for row in TABLE]
    assert len(set(told)) == len(TABLE)
    for identity in told:
        assert not re.search(r"0x[0-9a-f]{4}|<lambda>|<locals>| at ", identity)


def test_a_row_that_does_something_else_has_another_identity():
    row = find(NAMES[0])
    inverted = Gripper(row.gripper.columns, row.gripper.stored, (oddities.inverted,))
    further = functools.partial(oddities.reached_deltas, every=2)
    changed = (
        dataclasses.replace(row, gripper=inverted),
        dataclasses.replace(row, motion=row.motion._replace(fix=further)),
        dataclasses.replace(row, motion=row.motion._replace(fix=None)),
        dataclasses.replace(row, drop_last=0),
        dataclasses.replace(row, text="action"),
    )
    assert len({row.identity, *(other.identity for other in changed)}) == 1 + len(changed)
    assert dataclasses.replace(row, note="seen again").identity == row.identity


def test_another_role_is_another_fingerprint(tmp_path):
    root = shards.write(tmp_path, [shards.with_wrist(shards.episode(i)) for i in range(2)])
    views = [
        keys(*cameras, state=state, action=action, instruction=instruction)
        for cameras in itertools.permutations((shards.CAMERA, shards.WRIST))
        for state in ("action", "observation/state", "")
        for action in ("action", "observation/state", "")
        for instruction in ("language_instruction", "")
    ]
    found = {DataSet(open_rlds(str(root)), view, None).fingerprint for view in views}
    assert len(found) == len(views)


def test_where_a_data_set_lies_does_not_matter(tmp_path):
    found = set()
    for name in ("one", "other"):
        root = str(fakes.write(tmp_path / name, find(NAMES[0])))
        found.add(opening.open_source(shards.config(root, registry="auto", fps=0.0)).fingerprint)
    assert len(found) == 1
