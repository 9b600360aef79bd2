"""Degraded and mixed images, what the Pixel-Prior learns to harmonise.

    I_degrade = Degrade(I)                                            (1)
    I_mix = M * I_degrade + (1 - M) * I                               (2), (4)

A Degrade is one or two passes of blur -> resize -> noise -> JPEG, each back to full
size. M (M_select) is 1 where the image is degraded, 0 in the clean region. The paper
writes "cut from the original"; its code pastes ONE clean box, which is what Eq. 2 says
with this M. The box is CutMix's, lam ~ Beta(.25, .25): on average .300 of the image is
clean. Source: Diff-Mosaic, Eqs. 1, 2 and 4, section IV-A2, and its released code, from
which we differ where facts call it an error (PRESETS).
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from irstd_jax.mosaic import blur, boxes, resample
from irstd_jax.mosaic.jpeg import jpeg
from irstd_jax.mosaic.noise import between, noisy


def _check_range(name, pair):
    if pair is not None and not 0 <= pair[0] <= pair[1]:
        raise ValueError(f"{name} {pair} is not 0 <= low <= high")


@dataclasses.dataclass(frozen=True)
class Pass:
    """One blur -> resize -> noise -> JPEG; ranges are drawn from evenly, an image each.

    Attributes:
      blur: the chance that the image is blurred.
      kernel: side of the kernel in pixels, odd.
      sigma: range in pixels.
      anisotropic: chance of two different sigmas at a random angle.
      resize: the chance that the image is reduced.
      scale: range of the divisor of both sides.
      reduce: methods of `resample`, one of which reduces the image.
      enlarge: the same for the way back.
      gaussian: the chance of Gaussian noise; else, with chance `poisson`, shot noise.
      noise: range of the Gaussian deviation, in 255ths.
      poisson: see `gaussian`.
      shot: range of the factor on the shot noise of `photons` at white.
      grey_noise: the chance that all channels share their noise.
      jpeg: range of the quality (its integer part is taken), or None for no JPEG.
    """

    blur: float = 1.0
    kernel: int = 41
    sigma: tuple[float, float] = (0.1, 12.0)
    anisotropic: float = 0.5
    resize: float = 1.0
    scale: tuple[float, float] = (1.0, 10.0)
    reduce: tuple[str, ...] = ("bilinear",)
    enlarge: tuple[str, ...] = ("bilinear",)
    gaussian: float = 1.0
    noise: tuple[float, float] = (0.0, 15.0)
    poisson: float = 0.0
    shot: tuple[float, float] = (0.05, 3.0)
    photons: float = 255.0
    grey_noise: float = 1.0
    jpeg: tuple[float, float] | None = (30.0, 60.0)

    def __post_init__(self):
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"kernel {self.kernel} is not odd and positive")
        for name in ("sigma", "scale", "noise", "shot", "jpeg"):
            _check_range(name, getattr(self, name))
        if self.sigma[0] <= 0 or self.scale[0] < 1:
            raise ValueError(f"sigma {self.sigma} > 0, scale {self.scale} >= 1 needed")
        for name in ("blur", "anisotropic", "resize", "gaussian", "poisson"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name)} is no probability")


@dataclasses.dataclass(frozen=True)
class Degradation:
    """Settings of `degrade`.

    Attributes:
      passes: one `Pass`, or two for the second-order process.
      select: the clean region, one of SELECTIONS.
      concentration: a of the box's Beta(a, a).
      keep_targets: target pixels are clean too, where masks are given.
      shared_kernel: one blur kernel for the whole run, as the release has at
        generation; drawn from the argument `shared`.
    """

    passes: tuple[Pass, ...] = (Pass(),)
    select: str = "box"
    concentration: float = 0.25
    keep_targets: bool = True
    shared_kernel: bool = False

    def __post_init__(self):
        if self.select not in SELECTIONS:
            raise ValueError(
                f"unknown selection {self.select!r}; choose from {sorted(SELECTIONS)}"
            )


def _box(key, height, width, concentration):
    return boxes.box(key, height, width, concentration)


def _quadrant(key, height, width, concentration, released=False):
    """One of four corners, 250 (246) of 512 pixels a side; two of the release's are
    empty, because their corners are in the wrong order."""
    corners = [(0, 0, 250, 250), (0, 266, 250, 512), (266, 0, 512, 250)]
    if released:
        corners[1:] = [(0, 266, 0, 512), (266, 0, 512, 0)]
    corners = jnp.array([*corners, (266, 266, 512, 512)])
    chosen = corners[jax.random.randint(key, (), 0, 4)]
    sides = jnp.array([height, width, height, width])
    return (chosen * sides + 256) // 512


# (key, height, width, concentration) -> corners of the clean region.
SELECTIONS = {
    "box": _box,
    "quadrants": _quadrant,
    "quadrants_released": functools.partial(_quadrant, released=True),
    "none": lambda *_: jnp.zeros(4, jnp.int32),
}

_BLUR_ONLY = Pass(
    kernel=31, sigma=(0.1, 10.0), resize=0.0, gaussian=0.0, poisson=0.0, jpeg=None
)
_MIXED = {"reduce": resample.METHODS, "enlarge": ("bilinear", "bicubic")}
PRESETS = {
    # Training of both priors as released: first order. Colour noise even on grey.
    "released": Degradation((Pass(grey_noise=0.0),), keep_targets=False),
    # Second order without JPEG, as the paper says; it gives no numbers, so these are
    # Real-ESRGAN's, whose enlargements (up to 1.5) a fixed canvas has no room for.
    "paper": Degradation(
        (
            Pass(
                **_MIXED,
                kernel=21,
                sigma=(0.2, 3.0),
                resize=0.7,
                scale=(1.0, 1 / 0.15),
                gaussian=0.5,
                noise=(1.0, 30.0),
                poisson=1.0,
                grey_noise=0.4,
                jpeg=None,
            ),
            Pass(
                **_MIXED,
                blur=0.8,
                kernel=21,
                sigma=(0.2, 1.5),
                resize=0.3,
                scale=(1.0, 1 / 0.3),
                gaussian=0.5,
                noise=(1.0, 25.0),
                poisson=1.0,
                shot=(0.05, 2.5),
                grey_noise=0.4,
                jpeg=None,
            ),
        )
    ),
    # At generation the release blurs only. First with its two slips mended.
    "generation": Degradation((_BLUR_ONLY,), select="quadrants"),
    "generation_released": Degradation(
        (_BLUR_ONLY,), select="quadrants_released", shared_kernel=True
    ),
    # For infrared crops of 128 px at native scale, with targets of 3 px.
    "small": Degradation(
        (
            Pass(
                **_MIXED,
                kernel=21,
                sigma=(0.1, 3.0),
                scale=(1.0, 4.0),
                noise=(0.0, 10.0),
                jpeg=(40.0, 95.0),
            ),
        )
    ),
}


def preset(name, **changes):
    """The `Degradation` PRESETS[name], with fields of it or of all its passes changed.

    Raises ValueError for an unknown preset or field.
    """
    if name not in PRESETS:
        raise ValueError(
            f"unknown degradation preset {name!r}; choose from {sorted(PRESETS)}"
        )
    of_whole, of_pass = (
        {field.name for field in dataclasses.fields(kind)}
        for kind in (Degradation, Pass)
    )
    of_whole -= {"passes"}
    unknown = changes.keys() - of_whole - of_pass
    if unknown:
        raise ValueError(
            f"unknown fields of a degradation {sorted(unknown)}; choose from "
            f"{sorted(of_whole | of_pass)}"
        )
    # A config that was read from JSON has lists where there were tuples.
    changes = {k: tuple(v) if isinstance(v, list) else v for k, v in changes.items()}
    whole, each = (
        {field: value for field, value in changes.items() if field in kind}
        for kind in (of_whole, of_pass)
    )
    passes = tuple(dataclasses.replace(one, **each) for one in PRESETS[name].passes)
    return dataclasses.replace(PRESETS[name], passes=passes, **whole)


@functools.partial(jax.jit, static_argnames="settings")
def degrade(keys, images, settings, masks=None, shared=None):
    """I_mix of Eq. 2 and M_select.

    Args:
      keys: (b,) keys, one an example.
      images: (b, h, w, c) in [0, 1], c = 1 or 3.
      settings: a `Degradation`, such as PRESETS["small"].
      masks: (b, h, w, 1), target above 0, or None.
      shared: the run's one key, for `shared_kernel`.

    Returns:
      mixed (b, h, w, c) in [0, 1], exactly `images` where select is 0, and
      select (b, h, w, 1), 1 where degraded.
    """
    if settings.shared_kernel and shared is None:
        raise ValueError("shared_kernel needs the argument `shared`, a key for the run")
    _, h, w, _ = images.shape
    split = jax.vmap(lambda key: jax.random.split(key, 1 + len(settings.passes)))(keys)
    select = jax.vmap(lambda key: _degraded(key, h, w, settings))(split[:, 0])
    if masks is not None and settings.keep_targets:
        select = select * (masks <= 0)
    degraded = images
    for number, one in enumerate(settings.passes):
        common = None
        if settings.shared_kernel:
            common = jax.random.fold_in(shared, number)
        run = functools.partial(_run, settings=one, common=common)
        degraded = jax.vmap(run)(split[:, 1 + number], degraded)
    return jnp.where(select > 0, degraded, images), select


def _degraded(key, h, w, settings):
    """M_select (h, w, 1) of one image, targets not yet regarded."""
    corners = SELECTIONS[settings.select](key, h, w, settings.concentration)
    return 1.0 - boxes.filled(corners, h, w)[..., None]


def _run(key, image, settings, common):
    """One pass on one image (h, w, c)."""
    blur_key, size_key, noise_key, jpeg_key = jax.random.split(key, 4)
    image = blurred(blur_key, image, settings, common)
    full = image.shape[:2]
    size, down, up = _sizes(size_key, full, settings)
    if settings.resize:
        image = resample.resize(image, (down, settings.reduce), full, size)
    image = jnp.clip(noisy(noise_key, image, settings), 0, 1)
    if settings.jpeg is not None:
        quality = between(jpeg_key, settings.jpeg).astype(jnp.int32)
        image = jpeg(image, quality, size)
    if settings.resize:
        image = resample.resize(image, (up, settings.enlarge), size, full)
    return jnp.clip(image, 0, 1)


def blurred(key, image, settings, common=None):
    """The image under a random kernel; `common`, if given, is the key of the kernel."""
    chance, kernel_key = jax.random.split(key)
    kernel = blur.random_kernel(
        kernel_key if common is None else common,
        settings.kernel,
        settings.sigma,
        settings.anisotropic,
    )
    on = jax.random.bernoulli(chance, settings.blur)
    return jnp.where(on, blur.correlate(image, kernel), image)


def _sizes(key, full, settings):
    """The reduced (rows, columns), and which methods lead there and back."""
    chance, scale, down, up = jax.random.split(key, 4)
    divisor = between(scale, settings.scale)
    divisor = jnp.where(jax.random.bernoulli(chance, settings.resize), divisor, 1.0)
    size = tuple(jnp.maximum((n / divisor).astype(jnp.int32), 1) for n in full)
    down = jax.random.randint(down, (), 0, len(settings.reduce))
    return size, down, jax.random.randint(up, (), 0, len(settings.enlarge))
