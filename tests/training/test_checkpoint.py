"""The config of a run, read back for the modes that come after training."""

import pytest

from configs import detector, quickstart
from irstd_jax.training import checkpoint


def test_a_run_s_config_comes_back_whatever_the_defaults(tmp_path):
    """Of another task, with fields of other types under the same names."""
    config = detector.get_config("acm_unet,synthetic,tiny")
    checkpoint.guard_config(tmp_path, config)
    known = checkpoint.run_config(tmp_path, quickstart.get_config())
    assert known.model.to_dict() == config.model.to_dict() | {"channels": [4, 8, 8, 8]}
    assert known.task.name == "segmentation" and known.data.crop == 32


def test_fields_of_later_versions_have_their_defaults(tmp_path):
    config = quickstart.get_config("tiny")
    del config.data["extra"], config["start"]
    del config.task["iou_weight"]
    checkpoint.guard_config(tmp_path, config)
    known = checkpoint.run_config(tmp_path, quickstart.get_config())
    assert known.data.extra == "" and known.start == ""
    assert known.data.crop == 32 and "iou_weight" not in known.task


def test_no_run_no_config(tmp_path):
    assert checkpoint.run_config(tmp_path, quickstart.get_config()) is None


def test_a_run_without_a_checkpoint_may_begin_anew(tmp_path):
    """Missing data stopped it, say, and another split was meant."""
    config = quickstart.get_config("tiny")
    checkpoint.guard_config(tmp_path, config)
    config.seed = 5
    checkpoint.guard_config(tmp_path, config)
    assert checkpoint.run_config(tmp_path, quickstart.get_config()).seed == 5
    (tmp_path / "checkpoints" / "3").mkdir(parents=True)
    checkpoint.guard_config(tmp_path, config)
    config.seed = 6
    with pytest.raises(ValueError, match="holds a run with another config"):
        checkpoint.guard_config(tmp_path, config)
