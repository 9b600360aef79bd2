"""The README's picture of an augmented set: generated scenes through all its stages.

  python benchmarks/mosaic_picture.py --output=benchmarks/pictures/mosaic.png

composes mosaics of generated scenes, harmonises and resamples them by the priors that
come with the library (which learnt from real images, and have not seen these), and
draws the first three: mosaic | degraded | Pixel-Prior | Diff-Prior | targets put back |
mask. A minute on 2 CPU cores that had other work.
"""

import pathlib
import shutil
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from irstd_jax import platform  # noqa: E402

platform.prepare()

import numpy as np  # noqa: E402
from absl import app, flags  # noqa: E402

from configs.diff_mosaic import augment as recipe  # noqa: E402
from irstd_jax import augment, files  # noqa: E402
from irstd_jax.data import synthetic  # noqa: E402

FLAGS = flags.FLAGS
flags.DEFINE_string("output", "benchmarks/pictures/mosaic.png", "The picture.")

SCENES = {"size": 160, "seed": 0, "count": {"train": 40, "test": 8}}


def main(argv):
    """Makes a set of four in a temporary folder and keeps its picture."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for part in ("train", "test"):
            write(folder / "scenes", synthetic.load(SCENES, part), part)
        config = recipe.get_config("small")
        config.data.update({"name": "folder", "split": "lists"})
        config.data.root = str(folder / "scenes")
        config.data.validation_share = 0.0
        config.augment.count = 4
        config.augment.weights.pixel_prior = "pixel-prior-nuaa"
        config.augment.weights.diff_prior = "diff-prior-nuaa"
        config.quality.update({"samples": 4, "pictures": 3})
        code = augment.run(config, folder / "work")
        shutil.copy(folder / "work" / "pictures" / "stages.png", FLAGS.output)
    return code


def write(root, scenes, part):
    """A part of generated scenes as files of a data set."""
    for sample in (scenes[i] for i in range(len(scenes))):
        image = np.rint(255 * sample["image"][..., 0]).astype(np.uint8)
        files.write_image(root / "images" / f"{sample['name']}.png", image)
        mask = 255 * sample["mask"][..., 0]
        files.write_image(root / "masks" / f"{sample['name']}.png", mask)
    files.write_text(root / f"{part}.txt", "\n".join(scenes.names) + "\n")


if __name__ == "__main__":
    app.run(main)
