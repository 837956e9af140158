"""`--describe` counts the parts, and says what a step costs, without data."""

import re

import numpy as np
import pytest

from configs import base
from tests import tiny
from vidact import train
from vidact.errors import UserError
from vidact.models import registry
from vidact.nn import flat
from vidact.training import describe, flops


def test_the_quickstart_s_parts_add_up():
    shapes = flat.blueprint(registry.maker(base.get_config())).shapes
    line = describe.parameter_line(shapes)
    counts = {name: int(count) for name, count in re.findall(r"(\w+): (\d+)", line)}
    assert line.startswith("parameters total: ")
    assert set(counts) == {"total", "video", "action", "decoder", "bridge", "text"}
    assert counts.pop("total") == sum(counts.values())
    parameters = [v.shape for path, v in shapes.items() if path != "y_embedding"]
    assert sum(counts.values()) == sum(np.prod(shape) for shape in parameters)
    assert counts["video"] > counts["action"] > counts["text"] > 0


def test_lora_is_a_part_of_its_own():
    config = base.get_config()
    plain = describe.parameter_line(flat.blueprint(registry.maker(config)).shapes)
    config.model.lora_rank = 4
    line = describe.parameter_line(flat.blueprint(registry.maker(config)).shapes)
    count, total = (int(re.search(rf"{name}: (\d+)", line)[1]) for name in ("lora", "total"))
    depth, width = config.model.depth, config.model.video_width
    both_ends = (1 + 3) + (1 + 1) + (1 + 1) + (1 + 2) + (1 + 1) + (1 + 4) + (4 + 1)  # in widths
    assert count == 2 * depth * 4 * both_ends * width
    assert line.replace(f" lora: {count}", "") == plain.replace(
        f"total: {total - count}", f"total: {total}"
    )


def test_the_command_says_what_a_step_costs(tmp_path, capsys):
    changes = {**tiny.CHANGES, "model.decoder_channels": (32,)}
    line = ["--config", str(tiny.ROOT / "configs/base.py"), "--describe"]
    train.main(line + [f"--config.{key}={value}" for key, value in changes.items()])
    printed = capsys.readouterr().out.splitlines()
    assert [row.split(":")[0].split(" (")[0] for row in printed] == [
        "parameters total", "state GB", "TFLOP per step", "this machine",
        "24 GB", "48 GB", "80 GB", "8 x 16 GB", "8 x 32 GB",
    ]  # fmt: skip
    assert all("fits" in row for row in printed[4:])
    assert not list(tmp_path.iterdir())


def test_sizes_that_do_not_fit_are_named():
    config = base.get_config()
    config.data.frames = 8
    with pytest.raises(UserError, match=r"config\.data\.frames=8"):
        describe.describe(config)


def test_flops_count_every_layer_of_a_loop_in_a_loop(tmp_path):
    def count(**changes):
        changes = {f"model__{key}": value for key, value in changes.items()}
        config = tiny.config(tmp_path, model__decoder_channels=(32,), **changes)
        return flops.training_step(config).hardware

    once = count(depth=4, bridge_kind="none")
    # Regrouping the weights counts a little; a lost layer would be a tenth and more.
    np.testing.assert_allclose(count(depth=4, bridge_kind="none", bridge_every=2), once, rtol=1e-3)
