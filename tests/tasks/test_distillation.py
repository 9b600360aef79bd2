"""What the student learns from, what stays as it is, and how it is used."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import distillation as recipe
from irstd_jax import inference, tasks, train
from irstd_jax.diffusion import consistency, samplers, schedule
from irstd_jax.tasks import distillation
from irstd_jax.tasks.distillation import Distillation
from irstd_jax.tasks.mask_diffusion import MaskDiffusion, Sampling
from irstd_jax.training import parallel, state
from irstd_jax.weights import store

SCHEDULE = schedule.noise_schedule("linear", 30)
SIZE = 8


class Toy(nn.Module):
    """An encoder with BatchNorm, and a denoiser that is linear at each time."""

    def setup(self):
        self.norm = nn.BatchNorm(momentum=0.5)
        self.maps = nn.Dense(2)
        start = nn.initializers.normal(0.5)
        self.table = self.param("table", start, (SCHEDULE.steps, 3))

    def condition(self, image, train=False):
        feature = self.norm(image, use_running_average=not train)
        return feature, self.maps(feature)

    def denoise(self, x_t, t, image, feature, train=False):
        gain, hint, shift = (c.reshape(-1, 1, 1, 1) for c in self.table[t].T)
        return jnp.tanh(gain * x_t + hint * feature + shift)

    def __call__(self, image, x_t, t, train=False):
        feature, logits = self.condition(image, train)
        return self.denoise(x_t, t, image, feature, train), logits


def student(**fields):
    settings = {
        "parameterisation": "x0",
        "mask_range": (-1.0, 1.0),
        "encoder_weight": 2.0,
        "iou_weight": 0.0,
    } | fields
    return MaskDiffusion(
        network=Toy(),
        schedule=SCHEDULE,
        image_shape=(SIZE, SIZE, 1),
        sampling=Sampling(sampler="consistency", steps=1),
        **settings,
    )


def task(sampling=None, **fields):
    kept = student(**{k: fields.pop(k) for k in ("target_weight",) if k in fields})
    return Distillation(kept, sampling or kept.sampling, **{"grid": 10} | fields)


@pytest.fixture(scope="module")
def teacher():
    return student().init(jax.random.key(7))


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    image = rng.standard_normal((3, SIZE, SIZE, 1)).astype(np.float32)
    mask = np.zeros_like(image)
    mask[0, 2:4, 3:5] = mask[1, 6, 1] = 1
    return {"image": image, "mask": mask}


def keys(count=3, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def gradients(task, variables, batch):
    """Of the loss, by all collections of variables."""
    return jax.grad(lambda v: task.loss(v, batch, keys())[0])(variables)


def equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def largest(tree):
    return max(float(jnp.abs(x).max()) for x in jax.tree.leaves(tree))


# --- what it begins with --------------------------------------------------------------


def test_the_student_begins_as_its_teacher(teacher):
    variables = task().init(jax.random.key(0), teacher=teacher)
    assert set(variables) == {"params", "batch_stats", "teacher"}
    equal({k: variables[k] for k in teacher}, teacher)
    equal(variables["teacher"], teacher)


def test_without_a_teacher_it_begins_alone(teacher):
    alone = task(teacher="none")
    assert set(alone.init(jax.random.key(0))) == {"params", "batch_stats"}
    equal(alone.init(jax.random.key(0), teacher=teacher), teacher)
    with pytest.raises(ValueError, match="config.parts.teacher=FILE"):
        task().init(jax.random.key(0))


# --- the loss -------------------------------------------------------------------------


def tables(variables, t):
    return (
        c[:, None, None, None] for c in np.asarray(variables["params"]["table"])[t].T
    )


@pytest.mark.parametrize("kind", distillation.TEACHERS)
def test_the_loss_by_hand(teacher, batch, kind):
    """Eq. 1 in numpy: the student a table of its own, the target the same table."""
    made = task(boundary="karras", distance="l2", teacher=kind, target_weight=5.0)
    variables = made.init(jax.random.key(0), teacher=teacher)
    other = jax.tree.map(lambda x: 0.5 * x, variables["params"]["table"])
    variables["params"] = variables["params"] | {"table": other}
    drawn = jax.vmap(made._draw, (0, None))(keys(), (SIZE, SIZE, 1))
    n, eps = (np.asarray(x) for x in drawn)
    feature, _ = Toy().apply(variables, batch["image"], method="condition")
    skip, out = made.scalings

    def says(variables, x, t):
        gain, hint, shift = tables(variables, t)
        return np.tanh(gain * x + hint * feature + shift)

    def f(x, t):
        s, o = (c[t][:, None, None, None] for c in (skip, out))
        return s * x + o * says(variables, x, t)

    late, early = made.times[n + 1], made.times[n]
    a, s, a_, s_ = (
        c[t][:, None, None, None]
        for t in (late, early)
        for c in (SCHEDULE.alpha, SCHEDULE.sigma)
    )
    x0 = 2 * batch["mask"] - 1
    x = a * x0 + s * eps
    told = x0 if kind == "none" else says(teacher, x, late)
    before = a_ * told + s_ * (x - a * told) / s
    area = batch["mask"].sum((1, 2, 3), keepdims=True)
    weights = 1 + 5 * batch["mask"] / np.maximum(area, 1)
    expected = np.mean(weights * (f(x, late) - f(before, early)) ** 2)
    loss, aux = made.loss(variables, batch, keys())
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    assert aux["terms"]["loss"] == aux["terms"]["consistency"] == loss
    found = np.clip((f(x, late) + 1) / 2, 0, 1)
    np.testing.assert_allclose(aux["terms"]["mass"], found.mean(), rtol=1e-4)
    np.testing.assert_allclose(aux["terms"]["share"], (found > 0.5).mean(), rtol=1e-4)
    np.testing.assert_allclose(aux["terms"]["truth"], batch["mask"].mean(), rtol=1e-6)


def test_a_target_without_delay_is_the_student(teacher, batch):
    """mu = 0 keeps nothing; an average that equals the student changes nothing."""
    plain, slow = task(), task(target_decay=0.9)
    variables = plain.init(jax.random.key(0), teacher=teacher)
    followed = slow.init(jax.random.key(0), teacher=teacher)
    assert set(followed["batch_stats"]) == {*variables["batch_stats"], "target"}
    loss, aux = plain.loss(variables, batch, keys())
    assert slow.loss(followed, batch, keys())[0] == loss
    equal(aux["batch_stats"], variables["batch_stats"])
    grads = gradients(plain, variables, batch)["params"]
    equal(gradients(slow, followed, batch)["params"], grads)
    assert largest(grads) > 0


def test_an_average_follows_the_student(teacher, batch):
    slow = task(target_decay=0.75)
    variables = slow.init(jax.random.key(0), teacher=teacher)
    moved = variables | {"params": jax.tree.map(lambda x: x + 1.0, teacher["params"])}
    loss, aux = slow.loss(moved, batch, keys())
    expected = jax.tree.map(lambda x: x + 0.25, teacher["params"])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5),
        aux["batch_stats"]["target"],
        expected,
    )
    # And the loss looks at it.
    fresh = moved["batch_stats"] | {"target": moved["params"]}
    assert loss != slow.loss(moved | {"batch_stats": fresh}, batch, keys())[0]


def test_an_average_follows_steps_and_not_parts_of_them(teacher, batch):
    """A batch in three parts moves the target as far as one in a single part."""
    slow = task(target_decay=0.75, accumulate=3)
    variables = slow.init(jax.random.key(0), teacher=teacher)
    params = jax.tree.map(lambda x: x + 1.0, teacher["params"])
    started = state.create(variables | {"params": params}, optax.sgd(0.0))
    _, _, stats = parallel.gradients(slow.loss, started, batch, keys(), 3)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b + 0.25, rtol=1e-5, atol=1e-6),
        stats["target"],
        teacher["params"],
    )


def test_the_u_net_alone_learns(teacher, batch):
    made = task()
    variables = made.init(jax.random.key(0), teacher=teacher)
    grads = gradients(made, variables, batch)
    assert largest(grads["params"]["table"]) > 0
    assert largest({k: grads["params"][k] for k in ("norm", "maps")}) == 0
    assert largest((grads["teacher"], grads["batch_stats"])) == 0


def test_the_encoder_learns_on_request(teacher, batch):
    made = task(train_encoder=True)
    variables = made.init(jax.random.key(0), teacher=teacher)
    _, aux = made.loss(variables, batch, keys())
    assert set(aux["terms"]) > {"loss", "consistency", "bce"}
    total = aux["terms"]["consistency"] + 2.0 * aux["terms"]["bce"]
    np.testing.assert_allclose(aux["terms"]["loss"], total, rtol=1e-6)
    grads = gradients(made, variables, batch)
    assert all(largest(grads["params"][k]) > 0 for k in ("table", "norm", "maps"))
    assert largest(grads["teacher"]) == 0
    before = variables["batch_stats"]["norm"]["mean"]
    assert not np.allclose(aux["batch_stats"]["norm"]["mean"], before)


# --- prediction -----------------------------------------------------------------------


def test_prediction_is_the_function_at_noise(teacher, batch):
    """One evaluation for each sample, and what the encoder says beside it."""
    made = task(Sampling(sampler="consistency", steps=1, samples=2))
    variables = made.init(jax.random.key(0), teacher=teacher)
    predict = jax.jit(made.predict)
    found = predict(variables, batch, keys())
    assert set(found) == {"samples", *tasks.PROBABILITIES}
    feature, logits = Toy().apply(teacher, batch["image"], method="condition")
    f = made.function(teacher, batch["image"], feature)
    for number in range(2):
        numbered = jax.vmap(jax.random.fold_in, (0, None))(keys(), number)
        start_keys, _ = jax.vmap(jax.random.split, out_axes=1)(numbered)
        x = samplers.draw(start_keys, (SIZE, SIZE, 1))
        expected = np.clip((f(x, jnp.full(3, 29)) + 1) / 2, 0, 1)
        np.testing.assert_allclose(found["samples"][:, number], expected, atol=1e-6)
    np.testing.assert_allclose(found["diffusion"], found["samples"].mean(1), atol=1e-6)
    np.testing.assert_allclose(
        found["discriminative"], jax.nn.sigmoid(logits[..., :1]), rtol=1e-5
    )
    alone = made.predict(variables, {"image": batch["image"][1:2]}, keys()[1:2])
    np.testing.assert_allclose(found["samples"][1:2], alone["samples"], atol=1e-6)


def test_validation_and_reports_know_its_sampler():
    made = task(Sampling(sampler="consistency", steps=3, samples=4))
    settings = recipe.get_config("synthetic,tiny").validation
    quick = tasks.quick(made, settings)
    assert (quick.sampling.steps, quick.sampling.samples) == (1, 1)
    assert tasks.sampling(made)["sampler"] == "consistency"


# --- refusals -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"distance": "lpips"}, "unknown task.distance 'lpips'; choose from"),
        ({"teacher": "heun"}, "unknown task.teacher 'heun'; choose from"),
        ({"boundary": "edm"}, "unknown boundary 'edm'; choose from"),
        ({"spacing": "even"}, "unknown spacing 'even'; choose from"),
        ({"grid": 31}, "2 to T = 30 times, not 31"),
        ({"target_decay": 1.0}, r"target_decay must lie in \[0, 1\), got 1.0"),
        ({"sampling": Sampling("ddim", 1)}, "unknown sampler 'ddim' for a distilled"),
        ({"sampling": Sampling("consistency", 10)}, "allows 1 to 9 steps, not 10"),
    ],
)
def test_what_cannot_work_is_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        task(**fields)


def test_a_path_from_the_encoder_is_refused():
    made = task()
    begun = dataclasses.replace(made.student, source="encoder")
    with pytest.raises(ValueError, match="begins at noise"):
        dataclasses.replace(made, student=begun)


# --- from recipe to weights -----------------------------------------------------------


@pytest.fixture
def toy(monkeypatch):
    """The recipes' networks, replaced by one that compiles in a second."""
    monkeypatch.setattr("irstd_jax.models.build", lambda *args, **fields: Toy())


def settings(argument):
    config = recipe.get_config(argument)
    config.task.steps = config.task.grid = SCHEDULE.steps
    return config


@pytest.fixture
def teacher_file(teacher, tmp_path):
    """What a run of quickstart.py:tiny leaves, of the toy network."""
    base = recipe.RECIPES["synthetic"]("tiny")
    base.task.steps = SCHEDULE.steps
    path = tmp_path / "teacher.safetensors"
    store.save(path, teacher, {"config": base.to_dict()})
    return str(path)


def test_a_teacher_s_file_is_distilled_and_predicts(
    toy, teacher, teacher_file, tmp_path
):
    """From the recipe to weights that know how they are used."""
    config = settings("synthetic,tiny")
    assert config.name == "distillation_synthetic_tiny"
    config.parts.teacher = teacher_file
    config.evaluation.at_end = False
    config.num_steps = 2
    assert train.run(config, tmp_path) == 0
    loaded, variables, about = inference.trained(config, tmp_path)
    equal(variables["teacher"], teacher)
    table = variables["params"]["table"]
    assert not np.array_equal(table, teacher["params"]["table"])
    predict = inference.predictor(tasks.build(loaded), keep=("fused",))
    image = np.zeros((8, 32, 32, 1), np.float32)
    found = predict(variables, image, [str(i) for i in range(8)], 0)
    assert found["fused"].shape == (8, 32, 32, 1) and np.isfinite(found["fused"]).all()
    assert about["config"]["task"]["teacher"] == "ddim"


def test_consistency_training_needs_no_file(toy):
    config = settings("synthetic,tiny,alone")
    variables = inference.initial(config, tasks.build(config), jax.random.key(0))
    assert set(variables) == {"params", "batch_stats"}


def test_the_parts_of_a_batch_are_those_of_the_optimiser(toy):
    config = settings("synthetic,tiny")
    config.optimizer.accumulate = 4
    assert tasks.build(config).accumulate == 4


def test_another_network_is_no_teacher(teacher_file):
    config = settings("synthetic,tiny")
    config.parts.teacher = teacher_file
    config.model.channels = 16
    with pytest.raises(ValueError, match="the teacher in .* differs .* in channels"):
        inference.parts(config)


@pytest.mark.parametrize("dataset", sorted(recipe.RECIPES))
@pytest.mark.parametrize("rest", ["", ",tiny", ",tiny,alone"])
def test_a_recipe_makes_its_task(dataset, rest):
    config = recipe.get_config(dataset + rest)
    made = tasks.build(config)
    assert made.sampling.sampler == config.validation.sampler == "consistency"
    assert made.teacher == ("none" if "alone" in rest else "ddim")
    assert ("teacher" in config.parts) == ("alone" not in rest)
    assert config.optimizer.weight_decay == 0


def test_the_paper_s_size_is_distilled_from_a_network_of_v():
    made = tasks.build(recipe.get_config("nuaa_sirst"))
    assert made.student.parameterisation == "v" and made.boundary == "karras"
    assert made.student.mask_range == (-1.0, 1.0)
    assert consistency.visited(made.times, 1).tolist() == [99]


def test_a_network_of_logits_learns_by_cross_entropy():
    made = tasks.build(recipe.get_config("nuaa_sirst,realtime"))
    assert made.student.parameterisation == "logit"
    assert (made.distance, made.boundary) == ("bce", "lcm")


@pytest.mark.parametrize(
    "argument, words",
    [
        ("sirst,small", "unknown data set 'sirst'; choose from"),
        ("nuaa_sirst,huge", "unknown variant 'huge'; choose from"),
        ("nuaa_sirst,small,lone", "is not DATASET, DATASET,VARIANT or"),
        ("nuaa_sirst,realtime,alone", "it cannot learn alone"),
        ("nuaa_sirst,accurate,alone", "it cannot learn alone"),
    ],
)
def test_unknown_words_of_a_recipe(argument, words):
    with pytest.raises(ValueError, match=words):
        recipe.get_config(argument)
