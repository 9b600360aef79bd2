"""What all tests share: the platform, the compilation cache, where real data lies."""

import os
import pathlib

from irstd_jax import platform

# Small programs, too: each worker, and each program that a test starts, needs them.
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
platform.prepare(simulated_devices=8, quick=True)

import hypothesis  # noqa: E402
import pytest  # noqa: E402

# The same examples in every run: whether a change passes must not depend on luck. Look
# for new ones with --hypothesis-profile=default.
hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.load_profile("repeatable")

ROOT = pathlib.Path(__file__).resolve().parents[1]


def folder(variable, default, what):
    """The folder that an environment variable names, or a skip that says so."""
    path = pathlib.Path(os.environ.get(variable, ROOT / default))
    if not path.is_dir():
        pytest.skip(f"no {what} at {path}: set {variable} to run this test")
    return path


@pytest.fixture(scope="session")
def data_root():
    """The real data sets (NUAA-SIRST and others), or a skip."""
    return folder("IRSTD_DATA", "../shared/data", "real data")


@pytest.fixture(scope="session")
def golden_root():
    """The reference outputs of the published networks, or a skip."""
    return folder("IRSTD_GOLDEN", "../shared/golden", "reference outputs")


# Files that take minutes begin first, so that no worker is left alone with them.
SLOW = (
    "test_notebooks.py",
    "test_launch.py",
    "test_configs.py",
    "test_irstd_diff.py",
    "test_benchmark.py",
    "test_latent_diffusion.py",
)


def pytest_configure(config):
    """pytest-xdist would begin with the files of most tests, not of the slowest."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    """Slow files first; the order is kept otherwise."""
    order = {name: rank for rank, name in enumerate(SLOW)}
    items.sort(key=lambda item: order.get(item.path.name, len(SLOW)))
