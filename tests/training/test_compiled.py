"""A compiled program that was kept is read in place of being compiled."""

import gzip

import jax
import jax.numpy as jnp
import pytest

from vidact.errors import UserError
from vidact.training import compiled


def lowered(by: float) -> jax.stages.Lowered:
    return jax.jit(lambda x: x @ x * by).lower(jax.ShapeDtypeStruct((8, 8), jnp.float32))


def test_the_same_program_is_compiled_once(tmp_path):
    keep = tmp_path / "programs"
    first = compiled.compiled(lowered(2.0), "v5e:1x1", {}, keep)
    assert "ENTRY" in first.text and first.memory >= 2 * 8 * 8 * 4
    again = compiled.compiled(lowered(2.0), "v5e:1x1", {}, keep)
    assert again == first  # to the time that compiling took
    assert len(list(keep.iterdir())) == 1


@pytest.mark.parametrize("content", [b"", b"{}", gzip.compress(b"{}"), gzip.compress(b"[]")[:-9]])
def test_a_damaged_file_is_named(tmp_path, content):
    compiled.compiled(lowered(2.0), "v5e:1x1", {}, tmp_path)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(content)
    with pytest.raises(UserError, match=f"{kept.name}: damaged .* remove it"):
        compiled.compiled(lowered(2.0), "v5e:1x1", {}, tmp_path)


def test_another_program_topology_or_option_is_another(tmp_path):
    effort = {"exec_time_optimization_effort": -0.1}
    for program, topology, options in (
        (lowered(2.0), "v5e:1x1", {}),
        (lowered(3.0), "v5e:1x1", {}),
        (lowered(2.0), "v6e:1x1", {}),
        (lowered(2.0), "v5e:1x1", effort),
    ):
        before = len(list(tmp_path.iterdir()))
        compiled.compiled(program, topology, options, tmp_path)
        assert len(list(tmp_path.iterdir())) == before + 1
