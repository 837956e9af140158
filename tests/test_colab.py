"""The notebooks run from top to bottom, and call what there is."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from tests import tiny

NOTEBOOKS = sorted((tiny.ROOT / "colab").glob("*.ipynb"))
each = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


@each
def test_its_types_are_right(notebook: pathlib.Path, tmp_path: pathlib.Path):
    cells = json.loads(notebook.read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    (tmp_path / "notebook.py").write_text("\n\n".join(code) + "\n")
    line = [sys.executable, "-m", "mypy", str(tmp_path / "notebook.py")]
    done = subprocess.run(line, cwd=tiny.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@each
def test_notebook_runs_top_to_bottom(notebook: pathlib.Path, tmp_path: pathlib.Path):
    data = tiny.write_data(tmp_path)
    run = tmp_path / "run"
    train = tiny.train_command(data, run, train__steps=4, train__checkpoint_every=4)
    subprocess.run(train, check=True, cwd=tiny.ROOT)
    line = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", str(notebook)]
    environment = {**os.environ, "VIDACT_RUN": str(run), "PYTHONPATH": str(tiny.ROOT)}
    subprocess.run([*line, "--output-dir", str(tmp_path)], check=True, env=environment)
    assert (tmp_path / notebook.name).stat().st_size > notebook.stat().st_size
