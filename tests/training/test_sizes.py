"""Settings that do not fit each other or the data die in one line that names the key."""

import pytest

from tests import tiny
from vidact.errors import UserError
from vidact.training import checks, loop


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model__latent_channels": 9}, "config.model.latent_channels=9"),
        ({"data__vocabulary": 9}, "config.data.vocabulary=9"),
        ({"data__frames": 7}, "config.data.frames=7"),
        ({"data__resolution": (18, 16)}, "config.data.resolution"),
        ({"data__tiles": (1, 3)}, r"config.data.tiles=(1, 3\): must be .* that divide"),
        ({"data__further_image_keys": ("a",)}, r"config.data.tiles=(1, 1\): 2 cameras for 1"),
        ({"model__latent_frames": 2}, "config.model.latent_frames=2"),
        ({"model__max_words": 3}, "config.model.max_words=3"),
        ({"encoder__channels": 49, "model__latent_channels": 49}, "config.encoder.channels=49"),
        (
            {"model__bridge_heads": 3},
            "config.model.bridge_width=32: .*bridge_heads=3",
        ),
    ],
)
def test_parts_that_do_not_fit_are_named(tmp_path, changes, named):
    with pytest.raises(UserError, match=named.replace("(", r"\(")) as error:
        checks.check_sizes(tiny.config(tmp_path, **changes))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["video_guidance", "action_guidance"])
def test_guidance_asks_for_a_null_text_that_was_trained(tmp_path, key):
    changes = {f"evaluate__{key}": 1.5}
    checks.check_sizes(tiny.config(tmp_path, **changes, model__text_dropout=0.1))
    with pytest.raises(UserError, match=rf"^config\.evaluate\.{key}=1\.5: .*text_dropout=0\.0"):
        checks.check_sizes(tiny.config(tmp_path, **changes))
    without = {**changes, "model__text_dropout": 0.1, "data__instruction_key": ""}
    with pytest.raises(UserError, match=rf"^config\.evaluate\.{key}=1\.5: .*instruction_key=''"):
        checks.check_sizes(tiny.config(tmp_path, **without))


@pytest.mark.parametrize("key", ["action_dim", "state_dim"])
def test_widths_of_the_data_are_named(tmp_path, key):
    config = tiny.config(tiny.write_data(tmp_path), **{f"model__{key}": 7})
    with pytest.raises(UserError, match=rf"config\.model\.{key}=7: .*squares.* has"):
        loop.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_batch_that_the_devices_cannot_share_is_named(tmp_path):
    with pytest.raises(UserError, match=r"config\.train\.batch_size=6: .* 8 devices"):
        loop.run(tiny.config(tmp_path, train__batch_size=6), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("data", "fsdp"), [(3, 1), (-1, 5)])
def test_a_mesh_of_another_size_is_named(tmp_path, data, fsdp):
    with pytest.raises(UserError, match=r"config\.mesh: .* is not 8 devices"):
        loop.run(tiny.config(tmp_path, mesh__data=data, mesh__fsdp=fsdp), tmp_path / "run")


def test_widths_that_the_mesh_cannot_split_are_named(tmp_path):
    config = tiny.config(tiny.write_data(tmp_path), mesh__fsdp=8, model__text_width=36)
    with pytest.raises(UserError, match=r"config\.mesh\.fsdp=8: does not divide the 36 of"):
        loop.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
