"""NUDT-SIRST for TFDS: 1327 infrared images, from the files under manual_dir."""

from irstd_jax.data import benchmarks
from irstd_jax.data.builders.base import Benchmark, configs


class NudtSirst(Benchmark):
    """NUDT-SIRST; its splits are builder configs (see `data.benchmarks`)."""

    SET = "nudt_sirst"
    BUILDER_CONFIGS = configs(SET)
    MANUAL_DOWNLOAD_INSTRUCTIONS = benchmarks.LAYOUTS[SET].origin
