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
