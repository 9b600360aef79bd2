"""What a run tells, and forgets when it goes back to a checkpoint."""

import json

import numpy as np

from irstd_jax.training import writer


def rows(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_rows_of_later_steps_and_torn_lines_are_forgotten(tmp_path):
    with writer.Writer(tmp_path, 0, 10) as out:
        for step in (1, 5, 9):
            out.scalars(step, {"loss": step / 10})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 10, "los')
    with writer.Writer(tmp_path, 5, 10) as out:
        out.scalars(6, {"loss": 0.0})
    assert [row["step"] for row in rows(tmp_path)] == [1, 5, 6]


def test_what_is_no_number_is_null(tmp_path):
    """JSON has no NaN: other readers than Python's would refuse the file."""
    with writer.Writer(tmp_path, 0, 1) as out:
        out.scalars(1, {"loss": 0.5, "IoU": np.float64("nan"), "PSNR": float("inf")})
    assert rows(tmp_path) == [{"step": 1, "loss": 0.5, "IoU": None, "PSNR": None}]


def test_pictures_and_scalars_reach_files_and_tensorboard(tmp_path):
    with writer.Writer(tmp_path, 0, 2) as out:
        out.scalars(1, {"loss": 0.5})
        out.image(1, "validation", np.zeros((4, 4, 3), np.uint8))
    assert (tmp_path / "pictures" / "validation_000001.png").is_file()
    events = list((tmp_path / "tensorboard").glob("events*"))
    assert events and b"validation" in events[0].read_bytes()


def test_a_quiet_writer_writes_nothing(tmp_path):
    with writer.Writer(tmp_path, 0, 2, quiet=True) as out:
        out.scalars(1, {"loss": 0.5})
        out.say("hello")
        out.advance()
    assert not list(tmp_path.iterdir())
