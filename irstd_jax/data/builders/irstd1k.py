"""IRSTD-1k for TFDS: 1001 infrared images, from the files under manual_dir."""

from irstd_jax.data import benchmarks
from irstd_jax.data.builders.base import Benchmark, configs


class Irstd1k(Benchmark):
    """IRSTD-1k; its splits are builder configs (see `data.benchmarks`)."""

    SET = "irstd1k"
    BUILDER_CONFIGS = configs(SET)
    MANUAL_DOWNLOAD_INSTRUCTIONS = benchmarks.LAYOUTS[SET].origin
