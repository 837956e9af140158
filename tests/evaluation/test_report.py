"""The report: complete, decodable, and closed to the outside."""

import base64
import io
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.evaluation import tiny_run
from tests.pages import Page, check_closed, chromium, needs_chromium
from vidact import evaluate, sample
from vidact.errors import UserError
from vidact.evaluation import report
from vidact.evaluation.files import EVALUATION, TIMINGS, read_json, save_loop, write_json
from vidact.processes.joint_time import MODES


@pytest.fixture(scope="module")
def measured_once(tmp_path_factory):
    """A work directory with samples of all modes, an evaluation and its films."""
    workdir = tiny_run.copy(tmp_path_factory, tmp_path_factory.mktemp("measured"))
    sample.main(["--checkpoint", str(workdir), "--count", "2"])
    evaluate.main(["--checkpoint", str(workdir), "--config.evaluate.tasks=()"])
    path = workdir / EVALUATION
    result = read_json(path)
    video = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    save_loop(workdir / "rollouts" / "drawer-open-0.webp", video, 5.0)
    task = dict(task="drawer-open", success=54, replay=11, expert=60, rollouts=60)
    task |= dict(interval=[0.8, 0.95], nearest_start_m=0.01, solved=[True] * 54 + [False] * 6)
    task |= dict(films=["rollouts/drawer-open-0.webp"], seconds={"model": 61.0, "simulator": 2.0})
    write_json(path, result | {"tasks": [task], "mean_success": 0.9})
    write_json(workdir / TIMINGS, {"recording demonstrations": 100.0})
    return workdir


@pytest.fixture
def measured(measured_once, tmp_path):
    """A copy of it, of the test's own."""
    return shutil.copytree(measured_once, tmp_path / "run")


def test_the_whole_report(measured):
    path = report.write_report(measured)
    text = path.read_text()
    assert path == measured / "report.html"
    check_closed(text)
    page = Page(text)
    sources = page.values("img", "src")
    assert len(sources) == 1 + 2 * sum(sample.sampling.generates(mode)[0] for mode in MODES)
    for source in sources:
        frames(source)
    words = " ".join(" ".join(page.texts).split())
    assert "several checkpoints" not in words and words.count("step 0, squares") == 2 + len(MODES)
    for expected in (
        "evaluated step 0",
        "54/60",
        "0.80 to 0.95",
        "11/60",
        "90%",
        "1 min 40 s",
        *MODES,
    ):
        assert expected in words, expected
    lines = page.values("polyline", "class")
    assert lines.count("true") == lines.count("generated") == 3 * 2 * 4
    assert {"total", "video", "action", "video dashed"} <= set(page.values("path", "class"))


def frames(source: str) -> None:
    data = base64.b64decode(source.removeprefix("data:image/webp;base64,"), validate=True)
    with Image.open(io.BytesIO(data)) as image:
        assert image.n_frames == 5
        for i in range(image.n_frames):
            image.seek(i)
            assert np.asarray(image.convert("RGB")).std() > 1


def test_what_was_not_measured_is_said(workdir, tmp_path):
    (workdir / "metrics.jsonl").unlink()
    text = report.write_report(workdir, tmp_path / "r.html").read_text()
    check_closed(text)
    for command in ("vidact.evaluate", "vidact.sample", "vidact.train"):
        assert f"python -m {command}" in text


def test_text_from_the_data_is_escaped(measured):
    path = measured / "samples" / "joint.json"
    facts = read_json(path)
    facts["windows"][0]["instruction"] = '<script src="x">&'
    write_json(path, facts)
    text = report.write_report(measured).read_text()
    check_closed(text)
    assert "&lt;script" in text


def test_results_that_do_not_fit_are_named_and_the_old_report_stays(measured):
    report.write_report(measured)
    before = (measured / "report.html").read_text()
    write_json(measured / EVALUATION, {"step": 1})
    with pytest.raises(UserError, match="evaluate again"):
        report.write_report(measured)
    (measured / EVALUATION).unlink()
    (measured / "samples" / "joint-0.webp").unlink()
    with pytest.raises(UserError, match=r"joint-0\.webp"):
        report.write_report(measured)
    assert (measured / "report.html").read_text() == before


def test_pictures_are_read_inside_of_the_work_directory_alone(measured, tmp_path):
    evaluation = read_json(measured / EVALUATION)
    secret = tmp_path / "secret.webp"
    shutil.copy(measured / evaluation["tasks"][0]["films"][0], secret)
    (measured / "link.webp").symlink_to(secret)
    for name in (str(secret), "../secret.webp", "rollouts/../../secret.webp", "link.webp"):
        evaluation["tasks"][0]["films"] = [name]
        write_json(measured / EVALUATION, evaluation)
        with pytest.raises(UserError, match=f"{name}: lies outside of"):
            report.write_report(measured)
    evaluation["tasks"][0]["films"] = ["config.json"]
    write_json(measured / EVALUATION, evaluation)
    with pytest.raises(UserError, match=r"config\.json: not a WebP file"):
        report.write_report(measured)
    assert not (measured / "report.html").exists()


def test_figures_of_several_checkpoints_are_told_apart(measured):
    path = measured / "samples" / "joint.json"
    write_json(path, read_json(path) | {"step": 7, "data_set": "<circles>"})
    text = report.write_report(measured).read_text()
    check_closed(text)
    words = " ".join(" ".join(Page(text).texts).split())
    assert "several checkpoints or data sets" in words
    assert words.count("joint samples: step 7, <circles>") == 1
    assert words.count("step 7, <circles>") == 2 and "evaluation: step 0, squares" in words


def test_no_run_no_report(tmp_path):
    with pytest.raises(UserError, match="work directory"):
        report.main(["--checkpoint", str(tmp_path / "nowhere")])


@needs_chromium
def test_chromium_shows_it_without_console_errors(measured, tmp_path):
    page = report.write_report(measured, tmp_path / "report.html")
    picture = tmp_path / "page.png"
    _, log = chromium(tmp_path, page, f"--screenshot={picture}")
    assert "CONSOLE" not in log, log
    with Image.open(picture) as image:
        assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 1000
    count = "[...document.images].filter(i => i.naturalWidth > 0).length + ' of ' + "
    script = f"<script>onload = () => document.title = {count} document.images.length</script>"
    page.write_text(page.read_text() + script)
    dom, _ = chromium(tmp_path, page, "--dump-dom")
    assert "<title>7 of 7</title>" in dom


@needs_chromium
def test_a_console_error_would_be_noticed(tmp_path):
    page = tmp_path / "bad.html"
    page.write_text("<!doctype html><script>missing()</script>")
    _, log = chromium(tmp_path, page, "--dump-dom")
    assert "CONSOLE" in log
