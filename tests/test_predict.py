"""The verb predict, with a network that calls every grey level a probability."""

import dataclasses
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from configs import quickstart
from irstd_jax import explain, inference, pieces, predict, tasks
from irstd_jax.tasks.mask_diffusion import Sampling
from irstd_jax.weights import store

SEEN = []  # shapes of the batches for which the network was compiled


@dataclasses.dataclass(frozen=True)
class Grey:
    """diffusion: the image itself. fused_logodds: noise by the example's key.

    Samples: sample j holds what is brighter than 1 - 0.8 / (j + 1): 0.2, 0.6, 0.73 ...
    """

    sampling: Any

    def predict(self, variables, batch, keys):
        image = batch["image"]
        SEEN.append(image.shape)
        noise = jax.vmap(lambda key: jax.random.uniform(key, image.shape[1:]))(keys)
        levels = [1 - 0.8 / (j + 1) for j in range(self.sampling.samples)]
        samples = jnp.stack([1.0 * (image > level) for level in levels], 1)
        return {
            "diffusion": image * variables["params"]["one"],
            "fused_logodds": noise,
            "samples": samples,
        }


@dataclasses.dataclass(frozen=True)
class Plain:
    """A detector: draws nothing."""

    def predict(self, variables, batch, keys):
        return {"diffusion": batch["image"]}


@pytest.fixture(autouse=True)
def grey(monkeypatch):
    def sampling(config):
        return Sampling("ddim", 2, samples=config.sampling.samples)

    tasks_here = {
        "grey": lambda config, axis=None: Grey(sampling(config)),
        "plain": lambda config, axis=None: Plain(),
    }
    for name, build in tasks_here.items():
        monkeypatch.setitem(tasks.TASKS, name, build)
    SEEN.clear()


@pytest.fixture
def config():
    settings = quickstart.get_config("tiny")
    settings.task.name = "grey"
    settings.data.normalisation = "none"
    settings.evaluation.batch_size = 2
    settings.evaluation.canvas_multiple = 16
    settings.predict.update({"tile": 32, "overlap": 8, "probabilities": True})
    settings.predict.mode = "diffusion"
    return settings


@pytest.fixture
def use(config, tmp_path):
    """predict.run on tmp_path/in (or what is named) into tmp_path/out."""
    about = {"config": config.to_dict(), "step": 3}
    variables = {"params": {"one": np.ones(1, np.float32)}}
    store.save(tmp_path / inference.BEST, variables, about)

    def run(source="in", output="out", **options):
        source, output = tmp_path / source, tmp_path / output
        return predict.run(config, tmp_path, source, output, **options)

    return run


def save(path, array):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(array).save(path)
    return array


def scene(seed, height, width, dtype=np.uint8):
    """Clutter below one half and a bright target of 2 x 3 pixels."""
    top = np.iinfo(dtype).max
    image = np.random.default_rng(seed).integers(0, top // 2, (height, width), dtype)
    image[3:5, 7:10] = top
    return image


def load(path):
    with Image.open(path) as image:
        return np.asarray(image)


def listed(output):
    return json.loads((output / "detections.json").read_text())


FILES = {
    "eight.png": lambda: scene(0, 20, 30),
    "sixteen.tif": lambda: scene(1, 17, 13, np.uint16),
    "colour.bmp": lambda: np.repeat(scene(2, 31, 32)[..., None], 3, axis=2),
    "wide.PNG": lambda: scene(3, 12, 90),
    "large.png": lambda: scene(4, 70, 55, np.uint16),
}


def test_every_kind_of_image(use, tmp_path):
    arrays = {n: save(tmp_path / "in" / n, make()) for n, make in FILES.items()}
    assert use() == 0
    report = listed(tmp_path / "out")
    assert list(report["images"]) == sorted(arrays)
    for name, array in arrays.items():
        grey = array if array.ndim == 2 else array[..., 0]
        stem = name.split(".")[0]
        entry = report["images"][name]
        assert entry["name"] == stem and entry["size"] == list(grey.shape)
        detection = {"centroid": [3.5, 8.0], "box": [3, 7, 5, 10], "area": 6}
        assert entry["detections"] == [detection | {"score": 1.0}]
        mask = np.zeros(grey.shape, np.uint8)
        mask[3:5, 7:10] = 255
        np.testing.assert_array_equal(load(tmp_path / f"out/masks/{stem}.png"), mask)
        levels = load(tmp_path / f"out/probabilities/{stem}.png")
        assert levels.dtype == np.uint16
        depth = 65535 // np.iinfo(grey.dtype).max  # 257 or 1
        np.testing.assert_array_equal(levels, grey.astype(int) * depth)
        overlay = load(tmp_path / f"out/overlays/{stem}.png")
        assert overlay.ndim == 3 and overlay.shape[1] > grey.shape[1]
    # Large images went through as tiles, and all in batches.
    assert {shape[0] for shape in SEEN} == {2}
    assert max(max(shape[1:3]) for shape in SEEN) == 32
    settings = report["settings"]
    assert settings["weights"] == "quickstart_tiny, step 3, moving average"
    assert (settings["mode"], settings["threshold"]) == ("diffusion", 0.5)


def test_score_is_the_mean_of_the_component(use, tmp_path):
    image = np.zeros((16, 16), np.uint8)
    image[2, 2:4] = 153, 255  # 0.6 and 1
    image[3, 4] = 204  # touches by a corner
    image[10, 10] = 128
    save(tmp_path / "in" / "a.png", image)
    use()
    first, second = listed(tmp_path / "out")["images"]["a.png"]["detections"]
    assert first["score"] == pytest.approx((0.6 + 1 + 0.8) / 3, abs=1e-4)
    assert (first["area"], first["box"]) == (3, [2, 2, 4, 5])
    assert second["score"] == pytest.approx(128 / 255, abs=1e-4)


def test_a_size_of_the_network(use, config, tmp_path):
    config.predict.size = 16
    ramp = np.linspace(0, 250, 48).round().astype(np.uint8)
    save(tmp_path / "in" / "a.png", np.tile(ramp, (24, 1)))
    use()
    assert {shape[1:3] for shape in SEEN} == {(16, 16)}
    levels = load(tmp_path / "out/probabilities/a.png") / 257
    assert levels.shape == (24, 48)
    # A ramp survives going there and back, but for its ends.
    np.testing.assert_allclose(levels[:, 4:-4], np.tile(ramp, (24, 1))[:, 4:-4], atol=3)


def test_one_file_is_a_batch_of_its_own(use, tmp_path):
    save(tmp_path / "in" / "a.png", scene(0, 16, 16))
    save(tmp_path / "in" / "b.png", scene(0, 16, 16))
    assert use("in/a.png") == 0
    assert list(listed(tmp_path / "out")["images"]) == ["a.png"]
    assert SEEN == [(1, 16, 16, 1)]


def test_noise_depends_on_the_name_alone(use, config, tmp_path):
    config.predict.mode = "fused_logodds"
    for name in "abc":
        save(tmp_path / "in" / f"{name}.png", scene(0, 16, 16))
    use(output="together")
    use("in/c.png", "alone")
    together = [load(tmp_path / f"together/probabilities/{n}.png") for n in "abc"]
    alone = load(tmp_path / "alone/probabilities/c.png")
    np.testing.assert_array_equal(together[2], alone)
    assert not np.array_equal(together[0], together[1])


def test_files_of_one_stem_do_not_meet(use, tmp_path):
    for name, seed in {"a.png": 0, "A.bmp": 1, "b.png": 2}.items():
        save(tmp_path / "in" / name, scene(seed, 16, 16))
    assert use() == 0
    made = {path.name for path in (tmp_path / "out" / "masks").iterdir()}
    assert made == {"A.bmp.png", "a.png.png", "b.png"}
    save(tmp_path / "in" / "a.png.png", scene(3, 16, 16))
    with pytest.raises(ValueError, match=r"a\.png.* would share the results"):
        use(overwrite=True)


@pytest.mark.parametrize("kind", ["masks/a", "overlays/a", "probabilities/a", "json"])
def test_nothing_is_replaced_unasked(kind, use, tmp_path):
    save(tmp_path / "in" / "a.png", scene(0, 16, 16))
    name = "detections.json" if kind == "json" else f"{kind}.png"
    old = tmp_path / "out" / name
    old.parent.mkdir(parents=True)
    old.write_text("old")
    (tmp_path / inference.BEST).rename(tmp_path / "hidden")
    # Not even the weights are read before.
    with pytest.raises(FileExistsError, match=rf"{name} exists.*--overwrite"):
        use()
    assert [p for p in (tmp_path / "out").rglob("*") if p.is_file()] == [old]
    assert old.read_text() == "old"
    (tmp_path / "hidden").rename(tmp_path / inference.BEST)
    assert use(overwrite=True) == 0
    assert old.read_bytes() != b"old"


def test_bad_files_are_told_and_stop_nothing(use, tmp_path, capsys):
    save(tmp_path / "in" / "a.png", scene(0, 16, 16))
    save(tmp_path / "in" / "c.png", scene(1, 16, 16))
    data = (tmp_path / "in" / "a.png").read_bytes()
    (tmp_path / "in" / "b.png").write_bytes(data[: len(data) // 2])
    (tmp_path / "in" / "notes.txt").write_text("hello")
    (tmp_path / "in" / "more").mkdir()
    (tmp_path / "in" / "._a.png").write_text("what some systems leave")
    assert use() == 1
    report = listed(tmp_path / "out")
    assert list(report["images"]) == ["a.png", "c.png"]
    assert "b.png" in report["failed"]["b.png"]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("2 images, 2 targets found")
    assert lines[1].endswith("more/, notes.txt")
    assert lines[2] == "1 of 3 files could not be read:"
    assert "b.png" in lines[3] and "copy or download it again" in lines[3]


def test_no_image_at_all(use, tmp_path):
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        use()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("hello")
    for source in ("in", "in/notes.txt"):
        with pytest.raises(ValueError, match=r"no image in .*none of \.png"):
            use(source)
    (tmp_path / "in" / "a.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"no image can be read:\n.*a\.png.*empty"):
        use()
    assert not (tmp_path / "out").exists()


def test_modes_that_there_are_not(use, config, tmp_path):
    save(tmp_path / "in" / "a.png", scene(0, 16, 16))
    config.predict.mode = "fuse"
    with pytest.raises(ValueError, match="unknown predict.mode 'fuse'; choose from"):
        use()
    config.predict.mode = "discriminative"
    names = r"no 'discriminative'; choose from \['diffusion', 'fused_logodds'\]"
    with pytest.raises(ValueError, match=names):
        use()


def test_a_cut_run_leaves_no_list_of_other_masks(use, tmp_path, monkeypatch):
    for name in "ab":
        save(tmp_path / "in" / f"{name}.png", scene(0, 16, 16))
    use()
    write = predict.write

    def cut(output, job, probability, config):
        if job.name == "b":
            raise KeyboardInterrupt
        return write(output, job, probability, config)

    monkeypatch.setattr(predict, "write", cut)
    with pytest.raises(KeyboardInterrupt):
        use(overwrite=True)
    assert not (tmp_path / "out" / "detections.json").exists()
    for path in (tmp_path / "out" / "masks").iterdir():
        assert load(path).sum() == 6 * 255


def test_a_camera_s_narrow_band_of_levels_is_told_and_drawn_out(
    use, config, tmp_path, capsys
):
    levels = np.uint16(8000 + 4 * scene(0, 20, 30).astype(np.uint16))
    save(tmp_path / "in" / "a.png", levels)
    save(tmp_path / "in" / "b.png", scene(1, 20, 30))
    use()
    told = capsys.readouterr().out
    assert "1 of 2 images use less than an eighth" in told
    assert "--config.data.stretch=0.01" in told
    assert not load(tmp_path / "out" / "masks" / "a.png").any()
    config.data.stretch = 0.4
    use(overwrite=True)
    assert "less than an eighth" not in capsys.readouterr().out
    mask = load(tmp_path / "out" / "masks" / "a.png")
    assert (mask[3:5, 7:10] == 255).all() and (mask > 0).sum() == 6
    about = json.loads((tmp_path / "out" / predict.INDEX).read_text())
    assert about["settings"]["stretch"] == 0.4


def test_few_images_are_held_at_once(config, tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(7)]
    for i, path in enumerate(paths):
        save(path, scene(i, 70, 40) if i % 2 else scene(i, 16, 16))
    alive, most = 0, 0

    def jobs():
        nonlocal alive, most
        for job in pieces.read(paths, {p: p.stem for p in paths}, config, {}):
            alive += 1
            most = max(most, alive)
            yield job

    def same(images, names, seed):
        return {"diffusion": images}

    done = []
    for job, probability in pieces.detect(config, same, jobs()):
        alive -= 1
        done.append(job.name)
        np.testing.assert_array_equal(probability, job.native[..., 0])
    assert sorted(done) == [path.stem for path in paths]
    # A batch of 2 for each of the two canvases; one of them is being cut into tiles.
    assert most <= 3


def test_what_is_not_wanted_is_not_computed():
    def fail(x):
        raise RuntimeError("computed")

    class Task:
        def predict(self, variables, batch, keys):
            image = batch["image"]
            costly = jax.pure_callback(fail, image, image)
            return {"discriminative": image + 1, "diffusion": costly}

    run = inference.predictor(Task(), keep=("discriminative",))
    output = run({}, jnp.zeros((1, 2, 2, 1)), ["a"], 0)
    assert list(output) == ["discriminative"] and output["discriminative"].min() == 1


def test_reference_tokens_bring_their_size(config, tmp_path):
    config.model.token_layout = "reference"
    config.evaluation.size = 256
    about = {"config": config.to_dict()}
    store.save(tmp_path / inference.BEST, {"params": {"one": np.ones(1)}}, about)
    config.evaluation.size = 0
    taken, _, _ = inference.trained(config, tmp_path)
    assert (taken.evaluation.size, taken.predict.size) == (256, 256)
    config.predict.size = 320
    taken, _, _ = inference.trained(config, tmp_path)
    assert (taken.evaluation.size, taken.predict.size) == (256, 320)


def test_figures_are_for_the_first_images(use, config, tmp_path, monkeypatch):
    config.predict.figures = 1
    for name in "ab":
        save(tmp_path / "in" / f"{name}.png", scene(0, 48, 40))
    shown = []

    def drawer(config, task, variables):
        def draw(image, name):
            shown.append((name, image.shape))
            return {"sampling": np.zeros((4, 4, 3), np.uint8)}

        return draw

    monkeypatch.setattr(explain, "drawer", drawer)
    assert use() == 0
    assert shown == [("a", (32, 32, 1))]  # of a large image, the part with the target
    made = [path.name for path in (tmp_path / "out" / "figures").iterdir()]
    assert made == ["a_sampling.png"]
    with pytest.raises(FileExistsError):
        use()


def levels(height, width, **spots):
    """A dark image with a target of 2 x 2 pixels of each level, at "y_x"."""
    image = np.zeros((height, width), np.uint8)
    for place, level in spots.items():
        y, x = map(int, place[1:].split("_"))
        image[y : y + 2, x : x + 2] = round(255 * level)
    return image


def test_samples_give_each_target_a_probability(use, tmp_path):
    """Large and small images: a target of 0.65 is in two of four samples."""
    spots = {"_4_4": 0.9, "_10_20": 0.65, "_20_6": 0.3}
    save(tmp_path / "in" / "small.png", levels(30, 30, **spots))
    save(tmp_path / "in" / "tiled.png", levels(70, 90, **spots, _30_28=0.9, _60_80=0.9))
    assert use(samples=4) == 0
    report = listed(tmp_path / "out")
    assert report["settings"]["samples"] == 4
    small = report["images"]["small.png"]["detections"]
    assert [found["votes"] for found in small] == [[4, 4], [2, 4]]
    assert [found["probability"] for found in small] == [1, 0.5]
    assert small[1]["interval"] == [0.15, 0.85] and small[0]["interval"][1] == 1
    tiled = report["images"]["tiled.png"]["detections"]
    # (30, 28) lies where tiles overlap: the blend of equal samples is that sample.
    assert [found["votes"][0] for found in tiled] == [4, 2, 4, 4]
    for name, scale in {"small": 4, "tiled": 4}.items():
        picture = load(tmp_path / f"out/uncertainty/{name}.png")
        assert picture.ndim == 3 and picture.shape[1] > 4 * 30 * scale
    with pytest.raises(FileExistsError):
        use(samples=4)


def test_one_sample_has_no_probability(use, config, tmp_path):
    save(tmp_path / "in" / "a.png", levels(16, 16, _4_4=0.9))
    for count in (0, 1):
        use(output=f"out{count}", samples=count)
        (found,) = listed(tmp_path / f"out{count}")["images"]["a.png"]["detections"]
        assert list(found) == ["centroid", "box", "area", "score"]
        assert not (tmp_path / f"out{count}" / "uncertainty").exists()
    config.sampling.samples = 3  # the config's own
    use(output="out3")
    (found,) = listed(tmp_path / "out3")["images"]["a.png"]["detections"]
    assert found["votes"] == [3, 3]


def test_samples_at_another_size_come_back(use, config, tmp_path):
    config.predict.size = 16
    image = np.zeros((32, 48), np.uint8)
    image[8:14, 18:27] = 255
    save(tmp_path / "in" / "a.png", image)
    use(samples=2)
    (found,) = listed(tmp_path / "out")["images"]["a.png"]["detections"]
    assert found["votes"] == [2, 2]
    assert load(tmp_path / "out/uncertainty/a.png").shape[1] > 4 * 4 * 48


def test_what_draws_nothing_has_no_samples(use, config, tmp_path):
    config.task.name = "plain"
    save(tmp_path / "in" / "a.png", scene(0, 16, 16))
    about = {"config": config.to_dict(), "step": 3}
    store.save(tmp_path / inference.BEST, {"params": {"one": np.ones(1)}}, about)
    with pytest.raises(ValueError, match="task 'plain', which draws nothing.*samples"):
        use(samples=4)
    with pytest.raises(ValueError, match="-1 samples: draw at least one"):
        use(samples=-1)
    config.sampling.samples = 4  # of a config that is not the weights'
    assert use() == 0
    assert not (tmp_path / "out" / "uncertainty").exists()


def test_samples_of_tiles_are_blended_one_by_one(tmp_path):
    """Tile i draws i + j in sample j: each sample is the blend that a map would be."""
    image = np.zeros((24, 16, 1), np.float32)
    corners = [(0, 0), (8, 0)]
    parts = {
        corner: {
            "samples": np.stack([np.full((16, 16, 1), i + j) / 4.0 for j in range(3)]),
            "diffusion": np.full((16, 16, 1), i / 4.0),
        }
        for i, corner in enumerate(corners)
    }
    job = pieces.Job(tmp_path, "a", image, image, corners, parts)
    blend = pieces.joined(job, "diffusion")
    drawn = pieces.samples(job)
    assert blend.shape == (24, 16) and drawn.shape == (3, 24, 16)
    for j in range(3):
        np.testing.assert_allclose(drawn[j], blend + j / 4)
    assert 0 < blend[12, 8] < 0.25


def test_too_little_memory_is_said(config, tmp_path):
    job = pieces.Job(
        tmp_path, "a", *(np.zeros((16, 16, 1), np.float32),) * 2, [(0, 0)], {}
    )

    def exhausted(images, names, seed):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

    def broken(images, names, seed):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    with pytest.raises(ValueError, match="lower --config.evaluation.batch_size"):
        list(pieces.detect(config, exhausted, [job]))
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        list(pieces.detect(config, broken, [job]))
