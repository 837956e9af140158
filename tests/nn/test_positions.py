"""Sinusoids, 2-D positions and rotary embedding against specs/opensora.md's formulas."""

import jax.numpy as jnp
import numpy as np
import pytest

from vidact.nn import embeddings, rope


@pytest.fixture(scope="module")
def parts(shared):
    """Outputs of Open-Sora's own functions."""
    with np.load(shared / "fixtures/opensora/stdit3_parts.npz") as file:
        return {name: file[name] for name in file.files}


def test_a_sinusoid_has_its_cosines_first():
    t = np.array([[0.0, 3.7], [500.0, 999.5]])
    angles = t[..., None] * np.exp(-np.log(10000.0) * np.arange(128) / 128)
    expected = np.concatenate([np.cos(angles), np.sin(angles)], axis=-1)
    found = embeddings.sinusoid(jnp.asarray(t, jnp.float32))
    np.testing.assert_allclose(found, expected, atol=1e-4)  # float32 knows 999.5 to 3e-5


def test_sinusoids_are_those_of_open_sora(parts):
    found = embeddings.sinusoid(jnp.asarray(parts["timestep_embedding/t"]))
    np.testing.assert_allclose(found, parts["timestep_embedding/out256"], atol=1e-4)


def test_2d_positions_have_the_column_first():
    rows, columns, width, scale, base = 3, 5, 16, 0.4, 4
    frequencies = 10000.0 ** (-2 * np.arange(width // 4) / (width // 2))
    found = embeddings.position_2d(rows, columns, width, scale, base)
    assert found.shape == (15, 16)
    for row in range(rows):
        for column in range(columns):
            parts = []
            for place, count in ((column, columns), (row, rows)):
                angles = place / scale * base / count * frequencies
                parts += [np.sin(angles), np.cos(angles)]
            expected = np.concatenate(parts)
            np.testing.assert_allclose(found[row * columns + column], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("h4_w5_res144x256", (4, 5, 144, 256)),
        ("h4_w5_res480x854", (4, 5, 480, 854)),
        ("h9_w16_res144x256", (9, 16, 144, 256)),
        ("h3_w3_res512x512", (3, 3, 512, 512)),
    ],
)
def test_2d_positions_are_those_of_open_sora(parts, name, size):
    rows, columns, height, width = size
    scale, base = (height * width) ** 0.5 / 512, round((rows * columns) ** 0.5)
    found = embeddings.position_2d(rows, columns, 96, scale, base)
    np.testing.assert_allclose(found, parts[f"pos_embed/{name}"][0], atol=1e-5)


def test_rope_turns_neighbouring_pairs():
    x = np.random.default_rng(0).standard_normal((2, 6, 3, 8))
    positions = np.array([0.0, 0.5, 1.0, 2.5, 7.0, 31.0])
    table = rope.rotation(jnp.asarray(positions, jnp.float32), rope.frequencies(8))
    found = rope.rotate(jnp.asarray(x, jnp.float32), table)
    angles = positions[:, None] * 10000.0 ** (-2 * np.arange(4) / 8)
    pairs = x[..., 0::2] + 1j * x[..., 1::2]
    turned = pairs * np.exp(1j * angles)[:, None]
    expected = np.stack([turned.real, turned.imag], axis=-1).reshape(x.shape)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["rope", "rope72"])
def test_rope_is_that_of_open_sora(parts, name):
    x = parts[f"{name}/in"].swapaxes(1, 2)  # heads before the sequence there
    table = rope.rotation(jnp.arange(x.shape[1], dtype=jnp.float32), rope.frequencies(x.shape[-1]))
    found = np.asarray(rope.rotate(jnp.asarray(x), table)).swapaxes(1, 2)
    np.testing.assert_allclose(found, parts[f"{name}/out"], atol=1e-5)


def test_rope_sees_distances_only():
    rng = np.random.default_rng(1)
    q, k = (jnp.asarray(rng.standard_normal((1, 1, 1, 8)), jnp.float32) for _ in range(2))

    def product(at_q: float, at_k: float) -> float:
        a = rope.rotate(q, rope.rotation(jnp.asarray([at_q]), rope.frequencies(8)))
        b = rope.rotate(k, rope.rotation(jnp.asarray([at_k]), rope.frequencies(8)))
        return float((a * b).sum())

    assert abs(product(3.0, 1.5) - product(10.0, 8.5)) < 1e-5
    assert abs(product(3.0, 1.5) - product(3.0, 2.5)) > 1e-3
