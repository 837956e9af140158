"""The command compiles for pods that are not there; it needs libtpu (the extra tpu) and no TPU."""

import importlib.util
import re
import subprocess
import sys

import jax
import pytest

from tests.benchmarks import tpu_table
from tests.tiny import ROOT
from vidact.training import chips, compile_report
from vidact.training.compile_report import Pod

LINES = (
    r"program: training step",
    r"topology: v5e:16x16, 256 chips, mesh: data 16 x fsdp 16 x tensor 1 x context 1",
    r"batch: 512 \(2 per chip\), microbatches: 1, remat: dots, optimizer: adamw",
    r"hbm per chip: 1[1-5]\.\d/15\.75 GiB",
    r"parameters: 0\.\d\d GiB .*",
    r"optimizer: 0\.\d\d GiB",
    r"activations: \d+\.\d\d GiB .*",
    r"replicated bytes: [01]\.\d %",
    r"flops per step: 1\.0\d\de\+16 \(with recomputation 1\.0\d\de\+16\)",
    r"collective bytes per step: \d+\.\d\d GB .*",
    r"roofline step time: 0\.\d{3} s by (compute|memory) \(compute .* ici .* dcn 0\.000\)",
    r"mfu bound: 0\.[6-9]\d \(hfu (0\.\d\d|1\.00)\)",
    r"compile time: \d+\.\d s \(fast\)",
)

SHALLOW = ("--config.model.depth=1", "--config.model.unroll=1")


@pytest.fixture(autouse=True)
def _libtpu():
    assert importlib.util.find_spec("libtpu"), "install the extra tpu, as launch/test.sh does"


def check(config: str, topology: str, *more: str) -> subprocess.CompletedProcess:
    """What the command says of a file of configs/."""
    line = ["--config", str(ROOT / "configs" / config), f"--topology={topology}", *more]
    return tpu_table.compile_check(*line)


def test_the_sampler_and_the_decoder_compile_for_one_chip():
    done = check("base.py", "v5e:1x1", "--sample", "--batch=2", "--fast", *SHALLOW)
    assert done.returncode == 0, done.stderr
    sampler, decoder = done.stdout.split("program: ")[1:]
    assert sampler.startswith("sampler\n") and decoder.startswith("decoder\n")
    assert "batch: 2 (2 per chip), mode: policy, steps: 30\n" in sampler
    assert "optimizer" not in done.stdout and "replicated" not in done.stdout
    assert done.stdout.count("step: 0.00 GB sent by each chip") == 2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("v5e:3",), "--topology v5e:3: not a topology"),
        (("v5e:7x7",), "--topology v5e:7x7: "),
        (
            ("v5e:2x2", "--batch=3", "--config.train.microbatches=2"),
            "batch_size=12: not a positive",
        ),
        (("v5e:2x2", "--sample", "--from-pixels"), "--from-pixels: means nothing to --sample"),
        (("v5e:2x2", "--from-pixels", "--config.data.encoded=DIR"), "config.data.encoded='DIR'"),
        (("v5e:2x2", "--sweep", "--batch=2"), "--batch: means nothing to --sweep"),
        (("v5e:2x2", "--batch=0"), "config.train.batch_size=0: must be"),
        (("v5e:2x2", "--sweep", "--config.train.freeze=('^nothing/',)"), "'^nothing/' matches no"),
    ],
)
def test_mistakes_are_one_line(arguments, named):
    done = check("covar.py:tiny", *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("error: ") and named in done.stderr
    assert "nothing fits" not in done.stderr


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("model.video_width=8192", "does not fit 15.75 GiB of v5e:1x1: parameters and optimizer"),
        ("train.microbatches=3", "batch_size=1: not a positive multiple"),
    ],
)
def test_a_sweep_in_which_nothing_fits_exits_with_1(change, told):
    done = check("covar.py:tiny", "v5e:1x1", "--sweep", f"--config.{change}", *SHALLOW)
    assert done.returncode == 1, done.stdout + done.stderr
    _, *tried, last = done.stdout.splitlines()
    assert len(tried) == 2 and all(told in line for line in tried)  # dots, full
    assert last.startswith("--topology v5e:1x1: nothing fits; take a larger one")


# v5p's compiler lets a program have 3 MB more than the table of chips says.
FULL = """
from vidact.training import chips
chips.prepare_environment()
import jax
import numpy as np
from vidact.training import checked, compile_report, flops

pod = compile_report.Pod("v5p:2x2x1")
mesh = jax.sharding.Mesh(np.array(pod.devices), ("data",))
room = int(chips.chip_of(pod.topology).hbm)
for spare in (2**20, -(2**20)):
    x = jax.ShapeDtypeStruct(
        ((room - spare) // 512, 128), "float32", sharding=jax.NamedSharding(mesh, jax.P())
    )
    found = checked.Checked(
        name="sum of eight rows",
        settings="",
        mesh=mesh,
        batch=1,
        jitted=jax.jit(lambda x: x[:8].sum()),
        arguments=(x,),
        parameters=(),
        work=flops.Work(1.0, 1.0),
    )
    print(compile_report.run(found, pod))
"""


def test_what_compiles_and_still_needs_more_than_a_chip_has_does_not_fit():
    done = subprocess.run([sys.executable, "-c", FULL], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *table, fits, line, too_large = done.stdout.splitlines()
    assert table[0] == "program: sum of eight rows" and (fits, too_large) == ("True", "False")
    assert line.startswith("hbm per chip: does not fit 95.74 GiB of v5p:2x2x1: needs 95.7 GiB")


def test_memory_that_is_short_is_told_in_one_line():
    message = (
        "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm.\nUsed 20.51G of 15.75G hbm. "
        "Exceeded hbm capacity by 4.76G."
    )
    told = str(compile_report._too_large(message, Pod("v5e:4x4"), chips.CHIPS["v5e"]))
    assert "does not fit 15.75 GiB of v5e:4x4: needs 20.5 GiB, 4.8 GiB too much; lower" in told
    assert "\n" not in told


def test_a_chip_holds_its_shard():
    mesh = jax.sharding.AbstractMesh((2, 4), ("data", "fsdp"))
    where = jax.sharding.NamedSharding(mesh, jax.P("fsdp"))
    tree = [jax.ShapeDtypeStruct((8, 3), "float32", sharding=where)] * 2
    assert compile_report.held(tree) == 2 * (2 * 3 * 4)


def test_the_paper_s_model_trains_from_scratch_on_a_pod_that_it_keeps_busy():
    done = check("covar_1b4.py", "v5e:16x16", "--batch=2", "--fast", "--config.model.remat=dots")
    assert done.returncode == 0, done.stdout + done.stderr
    for pattern, line in zip(LINES, done.stdout.splitlines(), strict=True):
        assert re.fullmatch(pattern, line), line


@pytest.mark.slow
def test_a_sweep_recommends_the_setting_of_the_highest_bound():
    done = check("joint_dit.py", "v5e:2x2", "--sweep", "--fast", *SHALLOW)
    assert done.returncode == 0, done.stdout + done.stderr
    _, *tried, recommended, bound = done.stdout.splitlines()
    rows = [line.split() for line in tried]
    assert {fsdp for fsdp, *_ in rows} == {"4"}
    bounds = {(row[1], row[2]): row[-1] for row in rows if row[-1][0].isdigit()}
    assert ("dots", "1") in bounds  # the first is compiled; of the rest, what may be better
    assert {remat for _, remat, *_ in rows} == {"dots", "full"}  # compiled, or known to be slower
    found = re.fullmatch(
        r"recommended: --config.mesh.fsdp=4 --config.model.remat=(\w+) --batch=(\d)", recommended
    )
    assert bound == f"mfu bound: {bounds[found.groups()]}" == f"mfu bound: {max(bounds.values())}"
    for ceiling in re.findall(r"mfu at most ([\d.]+)", done.stdout):
        assert float(ceiling) <= float(max(bounds.values()))


@pytest.mark.slow
@pytest.mark.parametrize("row", tpu_table.ROWS, ids=lambda row: f"{row[0]}, {row[1]}")
def test_the_paper_s_model_fits(row):
    """With --fast: at full effort a row takes up to forty minutes (docs/tpu.md).

    Programs that the docs' table was made from are read, where they are the same.
    """
    _, topology, batch, more = row
    printed = tpu_table.output(tpu_table.command(topology, batch, more, fast=True))
    assert "does not fit" not in printed
    told = re.findall(r"hbm per chip: ([\d.]+)/([\d.]+) GiB", printed)
    assert told and all(float(used) < float(room) for used, room in told)
    for share in re.findall(r"replicated bytes: ([\d.]+) %", printed):
        assert float(share) < 2 or topology == "v5e:1x1"


@pytest.mark.slow
def test_the_paper_s_model_from_scratch_does_not_fit_one_chip():
    done = check("covar_1b4.py", "v5e:1x1", "--batch=1", "--fast")
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.fullmatch(
        r"hbm per chip: does not fit 15\.75 GiB .* too much; raise.*\n", done.stdout
    )
