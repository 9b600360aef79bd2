"""The machine under JAX: what must be set before jax is imported.

XLA's CPU gradient of a convolution by its weights is three times as fast without the
"ynn" fusions of jaxlib 0.10 (benchmarks/README.md), and compiled programs are kept
between runs. A user's own settings always win.
"""

import os
import pathlib
import shutil

FAST_CPU_CONVOLUTIONS = "--xla_cpu_experimental_ynn_fusion_type="


def has_nvidia_gpu():
    """True where an NVIDIA driver is loaded, on Linux or under WSL."""
    driver = pathlib.Path("/proc/driver/nvidia/version").exists()
    return driver or shutil.which("nvidia-smi") is not None


def prepare(simulated_devices=None, environment=os.environ):
    """Sets JAX's environment variables; call it before jax is imported.

    Args:
      simulated_devices: the number of devices that the CPU shall show, or None.
      environment: the mapping that is changed.
    """
    import jaxlib

    if not has_nvidia_gpu() and not pathlib.Path("/dev/accel0").exists():
        # A CUDA build of JAX would print its traceback before it falls back.
        environment.setdefault("JAX_PLATFORMS", "cpu")
    if "XLA_FLAGS" not in environment:
        flags = []
        # XLA aborts the process at a flag it does not know.
        if jaxlib.__version__.startswith("0.10."):
            flags.append(FAST_CPU_CONVOLUTIONS)
        if simulated_devices:
            flags.append(f"--xla_force_host_platform_device_count={simulated_devices}")
        environment["XLA_FLAGS"] = " ".join(flags)
    cache = pathlib.Path(environment.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    environment.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache / "irstd_jax"))
    environment.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
