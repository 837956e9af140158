"""Runs the pod of a manifest that xpk wrote as Kubernetes would: command, SIGTERM, exit code.

    python tests/launch/xpk_pod.py MANIFEST     (with PyYAML; launch/check.sh calls it)

`python` is a stand-in that tells its arguments and saves for a second when it is told to stop.
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
TRAINER = """#!/usr/bin/env bash
trap 'sleep 1; echo saved; exit 75' TERM
printf '<%s>' "$@" && echo
while :; do sleep 0.1; done
"""


def main(manifest: str) -> None:
    """Exits with a message where the pod would not restart on 75, or not get to save."""
    (job,) = yaml.safe_load(pathlib.Path(manifest).read_text())["spec"]["replicatedJobs"]
    template = job["template"]["spec"]
    (rule,) = template["podFailurePolicy"]["rules"]
    restarts = rule["onExitCodes"]
    assert (rule["action"], restarts["operator"]) == ("FailJob", "NotIn")
    assert 75 in restarts["values"] and not {1, 2} & set(restarts["values"])
    pod = template["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["terminationGracePeriodSeconds"] == 120
    with tempfile.TemporaryDirectory() as folder:
        python = pathlib.Path(folder, "python")
        python.write_text(TRAINER)
        python.chmod(0o755)
        environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
        pipe = subprocess.PIPE
        with subprocess.Popen(
            container["command"], cwd=ROOT, env=environment, stdout=pipe, text=True
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()  # XPK Start
            started = process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            rest = process.communicate(timeout=60)[0]
    assert started == "<-m><vidact.train><--config><configs/covar_1b4.py><--workdir=two words>\n"
    assert "saved\n" in rest, rest
    assert process.returncode == 75, process.returncode
    print(
        "ok: xpk's pod: SIGTERM reached the trainer, which saved; exit code 75; it restarts on 75"
    )


if __name__ == "__main__":
    main(sys.argv[1])
