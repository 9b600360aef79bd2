"""The program as a user starts it: a run killed in the middle, messages, modes."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

ROOT = pathlib.Path(__file__).parents[1]
TINY = "--config=configs/general.py:tiny"  # it compiles soonest


def launch(*flags, **options):
    # The flags of conftest.py are inherited, so that compiled programs are shared.
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(
        [sys.executable, "launch.py", *flags],
        cwd=ROOT,
        env=environment | options,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A run that was killed without warning once it had a checkpoint, and went on."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    process = launch(TINY, f"--workdir={folder}")
    limit = time.monotonic() + 600
    while not (folder / "checkpoints" / "2").is_dir():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < limit, "no checkpoint within ten minutes"
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    code, out, err = finish(launch(TINY, f"--workdir={folder}"))
    assert code == 0, err
    (folder / "out.txt").write_text(out)
    return folder


def test_a_killed_run_goes_on_and_ends_with_figures_and_pictures(workdir):
    out = (workdir / "out.txt").read_text()
    assert "goes on at step" in out
    assert "IoU" in out and "discriminative" in out
    named = [pathlib.Path(line) for line in out.splitlines() if line.endswith(".png")]
    assert named and all(path.is_file() for path in named)
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    steps = [row["step"] for row in map(json.loads, lines) if "loss" in row]
    assert steps == [1, 2, 3, 4]


def test_report_has_protocol_and_modes(workdir):
    report = json.loads((workdir / "report.json").read_text())
    assert {"set", "split", "hash", "threshold", "sampler"} <= set(report["protocol"])
    assert {"diffusion", "discriminative", "fused"} <= set(report["modes"])
    for values in report["modes"].values():
        assert {"IoU", "nIoU", "Pd", "Fa", "F1", "AUC"} <= set(values)
        low, high = values["intervals"]["IoU"]
        assert 0 <= low <= values["IoU"] <= high <= 1


def test_evaluate_knows_the_run_by_its_workdir(workdir):
    code, out, err = finish(
        launch(
            "--mode=evaluate",
            f"--workdir={workdir}",
            "--config.evaluation.threshold=0.25",
        )
    )
    assert code == 0, err
    assert "p > 0.25" in out and "resized to 32" in out


def test_predict_draws_samples_by_weights_alone(workdir, tmp_path):
    """A weights file knows its recipe: neither --config nor --workdir is needed."""
    scene = np.random.default_rng(0).integers(0, 255, (32, 32), np.uint8)
    Image.fromarray(scene).save(tmp_path / "scene.png")
    code, out, err = finish(
        launch(
            "--mode=predict",
            f"--weights={workdir / 'best.safetensors'}",
            f"--input={tmp_path / 'scene.png'}",
            f"--output={tmp_path / 'out'}",
            "--samples=3",
        )
    )
    assert code == 0, err
    assert (tmp_path / "out" / "uncertainty" / "scene.png").is_file()
    told = json.loads((tmp_path / "out" / "detections.json").read_text())
    # Tiles of 64 px are the tiny recipe's; the quick start's are of 256.
    assert told["settings"]["samples"] == 3 and told["settings"]["tile"] == 64


def test_a_classical_method_predicts_with_nothing_trained(tmp_path):
    scene = np.random.default_rng(0).integers(0, 99, (32, 32), np.uint8)
    scene[9:11, 20:22] = 255
    Image.fromarray(scene).save(tmp_path / "scene.png")
    code, out, err = finish(
        launch(
            "--mode=predict",
            "--config=configs/classical.py:tophat",
            f"--input={tmp_path / 'scene.png'}",
            f"--output={tmp_path / 'out'}",
        )
    )
    assert code == 0, err
    told = json.loads((tmp_path / "out" / "detections.json").read_text())
    (detection,) = told["images"]["scene.png"]["detections"]
    assert detection["box"] == [9, 20, 11, 22] and detection["score"] > 0.5


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--mode=predict"], "--mode=predict needs --input=..."),
        (["--mode=evaluate", "--workdir=nowhere"], "no weights at nowhere"),
        (["--config=configs/nuaa_sirst.py:huge"], "unknown variant 'huge'; choose"),
        (["--config=configs/none.py"], "No such file"),
        (["--config.num_step=3"], 'Did you mean "num_steps"'),
        (
            ["--mode=evaluate", "--workdir=a", "--config.task.k=3"],
            "quickstart.py; name the run's own recipe by --config",
        ),
        (
            ["--config=configs/general.py:tiny", "--config.task.k=3"],
            "no field 'k' in the recipe configs/general.py:tiny",
        ),
        (["--config.seed.x=3"], "seed.x"),
        (["--config.num_steps=many"], "--config.num_steps=many"),
        (["--nothing=1"], "Unknown command line flag 'nothing'"),
        (["--config=configs/irstd1k.py"], "IRSTD1k_Img/XDU0.png"),
        (["train"], "not understood"),
        (["--weights=a.safetensors"], "begins from --config.start"),
        (
            ["--input=a", "--output=b"],
            "--input is for --mode=predict or convert, not train",
        ),
        (
            ["--mode=evaluate", "--samples=3"],
            "--samples is for --mode=predict, not evaluate",
        ),
        (
            [TINY, f"--workdir={__file__}/below"],
            f"Not a directory: '{__file__}/below",
        ),
        (
            [
                "--mode=compare",
                "--config=configs/compare.py:tiny",
                "--config.only.systems=unknown",
            ],
            "only.systems names 'unknown'",
        ),
        (
            ["--mode=predict", "--weights=none", "--input=a", "--output=b"],
            "no weights 'none'",
        ),
    ],
)
def test_errors_are_words(flags, message, tmp_path):
    code, out, err = finish(launch(*flags, IRSTD_DATA=str(tmp_path)))
    assert code != 0
    assert message in out + err
    assert "Traceback" not in err
