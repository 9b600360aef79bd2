"""Our Haar transform by strided slices against jaxwt's: a ratio of times.

  python benchmarks/haar.py

A ratio above 1 says that the strided slices are the faster ones, by that factor.
"""

import functools
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from irstd_jax import platform  # noqa: E402

platform.prepare()

import jax  # noqa: E402
import jaxwt  # noqa: E402

from irstd_jax.ops import haar  # noqa: E402

SHAPES = ((1, 128, 128, 64), (4, 128, 128, 64), (1, 256, 256, 1))
REPEATS = 7
ROUNDS = 5


def main():
    """Prints the ratio for each shape (b, h, w, c)."""
    theirs = functools.partial(jaxwt.wavedec2, wavelet="haar", level=1)
    print("time of jaxwt / time of ours, one level of analysis")
    for shape in SHAPES:
        last = jax.random.normal(jax.random.key(0), shape)
        # jaxwt compiles for the last two axes only, and is given them: no transposing.
        first = last.transpose(0, 3, 1, 2)
        convolve = jax.jit(theirs).lower(first).compile()
        slices = jax.jit(haar.dwt).lower(last).compile()
        # They take turns, so that what else the machine does meets both.
        ratios = [
            seconds(convolve, first) / seconds(slices, last) for _ in range(ROUNDS)
        ]
        print(f"{shape}: {statistics.median(ratios):.1f}")


def seconds(function, x):
    """Median seconds of a call, after a warm-up."""
    jax.block_until_ready(function(x))
    taken = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        jax.block_until_ready(function(x))
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


if __name__ == "__main__":
    main()
