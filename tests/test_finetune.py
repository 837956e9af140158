"""A model trained on one robot goes on with another's data, whose actions have another width."""

import numpy as np
import pytest

from tests import tiny
from vidact import train
from vidact.training import checkpoints, logs, runs

STEPS, EVERY = 60, 20


@pytest.mark.slow
def test_a_model_is_fine_tuned_to_a_robot_with_a_gripper(tmp_path, capsys):
    first = tiny.write_data(tmp_path / "first", episodes=30)
    second = tiny.write_data(tmp_path / "second", episodes=20, gripper=True)
    base, tuned = tmp_path / "base", tmp_path / "tuned"
    often = dict(train__steps=STEPS, train__checkpoint_every=EVERY)
    train.main(tiny.train_command(first, base, **often)[3:])
    capsys.readouterr()
    changes = dict(
        init_from=str(base / "checkpoints" / str(STEPS)),
        model__action_dim=3,
        model__lora_rank=4,
        train__freeze=("video-branch",),
        train__keep=1,
        train__keep_best=1,
    )
    train.main(tiny.train_command(second, tuned, **often, **changes)[3:])
    printed = capsys.readouterr().out
    for layer in ("action_encoder/fc1", "decoder/out/linear"):
        assert f"re-initialised: action/{layer}/kernel (2 -> 3 columns)\n" in printed
    assert printed.count("re-initialised") == 2
    assert "statistics: measured on " in printed

    rows = {row["step"]: row for row in logs.read(tuned) if "held out loss" in row}
    # At fixed times and noise. The video branch is frozen: only its LoRA factors and bridges learn.
    for name, share in (("held out loss/action", 0.95), ("held out loss/video", 1.0)):
        assert rows[STEPS][name] < share * rows[1][name], name
    before, after = (tiny.saved(folder, STEPS, "params") for folder in (base, tuned))
    frozen = [path for path in before if path.startswith("video/")]
    assert len(frozen) > 20
    for path in frozen:
        np.testing.assert_array_equal(after[path], before[path], err_msg=path)
    for path in ("video/spatial_blocks/mlp/fc1/lora_b", "action/decoder/out/linear/kernel"):
        assert after[path].any(), path
    path = "bridges/action/qkv/kernel"
    assert not np.array_equal(after[path], before[path])

    best = min(rows, key=lambda step: rows[step]["held out loss"])
    assert set(checkpoints.steps(tuned)) == {best, STEPS}
    assert set(rows) == {1, 20, 40, 60}
    one, other = runs.load(base), runs.load(tuned)
    assert other.own["action"].mean.shape == (3,)
    np.testing.assert_array_equal(one.codec.later_basis, other.codec.later_basis)
