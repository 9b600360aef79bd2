"""Generated scenes: seeded, apart by part, with targets as strong as asked for."""

import json

import numpy as np
import pytest
from ml_collections import ConfigDict
from scipy import ndimage

from irstd_jax.data import scenery, synthetic

EIGHT = np.ones((3, 3))


def source(part="train", n=4, **fields):
    counts = dict.fromkeys(synthetic.PARTS, n)
    return synthetic.load({"count": counts, "size": 64, "seed": 3, **fields}, part)


def targets(mask):
    """The masks of the single targets, each boolean (h, w)."""
    labels, n = ndimage.label(mask[..., 0], EIGHT)
    return [labels == k for k in range(1, n + 1)]


def same(a, b):
    return np.array_equal(a["image"], b["image"]) and np.array_equal(
        a["mask"], b["mask"]
    )


@pytest.fixture(scope="module")
def many():
    """Scenes enough for statistics."""
    return [synthetic.scene(np.random.default_rng(i)) for i in range(150)]


def test_a_sample_keeps_the_contract():
    sample = source(size=(48, 80))[1]
    assert sample["name"] == "train_000001"
    assert sample["image"].shape == sample["mask"].shape == (48, 80, 1)
    assert sample["image"].dtype == np.float32
    assert sample["mask"].dtype == np.uint8
    assert set(np.unique(sample["mask"])) <= {0, 1}
    digits = sample["image"] * 255
    assert digits.min() >= 0 and digits.max() <= 255
    np.testing.assert_allclose(digits, np.rint(digits), atol=1e-4)


def test_a_scene_depends_on_seed_part_and_index_alone():
    one, two = source(), source(n=9)
    backwards = [one[i] for i in reversed(range(4))][::-1]
    synthetic.digits.cache_clear()
    assert all(same(two[i], backwards[i]) for i in range(4))
    assert not same(one[0], source(seed=4)[0])


def test_all_scenes_of_all_parts_differ():
    scenes = [source(part, 6)[i] for part in synthetic.PARTS for i in range(6)]
    assert len({s["image"].tobytes() for s in scenes}) == 18
    assert len({s["name"] for s in scenes}) == 18


def test_what_a_caller_does_to_a_sample_stays_with_the_caller():
    scenes = source()
    before = scenes[0]
    for key in ("image", "mask"):
        spoilt = scenes[0]
        spoilt[key][:] = 1
    assert same(scenes[0], before)


def test_a_source_is_a_sequence():
    scenes = source(n=3)
    assert len(scenes) == 3 and len(list(scenes)) == 3
    assert scenes.names == ("train_000000", "train_000001", "train_000002")
    for i in (3, -1):
        with pytest.raises(IndexError, match="of 3 in part 'train'"):
            scenes[i]


def test_the_description_tells_what_was_generated():
    facts = json.loads(json.dumps(source(n=5).describe()))
    assert facts["set"] == "synthetic" and facts["part"] == "train"
    assert facts["count"] == 5 and facts["seed"] == 3 and facts["size"] == [64, 64]
    others = [source("test", 5), source(n=5, seed=4), source(n=5, targets=(2, 2))]
    hashes = {s.describe()["hash"] for s in [source(n=5), source(n=5), *others]}
    assert len(hashes) == 4


def test_a_config_dict_says_the_same_as_a_dict():
    fields = {"count": {"train": 2}, "size": 32, "clutter_ratio": (5.0, 9.0)}
    plain, config = (synthetic.load(f, "train") for f in (fields, ConfigDict(fields)))
    assert plain.describe() == config.describe()
    assert same(plain[1], config[1])


@pytest.mark.parametrize("kind", sorted(synthetic.BACKGROUNDS))
@pytest.mark.parametrize("size", [(16, 16), (37, 90), (130, 61)])
def test_every_background_fills_any_size(kind, size):
    sample = synthetic.scene(np.random.default_rng(0), size, background=kind)
    assert sample["image"].shape == (*size, 1)
    assert np.isfinite(sample["image"]).all()
    assert np.ptp(sample["image"]) > 4 / 255


@pytest.mark.parametrize("asked", [6.0, 12.0])
def test_the_realised_clutter_ratio_is_the_one_asked_for(asked):
    measured = []
    for i in range(80):
        sample = synthetic.scene(
            np.random.default_rng(i), clutter_ratio=(asked, asked), background="sky"
        )
        image, every = sample["image"][..., 0], sample["mask"][..., 0] > 0
        for target in targets(sample["mask"]):
            near = ndimage.binary_dilation(target, EIGHT, iterations=10)
            near &= ~ndimage.binary_dilation(every, EIGHT, iterations=4)
            sigma = max(image[near].std(), synthetic.SIGMA_FLOOR)
            measured.append((image[target].mean() - image[near].mean()) / sigma)
    assert np.median(measured) == pytest.approx(asked, rel=0.1)
    assert np.mean(np.abs(np.array(measured) / asked - 1) < 0.35) > 0.85


def test_targets_are_as_small_as_real_ones(many):
    areas = [t.sum() for s in many for t in targets(s["mask"])]
    assert 14 <= np.median(areas) <= 26
    assert min(areas) >= 3
    assert np.mean(np.array(areas) <= 81) > 0.95


def test_targets_are_bright_and_not_the_only_bright_things(many):
    gains, rivals = [], 0
    for sample in many:
        image, mask = sample["image"][..., 0], sample["mask"][..., 0] > 0
        ring = ndimage.binary_dilation(mask, EIGHT, iterations=6)
        ring &= ~ndimage.binary_dilation(mask, EIGHT, iterations=3)
        if mask.any():
            gains.append(image[mask].mean() - image[ring].mean())
            far = ~ndimage.binary_dilation(mask, EIGHT, iterations=6)
            rivals += image[far].max() >= image[mask].mean()
    assert np.mean(np.array(gains) > 0) > 0.99
    assert rivals > 0.3 * len(gains)


def test_scenes_look_as_varied_as_real_sets(many):
    pixels = np.stack([s["image"] for s in many])
    assert 85 / 255 < pixels.mean() < 125 / 255
    assert 35 / 255 < pixels.std() < 70 / 255
    assert np.mean(pixels == 1) < 0.01


@pytest.mark.parametrize("least, most", [(1, 3), (2, 2), (0, 0)])
def test_the_number_of_targets_is_in_its_range(least, most):
    counts = []
    for i in range(60):
        rng = np.random.default_rng(i)
        sample = synthetic.scene(rng, (96, 96), targets=(least, most), empty=0)
        counts.append(len(targets(sample["mask"])))
    assert max(counts) == most
    assert np.mean(np.array(counts) >= least) > 0.9


def test_the_asked_share_of_scenes_is_empty(many):
    assert 0.03 < np.mean([not s["mask"].any() for s in many]) < 0.2
    bare = synthetic.scene(np.random.default_rng(0), empty=1)
    assert not bare["mask"].any()


@pytest.mark.parametrize("name", sorted(synthetic.TARGETS))
def test_a_drawn_target_is_one_whole_body_inside_its_patch(name):
    maker, _ = synthetic.TARGETS[name]
    for i in range(40):
        profile = maker(np.random.default_rng(i))
        inside = profile > synthetic.MASK_SHARE * profile.max()
        assert inside[synthetic.REACH, synthetic.REACH] or name == "extended"
        border = np.ones_like(inside)
        border[1:-1, 1:-1] = False
        assert not inside[border].any()
        assert ndimage.label(inside, EIGHT)[1] == 1


def test_fractal_noise_has_the_slope_asked_for():
    n, slope = 256, 2.0
    noise = scenery.fractal(np.random.default_rng(0), n, n, slope)
    power = np.abs(np.fft.rfft2(noise)) ** 2
    f = np.hypot(*scenery.frequencies(n, n))
    keep = (f > 0.02) & (f < 0.4)
    fitted = np.polyfit(np.log(f[keep]), np.log(power[keep]), 1)[0]
    assert fitted == pytest.approx(-slope, abs=0.1)
    assert noise.mean() == pytest.approx(0, abs=1e-5)
    assert noise.std() == pytest.approx(1, abs=1e-5)


def test_blur_keeps_the_mean_and_has_the_width_asked_for():
    image = np.zeros((33, 33))
    image[16, 16] = 1
    soft = synthetic.blur(image, 1.5)
    y = np.arange(33) - 16
    assert soft.sum() == pytest.approx(1)
    assert soft.sum(axis=1) @ y**2 == pytest.approx(1.5**2, rel=1e-3)
    edge = synthetic.blur(np.repeat([[0.0], [1.0]], 20, axis=0).repeat(8, 1), 0.9)
    np.testing.assert_allclose(edge[0], 0, atol=1e-3)
    np.testing.assert_allclose(edge[-1], 1, atol=1e-3)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"size": 8}, "below 16"),
        ({"clutter_ratio": (9, 3)}, "0 < low <= high"),
        ({"targets": (3, 1)}, "least <= greatest"),
        ({"empty": 2}, "share"),
        ({"count": {"test": 3}}, "part 'train'"),
    ],
)
def test_bad_settings_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        source(**fields)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="choose from"):
        source("training")
    with pytest.raises(ValueError, match="choose from"):
        synthetic.scene(np.random.default_rng(0), background="desert")
