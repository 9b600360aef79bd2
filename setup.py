"""The dependencies are those of requirements.txt; CUDA only where there is a GPU.

Package metadata cannot ask for a driver, so this file does: `pip install -r
requirements.txt` and `pip install .` add JAX's CUDA 12 libraries (3 GB) on a machine
with an NVIDIA driver, and nowhere else.
"""

import pathlib
import shutil

from setuptools import setup

HERE = pathlib.Path(__file__).parent


def pins():
    """The pinned requirements, without comments and without this project itself."""
    lines = (HERE / "requirements.txt").read_text().splitlines()
    return [line for line in lines if line and line[0] not in "#-"]


def has_nvidia_gpu():
    """True where an NVIDIA driver is loaded, on Linux or under WSL."""
    driver = pathlib.Path("/proc/driver/nvidia/version").exists()
    return driver or shutil.which("nvidia-smi") is not None


def dependencies():
    """The pins, with the CUDA extra of the same JAX where it can be used."""
    cuda = [line.replace("jax==", "jax[cuda12]==") for line in pins()]
    return cuda if has_nvidia_gpu() else pins()


if __name__ == "__main__":
    setup(install_requires=dependencies())
