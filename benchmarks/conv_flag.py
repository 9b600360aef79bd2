"""A convolution's weight gradient on the CPU, by XLA's default and by our flag.

  python benchmarks/conv_flag.py

Prints time without / time with `irstd_jax.platform.FAST_CPU_CONVOLUTIONS`; above 1 says
that the flag pays. XLA reads its flags once a process, so each side is a process.
"""

import importlib.metadata
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from irstd_jax.platform import FAST_CPU_CONVOLUTIONS  # noqa: E402

# Image batch (b, h, w, c), convolved by 3x3 kernels into c channels.
SHAPES = ((4, 128, 128, 64), (4, 64, 64, 128), (8, 64, 64, 32))
REPEATS = 7


def main():
    """Prints the ratio for each shape; returns the exit code."""
    if sys.argv[1:] == ["--measure"]:
        print(json.dumps([seconds(shape) for shape in SHAPES]))
        return 0
    if not importlib.metadata.version("jaxlib").startswith("0.10."):
        print("the flag is known to jaxlib 0.10 alone; other versions abort at it")
        return 1
    without, with_flag = measured(""), measured(FAST_CPU_CONVOLUTIONS)
    print("weight gradient of a 3x3 convolution: time without / time with the flag")
    for shape, plain, fast in zip(SHAPES, without, with_flag, strict=True):
        print(f"{shape}: {plain / fast:.2f}")
    return 0


def measured(flags):
    """The seconds that a process of its own takes under these XLA flags."""
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    # A kept program would be of whichever flags compiled it.
    environment["JAX_ENABLE_COMPILATION_CACHE"] = "false"
    command = [sys.executable, __file__, "--measure"]
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)


def seconds(shape):
    """Median seconds of one weight gradient, after a warm-up."""
    import jax
    import jax.numpy as jnp

    def convolved(kernel, x):
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=layout
        )

    def weight_gradient(kernel, x, upstream):
        return jax.vjp(lambda kernel: convolved(kernel, x), kernel)[1](upstream)

    x = jax.random.normal(jax.random.key(0), shape)
    upstream = jax.random.normal(jax.random.key(1), shape)
    arguments = jnp.ones((3, 3, shape[-1], shape[-1])), x, upstream
    compiled = jax.jit(weight_gradient).lower(*arguments).compile()
    taken = []
    for _ in range(1 + REPEATS):
        begun = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken[1:])


if __name__ == "__main__":
    sys.exit(main())
