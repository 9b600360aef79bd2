"""Decoding: every kind of file that people have, and one clear error for the rest."""

import io
import warnings

import numpy as np
import pytest
from PIL import Image

from irstd_jax.data import images

RAMP = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
COLOUR = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], -1)
# Pillow's weights, in words of the documentation: L = (299 R + 587 G + 114 B) / 1000.
GREY = COLOUR @ np.array([299, 587, 114]) / 1000


def saved(path, image, **options):
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "tiff"])
def test_8_bit_grey_is_the_value_over_255(tmp_path, suffix):
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(RAMP))
    read = images.read_image(path)
    assert read.dtype == np.float32 and read.shape == (3, 4, 1)
    np.testing.assert_array_equal(read[..., 0], RAMP.astype(np.float32) / 255)


def test_jpeg_is_read(tmp_path):
    flat = np.full((16, 16), 100, np.uint8)
    path = saved(tmp_path / "a.JPG", Image.fromarray(flat), format="jpeg")
    np.testing.assert_allclose(images.read_image(path), 100 / 255, atol=1 / 255)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_colour_becomes_grey_and_transparency_is_dropped(tmp_path, mode, suffix):
    image = Image.fromarray(COLOUR).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(RAMP))
    path = saved(tmp_path / f"a.{suffix}", image)
    read = images.read_image(path)[..., 0] * 255
    assert np.abs(read - GREY).max() <= 0.5 + 1e-3


def test_palette_is_looked_up(tmp_path):
    image = Image.fromarray(RAMP // 20, mode=None).convert("P")
    image.putpalette([v for k in range(256) for v in (255 - k, k, (3 * k) % 256)])
    image.info["transparency"] = bytes([0, 128] + [255] * 254)
    path = saved(tmp_path / "a.png", image)
    assert images.read_head(path)[2] == "P"
    index = RAMP // 20
    expected = 0.299 * (255.0 - index) + 0.587 * index + 0.114 * (3 * index)
    read = images.read_image(path)[..., 0] * 255
    assert np.abs(read - expected).max() <= 0.5 + 1e-3


def test_grey_with_transparency(tmp_path):
    image = Image.fromarray(RAMP).convert("LA")
    image.putalpha(Image.fromarray(255 - RAMP))
    path = saved(tmp_path / "a.png", image)
    np.testing.assert_allclose(images.read_image(path)[..., 0] * 255, RAMP, atol=1e-3)


def test_one_bit_is_zero_and_one(tmp_path):
    bits = Image.fromarray(RAMP > 100)
    path = saved(tmp_path / "a.png", bits)
    np.testing.assert_array_equal(images.read_image(path)[..., 0], RAMP > 100)
    np.testing.assert_array_equal(images.read_mask(path)[..., 0], RAMP > 100)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_is_the_value_over_65535(tmp_path, suffix):
    deep = RAMP.astype(np.uint16) * 250 + 7
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(deep))
    np.testing.assert_array_equal(
        images.read_image(path)[..., 0], deep.astype(np.float32) / 65535
    )


def test_16_bit_big_endian_tiff(tmp_path):
    deep = (RAMP.astype(np.uint16) * 250 + 7).astype(">u2")
    image = Image.frombytes("I;16B", (4, 3), deep.tobytes())
    path = saved(tmp_path / "a.tif", image)
    assert images.read_head(path)[2] == "I;16B"
    np.testing.assert_array_equal(
        images.read_image(path)[..., 0], deep.astype(np.float32) / 65535
    )


def test_32_bit_integers_must_fit_into_16(tmp_path):
    deep = RAMP.astype(np.int32) * 250
    path = saved(tmp_path / "a.tif", Image.fromarray(deep))
    np.testing.assert_array_equal(
        images.read_image(path)[..., 0], deep.astype(np.float32) / 65535
    )
    path = saved(tmp_path / "b.tif", Image.fromarray(RAMP.astype(np.int32) * 1000))
    with pytest.raises(ValueError, match=r"b\.tif holds integers from 0 to 220000.*16"):
        images.read_image(path)


def test_floating_point_must_lie_in_0_to_1(tmp_path):
    path = saved(tmp_path / "a.tif", Image.fromarray(RAMP.astype(np.float32) / 255))
    np.testing.assert_array_equal(
        images.read_image(path)[..., 0], RAMP.astype(np.float32) / 255
    )
    path = saved(tmp_path / "b.tif", Image.fromarray(RAMP.astype(np.float32)))
    with pytest.raises(ValueError, match=r"b\.tif holds floating point.*scale it"):
        images.read_image(path)
    path = saved(tmp_path / "c.tif", Image.fromarray(np.full((2, 2), np.nan, "f4")))
    with pytest.raises(ValueError, match=r"c\.tif holds floating point"):
        images.read_image(path)


def test_mask_is_grey_above_the_threshold(tmp_path):
    levels = np.array([[0, 64, 127], [128, 254, 255]], np.uint8)
    path = saved(tmp_path / "m.png", Image.fromarray(levels))
    mask = images.read_mask(path)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask[..., 0], [[0, 0, 0], [1, 1, 1]])
    np.testing.assert_array_equal(images.read_mask(path, 0)[..., 0], levels > 0)
    # The same rule holds for a mask in 16 bits.
    deep = saved(tmp_path / "d.png", Image.fromarray(levels.astype(np.uint16) * 257))
    np.testing.assert_array_equal(images.read_mask(deep), mask)
    np.testing.assert_array_equal(images.read_mask(deep, 0)[..., 0], levels > 0)


@pytest.mark.parametrize("target, dtype", [(1, "u1"), (1, "u2"), (255, "u2")])
def test_masks_of_low_values_are_refused_not_taken_as_empty(target, dtype, tmp_path):
    coded = ((RAMP > 100) * target).astype(dtype)
    path = saved(tmp_path / "m.png", Image.fromarray(coded))
    with pytest.raises(ValueError, match=r"m\.png.*mask_threshold=0"):
        images.read_mask(path)
    np.testing.assert_array_equal(images.read_mask(path, 0)[..., 0], RAMP > 100)


def test_bytes_are_read_as_the_file(tmp_path):
    path = saved(tmp_path / "a.png", Image.fromarray(COLOUR))
    np.testing.assert_array_equal(
        images.read_image(path.read_bytes()), images.read_image(path)
    )
    with pytest.raises(ValueError, match="cannot read the image scene_7"):
        images.read_image(b"nonsense", "scene_7")


def test_head_without_pixels(tmp_path):
    path = saved(tmp_path / "a.png", Image.fromarray(COLOUR))
    assert images.read_head(path) == (3, 4, "RGB")


def noise_file(format):
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=format)
    return buffer.getvalue()


@pytest.mark.parametrize("format", ["png", "tiff", "bmp", "jpeg"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_truncated_files_are_named_with_a_remedy(tmp_path, format, share):
    whole = noise_file(format)
    path = tmp_path / "cut.img"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"cannot read.*cut\.img.*again"):
        images.read_image(path)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"\x89PNG\r\n\x1a\n"])
def test_files_that_are_no_images(tmp_path, content):
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot read.*x\.png.*again"):
        images.read_image(path)


def test_an_empty_file_is_called_empty(tmp_path):
    (tmp_path / "x.png").touch()
    with pytest.raises(ValueError, match="the file is empty"):
        images.read_image(tmp_path / "x.png")


def test_flipped_bytes_are_never_another_exception():
    whole = bytearray(noise_file("png"))
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(8, len(whole), 4):
            damaged[place] ^= int(rng.integers(1, 255))
        try:
            images.read_image(bytes(damaged))
        except ValueError:
            refused += 1
    assert refused > 30


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(ValueError, match="there is no file .*nothing"):
        images.read_image(tmp_path / "nothing.png")
    with pytest.raises(ValueError, match="cannot read"):
        images.read_image(tmp_path)


@pytest.mark.parametrize("limit", [11, 5])
def test_decompression_bombs_are_refused(tmp_path, monkeypatch, limit):
    path = saved(tmp_path / "bomb.png", Image.fromarray(RAMP))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with pytest.raises(ValueError, match=r"bomb\.png.*cut it"):
            images.read_image(path)


def test_stacks_are_refused(tmp_path):
    pages = [Image.fromarray(RAMP), Image.fromarray(RAMP)]
    path = saved(tmp_path / "s.tif", pages[0], save_all=True, append_images=pages[1:])
    with pytest.raises(ValueError, match=r"s\.tif holds 2 pictures"):
        images.read_image(path)


def test_real_modes(data_root):
    folder = data_root / "NUAA-SIRST" / "images"
    seen = {}
    for path in sorted(folder.iterdir())[:150]:
        seen.setdefault(images.read_head(path)[2], path)
    assert set(seen) == {"RGB", "L", "RGBA", "P"}
    for path in seen.values():
        expected = np.asarray(Image.open(path).convert("RGB").convert("L"))
        read = images.read_image(path)[..., 0]
        np.testing.assert_array_equal(read, expected.astype(np.float32) / 255)
