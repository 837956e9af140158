"""A small run for the tests of this room."""

import pytest

from tests.evaluation import tiny_run
from vidact.evaluation import opening


@pytest.fixture
def workdir(tmp_path, tmp_path_factory):
    """A work directory of the test's own."""
    return tiny_run.copy(tmp_path_factory, tmp_path)


@pytest.fixture
def run(workdir):
    return opening.open_run(workdir, None, [])


@pytest.fixture
def dataset(run):
    return opening.held_out(run)


@pytest.fixture
def mixture(workdir, tmp_path):
    """A work directory of a run on two data sets; see `tiny_run.mixture`."""
    return tiny_run.mixture(workdir, tmp_path)


@pytest.fixture
def gripper(mixture):
    """That run, to be measured on the second data set."""
    return opening.open_run(mixture, None, ["--config.evaluate.data_set=gripper"])
