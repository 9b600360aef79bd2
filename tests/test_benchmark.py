"""The verb benchmark: what it reports, on a toy network; no test looks at a clock."""

import contextlib
import copy
import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import detector, general, quickstart
from irstd_jax import benchmark, tasks

PARTS = ["predict", "denoiser", "encoder", "train_step"]
FIGURES = (
    *("seconds", "compile_seconds", "flops", "gmac", "parameters"),
    *("peak_memory_bytes", "process_memory_bytes"),
)


def settings():
    """The general recipe's toy, which compiles soonest."""
    config = general.get_config("tiny")
    config.benchmark.update(
        {"size": 32, "batch_size": 2, "repeats": 1, "images": 3, "cache": True}
    )
    return config


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(report, printed text) of one run."""
    folder = tmp_path_factory.mktemp("benchmark")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert benchmark.run(settings(), folder) == 0
    return json.loads((folder / "benchmark.json").read_text()), printed.getvalue()


def test_every_part_has_every_figure(run):
    parts = run[0]["parts"]
    assert list(parts) == PARTS
    assert all(parts[part][figure] > 0 for part in PARTS for figure in FIGURES)


def test_the_interface_that_others_read(run):
    report, _ = run
    parts = report["parts"]
    assert list(report["peak_memory_bytes"]) == PARTS
    assert all(
        report["peak_memory_bytes"][part] == parts[part]["peak_memory_bytes"]
        for part in PARTS
    )
    assert report["train_step_seconds"] == parts["train_step"]["seconds"]
    assert report["seconds_per_image"] == parts["predict"]["seconds"] / 2
    assert np.isclose(report["images_per_second"] * report["seconds_per_image"], 1)


def test_it_says_what_was_measured_and_where(run):
    report, _ = run
    assert report["device_count"] == jax.device_count()
    assert report["jax"] == jax.__version__
    assert (report["image_size"], report["batch_size"]) == (32, 2)
    assert (report["train_image_size"], report["train_batch_size"]) == (32, 8)
    assert report["sampling"]["sampler"] == "ddim"
    assert set(report["notes"]) <= set(FIGURES)


def test_no_repeats_plan_the_same_and_run_nothing(run, monkeypatch, tmp_path, capsys):
    monkeypatch.delattr(benchmark, "timed")
    config = settings()
    config.benchmark.repeats = 0
    assert benchmark.run(config, tmp_path) == 0
    report = json.loads((tmp_path / "benchmark.json").read_text())
    for name in ("flops", "peak_memory_bytes"):
        assert figures(report, name) == figures(run[0], name)
    assert set(figures(report, "seconds").values()) == {None}
    assert report["end_to_end"] is None
    assert "nothing was run" in capsys.readouterr().out


def figures(report, name):
    return {part: row[name] for part, row in report["parts"].items()}


def test_the_parameters_of_the_parts_add_up(run):
    report, _ = run
    of = {part: row["parameters"] for part, row in report["parts"].items()}
    assert of["denoiser"] + of["encoder"] == report["parameters"]
    assert of["predict"] == of["train_step"] == report["parameters"]


def test_predict_holds_the_encoder_and_a_step(run):
    flops = {part: row["flops"] for part, row in run[0]["parts"].items()}
    assert flops["predict"] > flops["encoder"] + flops["denoiser"]


def test_whole_batches_go_from_files_to_detections(run):
    flow = run[0]["end_to_end"]
    assert flow["images"] == 4
    assert np.isclose(flow["images_per_second"] * flow["seconds"], 4)


def test_the_table_names_parts_and_figures(run):
    report, text = run
    lines = text.splitlines()
    assert lines[0].startswith(f"general_tiny on {jax.device_count()} x ")
    rows = {line.split()[0]: line.split()[1:] for line in lines if line.split()}
    for part in PARTS:
        row = report["parts"][part]
        assert rows[part][0] == f"{row['parameters']:,}"
        assert rows[part][1] == f"{row['gmac']:.3f}"
        assert len(rows[part]) == len(benchmark.COLUMNS)
    assert lines[-1].endswith("benchmark.json")
    assert "from 4 PNG files to detections" in text
    assert "the encoder spares" in text


def test_a_table_without_encoder_and_files(run):
    report = copy.deepcopy(run[0])
    del report["parts"]["encoder"]
    report["end_to_end"] = None
    text = benchmark.table(report)
    assert "the encoder spares" not in text
    assert "PNG" not in text


def test_a_matrix_product_costs_what_it_must():
    a, b = jnp.ones((6, 5)), jnp.ones((5, 7))
    compiled, row = benchmark.cost(benchmark.Program(jnp.matmul, (a, b)), 1)
    np.testing.assert_array_equal(compiled(a, b), np.full((6, 7), 5))
    assert row["flops"] == 2 * 6 * 5 * 7
    assert row["gmac"] == 6 * 5 * 7 / 1e9
    assert row["peak_memory_bytes"] >= 4 * (6 * 5 + 5 * 7 + 6 * 7)


def test_a_backend_without_a_plan_of_memory():
    assert np.isnan(benchmark.planned_bytes(None))


def test_a_network_without_encoder_has_no_such_part():
    config = quickstart.get_config("tiny")
    config.model.conditional_encoder = False
    task = tasks.build(config)
    variables = jax.eval_shape(task.init, jax.random.key(0))
    programs = benchmark.inference_programs(config, task, variables)
    assert list(programs) == ["predict", "denoiser"]


@pytest.mark.parametrize("field", ["size", "batch_size", "repeats"])
def test_counts_that_measure_nothing_are_refused(field, tmp_path):
    config = settings()
    config.benchmark[field] = -1
    with pytest.raises(ValueError, match=rf"benchmark\.{field} must be \d+ or more"):
        benchmark.run(config, tmp_path)


@pytest.mark.parametrize(
    "asked, crop, resize, side",
    [(48, 32, 64, 48), (0, 32, 64, 32), (0, 0, 64, 64), (0, 0, 0, 40)],
)
def test_the_side_of_training_images(asked, crop, resize, side):
    config = settings()
    config.benchmark.update({"train_size": asked, "size": 40})
    config.data.update({"crop": crop, "resize": resize})
    assert benchmark.train_size(config) == side


def test_programs_are_compiled_afresh_and_the_cache_comes_back():
    before = jax.config.jax_enable_compilation_cache
    with pytest.raises(KeyError), benchmark.program_cache(False):
        assert not jax.config.jax_enable_compilation_cache
        raise KeyError
    assert jax.config.jax_enable_compilation_cache == before
    with benchmark.program_cache(True):
        assert jax.config.jax_enable_compilation_cache == before


def test_a_detector_has_its_cost_too(tmp_path):
    config = detector.get_config("acm_fpn,synthetic,tiny")
    config.benchmark.update({"size": 32, "repeats": 1, "images": 2})
    assert benchmark.run(config, tmp_path) == 0
    report = json.loads((tmp_path / "benchmark.json").read_text())
    assert list(report["parts"]) == ["predict", "train_step"]
    assert report["end_to_end"]["images"] == 2 and report["sampling"] == {}
