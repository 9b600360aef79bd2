"""The loop: exact continuation, the best weights, refusals, what a run leaves."""

import json
import math
import signal

import jax
import numpy as np
import pytest
import toy_task

from configs import quickstart
from irstd_jax import inference, tasks, train, validation
from irstd_jax.training import checkpoint, optimizer, state
from irstd_jax.weights import store


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """The loop is for every task, so a quick one may test it."""
    monkeypatch.setitem(tasks.TASKS, "toy", toy_task.from_config)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The workdir of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(tasks.TASKS, "toy", toy_task.from_config)
        assert train.run(toy_task.config(), folder) == 0
    return folder


def rows(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def final_state(folder):
    config = toy_task.config()
    task = tasks.build(config)
    optimiser = optimizer.make_optimizer(config.optimizer, config.num_steps)
    empty = state.create(task.init(jax.random.key(0)), optimiser)
    with checkpoint.open_manager(folder) as manager:
        return checkpoint.restore(manager, empty)


def assert_same_run(a, b):
    """Bit for bit: state, place in the data, logged rows, best weights."""
    (state_a, progress_a), (state_b, progress_b) = final_state(a), final_state(b)
    assert progress_a == progress_b
    for x, y in zip(jax.tree.leaves(state_a), jax.tree.leaves(state_b), strict=True):
        np.testing.assert_array_equal(x, y)
    assert rows(a) == rows(b)
    best_a, best_b = (store.load(x / "best.safetensors")[0] for x in (a, b))
    jax.tree.map(np.testing.assert_array_equal, best_a, best_b)


def stop_after(monkeypatch, step):
    """As if SIGTERM came while the step after `step` was running."""
    monkeypatch.setattr(
        train.Interruption, "asked", lambda self, now: now >= step, raising=True
    )


@pytest.mark.parametrize("step", [1, 2, 3, 5])
def test_a_stopped_run_goes_on_bit_for_bit(whole, tmp_path, monkeypatch, step):
    with monkeypatch.context() as patch:
        stop_after(patch, step)
        assert train.run(toy_task.config(), tmp_path) == train.INTERRUPTED
    assert train.run(toy_task.config(), tmp_path) == 0
    assert_same_run(whole, tmp_path)


def test_a_crash_between_checkpoints_loses_nothing(whole, tmp_path, monkeypatch):
    """The process dies at step 5, behind the checkpoint of step 4 and its rows."""

    class Died(BaseException):
        pass

    check = train.check

    def die(pending, out, log_every):
        if pending is not None and pending[0] == 5:
            raise Died
        return check(pending, out, log_every)

    with monkeypatch.context() as patch:
        patch.setattr(train, "check", die)
        with pytest.raises(Died):
            train.run(toy_task.config(), tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "loss": 1.0}\n{"step": 6, "lo')  # torn by the kill
    assert train.run(toy_task.config(), tmp_path) == 0
    assert_same_run(whole, tmp_path)


def test_a_run_goes_on_with_the_parts_that_it_began_with(tmp_path, monkeypatch):
    """A teacher trained anew in the meantime would teach something else."""
    monkeypatch.setattr(inference, "parts", lambda config: {})  # the toy has none
    config, teacher = toy_task.config(), tmp_path / "teacher.safetensors"
    teacher.write_bytes(b"one")
    config.parts = {"teacher": str(teacher)}
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        assert train.run(config, tmp_path / "run") == train.INTERRUPTED
    teacher.write_bytes(b"another")
    with pytest.raises(ValueError, match="parts.teacher: .* holds other weights than"):
        train.run(config, tmp_path / "run")
    teacher.write_bytes(b"one")
    assert train.run(config, tmp_path / "run") == 0


def test_a_finished_run_stays_as_it_is(whole, tmp_path):
    before = rows(whole)
    assert train.run(toy_task.config(), whole) == 0
    assert rows(whole) == before


def test_sigterm_is_only_noted(whole):
    with train.Interruption() as interruption:
        assert not interruption.asked(0)
        signal.raise_signal(signal.SIGTERM)
        assert interruption.asked(0)
    assert signal.getsignal(signal.SIGTERM) != interruption._note


def test_best_weights_are_of_the_best_validation(whole):
    scores = {
        row["step"]: row["validation/diffusion/IoU"]
        for row in rows(whole)
        if "validation/diffusion/IoU" in row
    }
    assert sorted(scores) == [3, 6]
    _, about = store.load(whole / "best.safetensors")
    assert about["step"] == max(scores, key=scores.get)
    assert about["validation"]["diffusion"]["IoU"] == max(scores.values())


def test_rows_have_step_and_loss(whole):
    logged = [row for row in rows(whole) if "loss" in row]
    assert [row["step"] for row in logged] == [1, 2, 3, 4, 5, 6]
    assert all(math.isfinite(row["loss"]) for row in logged)


def test_the_newest_two_checkpoints_are_kept(whole):
    with checkpoint.open_manager(whole) as manager:
        assert manager.all_steps() == [4, 6]


def test_another_config_is_refused_with_the_difference(whole):
    config = toy_task.config()
    config.optimizer.learning_rate = 0.5
    with pytest.raises(ValueError, match=r'(?s)-.*"learning_rate": 0.01.*\+.*0.5'):
        train.run(config, whole)


def test_fields_that_change_no_number_may_differ(whole):
    config = toy_task.config()
    config.log_every = 5
    config.predict.mode = "fused"
    other = {"at_end": True, "part": "validation", "images": 1, "bootstrap": 7}
    config.evaluation.update(other | {"batch_size": 2, "fused_threshold": 0.1})
    checkpoint.guard_config(whole, config)


def test_the_level_of_the_fused_map_is_free_where_another_map_chooses():
    config = toy_task.config()
    held = []
    for mode in ("diffusion", "fused"):
        config.validation.mode = mode
        held.append("fused_threshold" in checkpoint.decisive(config)["evaluation"])
    assert held == [False, True]


@pytest.mark.parametrize(("field", "value"), [("size", 16), ("threshold", 0.25)])
def test_how_validation_judges_may_not_change_within_a_run(whole, field, value):
    """The best score so far would be held against scores of another kind."""
    config = toy_task.config()
    before = config.evaluation[field]
    config.evaluation[field] = value
    with pytest.raises(ValueError, match=rf'-  "{field}": {before}.*\n\+.*{value}'):
        checkpoint.guard_config(whole, config)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, monkeypatch):
    config = toy_task.config()
    loss = toy_task.ToyTask.loss

    def broken(self, variables, batch, keys):
        value, aux = loss(self, variables, batch, keys)
        terms = aux["terms"] | {"bce": aux["terms"]["bce"] / 0.0}
        return value, aux | {"terms": terms}

    monkeypatch.setattr(toy_task.ToyTask, "loss", broken)
    with pytest.raises(FloatingPointError, match="at step 1: bce = inf"):
        train.run(config, tmp_path)
    with checkpoint.open_manager(tmp_path) as manager:
        assert manager.latest_step() is None


# --- beginning from weights -----------------------------------------------------------


def test_a_run_may_begin_from_weights(whole, tmp_path):
    """With a learning rate of 0 it keeps them."""
    config = toy_task.config()
    config.start = str(whole / "best.safetensors")
    config.optimizer.learning_rate = 0.0
    assert train.run(config, tmp_path) == 0
    given, found = (store.load(x / "best.safetensors")[0] for x in (whole, tmp_path))
    # The moving average of equal numbers rounds.
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6),
        given["params"],
        found["params"],
    )


def test_weights_to_judge_by_are_not_taken_for_a_beginning(whole, tmp_path):
    config = toy_task.config()
    config.weights = str(whole / "best.safetensors")
    with pytest.raises(ValueError, match="training begins from --config.start=FILE"):
        train.run(config, tmp_path)
    assert not list(tmp_path.iterdir())


def test_weights_of_another_network_do_not_begin_a_run(whole, tmp_path):
    variables, about = store.load(whole / "best.safetensors")
    variables["params"]["Conv_1"]["kernel"] = np.zeros((1, 1, 4, 1), np.float32)
    store.save(tmp_path / "other.safetensors", variables, about)
    config = toy_task.config()
    config.start = str(tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"params/Conv_1/kernel: \(1, 1, 4, 1\) inst"):
        train.run(config, tmp_path / "run")


def scoring(monkeypatch, values):
    """As if validation gave these values, one a look."""
    judge, values = validation.masks, iter(values)

    def told(config, task):
        inner = judge(config, task)
        return lambda *args: inner(*args)._replace(value=next(values))

    monkeypatch.setattr(validation, "masks", told)


def test_the_last_weights_are_kept_where_nothing_may_choose(tmp_path, monkeypatch):
    config = toy_task.config()
    config.validation.choose = "last"
    scoring(monkeypatch, [0.5, 0.1])
    assert train.run(config, tmp_path) == 0
    assert store.load(tmp_path / "best.safetensors")[1]["step"] == config.num_steps


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ([math.nan, math.nan], 6),
        ([math.nan, 0.0], 6),
        ([0.0, math.nan], 3),
        ([0.0, 0.0], 3),
    ],
)
def test_a_score_that_is_none_loses_no_weights(values, kept, tmp_path, monkeypatch):
    """It never goes before a number, and the first of equal numbers is kept."""
    scoring(monkeypatch, values)
    assert train.run(toy_task.config(), tmp_path) == 0
    assert store.load(tmp_path / "best.safetensors")[1]["step"] == kept
    best = final_state(tmp_path)[1]["best"]
    assert best == (None if np.isnan(values).all() else 0.0)


def test_all_images_may_learn_where_nothing_is_chosen(tmp_path):
    config = toy_task.config()
    config.data.validation_share = 0.0
    with pytest.raises(ValueError, match="validation.choose=last"):
        train.run(config, tmp_path)
    config.validation.choose = "last"
    assert train.run(config, tmp_path / "last") == 0
    assert store.load(tmp_path / "last" / "best.safetensors")[1]["step"] == 6
    assert not any(
        "validation" in key for row in rows(tmp_path / "last") for key in row
    )


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("choose", "luckiest", "unknown validation.choose 'luckiest'; choose from"),
        ("mode", "diffusoin", "validation.mode 'diffusoin'; choose from .'diffusion'"),
        ("mode", "fused", "unknown validation.mode 'fused'; choose from .'diffusion'"),
    ],
)
def test_what_cannot_be_looked_at_is_refused_before_the_first_step(
    field, value, words, tmp_path
):
    config = toy_task.config()
    config.validation[field] = value
    with pytest.raises(ValueError, match=words):
        train.run(config, tmp_path)
    assert not checkpoint.begun(tmp_path)


def test_intervals_of_no_repeats_are_refused_where_they_will_be_wanted(tmp_path):
    config = toy_task.config()
    config.evaluation.update({"bootstrap": 0, "at_end": True})
    with pytest.raises(ValueError, match="evaluation.bootstrap must be at least 1"):
        train.run(config, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("sampler", "ddmi", "validation.sampler='ddmi'.*'ddmi'; choose from"),
        ("steps", 0, "validation.steps=0: sampling needs at least 1 step"),
    ],
)
def test_a_sampling_that_cannot_be_is_refused(field, value, words):
    """Of a network that samples, whose weights are not even drawn."""
    config = quickstart.get_config("tiny")
    config.validation[field] = value
    variables = jax.eval_shape(tasks.build(config).init, jax.random.key(0))
    judge = validation.Validation(config, None, None)
    with pytest.raises(ValueError, match=words):
        judge.check(variables)
