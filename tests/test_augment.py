"""Making a set: true labels, the same samples after a kill, refusals, leaks."""

import json

import numpy as np
import pytest
from ml_collections import ConfigDict

from configs.diff_mosaic import augment as recipes
from irstd_jax import augment, data, priors, quality, train
from irstd_jax.data import images
from irstd_jax.mosaic import parents

NO_PRIORS = ("degrade", "retarget")


def recipe(**changes):
    config = recipes.get_config("tiny")
    config.augment.stages = NO_PRIORS
    config.augment.update(changes)
    return config


def made_of(folder):
    """{name: (image, mask)} of a set."""
    return {
        path.stem: tuple(images.read_image(folder / k / path.name) for k in KINDS)
        for path in sorted((folder / "images").iterdir())
    }


KINDS = ("images", "masks")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The workdir of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    assert augment.run(recipe(), folder) == 0
    return folder


@pytest.fixture
def unjudged(monkeypatch):
    """The verb without its report."""
    monkeypatch.setattr(quality, "run", lambda *_: 0)


def test_a_set_is_a_labelled_folder(whole):
    found = made_of(whole / "set")
    listed = (whole / "set" / "train.txt").read_text().splitlines()
    assert list(found) == listed == [f"mosaic_{i:05d}" for i in range(4)]
    for image, mask in found.values():
        assert image.shape == mask.shape == (32, 32, 1)
        assert mask.any() and set(np.unique(mask)) <= {0, 1}


def test_targets_are_those_of_the_mosaic(whole, monkeypatch):
    """Under the mask each pixel is one of the composed image, in 8 bits."""
    seen = {}
    monkeypatch.setattr(
        augment, "write_set", lambda config, output, make: seen.update(make=make)
    )
    monkeypatch.setattr(quality, "run", lambda *_: 0)
    config = recipe()
    augment.run(config, whole, overwrite=True, output=whole / "none")
    found = made_of(whole / "set")
    for first in (0, 2):
        made = seen["make"]([first, first + 1], stages=())
        for row in range(2):
            image, mask = found[f"mosaic_{first + row:05d}"]
            np.testing.assert_array_equal(mask, made["mask"][row])
            np.testing.assert_allclose(
                image[mask > 0], made["mosaic"][row][mask > 0], atol=0.51 / 255
            )
            assert np.abs(image - made["mosaic"][row]).max() > 0.05  # it is degraded


def test_the_report_has_all_parts(whole):
    report = json.loads((whole / "quality.json").read_text())
    assert {row["what"] for row in report["realism"]} == {
        "generated",
        "composed",
        "real test",
    }
    assert report["fidelity"]["set"]["targets"] >= 4
    assert report["fidelity"]["stages"]["mosaic"]["kept"] == 1
    assert report["fidelity"]["set"]["lost"] == 0
    assert (whole / "pictures" / "stages.png").is_file()


def test_the_manifest_names_training_images_alone(whole):
    manifest = json.loads((whole / "set" / "manifest.json").read_text())
    train_names = set(data.load(recipe().data, "train").names)
    for row in manifest["samples"]:
        assert len(set(row["parents"])) == 4 and set(row["parents"]) <= train_names
    assert manifest["augment"]["seed"] == 0 and manifest["priors"] == {}
    assert "training part alone" in manifest["words"]
    assert "not known" not in manifest["words"]


def test_a_detector_trains_on_it(whole):
    settings = recipe().data
    settings.extra = str(whole / "set")
    both = data.load(settings, "train")
    assert len(both) == len(data.load(recipe().data, "train")) + 4
    assert any(name.endswith("mosaic_00003") for name in both.names)


def test_a_killed_run_goes_on_without_doubles(whole, tmp_path, monkeypatch, unjudged):
    class Died(BaseException):
        pass

    write, done = augment.write_sample, []

    def die(output, name, made, row):
        if len(done) == 1:
            raise Died
        done.append(name)
        write(output, name, made, row)

    with monkeypatch.context() as patch:
        patch.setattr(augment, "write_sample", die)
        with pytest.raises(Died):
            augment.run(recipe(), tmp_path)
    assert not (tmp_path / "set" / "train.txt").exists()
    assert augment.run(recipe(), tmp_path) == 0
    before, after = made_of(whole / "set"), made_of(tmp_path / "set")
    assert list(before) == list(after)
    for name in before:
        for one, other in zip(before[name], after[name], strict=True):
            np.testing.assert_array_equal(one, other)
    for name in ("train.txt", "manifest.json"):
        one, other = ((x / "set" / name).read_text() for x in (whole, tmp_path))
        assert one == other


def test_what_is_there_is_not_made_again(tmp_path, monkeypatch, unjudged):
    assert augment.run(recipe(count=2), tmp_path) == 0
    (tmp_path / "set" / "manifest.json").unlink()
    monkeypatch.setattr(augment, "samples", None)  # a call would fail
    assert augment.run(recipe(count=2), tmp_path) == 0


def test_nothing_is_replaced_unasked(whole, tmp_path, unjudged):
    with pytest.raises(FileExistsError, match="complete set.*--overwrite"):
        augment.run(recipe(), whole)
    assert augment.run(recipe(count=2), tmp_path) == 0
    (tmp_path / "set" / "manifest.json").unlink()
    with pytest.raises(FileExistsError, match=r"other settings \(augment\)"):
        augment.run(recipe(count=2, seed=1), tmp_path)
    old = made_of(tmp_path / "set")["mosaic_00000"][0]
    assert augment.run(recipe(count=2, seed=1), tmp_path, overwrite=True) == 0
    assert np.abs(made_of(tmp_path / "set")["mosaic_00000"][0] - old).max() > 0.01
    foreign = tmp_path / "mine" / "images"
    foreign.mkdir(parents=True)
    with pytest.raises(FileExistsError, match="this program has not made"):
        augment.run(recipe(), tmp_path, output=foreign.parent, overwrite=True)


@pytest.mark.parametrize("change", [{"stretch": 1.0}, {"seed": 7}])
def test_a_set_does_not_go_on_with_other_images(change, tmp_path, unjudged):
    config = recipe(count=2)
    assert augment.run(config, tmp_path) == 0
    (tmp_path / "set" / "manifest.json").unlink()
    config.data.update(change)
    with pytest.raises(FileExistsError, match=r"other settings \(source\)"):
        augment.run(config, tmp_path)


def test_augmented_sets_are_no_parents(tmp_path):
    config = recipe()
    config.data.extra = "mosaics"
    with pytest.raises(ValueError, match="data.extra names augmented sets .mosaics."):
        augment.run(config, tmp_path)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"stages": ("blur",)}, r"unknown augment.stages \['blur'\]"),
        ({"count": 0}, "must be 1 or more"),
        ({"degrade": {"preset": "worse"}}, "preset 'worse'; choose"),
        ({"compose": {"method": "collage"}}, "unknown method 'collage'"),
        ({"compose": {"tile": 15}}, "tile 15 is not an even number"),
    ],
)
def test_refusals(change, message, tmp_path):
    config = recipe()
    config.augment.update(ConfigDict(change))
    with pytest.raises(ValueError, match=message):
        augment.run(config, tmp_path)


def test_priors_run_in_order_and_targets_come_back(monkeypatch, tmp_path, unjudged):
    """Stub priors: the second sees what the first made; retarget has the last word."""
    seen = []

    def stub(config, workdir, name):
        def apply(image, names):
            seen.append((name, float(np.mean(image)), tuple(names)))
            return np.full_like(image, {"pixel_prior": 0.25, "diff_prior": 0.75}[name])

        return priors.Prior(apply, {"sha256": name, "trained_on": TRAINED_ON})

    monkeypatch.setattr(priors, "trained", stub)
    monkeypatch.setattr(priors, "provide", lambda *_: 0)
    config = recipe(stages=("pixel_prior", "diff_prior", "retarget"), count=2, border=0)
    assert augment.run(config, tmp_path) == 0
    assert [name for name, *_ in seen] == ["pixel_prior", "diff_prior"]
    assert seen[1][1] == 0.25 and seen[0][2] == ("00000", "00001")
    image, mask = made_of(tmp_path / "set")["mosaic_00000"]
    np.testing.assert_allclose(image[mask == 0], 191 / 255)
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text())
    told = manifest["same_training_part"]
    assert told == {"pixel_prior": False, "diff_prior": False}
    assert "pixel_prior and diff_prior learnt from is not known" in manifest["words"]


TRAINED_ON = {"name": "nuaa_sirst", "split": "50_50", "validation_share": 0.1}


def test_priors_that_lack_are_trained_in_their_order(monkeypatch, tmp_path):
    calls = []

    def trained(recipe, folder):
        calls.append((folder.name, dict(recipe.get("parts", {}))))
        (folder / "checkpoints" / str(recipe.num_steps)).mkdir(parents=True)
        return train.INTERRUPTED if folder.name == "latent_prior" else 0

    monkeypatch.setattr(train, "run", trained)
    config, stages = recipes.get_config("tiny"), ("pixel_prior", "diff_prior")
    assert priors.provide(config, tmp_path, stages) == train.INTERRUPTED
    assert [name for name, _ in calls] == ["pixel_prior", "autoencoder", "latent_prior"]
    assert priors.provide(config, tmp_path, stages) == 0
    best = tmp_path / "priors"
    assert calls[-1] == (
        "control",
        {
            "unet": str(best / "latent_prior" / "best.safetensors"),
            "restorer": str(best / "pixel_prior" / "best.safetensors"),
        },
    )
    config.augment.weights.pixel_prior = "given.safetensors"
    config.augment.weights.diff_prior = "given.safetensors"
    before = len(calls)
    assert priors.provide(config, tmp_path / "new", stages) == 0
    assert len(calls) == before


def test_priors_that_lack_are_asked_for_where_training_takes_weeks(tmp_path):
    config = recipe(stages=("degrade", "pixel_prior", "diff_prior"))
    assert not recipes.get_config().augment.train_priors
    config.augment.train_priors = False
    with pytest.raises(
        FileNotFoundError, match="weights.pixel_prior=FILE --config.aug"
    ):
        augment.run(config, tmp_path)
    assert not (tmp_path / "set").exists()


def test_a_planted_copy_of_a_test_image_is_found():
    """In a quarter of a sample, turned and brighter."""
    config = recipe()
    config.augment.compose.tile = 48
    rng = np.random.default_rng(0)

    def textures(count):
        return [(f"t{i}", np.float32(rng.random((48, 48, 1)))) for i in range(count)]

    test, source = textures(3), textures(3)
    sample = np.float32(rng.random((96, 96, 1)))
    clean = quality.leaks(config, [("a", sample)], source, test)
    assert clean["leaked"] == []
    sample[48:, :48] = np.rot90(0.1 + 0.8 * test[1][1])
    found = quality.leaks(config, [("a", sample)], source, test)
    assert [(name, other) for name, other, _ in found["leaked"]] == [("a", "t1")]


def test_anchors_have_targets():
    source = data.load(recipe().data, "train")
    assert all(source[i]["mask"].any() for i in parents.targeted(source))


def test_features_of_a_detector_and_of_a_module(tmp_path):
    config = recipe()
    with pytest.raises(ValueError, match="unknown quality.features 'vgg'"):
        quality.extractor(config, "vgg")
    with pytest.raises(ValueError, match="quality.features 'numpy:vgg' is not there"):
        quality.extractor(config, "numpy:vgg")
    with pytest.raises(ValueError, match="name its weights by"):
        quality.extractor(config, "detector")
    assert quality.extractor(config, "numpy:mean") is np.mean
