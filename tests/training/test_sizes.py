"""Settings that do not fit each other or the data die in one line that names the key."""

import pytest

from tests import tiny
from vidact.errors import UserError
from vidact.training import loop


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model__latent_channels": 9}, "config.model.latent_channels=9"),
        ({"data__vocabulary": 9}, "config.data.vocabulary=9"),
        ({"data__frames": 7}, "config.data.frames=7"),
        ({"data__resolution": (18, 16)}, "config.data.resolution"),
        ({"model__latent_frames": 2}, "config.model.latent_frames=2"),
    ],
)
def test_parts_that_do_not_fit_are_named(tmp_path, changes, named):
    with pytest.raises(UserError, match=named.replace("(", r"\(")) as error:
        loop.check_sizes(tiny.config(tmp_path, **changes))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["action_dim", "state_dim"])
def test_widths_of_the_data_are_named(tmp_path, key):
    config = tiny.config(tiny.write_data(tmp_path), **{f"model__{key}": 7})
    with pytest.raises(UserError, match=rf"config\.model\.{key}=7: .*squares.* has"):
        loop.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
