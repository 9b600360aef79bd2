"""Images of any size through batches of one canvas each."""

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import distillation
from irstd_jax import inference
from irstd_jax.weights import store

SIZES = [(20, 31), (32, 32), (9, 40), (21, 30), (64, 33), (20, 31), (18, 32)]


def samples():
    rng = np.random.default_rng(0)
    for i, size in enumerate(SIZES):
        yield {"name": f"image{i}", "image": rng.random((*size, 1), np.float32)}


def run(predict, batch_size=2):
    return list(
        inference.predictions(
            predict,
            samples(),
            lambda image: np.repeat(image, 3, -1),
            batch_size=batch_size,
            multiple=32,
            seed=0,
        )
    )


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_every_image_comes_back_once_at_its_own_size(batch_size):
    shapes = set()

    def predict(images, names, seed):
        shapes.add(images.shape)
        return {"diffusion": images[..., :1], "samples": images[:, None, ..., :1]}

    done = run(predict, batch_size)
    assert sorted(s["name"] for s, _ in done) == [f"image{i}" for i in range(7)]
    for sample, prediction in done:
        np.testing.assert_array_equal(prediction["diffusion"], sample["image"])
        np.testing.assert_array_equal(prediction["samples"][0], sample["image"])
    canvases = {(32, 32), (32, 64), (64, 64)}
    assert shapes == {(batch_size, *canvas, 3) for canvas in canvases}


def test_an_image_s_key_is_of_its_name_and_the_seed():
    data = lambda *args: jax.random.key_data(inference.image_keys(*args)).tolist()  # noqa: E731
    assert data(["b", "a"], 0)[1] == data(["a"], 0)[0]
    assert len({str(key) for s in (0, 1) for key in data(["a", "b"], s)}) == 4


class Noise:
    """A task that answers with noise from the keys alone."""

    def predict(self, variables, batch, keys):
        shape = batch["image"].shape[1:]
        draw = jax.vmap(lambda key: jax.random.normal(key, shape))
        return {"diffusion": draw(keys) + variables["params"]["w"]}


@pytest.mark.parametrize("count", [3, 8])
def test_devices_and_batches_do_not_change_a_result(count):
    predict = inference.predictor(Noise())
    variables = {"params": {"w": np.float32(2)}}
    names = [f"n{i}" for i in range(count)]
    images = np.zeros((count, 4, 4, 1), np.float32)
    together = predict(variables, images, names, 7)["diffusion"]
    alone = predict(variables, images[:1], names[1:2], 7)["diffusion"]
    np.testing.assert_array_equal(together[1:2], alone)


def test_the_weights_know_their_network(tmp_path):
    theirs = {
        "name": "a",
        "model": {"name": "irstd_diff", "channels": 8},
        "task": {"parameterisation": "v"},
        "data": {"channels": 1, "normalisation": "nudt"},
    }
    store.save(tmp_path / inference.BEST, {"params": {}}, {"config": theirs})
    config = ConfigDict(
        {
            "weights": "",
            "model": {"name": "irstd_diff", "channels": 64},
            "task": {
                "name": "mask_diffusion",
                "parameterisation": "eps",
                "encoder_weight": 10.0,
            },
            "data": {"channels": 3, "normalisation": "nuaa", "root": "data"},
        }
    )
    merged, _, about = inference.trained(config, tmp_path)
    assert merged.model.channels == 8 and merged.task.parameterisation == "v"
    assert merged.task.encoder_weight == 10.0 and merged.data.root == "data"
    assert (merged.data.channels, merged.data.normalisation) == (1, "nudt")
    assert about["config"]["name"] == "a" and config.model.channels == 64
    assert merged.data.stretch == 0


@pytest.mark.parametrize("ours, theirs, used", [(0, 2, 2), (1, 0, 1), (1, 2, 1)])
def test_levels_are_drawn_out_as_asked_or_as_learnt(ours, theirs, used, tmp_path):
    block = {"channels": 1, "normalisation": "nudt", "root": "data"}
    model = {"name": "irstd_diff"}
    learnt = {
        "name": "a",
        "model": model,
        "task": {"name": "mask_diffusion"},
        "data": block | {"stretch": theirs},
    }
    store.save(tmp_path / inference.BEST, {"params": {}}, {"config": learnt})
    config = ConfigDict(
        {
            "weights": "",
            "model": model,
            "task": learnt["task"],
            "data": block | {"stretch": ours},
        }
    )
    assert inference.trained(config, tmp_path)[0].data.stretch == used


@pytest.mark.parametrize(
    "recipe, task, works",
    [
        ("segmentation", "mask_diffusion", False),
        ("mask_diffusion", "distillation", False),
        ("classical", "segmentation", False),
        ("mask_diffusion", "segmentation", True),
    ],
)
def test_weights_of_another_task_work_or_are_refused(recipe, task, works, tmp_path):
    """What draws wants a block that the recipe has not, and ended in a traceback."""
    block = {"channels": 1, "normalisation": "nudt"}
    learnt = {"model": {}, "task": {"name": task, "own": 1}, "data": block}
    store.save(tmp_path / "w.safetensors", {"params": {}}, {"config": learnt})
    config = ConfigDict(
        {
            "name": "mine",
            "weights": str(tmp_path / "w.safetensors"),
            "model": {},
            "task": {"name": recipe, "foreign": 2},
            "data": block,
        }
    )
    if works:
        used = inference.trained(config, tmp_path)[0].task.to_dict()
        assert used == {"name": task, "own": 1}
    else:
        words = f"w.safetensors are of the task {task!r} and the recipe mine is of"
        with pytest.raises(ValueError, match=words):
            inference.trained(config, tmp_path)


SPLITS = [
    # set, split, root that weights learnt; set, split, root here; is it told?
    ("nuaa_sirst", "50_50", "a", "nuaa_sirst", "idx_427", "b", True),
    ("nuaa_sirst", "50_50", "a", "nuaa_sirst", "50_50", "b", False),
    ("nuaa_sirst,nudt_sirst", "50_50", "", "nudt_sirst", "random_80_20", "", True),
    ("nuaa_sirst", "50_50", "a", "sirst_v2", "official", "a", True),
    ("nuaa_sirst", "50_50", "a", "nudt_sirst", "random_80_20", "a", False),
    ("folder", "lists", "/x/mine", "folder", "none", "/y/mine", True),
    ("folder", "lists", "/x/mine", "folder", "none", "/x/yours", False),
]


@pytest.mark.parametrize("one", SPLITS)
def test_images_that_weights_may_have_learnt_are_told(one, caplog):
    learnt, here = (
        dict(zip(("name", "split", "root"), part, strict=True))
        for part in (one[:3], one[3:6])
    )
    about = {"config": {"data": learnt | {"validation_share": 0.1}}}
    inference.warn_of_split(ConfigDict({"data": here}), about, "these weights")
    assert caplog.text.count("may have been learnt") == one[6]
    assert inference.learnt_from(about)["split"] == one[1]


@pytest.mark.parametrize(
    ("views", "augment", "told"),
    [
        (2, {"flip": False, "quarter_turns": False}, True),
        (2, {"flip": False, "quarter_turns": True}, False),
        (1, {"flip": False}, False),
        (8, {}, False),  # converted weights do not say
    ],
)
def test_views_of_what_learnt_upright_images_are_told(views, augment, told, caplog):
    theirs = {"data": {"augment": augment}}
    inference.warn_of_views(ConfigDict({"views": views}), theirs, "these weights")
    assert ("learnt images as they lie" in caplog.text) == told


def test_converted_weights_do_not_say_what_they_learnt(caplog):
    about = {"config": {"data": {"channels": 1, "normalisation": "none"}}}
    inference.warn_of_split(ConfigDict({"data": {}}), about, "these weights")
    assert inference.learnt_from(about) == {} and not caplog.text


def test_a_teacher_of_another_split_is_told(tmp_path, caplog):
    config = distillation.get_config("nuaa_sirst,tiny")
    path = tmp_path / "best.safetensors"
    config.parts.teacher = str(path)
    theirs = distillation.RECIPES["nuaa_sirst"]("tiny")
    theirs.data.split = "idx_427"
    store.save(path, {"params": {}}, {"config": theirs.to_dict()})
    inference.parts(config)
    assert "learnt nuaa_sirst by the split 'idx_427'" in caplog.text


def test_no_weights_says_how_to_get_them(tmp_path):
    with pytest.raises(FileNotFoundError, match="train first"):
        inference.trained(
            ConfigDict({"weights": "", "task": {"name": "segmentation"}}), tmp_path
        )


def test_a_denoiser_that_means_something_else_is_refused(tmp_path):
    """A teacher of eps read as one of v would be misread without a word."""
    config = distillation.get_config("synthetic,tiny")
    path = tmp_path / "best.safetensors"
    config.parts.teacher = str(path)
    theirs = {"model": config.model.to_dict(), "task": config.task.to_dict()}
    variables = {"params": {"layer": np.zeros(2, np.float32)}, "batch_stats": {}}
    store.save(path, variables, {"config": theirs})
    found = inference.parts(config)
    assert list(found) == ["teacher"]
    for field, value in (("parameterisation", "eps"), ("mask_range", (0.0, 1.0))):
        wrong = theirs | {"task": theirs["task"] | {field: value}}
        store.save(path, variables, {"config": wrong})
        with pytest.raises(ValueError, match=f"the task in .* differs .* in {field}"):
            inference.parts(config)
