"""Published weights come in under their own names and go out again, bit for bit."""

import csv
import json
import pathlib

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from vidact import store
from vidact.errors import UserError
from vidact.interop import export_weights, import_weights, networks

NOWHERE = pathlib.Path("nowhere")
SIZES = networks.stdit3_sizes({}, NOWHERE) | dict(
    depth=2, video_width=16, video_heads=2, latent_channels=3, text_width=8, max_words=5
)


def tensors(kind, sizes, dtype=np.float32):
    """Random tensors under the names of a file."""
    rng = np.random.default_rng(0)
    places = networks.KINDS[kind].build(sizes).places
    return {p.name: rng.standard_normal(p.shape).astype(dtype) for p in places}


@pytest.fixture
def stdit3():
    return tensors("opensora-stdit3", SIZES)


def there_and_back(kind, path, tmp_path, capsys):
    """What import and export print, and what was written."""
    import_weights.main(["--from", kind, str(path), "--to", str(tmp_path / "in")])
    export_weights.main(["--from", str(tmp_path / "in"), "--to", str(tmp_path / "out"), "--check"])
    with store.reader(tmp_path / "out") as found:
        return capsys.readouterr().out, {name: found.get(name) for name in found.shapes}


def test_sizes_are_read_from_the_tensors(stdit3):
    found = networks.stdit3_sizes({name: array.shape for name, array in stdit3.items()}, NOWHERE)
    assert found == SIZES


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_every_bit_comes_back(dtype, tmp_path, capsys):
    given = tensors("opensora-stdit3", SIZES, dtype)
    safetensors.numpy.save_file(given, tmp_path / "model.safetensors")
    told, back = there_and_back("opensora-stdit3", tmp_path / "model.safetensors", tmp_path, capsys)
    assert f"tensors equal: {len(given)}/{len(given)}" in told
    assert back.keys() == given.keys()
    for name, array in given.items():
        assert back[name].dtype == array.dtype
        assert back[name].tobytes() == array.tobytes(), name


def test_a_sharded_index_is_read_and_big_weights_are_written_in_parts(
    stdit3, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(store, "SHARD_BYTES", 4096)
    folder = tmp_path / "published"
    folder.mkdir()
    writer = store.Writer(folder)
    for name, array in stdit3.items():
        writer.add(name, array)
    writer.close()
    assert len(list(folder.glob("*.safetensors"))) > 2
    for path in (folder, folder / store.INDEX):
        (tmp_path / path.name).mkdir(exist_ok=True)
        told, back = there_and_back("opensora-stdit3", path, tmp_path / path.name / "x", capsys)
        assert f"tensors equal: {len(stdit3)}/{len(stdit3)}" in told
        assert all(np.array_equal(back[name], stdit3[name]) for name in stdit3)


def test_a_changed_weight_is_not_passed_off_as_equal(stdit3, tmp_path, capsys):
    safetensors.numpy.save_file(stdit3, tmp_path / "model.safetensors")
    target = tmp_path / "in"
    import_weights.main(["--from", "opensora-stdit3", str(tmp_path), "--to", str(target)])
    path = next(target.glob("*.safetensors"))
    arrays = safetensors.numpy.load_file(path)
    arrays["video/x_embedder/bias"] = arrays["video/x_embedder/bias"] + 1
    safetensors.numpy.save_file(arrays, path)
    with pytest.raises(SystemExit) as ended:
        export_weights.main(["--from", str(target), "--to", str(tmp_path / "out"), "--check"])
    assert ended.value.code == 1
    assert f"tensors equal: {len(stdit3) - 1}/{len(stdit3)}" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_everything_that_does_not_fit_is_named_and_nothing_is_written(stdit3, tmp_path):
    stdit3["stranger"] = np.zeros(3, np.float32)
    del stdit3["t_block.1.bias"]
    stdit3["y_embedder.y_proj.fc1.weight"] = np.zeros((16, 9), np.float32)
    safetensors.numpy.save_file(stdit3, tmp_path / "model.safetensors")
    with pytest.raises(UserError) as error:
        import_weights.main(
            ["--from", "opensora-stdit3", str(tmp_path), "--to", str(tmp_path / "in")]
        )
    told = str(error.value)
    assert "missing: t_block.1.bias;" in told and "unexpected: stranger;" in told
    assert "misshapen: y_embedder.y_proj.fc1.weight (16, 9) instead of (16, 8);" in told
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_integers_are_no_weights(stdit3, tmp_path):
    stdit3["t_block.1.bias"] = stdit3["t_block.1.bias"].astype(np.int64)
    safetensors.numpy.save_file(stdit3, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"t_block\.1\.bias is I64"):
        import_weights.main(
            ["--from", "opensora-stdit3", str(tmp_path), "--to", str(tmp_path / "in")]
        )


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("model.safetensors", b"short", "not a whole safetensors file"),
        (
            "model.safetensors.index.json",
            b'{"weight_map": {"a": "../b.safetensors"}}',
            "points out",
        ),
        ("model.safetensors.index.json", b"[]", "not an index"),
        (
            "model.safetensors.index.json",
            b'{"weight_map": {"a": "b.safetensors"}}',
            "b.safetensors",
        ),
        ("README", b"", "holds no .safetensors file"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=told) as error:
        import_weights.main(
            ["--from", "opensora-stdit3", str(tmp_path), "--to", str(tmp_path / "in")]
        )
    assert str(tmp_path) in str(error.value)


def test_a_target_that_exists_is_left_alone(stdit3, tmp_path):
    safetensors.numpy.save_file(stdit3, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="exists; choose another"):
        import_weights.main(["--from", "opensora-stdit3", str(tmp_path), "--to", str(tmp_path)])


T5 = dict(
    vocab_size=24, d_model=8, d_kv=4, d_ff=12, num_layers=2, num_heads=2,
    feed_forward_proj="gated-gelu", model_type="t5",
)  # fmt: skip
COPY = "encoder.embed_tokens.weight"


@pytest.fixture
def t5(tmp_path):
    """A published T5's folder, its decoder and both names of the embeddings included."""
    (tmp_path / "t5").mkdir()
    (tmp_path / "t5/config.json").write_text(json.dumps(T5))
    given = tensors("t5", networks.KINDS["t5"].sizes({}, tmp_path / "t5"))
    given[COPY] = given["shared.weight"]
    given["lm_head.weight"] = np.zeros((24, 8), np.float32)
    return tmp_path / "t5", given


def test_t5_keeps_both_names_of_its_embeddings_and_leaves_the_decoder(t5, tmp_path, capsys):
    folder, given = t5
    safetensors.numpy.save_file(given, folder / "model.safetensors")
    told, back = there_and_back("t5", folder, tmp_path, capsys)
    assert f"tensors equal: {len(given) - 1}/{len(given) - 1}" in told
    assert back.keys() == given.keys() - {"lm_head.weight"}
    assert np.array_equal(back[COPY], given["shared.weight"])


def test_two_embeddings_that_differ_are_refused(t5, tmp_path):
    folder, given = t5
    given[COPY] = given[COPY] + 1
    safetensors.numpy.save_file(given, folder / "model.safetensors")
    with pytest.raises(UserError, match=f"shared.weight and {COPY} differ|{COPY} and shared"):
        import_weights.main(["--from", "t5", str(folder), "--to", str(tmp_path / "in")])


def test_without_its_config_json_a_t5_has_no_sizes(t5, tmp_path):
    folder, given = t5
    safetensors.numpy.save_file(given, folder / "model.safetensors")
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match=r"config\.json: no such file"):
        import_weights.main(["--from", "t5", str(folder), "--to", str(tmp_path / "in")])


@pytest.mark.parametrize(
    ("kind", "table", "count", "numbers"),
    [
        ("opensora-stdit3", "opensora_stdit3_keys.csv", 973, 1_208_872_772),
        ("opensora-vae", "opensora_vae_keys.csv", 517, 393_341_015),
    ],
)
def test_full_size_names_and_shapes_are_the_published_ones(shared, kind, table, count, numbers):
    with open(shared / "specs" / table, newline="") as file:
        rows = {row["key"]: row["shape"] for row in csv.DictReader(file)}
    sizes = networks.KINDS[kind].sizes({}, NOWHERE)
    places = networks.KINDS[kind].build(sizes).places
    assert {p.name: "x".join(map(str, p.shape)) for p in places} == rows
    assert len(rows) == count
    assert sum(int(np.prod(p.shape)) for p in places) == numbers
