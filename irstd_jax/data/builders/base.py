"""What the builders share: splits as builder configs, files as they are published."""

import tensorflow_datasets as tfds
from ml_collections import ConfigDict

from irstd_jax.data import benchmarks
from irstd_jax.data.pairs import refuse_problems


def configs(name):
    """One builder config for each named split of a set."""
    splits = benchmarks.LAYOUTS[name].splits
    return [tfds.core.BuilderConfig(name=split, version="1.0.0") for split in splits]


class Benchmark(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A published set under manual_dir; `SET` is its name in `benchmarks.LAYOUTS`."""

    SET = ""
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "name": tfds.features.Text(),
            "image": tfds.features.Image(),
            "mask": tfds.features.Image(),
        }
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features),
            homepage=f"https://{benchmarks.LAYOUTS[self.SET].origin}",
            metadata=tfds.core.MetadataDict(),
            # Record i is then the i-th of the sorted names.
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        settings = ConfigDict(
            {
                "name": self.SET,
                "root": str(dl_manager.manual_dir),
                "split": self.builder_config.name,
                "validation_share": 0.0,
            }
        )
        plan = benchmarks.plan(settings)
        refuse_problems(plan)
        names = {part: list(plan.parts[part]) for part in ("train", "test")}
        self.info.metadata["names"] = names
        return {part: self._generate_examples(plan, part) for part in names}

    def _generate_examples(self, plan, part):
        for index, name in enumerate(plan.parts[part]):
            image, mask = plan.pairs[name]
            yield index, {"name": name, "image": str(image), "mask": str(mask)}
