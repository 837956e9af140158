"""Rows are what safetensors itself gives."""

import numpy as np
import pytest
import safetensors.numpy

from data_pipelines.sources.tensors import TensorFile
from vidact.errors import UserError


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    kinds = ("?", "u1", "i1", "u2", "i2", "f2", "u4", "i4", "f4", "u8", "i8", "f8")
    found = {kind: rng.integers(0, 100, (7, 3, 2)).astype(kind) for kind in kinds}
    return found | {"flat": np.arange(9), "none": np.zeros((4, 0), np.float32)}


def test_rows(tmp_path, arrays):
    path = tmp_path / "some.safetensors"
    safetensors.numpy.save_file(arrays, path, metadata={"format": "pt"})
    tensors = TensorFile(path)
    with tensors.opened() as rows:
        for name, array in arrays.items():
            for part in (slice(0, 4), slice(2, 3), slice(1, 1), slice(0, len(array))):
                found = rows.part(name, part)
                assert found.dtype == array.dtype and found.flags.writeable
                np.testing.assert_array_equal(found, array[part])


def read_all(tensors):
    with tensors.opened() as rows:
        for name, shape in tensors.shapes.items():
            rows.part(name, slice(0, shape[0]))


def test_damage(tmp_path, arrays):
    path = tmp_path / "some.safetensors"
    safetensors.numpy.save_file(arrays, path)
    whole = path.read_bytes()
    tensors = TensorFile(path)
    path.write_bytes(whole[:-5])
    with pytest.raises(UserError, match=r"some.safetensors: was cut short"):
        read_all(tensors)
    with pytest.raises(UserError, match=r"some.safetensors: not a whole safetensors file"):
        TensorFile(path)
    header = b'{"half":{"dtype":"BF16","shape":[3],"data_offsets":[0,6]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(6))
    with pytest.raises(UserError, match="half is BF16"):
        TensorFile(path)
