"""`vidact.encode`: what is stored trains as pixels do, survives a kill, and fits its data."""

import json
import pathlib
import signal

import jax
import numpy as np
import pytest
from flax import nnx

from data_pipelines import encoded, pipeline
from data_pipelines.opening import open_source
from tests import several, tiny
from vidact import encode, evaluate, store, train
from vidact.encoders import frozen
from vidact.encoders.video import linear
from vidact.errors import UserError
from vidact.nn import flat
from vidact.training import prepare, runs

TOKENIZER = pathlib.Path(__file__).parent / "goldens/videovla/tokenizer"
VAE = {
    "spatial": dict(channels=[8, 8, 8, 8], layers=1, groups=4, latent_channels=4),
    "temporal": dict(filters=8, res_blocks=1, groups=4),
}
T5 = dict(vocabulary=60, width=24, head_width=8, hidden=32, depth=1, heads=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny.write_data(tmp_path_factory.mktemp("data"), episodes=5, steps=8)


def imported(folder: pathlib.Path, kind: str, sizes: dict) -> pathlib.Path:
    """A folder as import_weights writes it, of a small random network."""
    folder.mkdir()
    make = jax.jit(lambda: nnx.state(frozen.make(kind, sizes)))
    arrays = {
        path: np.asarray(v) for path, v in flat.parameters(_with_state(kind, sizes, make)).items()
    }
    writer = store.Writer(folder)
    for path, array in arrays.items():
        writer.add(path, array)
    writer.close()
    told = {"network": kind, "sizes": sizes, "tensors": {"a": "b"}}
    (folder / store.DESCRIPTION).write_text(json.dumps(told))
    return folder


def _with_state(kind, sizes, make):
    return nnx.merge(nnx.split(nnx.eval_shape(lambda: frozen.make(kind, sizes)))[0], make())


def encode_command(data, out, *more, **changes):
    line = tiny.train_command(data, pathlib.Path("none"), **changes)[3:]
    line = [word for word in line if not word.startswith("--workdir")]
    encode.main([*line, f"--out={out}", *more])


def losses(workdir):
    lines = (workdir / "trace.jsonl").read_text().splitlines()
    return [float.fromhex(json.loads(line)["loss"]) for line in lines]


def run(data, workdir, **changes):
    changes = {**changes, "train__steps": 3, "train__trace": True}
    train.main(tiny.train_command(data, workdir, **changes)[3:])


def test_training_from_stored_latents_is_training_from_pixels(data, tmp_path):
    whole = tiny.QUICK
    out = ("--dtype=float32", "--per-file=10", "--batch=4")
    encode_command(data, tmp_path / "stored", *out, **whole)
    found = encoded.read(tmp_path / "stored")
    assert found.told["windows"] == 5 * 7 and found.told["files"] == 4
    run(data, tmp_path / "pixels", **whole)
    run(data, tmp_path / "latents", data__encoded=str(tmp_path / "stored"), **whole)
    np.testing.assert_allclose(losses(tmp_path / "latents"), losses(tmp_path / "pixels"), rtol=1e-5)
    # The run keeps the codec, so that it samples without the folder.
    one, other = (runs.load(tmp_path / name).codec for name in ("pixels", "latents"))
    np.testing.assert_array_equal(one.later_basis, other.later_basis)


def test_a_killed_encoding_goes_on_and_an_unfinished_one_is_refused(data, tmp_path):
    out = tmp_path / "stored"
    encode_command(data, out, "--per-file=10")
    files = encoded.files(encoded.read(out))
    before = {path: path.read_bytes() for path in files}
    files[1].unlink()
    with pytest.raises(UserError, match="1 of 4 files are not written yet"):
        run(data, tmp_path / "run", data__encoded=str(out))
    kept = files[0].stat().st_mtime_ns
    encode_command(data, out, "--per-file=10")
    assert files[0].stat().st_mtime_ns == kept
    assert {path: path.read_bytes() for path in files} == before


def test_other_settings_and_other_data_are_refused(data, tmp_path):
    out = tmp_path / "stored"
    encode_command(data, out)
    for changes, told in (
        ({"data__held_out": 0.4, "encoder__clips": 16}, r"config\.encoder\.clips=32, now 16"),
        ({"data__root": str(tiny.write_data(tmp_path / "b", episodes=6))}, "another data set"),
    ):
        root = changes.pop("data__root", str(data))
        with pytest.raises(UserError, match=told):
            run(root, tmp_path / "run", data__encoded=str(out), **changes)
    with pytest.raises(UserError, match=r"was begun differently: encoded\.json\.files"):
        encode_command(data, out, "--per-file=3")
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def hurt(tmp_path_factory):
    """As `data`, but for frame 3 of episode 1: its windows 0 to 3 cannot be read."""
    folder = tmp_path_factory.mktemp("hurt")
    return tiny.write_data(folder, episodes=5, steps=8, damaged=[(1, 3)])


def opened(data, out, policy, **changes):
    """The training windows, as `vidact.train` opens them."""
    config = tiny.config(data, data__encoded=str(out), data__on_bad_record=policy, **changes)
    return prepare.open_data(config, open_source(config.data))[0]


def test_windows_that_cannot_be_read_are_left_out(hurt, tmp_path, capsys):
    out, whole = tmp_path / "stored", dict(data__held_out=0.0)
    encode_command(hurt, out, "--per-file=2", "--batch=4", data__on_bad_record="skip", **whole)
    assert "encoded 31 windows" in capsys.readouterr().out.splitlines()[-2]
    found = encoded.read(out)
    stored, codec = encoded.latents(found), linear.load(found.codec)
    named = list(zip(stored.windows.episodes.tolist(), stored.windows.starts.tolist(), strict=True))
    every = [(episode, start) for episode in range(5) for start in range(7)]
    assert named == [window for window in every if window not in [(1, s) for s in range(4)]]
    config = tiny.config(hurt, **whole)
    dataset = pipeline.make_dataset(config.data, seed=0, batch_size=1)
    numbers = np.array([every.index(window) for window in named])
    wanted = codec.encode(dataset.load(numbers).pixels)
    latents = stored.read(np.arange(len(named)))["latents"]
    np.testing.assert_allclose(latents, wanted, atol=2e-2)
    # Training is told of them as of any bad record.
    with pytest.raises(UserError, match=r"stored: leaves out 4 windows .*record 1: .* step 3"):
        opened(hurt, out, "error", **whole)
    train = opened(hurt, out, "skip", **whole)
    assert len(train) == 31 and len(train.bad.reasons) == 1
    assert "record 1: observation/image at step 3" in next(iter(train.bad.reasons))


def test_what_is_left_out_is_said_again_after_a_kill(hurt, tmp_path, capsys):
    out = tmp_path / "stored"
    command = dict(data__on_bad_record="skip", data__held_out=0.0)
    encode_command(hurt, out, "--per-file=10", **command)
    told = capsys.readouterr().out.splitlines()[-1]
    assert told.startswith("windows left out: 4; ")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert "record 1: observation/image at step 3" in before["bad_records.txt"].decode()
    encoded.files(encoded.read(out))[2].unlink()
    encode_command(hurt, out, "--per-file=10", **command)
    assert capsys.readouterr().out.splitlines()[-1] == told
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    left = sorted(out.glob("*.left_out.json"))
    left[0].unlink()
    with pytest.raises(UserError, match=r"stored: holds 31 windows and leaves out [0-3] of 35"):
        opened(hurt, out, "skip", data__held_out=0.0)


def test_a_torn_file_and_one_of_other_windows_are_encoded_again(data, tmp_path, capsys):
    out = tmp_path / "stored"
    encode_command(data, out, "--per-file=10")
    files = encoded.files(encoded.read(out))
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    files[0].write_bytes(before[files[0].name][:-7])
    files[2].write_bytes(before[files[1].name])
    encode_command(data, out, "--per-file=10")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_embeddings_are_there_whole_or_not_at_all(tmp_path):
    found = encoded.Encoded(tmp_path, {"instructions": ["", "lift it"]})
    assert not encoded.has_texts(found)
    rows = np.zeros((1, 4), np.float16)
    store.save(tmp_path / encoded.TEXTS, {"0": rows})
    assert not encoded.has_texts(found)
    store.save(tmp_path / encoded.TEXTS, {"0": rows, "1": rows})
    assert encoded.has_texts(found)
    (tmp_path / encoded.TEXTS).write_bytes((tmp_path / encoded.TEXTS).read_bytes()[:-1])
    assert not encoded.has_texts(found)
    assert encoded.has_texts(encoded.Encoded(tmp_path, {"instructions": []}))


def test_another_precision_is_refused(data, tmp_path):
    out = tmp_path / "stored"
    encode_command(data, out)
    with pytest.raises(UserError, match=r"was begun differently: encoded\.json\.computed_in"):
        encode_command(data, out, encoder__dtype="bfloat16")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"data__buckets": ((5, 16, 16),)}, r"config\.data\.buckets: .*; leave buckets empty"),
        ({"encoder__text": "t5", "model__text_depth": 0}, r"set config\.encoder\.text_weights"),
        (
            dict(encoder__kind="opensora-vae", model__latent_chunk=17),
            r"config\.encoder\.weights: empty; give the folder",
        ),
    ],
    ids=["buckets", "no text encoder", "no codec"],
)
def test_a_mistake_begins_no_folder(data, tmp_path, changes, told):
    with pytest.raises(UserError, match=told):
        encode_command(data, tmp_path / "none", **changes)
    assert not (tmp_path / "none").exists()


def test_two_processes_write_what_one_writes(hurt, tmp_path):
    def line(out):
        words = tiny.train_command(hurt, out, data__on_bad_record="skip", data__held_out=0.0)
        words = [word for word in words if not word.startswith("--workdir")]
        words[words.index("vidact.train")] = "vidact.encode"
        return [*words, f"--out={out}", "--per-file=2", "--batch=2"]

    running = []
    for name, count in (("one", 1), ("two", 2)):
        running += several.start(line(tmp_path / name), count, tmp_path / f"log-{name}")
    logs = sorted(tmp_path.glob("log-*"))
    assert several.codes(running, 300) == [0, 0, 0], [log.read_text()[-2000:] for log in logs]
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("one", "two")
    )
    # safetensors writes what a file says of itself in any order.
    codecs = [linear.load(tmp_path / name / encoded.CODEC) for name in ("one", "two")]
    jax.tree.map(np.testing.assert_array_equal, *codecs)
    del one[encoded.CODEC], two[encoded.CODEC]
    assert one.keys() == two.keys() and one == two
    told = [log.read_text() for log in logs]
    assert ["encoded 31 windows" in text for text in told] == [True, True, False]


def test_sigterm_ends_one_of_several_processes(data, tmp_path):
    """JAX listens to it for those who ask JAX, which training does and this does not."""
    words = tiny.train_command(data, tmp_path / "out")
    words = [word for word in words if not word.startswith("--workdir")]
    words[words.index("vidact.train")] = "vidact.encode"
    address = f"--coordinator=localhost:{several.free_port()}"
    line = [*words, f"--out={tmp_path / 'out'}", address, "--processes=1", "--process=0"]
    running = several.start_each([line], tmp_path / "log")
    begun = tmp_path / "out" / encoded.DESCRIPTION
    several.wait_until(begun.exists, running, tmp_path / "log")
    running[0].terminate()
    assert several.codes(running, 20) == [-signal.SIGTERM]


@pytest.mark.slow
def test_a_published_codec_and_text_encoder_from_data_to_evaluation(data, tmp_path):
    """Open-Sora's VAE and T5 at small sizes: T5 is read by encode alone."""
    changes = dict(
        encoder__kind="opensora-vae",
        encoder__weights=str(imported(tmp_path / "vae", "opensora-vae", VAE)),
        encoder__channels=4,
        encoder__text="t5",
        model__latent_channels=4,
        model__latent_chunk=17,
        model__text_depth=0,
        model__text_width=24,
    )
    text = dict(
        encoder__text_weights=str(imported(tmp_path / "t5", "t5", T5)),
        encoder__tokenizer=str(TOKENIZER),
    )
    encode_command(data, tmp_path / "stored", **changes, **text)
    changes["data__encoded"] = str(tmp_path / "stored")
    config = tiny.config(data, **changes)
    stored = encoded.read(tmp_path / "stored")
    sidecar, known = encoded.latents(stored), encoded.texts(stored)
    assert stored.told["instructions"] == ["", "move the square to its place"]
    assert known[""].shape == (1, 24) and known[""].dtype == np.float16
    dataset = pipeline.make_dataset(config.data, seed=0, batch_size=1)
    fields = sidecar.read(sidecar.rows(dataset.windows.all())[:3])
    assert fields["latents"].shape == (3, 2, 2, 2, 4) and fields["condition"].shape == (
        3,
        1,
        2,
        2,
        4,
    )
    codec = runs.open_codec(config, tmp_path)
    wanted = codec.encode(dataset.load(np.arange(3)).pixels)
    np.testing.assert_allclose(fields["latents"], wanted, atol=2e-3)
    run(data, tmp_path / "run", **changes)
    assert np.isfinite(losses(tmp_path / "run")).all()
    # The codec is needed now, the text encoder is not: every instruction is stored.
    evaluate.main([f"--checkpoint={tmp_path / 'run'}", "--config.evaluate.clips=2",
                   "--config.evaluate.sample_steps=2"])  # fmt: skip
    other = imported(tmp_path / "vae2", "opensora-vae", {**VAE, "multiple": 32})
    with pytest.raises(UserError, match=r"config\.encoder\.weights: not the weights that"):
        evaluate.main([f"--checkpoint={tmp_path / 'run'}", f"--config.encoder.weights={other}"])
