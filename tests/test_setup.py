"""CUDA is asked for where there is an NVIDIA driver, and nowhere else."""

import importlib.util
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("setup_script", ROOT / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_cuda_only_with_a_gpu(script, monkeypatch):
    monkeypatch.setattr(script, "has_nvidia_gpu", lambda: False)
    plain = script.dependencies()
    monkeypatch.setattr(script, "has_nvidia_gpu", lambda: True)
    cuda = script.dependencies()
    assert not any("cuda" in line for line in plain)
    changed = [pair for pair in zip(plain, cuda, strict=True) if pair[0] != pair[1]]
    assert changed == [("jax==0.10.2", "jax[cuda12]==0.10.2")]


def test_every_requirement_is_pinned(script):
    names = [line.split("==") for line in script.pins()]
    assert all(len(name) == 2 for name in names)
    wanted = "jax flax optax orbax-checkpoint jaxwt tensorflow-datasets numpy einops"
    assert set(wanted.split()) | {"absl-py", "pytest"} <= {name for name, _ in names}
