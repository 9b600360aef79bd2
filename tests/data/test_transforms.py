"""Transforms: image and mask stay together, nothing else is lost or made up."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict
from PIL import Image
from scipy import ndimage

from irstd_jax.data import transforms

quick = settings(max_examples=25, deadline=None)
sides = st.integers(3, 40)
seeds = st.integers(0, 2**32 - 1)


def encoded(h, w, seed, targets=2):
    """A sample whose image is its mask, so that whatever parts them shows."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((h, w, 1), np.uint8)
    for _ in range(targets):
        y, x = rng.integers(h), rng.integers(w)
        mask[y : y + rng.integers(1, 5), x : x + rng.integers(1, 5)] = 1
    return {"name": "a", "image": mask.astype(np.float32), "mask": mask}


def random(h, w, seed):
    image = np.random.default_rng(seed).random((h, w, 1), np.float32)
    return encoded(h, w, seed) | {"image": image}


def check(sample):
    """What holds for every sample."""
    image, mask = sample["image"], sample["mask"]
    assert image.shape == mask.shape and image.shape[-1] == 1
    assert image.dtype == np.float32 and mask.dtype == np.uint8
    assert image.min() >= 0 and image.max() <= 1
    assert set(np.unique(mask)) <= {0, 1}
    assert sample["name"] == "a"


def count(mask):
    return transforms.components(mask)[1]


EXACT = {
    "flip": transforms.flip,
    "quarter_turns": transforms.quarter_turns,
    "crop": lambda s, rng: transforms.crop(s, rng, (9, 13)),
    "big crop": lambda s, rng: transforms.crop(s, rng, 50, 1.0),
}
ALL = EXACT | {
    "scale": lambda s, rng: transforms.scale(s, rng, 0.5, 2.0),
    "resize": lambda s, rng: transforms.resize(s, (17, 23)),
    "long side": lambda s, rng: transforms.long_side(s, rng, 5, 60),
    "mirror": transforms.mirror,
    "blur": lambda s, rng: transforms.blur(s, rng, 2.0, bool(rng.integers(2))),
    "levels": lambda s, rng: transforms.brightness_contrast(s, rng, 0.3, 0.5),
    "noise": lambda s, rng: transforms.noise(s, rng, 0.2),
    "frame": lambda s, rng: transforms.frame(s, rng, 0.7),
}


@pytest.mark.parametrize("name", ALL)
@quick
@given(h=sides, w=sides, seed=seeds)
def test_every_transform_keeps_the_contract_and_its_input(name, h, w, seed):
    sample = random(h, w, seed)
    before = {k: np.copy(sample[k]) for k in ("image", "mask")}
    first, second = (ALL[name](sample, np.random.default_rng(seed)) for _ in range(2))
    check(first)
    for key, value in before.items():
        np.testing.assert_array_equal(sample[key], value)
        np.testing.assert_array_equal(first[key], second[key])


@pytest.mark.parametrize("name", EXACT)
@quick
@given(h=sides, w=sides, seed=seeds)
def test_moved_pixels_move_in_image_and_mask_alike(name, h, w, seed):
    moved = EXACT[name](encoded(h, w, seed), np.random.default_rng(seed))
    np.testing.assert_array_equal(moved["image"], moved["mask"])


@pytest.mark.parametrize("name", ["flip", "quarter_turns"])
@quick
@given(h=sides, w=sides, seed=seeds)
def test_flips_and_turns_permute_pixels(name, h, w, seed):
    sample = random(h, w, seed)
    moved = EXACT[name](sample, np.random.default_rng(seed))
    assert sorted(moved["image"].shape) == sorted(sample["image"].shape)
    for key in ("image", "mask"):
        np.testing.assert_array_equal(
            np.sort(moved[key], None), np.sort(sample[key], None)
        )


@pytest.mark.parametrize("name, ways", [("flip", 4), ("quarter_turns", 4)])
def test_flips_and_turns_reach_every_orientation(name, ways):
    sample = random(5, 5, 0)
    moved = (EXACT[name](sample, np.random.default_rng(i)) for i in range(60))
    assert len({m["image"].tobytes() for m in moved}) == ways


@quick
@given(h=sides, w=sides, seed=seeds, low=st.floats(0.3, 2))
def test_scaling_keeps_targets_in_their_places(h, w, seed, low):
    """The centre of a target moves with the grid, to within half a coarse pixel."""
    sample = encoded(h, w, seed, targets=1)
    scaled = transforms.scale(sample, np.random.default_rng(seed), low, low)
    assert scaled["mask"].shape[:2] == (max(round(h * low), 1), max(round(w * low), 1))
    assert scaled["mask"].any()
    old, new = (ndimage.center_of_mass(s["mask"][..., 0]) for s in (sample, scaled))
    ratio = np.array(scaled["mask"].shape[:2]) / (h, w)
    shift = (np.array(new) + 0.5) - (np.array(old) + 0.5) * ratio
    assert np.all(np.abs(shift) <= 0.5 * np.maximum(ratio, 1) + 1e-9)


def test_a_thin_target_keeps_its_middle():
    """No pixel of it is half covered, and its first pixel is not the answer."""
    mask = np.zeros((4, 32, 1), np.uint8)
    mask[2, 23:26] = 1
    sample = {"name": "a", "image": mask.astype(np.float32), "mask": mask}
    scaled = transforms.scale(sample, np.random.default_rng(0), 0.84375, 0.84375)
    np.testing.assert_array_equal(np.argwhere(scaled["mask"][..., 0])[:, 1], [20])


@quick
@given(h=sides, w=sides, seed=seeds, low=st.floats(0.3, 2))
def test_cover_is_exact(h, w, seed, low):
    """Against counting on the grid that both sizes divide; areas are kept."""
    mask = encoded(h, w, seed)["mask"][..., 0]
    size = max(round(h * low), 1), max(round(w * low), 1)
    fine = np.kron(mask, np.ones(size))
    blocks = fine.reshape(size[0], h, size[1], w).mean((1, 3))
    np.testing.assert_allclose(transforms.covered(mask, size), blocks, atol=1e-9)


@quick
@given(seed=seeds, low=st.floats(0.1, 1))
def test_no_target_vanishes_by_scaling(seed, low):
    """On a grid of single pixels far enough apart each must come through as one."""
    mask = np.zeros((60, 60, 1), np.uint8)
    mask[10::40, 10::40] = 1
    sample = {"name": "a", "image": mask.astype(np.float32), "mask": mask}
    scaled = transforms.scale(sample, np.random.default_rng(seed), low, 1.0)
    assert count(scaled["mask"]) == 4


def test_scaling_by_one_changes_nothing():
    sample = random(13, 21, 0)
    same = transforms.scale(sample, np.random.default_rng(0), 1.0, 1.0)
    np.testing.assert_array_equal(same["mask"], sample["mask"])
    np.testing.assert_allclose(same["image"], sample["image"], atol=1e-6)


def test_doubling_a_mask_repeats_its_pixels():
    sample = random(9, 9, 3)
    double = transforms.scale(sample, np.random.default_rng(0), 2.0, 2.0)
    np.testing.assert_array_equal(
        double["mask"], sample["mask"].repeat(2, 0).repeat(2, 1)
    )


@quick
@given(h=st.integers(20, 40), w=st.integers(20, 40), seed=seeds)
def test_a_crop_for_targets_holds_one_whole(h, w, seed):
    sample = encoded(h, w, seed, targets=1)
    cropped = transforms.crop(sample, np.random.default_rng(seed), (12, 8), 1.0)
    assert cropped["mask"].shape == (12, 8, 1)
    assert cropped["mask"].sum() == sample["mask"].sum()


def test_a_crop_smaller_than_its_target_lies_on_it():
    mask = np.zeros((40, 40, 1), np.uint8)
    mask[5:30, 7:12] = 1
    sample = {"name": "a", "image": mask.astype(np.float32), "mask": mask}
    for i in range(20):
        assert transforms.crop(sample, np.random.default_rng(i), 4, 1.0)["mask"].any()


def test_crops_choose_every_target_and_every_place():
    mask = np.zeros((30, 30, 1), np.uint8)
    mask[4, 4] = mask[25, 25] = 1
    sample = {"name": "a", "image": mask * np.float32(1), "mask": mask}
    sample["image"][25, 25] = 0.5
    places = set()
    for i in range(300):
        cropped = transforms.crop(sample, np.random.default_rng(i), 5, 1.0)
        y, x, _ = np.argwhere(cropped["mask"])[0]
        places.add((cropped["image"].max(), y, x))
    # the target at (4, 4) has 5 x 5 places in a window of 5; that at (25, 25) too
    assert len(places) == 50


def test_crops_for_no_target_spread_over_the_image():
    sample = random(8, 8, 0)
    crops = (
        transforms.crop(sample, np.random.default_rng(i), 6, 0.0) for i in range(99)
    )
    assert len({c["image"].tobytes() for c in crops}) == 9


@quick
@given(h=sides, w=sides, seed=seeds, multiple=st.sampled_from([1, 8, 32]))
def test_padding_to_a_multiple_is_undone_by_a_crop(h, w, seed, multiple):
    image = random(h, w, seed)["image"]
    wide, (oh, ow) = transforms.pad_to_multiple(image, multiple)
    ch, cw = transforms.canvas(h, w, multiple)
    assert wide.shape == (ch, cw, 1) and (oh, ow) == (h, w)
    assert ch % multiple == cw % multiple == 0
    assert 0 <= ch - h < multiple and 0 <= cw - w < multiple
    np.testing.assert_array_equal(wide[:h, :w], image)


def test_padding_reflects_or_repeats_the_edge():
    row = np.arange(5, dtype=np.float32).reshape(1, 5, 1)
    grown = transforms.padded(row, (2, 8))[..., 0]
    np.testing.assert_array_equal(grown, [[0, 1, 2, 3, 4, 3, 2, 1]] * 2)
    far = transforms.padded(row, (1, 11))[0, :, 0]
    np.testing.assert_array_equal(far, [0, 1, 2, 3, 4, 4, 4, 4, 4, 4, 4])


@pytest.mark.parametrize("size", [(256, 256), (32, 48), (20, 90)])
def test_resize_is_that_of_pil_on_8_bit_files(size):
    """The published code resizes the file's 8-bit image; floats differ by rounding."""
    h, w = size
    digits = np.random.default_rng(0).integers(0, 256, (61, 83), np.uint8)
    mask = (digits > 200).astype(np.uint8)[..., None]
    sample = {"name": "a", "image": np.float32(digits / 255)[..., None], "mask": mask}
    ours = transforms.resize(sample, size)
    image = np.asarray(Image.fromarray(digits).resize((w, h), Image.BILINEAR))
    nearest = np.asarray(
        Image.fromarray(255 * mask[..., 0]).resize((w, h), Image.NEAREST)
    )
    assert np.abs(255 * ours["image"][..., 0] - image).max() <= 1.01
    np.testing.assert_array_equal(255 * ours["mask"][..., 0], nearest)


def test_levels_follow_their_formula():
    sample = random(6, 7, 0) | {"image": np.full((6, 7, 1), 0.5, np.float32)}
    sample["image"][0, 0], sample["image"][0, 1] = 0.4, 0.6
    shifts, stretches = [], []
    for i in range(200):
        image = transforms.brightness_contrast(
            sample, np.random.default_rng(i), 0.2, 0.5
        )
        image = image["image"]
        shifts.append(image.mean() - 0.5)
        stretches.append((image[0, 1, 0] - image[0, 0, 0]) / 0.2)
    assert -0.2 <= min(shifts) < -0.18 and 0.18 < max(shifts) <= 0.2 + 1e-6
    assert 0.5 - 1e-5 <= min(stretches) < 0.53 and 1.47 < max(stretches) <= 1.5 + 1e-5


def test_noise_has_at_most_the_deviation_asked_for():
    sample = random(64, 64, 0) | {"image": np.full((64, 64, 1), 0.5, np.float32)}
    spread = [
        transforms.noise(sample, np.random.default_rng(i), 0.05)["image"].std()
        for i in range(60)
    ]
    assert max(spread) < 0.053 and max(spread) > 0.045 and min(spread) < 0.01


def framed(mask, n=200, chance=1.0):
    """(n, h, w): where frames of so many seeds changed a grey image."""
    image = np.full((*mask.shape, 1), 0.123, np.float32)
    sample = {"name": "a", "image": image, "mask": mask[..., None].astype(np.uint8)}
    changed = [
        transforms.frame(sample, np.random.default_rng(i), chance) for i in range(n)
    ]
    assert all(one["mask"] is sample["mask"] for one in changed)
    return np.stack([(one["image"] != image)[..., 0] for one in changed])


def test_a_frame_is_whole_lines_at_borders():
    lines = framed(np.zeros((20, 30)))
    inner = lines[:, 4:-4, 4:-4]
    assert not inner.any()
    # Of the middle row and column all that is changed is what lines cross.
    for across in (lines[:, 10], lines[:, :, 15]):
        for ends in (across[:, :4], across[:, :-5:-1]):
            width = ends.sum(1)
            assert set(width) == {0, 1, 2, 3, 4}
            assert (ends == (np.arange(4) < width[:, None])).all()
            assert 0.35 < (width > 0).mean() < 0.65
    for side in (lines[:, 0], lines[:, -1], lines[:, :, 0], lines[:, :, -1]):
        middle = side[:, side.shape[1] // 2]
        assert side[middle].all() and not middle.all()


def test_a_frame_has_its_chance_and_hides_no_target():
    assert framed(np.zeros((9, 9)), chance=0.3).any((1, 2)).mean() < 0.45
    mask = np.zeros((20, 30))
    mask[2, 12] = 1
    lines = framed(mask)
    assert not lines[:, 2, 12].any() and lines[:, 0, 12].any()
    assert lines[:, 19, 12].any() and set(lines[:, :4, 12].sum(1)) == {0, 1, 2}


PUBLISHED = {
    "none": ([0.0], [1.0]),
    "nuaa": ([0.44313725490196076], [0.22549019607843138]),
    "nudt": ([0.4227450980392157], [0.21764705882352942]),
    "irstd1k": ([0.34300465303308825], [0.15576287063897826]),
    "nuaa_basicirstd": ([0.39632882510914524], [0.13576316085516238]),
    "nudt_basicirstd": ([0.42278059417126224], [0.1295009687835095]),
    "imagenet": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    "irstd_diff_sirst": (
        [0.28450727, 0.28450724, 0.28450724],
        [0.22880708, 0.22880709, 0.22880709],
    ),
    "irstd_diff_nudt": (
        [0.36956465, 0.36938766, 0.37360018],
        [0.23812144, 0.2380954, 0.24050511],
    ),
}


@pytest.mark.parametrize("name", transforms.PRESETS)
def test_presets_are_the_published_numbers(name):
    mean, std = PUBLISHED[name]
    image = np.float32([[[0.0], [1.0]]])
    out = transforms.normalise(image, *transforms.PRESETS[name], channels=3)
    assert out.shape == (1, 2, 3) and out.dtype == np.float32
    np.testing.assert_allclose(
        out[0, 0], np.broadcast_to(-np.divide(mean, std), 3), rtol=1e-6
    )
    np.testing.assert_allclose(
        out[0, 1] - out[0, 0], np.broadcast_to(np.divide(1, std), 3), rtol=1e-6
    )


def test_real_pixels_have_the_statistics_of_their_preset(data_root):
    """Every fortieth image of NUDT-SIRST comes out near mean 0 and deviation 1."""
    files = sorted((data_root / "NUDT-SIRST" / "images").glob("*.png"))[::40]
    grey = [np.asarray(Image.open(f).convert("L"))[..., None] / 255 for f in files]
    out = transforms.normalise(np.stack(grey), *transforms.PRESETS["nudt"])
    assert abs(out.mean()) < 0.1 and abs(out.std() - 1) < 0.1


def test_normalise_refuses_the_wrong_number_of_channels():
    with pytest.raises(ValueError, match="3 numbers for 1 channels"):
        preset = transforms.PRESETS["irstd_diff_sirst"]
        transforms.normalise(np.zeros((2, 2, 1), np.float32), *preset)


@pytest.mark.parametrize(
    "off", [None, {}, {"flip": False, "scale": None, "noise": 0.0}]
)
def test_nothing_is_augmented_by_default(off):
    sample = random(9, 11, 0)
    assert transforms.augment(sample, np.random.default_rng(0), off) is sample


def test_augment_applies_what_is_on_in_the_stated_order():
    block = ConfigDict(
        {
            "flip": True,
            "quarter_turns": True,
            "scale": (0.7, 1.4),
            "brightness": 0.1,
            "contrast": 0.2,
            "noise": 0.02,
        }
    )
    sample = random(20, 30, 0)
    for seed in range(5):
        ours = transforms.augment(sample, np.random.default_rng(seed), block)
        rng = np.random.default_rng(seed)
        hand = transforms.scale(sample, rng, 0.7, 1.4)
        hand = transforms.quarter_turns(transforms.flip(hand, rng), rng)
        hand = transforms.brightness_contrast(hand, rng, 0.1, 0.2)
        hand = transforms.noise(hand, rng, 0.02)
        check(ours)
        for key in ("image", "mask"):
            np.testing.assert_array_equal(ours[key], hand[key])


def test_unknown_augmentations_are_refused():
    with pytest.raises(ValueError, match=r"\['rotate'\]; choose from"):
        transforms.augment(random(5, 5, 0), np.random.default_rng(0), {"rotate": True})


def test_the_long_side_takes_every_length():
    sample, rng = random(20, 30, 0), np.random.default_rng(0)
    shapes = {
        transforms.long_side(sample, rng, 14, 17)["mask"].shape for _ in range(60)
    }
    assert {shape[1] for shape in shapes} == {14, 15, 16, 17}
    assert all(abs(h - w * 20 / 30) <= 0.5 for h, w, _ in shapes)
    with pytest.raises(ValueError, match="1 <= low <= high"):
        transforms.long_side(sample, rng, 9, 3)


def test_mirror_is_left_right_alone():
    sample = random(5, 7, 0)
    seen = {
        transforms.mirror(sample, np.random.default_rng(i))["image"].tobytes()
        for i in range(20)
    }
    turned = np.ascontiguousarray(sample["image"][:, ::-1])
    assert seen == {sample["image"].tobytes(), turned.tobytes()}


def test_blur_spares_targets_if_told():
    sample = random(20, 20, 3)
    target = sample["mask"] > 0
    changed = 0
    for seed in range(10):
        rngs = [np.random.default_rng(seed) for _ in range(2)]
        plain = transforms.blur(sample, rngs[0], 2.0)["image"]
        spared = transforms.blur(sample, rngs[1], 2.0, True)["image"]
        np.testing.assert_array_equal(spared[target], sample["image"][target])
        np.testing.assert_array_equal(spared[~target], plain[~target])
        changed += np.any(plain != sample["image"])
    assert 1 <= changed <= 9


@pytest.mark.parametrize("bounds", [(0, 1), (2, 1)])
def test_impossible_zooms_are_refused(bounds):
    with pytest.raises(ValueError, match="0 < low <= high"):
        transforms.scale(random(5, 5, 0), np.random.default_rng(0), *bounds)


@pytest.mark.parametrize("size", [0, (4, -1)])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(ValueError, match="not positive"):
        transforms.resize(random(5, 5, 0), size)
