"""The parity command finds what is in a folder, whatever its sizes, and says what is off."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from vidact.errors import UserError
from vidact.interop.parity import __main__ as parity
from vidact.interop.parity import stdit3
from vidact.models.covar.video_dit import VideoDiT

# Other sizes, cases and lengths than those of the fixtures.
CONFIG = dict(
    depth=1, hidden_size=24, num_heads=3, mlp_ratio=2.0, patch_size=[1, 1, 1], in_channels=3,
    caption_channels=10, model_max_length=4, pred_sigma=False,
)  # fmt: skip


def run(reference, folder, capsys):
    """The exit code, and what the command printed."""
    try:
        parity.main(["--reference", reference, str(folder)])
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    return code, capsys.readouterr().out.splitlines()


@pytest.fixture
def dump(tmp_path):
    """A dump of an STDiT3 of other sizes: our own model's outputs under the reference's names."""
    network = stdit3.KIND.build(stdit3.sizes(CONFIG))
    rng = np.random.default_rng(0)
    tensors = {
        p.name: 0.3 * rng.standard_normal(p.shape).astype(np.float32) for p in network.places
    }
    given = {
        "x": rng.standard_normal((2, 3, 4, 3, 5)).astype(np.float32),
        "timestep": np.array([300.0, 800.0], np.float32),
        "y": rng.standard_normal((2, 1, 4, 10)).astype(np.float32),
        "x_mask": np.array([[False, True, True, True], [True, True, True, False]]),
        "fps": np.full(2, 12.0, np.float32),
        "height": np.full(2, 96.0, np.float32),
        "width": np.full(2, 160.0, np.float32),
    }
    model = network.load(tensors).video
    args = stdit3.arguments(given)
    with jax.default_matmul_precision("highest"):
        out = VideoDiT.reference(model, jnp.asarray(~given["x_mask"]), *args)
    io = {f"mine/in/{k}": v for k, v in given.items()}
    io["mine/out"] = np.moveaxis(np.asarray(out), -1, 1)
    (tmp_path / "other_config.json").write_text(json.dumps({"config": CONFIG}))
    safetensors.numpy.save_file(tensors, tmp_path / "other.safetensors")
    np.savez(tmp_path / "other_io.npz", **io)
    return tmp_path


def test_sizes_and_cases_are_read_from_the_folder(dump, capsys):
    code, lines = run("opensora", dump, capsys)
    assert code == 0
    assert lines[0].startswith("other mine: ") and lines[0].endswith(" of 1e-04")
    assert lines[-1].startswith("max over tolerance: 0.") and len(lines) == 2


def test_a_wrong_number_is_found(dump, capsys):
    with np.load(dump / "other_io.npz") as file:
        io = {name: file[name] for name in file.files}
    io["mine/out"][1, 0, 3, 2, 4] += 3e-4  # in a conditioning frame, which the model never uses
    np.savez(dump / "other_io.npz", **io)
    code, lines = run("opensora", dump, capsys)
    assert code == 1
    assert float(lines[-1].split(": ")[1]) == pytest.approx(3.0, abs=0.2)
    io["mine/out"][0, 0, 0, 0, 0] = np.nan
    np.savez(dump / "other_io.npz", **io)
    assert run("opensora", dump, capsys) == (
        1,
        ["other mine: inf of 1e-04", "max over tolerance: inf"],
    )


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("other_io.npz", b"PK", r"other_io\.npz: not a whole npz file"),
        ("other.safetensors", b"short", r"other\.safetensors: not a whole safetensors file"),
        ("other_config.json", b"[]", r"other_config\.json: holds no JSON object"),
    ],
)
def test_damaged_dumps_are_named(dump, capsys, file, content, told):
    (dump / file).write_bytes(content)
    with pytest.raises(UserError, match=told):
        run("opensora", dump, capsys)


def test_a_folder_with_nothing_to_compare_is_refused(tmp_path, capsys):
    with pytest.raises(UserError, match="nothing in it to compare"):
        run("text", tmp_path, capsys)
    with pytest.raises(UserError, match="no such folder"):
        run("text", tmp_path / "nowhere", capsys)


def test_the_text_encoders_fixtures(shared, tmp_path, capsys):
    code, lines = run("text", shared / "fixtures/videovla", capsys)
    assert code == 0 and len(lines) == 9
    assert {line.split()[0] for line in lines[:-1]} == {"t5_encoder", "clip_text", "sd_vae2d"}
    copy = shutil.copytree(shared / "fixtures/videovla/clip_text", tmp_path / "clip_text")
    copy.chmod(0o755)
    tensors = safetensors.numpy.load_file(copy / "params.safetensors")
    tensors["text_model.final_layer_norm.bias"] += 1e-3
    (copy / "params.safetensors").unlink()
    safetensors.numpy.save_file(tensors, copy / "params.safetensors")
    code, lines = run("text", tmp_path, capsys)
    assert code == 1 and float(lines[-1].split(": ")[1]) == pytest.approx(10, abs=0.5)


@pytest.mark.slow  # tests of each network do the same in the default suite
def test_open_sora_s_fixtures(shared, capsys):
    code, lines = run("opensora", shared / "fixtures/opensora", capsys)
    print(lines[-1])
    assert code == 0
    told = "\n".join(lines)
    for case in ("even", "nomask", "odd", "cfg", "image"):
        assert f"stdit3_tiny {case}: " in told
        assert f"stdit3_tiny {case} final_layer: " in told
    for name in ("masked gradient", "unmasked gradient", "stdit3_parts norm", "pipe/T35 decode"):
        assert name in told
    assert "scheduler traj/s30_edit: " in told


def test_a_dump_that_lacks_something_says_what(dump, capsys):
    with np.load(dump / "other_io.npz") as file:
        io = {name: file[name] for name in file.files if name != "mine/in/fps"}
    np.savez(dump / "other_io.npz", **io)
    with pytest.raises(UserError, match="'fps' is missing in a dump"):
        run("opensora", dump, capsys)
