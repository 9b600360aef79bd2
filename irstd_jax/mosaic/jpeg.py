"""JPEG, compressed and decompressed, in jnp: differentiable, of any quality and size.

    Y, Cb, Cr of 8-bit RGB (JFIF), chroma halved both ways (4:2:0); grey is Y alone
    8x8 blocks, DCT-II, c -> q round(c / q) with Annex K's tables q, the inverse
    q = clip((table s + 50) // 100, 1, 255),  s = 5000 // Q if Q < 50 else 200 - 2 Q

The last line is libjpeg's quality. Rounding has the gradient of the identity (straight
through). The picture may lie in the top left corner of a larger array: it is continued
by its last row and column, as libjpeg fills incomplete blocks. Chroma is enlarged
bilinearly, libjpeg's "fancy upsampling". Numbers are rounded where libjpeg's integer
arithmetic rounds, so Pillow's JPEG is met but for its DCT constants of 13 bits:
tests/mosaic/test_jpeg.py says how closely.
Sources: ITU-T T.81, Annex A.3 and K.1; JFIF 1.02.
"""

import jax
import jax.numpy as jnp
import numpy as np

from irstd_jax.ops import resize

LUMA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
CHROMA = np.full((8, 8), 99)
CHROMA[:4, :4] = [
    [17, 18, 24, 47],
    [18, 21, 26, 66],
    [24, 26, 56, 99],
    [47, 66, 99, 99],
]
# RGB to Y, Cb, Cr (without the offset of 128), and back.
YCBCR = np.array(
    [
        [0.299, 0.587, 0.114],
        [-0.168735892, -0.331264108, 0.5],
        [0.5, -0.418687589, -0.081312411],
    ],
    np.float32,
)
RGB = np.linalg.inv(YCBCR.astype(float)).astype(np.float32)
OFFSET = np.array([0.0, 128.0, 128.0], np.float32)
DCT = np.sqrt([[1 / 8]] + [[1 / 4]] * 7) * np.cos(
    np.pi / 16 * np.outer(np.arange(8), 2 * np.arange(8) + 1)
)
EXACT = jax.lax.Precision.HIGHEST


def jpeg(image, quality, size=None):
    """What is left of one image after a JPEG file of this quality.

    Args:
      image: (h, w, 1) or (h, w, 3) in [0, 1].
      quality: integer 1..100, may be traced.
      size: (rows, columns) of the picture in the top left corner, may be traced; the
        whole array by default. Outside it the result means nothing.

    Returns:
      (h, w, c) in [0, 1], multiples of 1/255.
    """
    h, w, c = image.shape
    if c not in (1, 3):
        raise ValueError(f"JPEG takes 1 or 3 channels, not {c}")
    rows, columns = (h, w) if size is None else size
    multiple = 8 if c == 1 else 16
    levels = continued(levelled(255 * image), rows, columns, multiple)
    if c == 1:
        return _grey(levels, quality)[:h, :w] / 255
    return _colour(levels, quality, rows, columns)[:h, :w] / 255


def _grey(plane, quality):
    return levelled(coded(plane, table(LUMA, quality)))


def _colour(levels, quality, rows, columns):
    """(h, w, 3) of RGB levels -> the same, sides multiples of 16."""
    h, w, _ = levels.shape
    ycc = ycbcr(levels)
    luma = _grey(ycc[..., :1], quality)
    halved = halve(ycc[..., 1:])
    halved = levelled(coded(halved, table(CHROMA, quality)))
    # The decoder knows the true size: what lies beyond does not bleed in.
    halved = continued(halved, (rows + 1) // 2, (columns + 1) // 2, 1)
    chroma = resize.bilinear(halved[None], (h, w))[0]
    # Ties up in even columns, down in odd ones.
    bias = (8 - jnp.arange(w) % 2)[:, None] / 16
    chroma = straight(chroma, jnp.floor(chroma + bias))
    ycc = jnp.concatenate([luma, chroma], -1) - OFFSET
    return levelled(jnp.einsum("hwc,dc->hwd", ycc, RGB, precision=EXACT))


def ycbcr(levels):
    """RGB levels as Y, Cb, Cr levels, in libjpeg's fixed point: chroma's ties down."""
    fixed = np.round(65536 * YCBCR).astype(np.int32)
    half = np.array([32768, 32767, 32767], np.int32)
    total = (jnp.round(levels).astype(jnp.int32)[..., None, :] * fixed).sum(-1) + half
    exact = jnp.einsum("hwc,dc->hwd", levels, YCBCR, precision=EXACT) + OFFSET
    return straight(exact, jnp.clip((total >> 16) + OFFSET, 0, 255))


def halve(x):
    """Means of 2x2 levels (h, w, c), ties down in even columns, up in odd ones."""
    h, w, c = x.shape
    mean = x.reshape(h // 2, 2, w // 2, 2, c).mean((1, 3))
    bias = (1 + jnp.arange(w // 2) % 2)[:, None] / 4
    return straight(mean, jnp.floor(mean + bias))


def coded(plane, q):
    """Levels (h, w, c), sides multiples of 8, after quantisation of their DCT by q."""
    h, w, c = plane.shape
    blocks = plane.reshape(h // 8, 8, w // 8, 8, c) - 128
    steps = q[:, None, :, None]
    eighths = transformed("vj,aibjc->aibvc", "ui,aibvc->aubvc", blocks, 1 / 4)
    kept = steps * straight(eighths / (8 * steps), quantised(eighths, steps))
    blocks = transformed("ui,aubvc->aibvc", "vj,aibvc->aibjc", kept, 1 / 32)
    return blocks.reshape(h, w, c) + 128


def transformed(first, second, x, scale):
    """8 times the product of x with two DCT matrices, times 4 * scale.

    Rounded after each, to quarters of libjpeg's unit first: as its integer DCT does.
    """
    unnormalised = jnp.asarray(np.sqrt(8) * DCT, x.dtype)
    for product, factor in ((first, 4), (second, scale)):
        x = factor * jnp.einsum(product, unnormalised, x, precision=EXACT)
        x = straight(x, jnp.floor(x + 0.5))
    return x


def table(base, quality):
    """The quantisation table (8, 8) of a quality, as libjpeg scales Annex K's."""
    quality = jnp.clip(jnp.asarray(quality, jnp.int32), 1, 100)
    scale = jnp.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    scaled = (jnp.asarray(base, jnp.int32) * scale + 50) // 100
    return jnp.clip(scaled, 1, 255).astype(jnp.float32)


def continued(x, rows, columns, multiple):
    """(h, w, c) whose first rows x columns are kept, the last of them repeated.

    The result is large enough for `multiple` to divide its sides.
    """
    h, w, _ = x.shape
    y = jnp.minimum(jnp.arange(h + -h % multiple), rows - 1)
    x = jnp.take(x, y, axis=0)
    return jnp.take(x, jnp.minimum(jnp.arange(w + -w % multiple), columns - 1), axis=1)


def quantised(eighths, steps):
    """eighths / (8 steps) as an integer, ties away from zero as in libjpeg."""
    exact, steps = eighths.astype(jnp.int32), steps.astype(jnp.int32)
    whole = (jnp.abs(exact) + 4 * steps) // (8 * steps)
    return (jnp.sign(exact) * whole).astype(eighths.dtype)


def straight(x, value):
    """`value`, with the gradient of x."""
    return jax.lax.stop_gradient(value) + (x - jax.lax.stop_gradient(x))


def levelled(x):
    """Rounded and clipped to the 8-bit levels 0..255."""
    return jnp.clip(straight(x, jnp.round(x)), 0, 255)
