"""The classical methods against plain NumPy, on a batch of images: ratios of times.

  python benchmarks/classical.py
  python benchmarks/classical.py 80 2    # side and number of images, to try it

A ratio above 1 says that ours is the faster one, by that factor. The plain ones are the
references of the tests, image after image: windows are stacks of shifted images, one
map a pixel of the window, and low rank is by LAPACK's SVD. IPI takes minutes. MSLSTIPT
has no plain reference.
"""

import pathlib
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "classical")]

from irstd_jax import platform  # noqa: E402

platform.prepare()

import jax  # noqa: E402
import numpy as np  # noqa: E402
import plain  # noqa: E402

from irstd_jax import classical  # noqa: E402

ROUNDS = 3


def main(side=256, count=16):
    """Prints the ratio for each method."""
    images = scenes(side, count)
    print(f"time of plain NumPy / time of ours, {count} images of {side}x{side}")
    for name, reference in plain.METHODS.items():
        ours = classical.build(name)
        jax.block_until_ready(ours(images))
        # They take turns, so that what else the machine does meets both.
        ratios = [
            seconds(lambda f=reference: [f(image[..., 0]) for image in images])
            / seconds(lambda f=ours: jax.block_until_ready(f(images)))
            for _ in range(ROUNDS)
        ]
        print(f"{name}: {statistics.median(ratios):.1f}", flush=True)


def scenes(side, count):
    """Clouds of grey levels with noise and a dot: (count, side, side, 1)."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] / side
    phase = rng.uniform(0, 6, (4, count, 1, 1))
    clouds = np.sin(5 * y + phase[0]) * np.cos(7 * x + phase[1])
    clouds += np.sin(17 * (x + y) + phase[2]) * np.cos(23 * (x - y) + phase[3]) / 3
    images = 110 + 50 * clouds + 3 * rng.normal(size=clouds.shape)
    images[:, side // 2 :, side // 3 :][:, :3, :3] += 60
    return np.clip(np.rint(images), 1, 255)[..., None]


def seconds(function):
    """Of one call."""
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
