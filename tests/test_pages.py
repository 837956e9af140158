"""What the tests that show a page rely on: nothing that they start outlives them."""

import os
import sys
import time

from tests.pages import one_core, run_alone

# A parent, and a child that keeps the parent's stdout open.
PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, len(os.sched_getaffinity(0)), flush=True)
time.sleep(float(sys.argv[1]))
"""


def test_a_command_and_its_children_are_ended(tmp_path):
    for seconds, code in (("60", None), ("0", 0)):
        began = time.monotonic()
        command = [*one_core(), sys.executable, "-c", PARENT, seconds]
        found, out, _ = run_alone(command, tmp_path, seconds=5)
        assert found == code and time.monotonic() - began < 30
        child, cores = map(int, out.split())
        assert cores == 1 or not one_core()
        _wait_for_the_end_of(child)


def _wait_for_the_end_of(process: int) -> None:
    deadline = time.monotonic() + 10
    while os.path.exists(f"/proc/{process}"):
        with open(f"/proc/{process}/stat") as file:
            if file.read().rsplit(")", 1)[1].split()[0] == "Z":
                return  # dead, and its new parent has not looked yet
        assert time.monotonic() < deadline
        time.sleep(0.05)
