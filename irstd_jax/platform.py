"""The machine under JAX: what must be set before jax is imported.

XLA's CPU gradient of a convolution by its weights is three times as fast without the
"ynn" fusions of jaxlib 0.10 (benchmarks/README.md), and compiled programs are kept
between runs. A user's own settings always win.
"""

import os
import pathlib
import shutil

import jaxlib

FAST_CPU_CONVOLUTIONS = "--xla_cpu_experimental_ynn_fusion_type="
QUICK_COMPILATION = [
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_backend_optimization_level=0",
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_parallel_codegen_split_count=1",  # less work in sum
]


def has_nvidia_gpu():
    """True where an NVIDIA driver is loaded, on Linux or under WSL."""
    driver = pathlib.Path("/proc/driver/nvidia/version").exists()
    return driver or shutil.which("nvidia-smi") is not None


def cpu_flags(quick=False):
    """XLA's flags that pay on a CPU, as a list."""
    # XLA aborts the process at a flag it does not know.
    if not jaxlib.__version__.startswith("0.10."):
        return []
    return [FAST_CPU_CONVOLUTIONS] + quick * QUICK_COMPILATION


def prepare(simulated_devices=None, quick=False, environment=os.environ):
    """Sets JAX's environment variables; call it before jax is imported.

    Args:
      simulated_devices: the number of devices that the CPU shall show, or None.
      quick: compile sooner, for tests, whose programs run for milliseconds.
      environment: the mapping that is changed.
    """
    if not has_nvidia_gpu() and not pathlib.Path("/dev/accel0").exists():
        # A CUDA build of JAX would print its traceback before it falls back.
        environment.setdefault("JAX_PLATFORMS", "cpu")
    flags = cpu_flags(quick)
    if simulated_devices:
        flags.append(f"--xla_force_host_platform_device_count={simulated_devices}")
    environment.setdefault("XLA_FLAGS", " ".join(flags))
    cache = pathlib.Path(environment.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    environment.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache / "irstd_jax"))
    environment.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
