"""launch/tpu_vm.sh against a gcloud that answers as told: outages, lost machines, mistakes."""

import os
import pathlib
import shutil
import signal
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SECONDS = 30  # that a script may take, whose pauses take none

# Each call is a line of the file `calls`. What it does is named by a word; the answers to that word
# are the lines of a file of that name: an exit code, and what is printed. They go in order,
# then all goes well.
GCLOUD = """#!/usr/bin/env bash
cd "$(dirname "$0")"
all="$*"
case $all in
  *" describe "*) verb=describe ;;
  *" create "*) verb=create ;;
  *" delete "*) verb=delete ;;
  *" scp "*) verb=scp ;;
  *"detached.sh start"*) verb=start ;;
  *"detached.sh "*) all=${all##*detached.sh } verb=${all%% *} ;;
  *) verb=other ;;
esac
echo "$verb" >>calls
code=0 text=""
[ ! -s "$verb" ] || read -r code text <"$verb"
[ ! -s "$verb" ] || sed -i 1d "$verb"
[ "$code" = 0 ] || { echo "ERROR: (gcloud.compute.tpus) $text" >&2 && exit "$code"; }
[ -z "$text" ] || echo "$text"
"""
SLEEP = """#!/usr/bin/env bash
echo "sleep $1" >>"$(dirname "$0")/calls"
"""
GONE = "1 NOT_FOUND: Resource 'projects/p/locations/z/queuedResources/t1' was not found."
OUTAGE = "1 There was a problem refreshing your current auth tokens: Connection timed out"
ALL_WELL = ["describe", "running", "follow", "code"]


@pytest.fixture
def tools(tmp_path):
    """The folder of the two tools, first on PATH."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name, text in (("gcloud", GCLOUD), ("sleep", SLEEP)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def tpu_vm(tools, tmp_path):
    """Calls the script in a repository of its own, without uncommitted changes, with answers."""
    root = tmp_path / "repository"
    shutil.copytree(ROOT / "launch", root / "launch")
    author = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    for line in (("init", "--quiet"), ("add", "."), (*author, "commit", "--quiet", "-m", "all")):
        subprocess.run(["git", *line], cwd=root, check=True, timeout=SECONDS)

    def call(verb: str, **answers: list[str]) -> tuple[int, str, list[str]]:
        """Exit code, errors but for gcloud's own, and what gcloud was called for."""
        for word, lines in answers.items():
            (tools / word).write_text("".join(f"{line}\n" for line in lines))
        line = ["bash", "launch/tpu_vm.sh", verb, "--name", "t1", "--zone", "z"]
        if verb == "train":
            line += ["--type", "v5litepod-16", "--", "--config", "configs/base.py"]
        return _bounded(line, root, tools)

    return call


def _bounded(line: list[str], root: pathlib.Path, tools: pathlib.Path) -> tuple[int, str, list]:
    """Runs a command that is killed with all that it has started when it does not end."""
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    errors = root.parent / "errors"
    with errors.open("w") as out:
        process = subprocess.Popen(
            line, cwd=root, env=environment, stdout=out, stderr=out, start_new_session=True
        )
        try:
            code = process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    told = [x for x in errors.read_text().splitlines() if not x.startswith("ERROR: (gcloud")]
    calls = tools / "calls"
    return code, "\n".join(told), calls.read_text().splitlines() if calls.exists() else []


def _but_sleep(calls: list[str]) -> list[str]:
    return [call for call in calls if not call.startswith("sleep")]


def test_a_run_that_is_there_is_followed_to_its_end(tpu_vm):
    code, told, calls = tpu_vm("train", describe=["0 ACTIVE"], code=["0 0"])
    assert (code, calls) == (0, ALL_WELL)
    assert told.startswith("vidact: t1: finished")


def test_what_is_not_there_is_requested_once(tpu_vm):
    answers = [GONE, "0 ACCEPTED", "0 ACTIVE"]
    code, _, calls = tpu_vm("train", describe=answers, running=["1 no"], code=["0 0"])
    assert code == 0
    wanted = ["describe", "create", "describe", "describe", "running"]
    assert _but_sleep(calls) == [*wanted, "scp", "other", "other", "start", "follow", "code"]


def test_an_outage_is_waited_for_and_nothing_requested(tpu_vm):
    code, told, calls = tpu_vm("train", describe=[OUTAGE] * 3 + ["0 ACTIVE"], code=["0 0"])
    assert code == 0
    assert _but_sleep(calls) == ["describe"] * 3 + ALL_WELL and calls.count("sleep 30") == 3
    first = told.splitlines()[0]
    assert first.startswith("vidact: t1: gcloud does not answer") and "timed out" in first


def test_an_outage_that_does_not_end_is_named(tpu_vm):
    code, told, calls = tpu_vm("train", describe=[OUTAGE] * 1000)
    assert code == 2
    assert set(calls) == {"describe", "sleep 30"}
    last = told.splitlines()[-1]
    assert last.startswith("error: t1: gcloud does not answer: ") and "timed out" in last


def test_an_outage_while_the_run_is_started_is_no_error(tpu_vm):
    states = ["0 ACTIVE", OUTAGE, "0 ACTIVE"]
    answers = dict(running=["255 no route to host"], scp=["255 no route to host"], code=["0 0"])
    code, _, calls = tpu_vm("train", describe=states, **answers)
    assert code == 0
    assert _but_sleep(calls) == ["describe", "running", "scp", "describe", *ALL_WELL]


def test_a_run_that_cannot_be_started_is_an_error(tpu_vm):
    states, no = ["0 ACTIVE"] * 99, ["1 no"] * 99
    code, told, calls = tpu_vm("train", describe=states, running=no, other=no)
    assert code == 2
    assert told.splitlines()[-1] == "error: t1: the run could not be started, 3 times; see above"
    assert calls.count("scp") == 3


def test_a_request_that_is_refused_is_an_error(tpu_vm):
    refused = ["1 RESOURCE_EXHAUSTED: Quota limit exceeded"] * 99
    code, told, calls = tpu_vm("train", describe=[GONE] * 99, create=refused)
    assert code == 2
    assert told.splitlines()[-1].startswith("error: t1: ABSENT; gcloud refused 3 times")
    assert calls.count("create") == 3


@pytest.mark.parametrize("code", ["0 75", "0 1", "0 2", "0 134", "255 no route to host"])
def test_lost_machines_are_requested_again_whatever_the_survivors_say(tpu_vm, code):
    # They may still be ACTIVE for a moment when the others have ended.
    states = ["0 ACTIVE", "0 SUSPENDING", "0 SUSPENDING", "0 SUSPENDED", GONE, "0 ACTIVE"]
    ended, _, calls = tpu_vm("train", describe=states, running=["0", "1 no"], code=[code, "0 0"])
    assert ended == 0
    assert [c for c in calls if c in ("delete", "create", "start")] == ["delete", "create", "start"]
    assert calls[calls.index("code") + 1] == "sleep 60"


def test_a_failure_on_machines_that_are_there_is_passed_on(tpu_vm):
    code, told, calls = tpu_vm("train", describe=["0 ACTIVE"] * 2, code=["0 3"])
    assert code == 3
    assert told.splitlines()[-1] == "error: t1: vidact.train failed with exit code 3; see above"
    assert "create" not in calls and "delete" not in calls


@pytest.mark.parametrize("verb", ["stop", "delete"])
def test_what_cannot_be_stopped_or_deleted_is_named(tpu_vm, verb):
    code, told, calls = tpu_vm(verb, **{verb: [GONE]})
    assert (code, calls) == (2, [verb])
    (line,) = told.splitlines()
    assert line.startswith(f"error: t1 in z: gcloud could not {verb} ")
    assert tpu_vm(verb)[:2] == (0, "")
