"""The grounds of generated scenes: band-limited noise, waves, ridges, buildings.

Each background is `(rng, h, w) -> radiance (h, w)` of no fixed level or contrast; the
noises that they are made of have mean 0.
"""

import functools

import numpy as np
from scipy import ndimage


@functools.lru_cache(maxsize=16)
def frequencies(h, w):
    """Cycles a pixel along y (h, 1) and x (1, w // 2 + 1), as rfft2 orders them."""
    return (
        np.fft.fftfreq(h).astype(np.float32)[:, None],
        np.fft.rfftfreq(w).astype(np.float32)[None],
    )


def filtered(image, response):
    """The image times a response in the frequency domain (periodic edges)."""
    return np.fft.irfft2(np.fft.rfft2(image) * response, s=image.shape)


def white(rng, h, w):
    return rng.standard_normal((h, w), dtype=np.float32)


def fractal(rng, h, w, slope, stretch=1.0):
    """Noise of power 1/f^slope, mean 0, deviation 1; stretch > 1 draws it out in x."""
    fy, fx = frequencies(h, w)
    f = np.hypot(fy, fx * stretch)
    f[0, 0] = np.inf
    noise = filtered(white(rng, h, w), f ** (-slope / 2))
    return noise / noise.std()


def band(rng, h, w, centre, stretch=1.0):
    """Band-limited noise around `centre` cycles a pixel, mean 0, deviation 1."""
    fy, fx = frequencies(h, w)
    f = np.hypot(fy, fx * stretch)
    noise = filtered(white(rng, h, w), f * np.exp(-0.5 * (f / centre - 1) ** 2 / 0.16))
    return noise / noise.std()


def blur(image, sigma):
    """Gaussian blur with mirrored edges, so that no edge leaks to the opposite one."""
    h, w = image.shape
    p = min(4, h, w)
    padded = np.pad(image, p, mode="symmetric")
    fy, fx = frequencies(*padded.shape)
    response = np.exp(-2 * (np.pi * sigma) ** 2 * (fy**2 + fx**2))
    return filtered(padded, response)[p : p + h, p : p + w]


def ramp(rng, h, w):
    """A linear gradient in a random direction, from about -1 to 1."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.linspace(-1, 1, h)[:, None], np.linspace(-1, 1, w)[None]
    return np.sin(angle) * y + np.cos(angle) * x


def ridge(rng, w, slope=2.4):
    """The outline of hills or trees: a profile along x, mean 0, deviation 1."""
    return fractal(rng, 1, w, slope)[0]


# Backgrounds: (rng, h, w) -> radiance (h, w), most of it in [0, 1].


def sky(rng, h, w):
    """A nearly clear sky: a gradient, thin haze, in some a hill below."""
    image = 0.4 + 0.1 * rng.uniform(0, 1) * ramp(rng, h, w)
    image += rng.uniform(0.005, 0.05) * fractal(rng, h, w, 3.2, rng.uniform(1, 3))
    if rng.random() < 0.3:
        top = h * (rng.uniform(0.6, 0.9) + 0.06 * ridge(rng, w, rng.uniform(2, 3)))
        land = 0.4 + rng.uniform(0.05, 0.2) + 0.03 * fractal(rng, h, w, 2.2)
        image = np.where(np.arange(h)[:, None] > top, land, image)
    return image


def clouds(rng, h, w):
    """Bodies of 1/f^3 noise with edges from crisp to veiled, lit from one side."""
    stretch = rng.uniform(1, 3)
    body = fractal(rng, h, w, rng.uniform(3.2, 4.2), stretch)
    detail = fractal(rng, h, w, 2.7, stretch)
    logit = (body + 0.25 * detail - rng.uniform(-0.8, 0.8)) / rng.uniform(0.12, 0.8)
    density = 1 / (1 + np.exp(-np.clip(logit, -30, 30)))
    lit = rng.uniform(0.2, 0.5) + 0.08 * body + 0.04 * detail + 0.1 * ramp(rng, h, w)
    return 0.2 + 0.05 * ramp(rng, h, w) + density * lit


def sea(rng, h, w):
    """Waves that grow towards the viewer, glints, and a sky where a horizon is seen."""
    horizon = rng.uniform(-0.6, 0.5) * h
    near = np.maximum(np.arange(h) - horizon, 1) / h
    texture = band(rng, h, 2 * w, rng.uniform(0.06, 0.12), 2.5)
    texture += 0.6 * fractal(rng, h, 2 * w, 2.0, 2.0)
    v = rng.uniform(0.35, 0.7) * h * np.log(near)[:, None] + np.zeros(w)
    u = (np.arange(w) - w / 2) / (0.5 + near[:, None])
    waves = ndimage.map_coordinates(texture, [v, u], order=1, mode="grid-wrap")
    swell = rng.uniform(0.02, 0.07) * np.sqrt(near)[:, None]
    image = 0.35 + swell * waves + 0.08 * ramp(rng, h, w)
    if rng.random() < 0.5:  # a path of glints below the sun
        path = np.linspace(-1, 1, w)[None] - rng.uniform(-1, 1)
        path = np.exp(-0.5 * (path / rng.uniform(0.1, 0.4)) ** 2)
        image += 0.25 * path * np.maximum(waves - 1.4, 0)
    air = rng.uniform(0.2, 0.6) + 0.1 * np.linspace(-1, 1, h)[:, None]
    air = air + 0.04 * fractal(rng, h, w, 3.0, 3.0)
    return np.where(np.arange(h)[:, None] < horizon, air, image)


def field(rng, h, w):
    """Patches with gradients (nearest of random sites), tracks, vegetation; no sky."""
    n = rng.integers(4, 12)
    warp = 0.05 * fractal(rng, h, w, 3.6)
    y = np.linspace(0, 1, h)[:, None] + warp
    x = np.linspace(0, 1, w)[None] - warp
    sites = rng.uniform(0, 1, (n, 2))
    distance = [(y - a) ** 2 + (x - b) ** 2 for a, b in sites]
    patch = np.argmin(distance, axis=0)
    image = rng.uniform(0.25, 0.6, n)[patch] + 0.05 * ramp(rng, h, w)
    rough = rng.uniform(0.005, 0.04, n)[patch]
    image = image + rough * fractal(rng, h, w, rng.uniform(1.4, 2.2))
    if rng.random() < 0.5:
        a, b = rng.uniform(-0.5, 0.5), rng.uniform(0.2, 0.8)
        track = np.abs(y - a * x - b) < rng.uniform(0.005, 0.02)
        image = np.where(track, image + rng.uniform(-0.2, 0.2), image)
    return image


def trees(rng, h, w):
    """Foliage below a sky: a ragged outline and clumped texture."""
    top = h * (rng.uniform(0.0, 0.7) + 0.1 * ridge(rng, w, 2.3))
    clumps = 0.08 * fractal(rng, h, w, 2.4) + 0.05 * band(rng, h, w, 0.12)
    wood = rng.uniform(0.45, 0.6) + rng.uniform(0.3, 0.9) * clumps
    air = 0.3 + 0.05 * ramp(rng, h, w) + 0.02 * fractal(rng, h, w, 3.0)
    return np.where(np.arange(h)[:, None] > top, wood, air)


def buildings(rng, h, w):
    """A sky line of blocks, each with its own heat, a gradient, and rows of windows."""
    image = 0.25 + 0.08 * ramp(rng, h, w) + 0.03 * fractal(rng, h, w, 3.0, 2.0)
    y, x = np.arange(h)[:, None], np.arange(w)[None]
    for _ in range(rng.integers(2, 7)):
        wide = int(rng.uniform(0.12, 0.45) * w)
        left, top = rng.integers(-wide // 2, w), int(rng.uniform(0.3, 0.85) * h)
        block = image[top:, max(left, 0) : max(left + wide, 0)]
        block[:] = rng.uniform(0.3, 0.6) + rng.uniform(-0.1, 0.1) * (y[: h - top] / h)
        pitch_y, pitch_x = rng.integers(6, 13), rng.integers(5, 12)
        pane = (y % pitch_y > pitch_y // 2) & ((x - left) % pitch_x > pitch_x // 2)
        wall = np.s_[top + 3 :, max(left + 3, 0) : max(left + wide - 3, 0)]
        image[wall] += rng.uniform(-0.12, 0.12) * pane[wall]
    return image + 0.012 * fractal(rng, h, w, 1.5)


BACKGROUNDS = {
    "sky": sky,
    "clouds": clouds,
    "sea": sea,
    "field": field,
    "trees": trees,
    "buildings": buildings,
}
