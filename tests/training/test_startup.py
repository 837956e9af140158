"""Compiled programs are kept where a restart finds them, and the time to the first step is told."""

import gc
import re

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from tests import tiny
from vidact.training import loop, startup

FOLDER, LEAST = "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs"


@pytest.fixture
def fresh():
    """No folder is set; afterwards it is the one from before."""
    changes = {FOLDER: None, LEAST: 0.0}
    before = {name: getattr(jax.config, name) for name in changes}
    for name, value in changes.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def compiles(number: int) -> None:
    """Compiles a program that no test has compiled."""
    jax.jit(lambda x: x * number + 12345)(jax.numpy.zeros(3))


def test_programs_are_kept_in_the_work_directory(fresh, tmp_path):
    startup.keep_programs(tiny.config(tmp_path), tmp_path / "run")
    compiles(2)
    assert list((tmp_path / "run" / startup.PROGRAMS).iterdir())


def test_a_folder_of_the_configuration_comes_before_that_of_the_environment(fresh, tmp_path):
    jax.config.update(FOLDER, str(tmp_path / "environment"))
    startup.keep_programs(tiny.config(tmp_path), tmp_path / "run")
    compiles(3)
    assert list((tmp_path / "environment").iterdir())
    chosen = tmp_path / "chosen"
    startup.keep_programs(tiny.config(tmp_path, train__compile_cache=str(chosen)), tmp_path / "run")
    compiles(4)
    assert list(chosen.iterdir())
    startup.keep_programs(tiny.config(tmp_path, train__compile_cache="none"), tmp_path / "run")
    count = len(list(chosen.iterdir()))
    compiles(5)
    assert len(list(chosen.iterdir())) == count and not (tmp_path / "run").exists()


def test_the_first_step_is_told_once_with_its_parts(tmp_path, capsys):
    data = tiny.write_data(tmp_path)
    loop.run(tiny.config(data, train__steps=2, **tiny.QUICK), tmp_path / "run")
    told = re.findall(
        r"^first step after s: (\S+) \(start (\S+) state (\S+) batch (\S+) step (\S+)\); "
        r"compiling (\S+), programs from the cache: \d+$",
        capsys.readouterr().out,
        re.M,
    )
    assert len(told) == 1
    whole, *parts, compiling = map(float, told[0])
    assert abs(whole - sum(parts)) < 0.3  # each is rounded
    assert 0 < compiling < whole and parts[-1] > 0


def test_the_collector_passes_over_what_stays_only_for_as_long_as_training_runs():
    with startup.settled():
        assert gc.get_freeze_count() > 10_000
    assert gc.get_freeze_count() == 0
