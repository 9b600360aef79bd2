"""A user's own settings win, and a machine without GPU is silent about it."""

from irstd_jax import platform


def prepared(monkeypatch, gpu=False, **environment):
    monkeypatch.setattr(platform, "has_nvidia_gpu", lambda: gpu)
    platform.prepare(environment=environment)
    return environment


def test_without_gpu_jax_is_told_so(monkeypatch):
    assert prepared(monkeypatch)["JAX_PLATFORMS"] == "cpu"
    assert "JAX_PLATFORMS" not in prepared(monkeypatch, gpu=True)


def test_own_settings_win(monkeypatch):
    mine = {
        "JAX_PLATFORMS": "tpu",
        "XLA_FLAGS": "--mine",
        "JAX_COMPILATION_CACHE_DIR": "there",
    }
    told = prepared(monkeypatch, **mine)
    assert told == told | mine


def test_flags_are_only_for_the_version_that_knows_them(monkeypatch):
    monkeypatch.setattr(platform.jaxlib, "__version__", "0.11.0")
    assert platform.cpu_flags(quick=True) == []
