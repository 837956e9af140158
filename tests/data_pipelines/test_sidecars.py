"""Sidecars find a window's row, whatever file it is in, and refuse what is none."""

import numpy as np
import pytest
import safetensors.numpy

from data_pipelines import sidecars
from data_pipelines.windows import Windows
from vidact.errors import UserError

EPISODES, STARTS = np.array([0, 0, 3, 3, 3]), np.array([0, 4, 0, 2, 7])


@pytest.fixture
def files(tmp_path):
    """Five windows in two files, each with its number as its value."""
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    values = np.arange(5, dtype=np.float16)[:, None] + np.zeros((5, 2), np.float16)
    for path, part in zip(paths, (slice(0, 2), slice(2, 5)), strict=True):
        some = Windows(EPISODES[part], STARTS[part])
        sidecars.write(path, some, {"latents": values[part], "latent_mask": values[part] > 2})
    return paths


def test_rows_are_read_in_any_order(files):
    found = sidecars.Sidecar(files)
    assert found.fields == ("latent_mask", "latents")
    fields = found.read(np.array([4, 0, 3, 3]))
    np.testing.assert_array_equal(fields["latents"][:, 0], [4, 0, 3, 3])
    assert fields["latents"].dtype == np.float32 and fields["latent_mask"].dtype == bool


def test_windows_find_their_rows(files):
    found = sidecars.Sidecar(files[::-1])
    wanted = Windows(np.array([3, 0, 1, 3]), np.array([7, 4, 0, 1]))
    rows = found.rows(wanted)
    np.testing.assert_array_equal(rows < 0, [False, False, True, True])
    np.testing.assert_array_equal(found.read(rows[:2])["latents"][:, 0], [4, 1])


def test_what_is_no_sidecar_is_named(files, tmp_path):
    other = tmp_path / "other.safetensors"
    safetensors.numpy.save_file({"latents": np.zeros((2, 2), np.float32)}, other)
    with pytest.raises(UserError, match=r"other\.safetensors: .*no sidecar"):
        sidecars.Sidecar([other])
    sidecars.write(other, Windows(EPISODES[:2], STARTS[:2]), {"coarse": np.zeros((2, 1))})
    with pytest.raises(UserError, match=r"other\.safetensors: has other fields"):
        sidecars.Sidecar([files[0], other])
    sidecars.write(other, Windows(EPISODES[:2], STARTS[:2]), {"coarse": np.zeros((3, 1))})
    with pytest.raises(UserError, match="coarse has not 2 rows"):
        sidecars.Sidecar([other])
    for names in (
        {"episodes": EPISODES[:2], "starts": STARTS[:3]},
        {"episodes": EPISODES[:2].astype(np.float32), "starts": STARTS[:2]},
        {"episodes": np.int64(0), "starts": np.int64(0)},
    ):
        arrays = {name: np.asarray(values) for name, values in names.items()}
        safetensors.numpy.save_file({**arrays, "coarse": np.zeros((2, 1))}, other)
        with pytest.raises(UserError, match=r"other\.safetensors: .*no sidecar"):
            sidecars.Sidecar([other])
    with pytest.raises(UserError, match="no such file"):
        sidecars.Sidecar([tmp_path / "none.safetensors"])
