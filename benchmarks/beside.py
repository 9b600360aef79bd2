"""How far masks lie beside their targets: those of a set, and those that weights draw.

  python benchmarks/beside.py --weights=realtime-nudt,FILE

prints for the training images of NUAA-SIRST and the validation images of NUDT-SIRST,
which no weights of NUDT-SIRST have learnt, the mean offset (y, x) in px of masks from
the light that they mark, its standard error, and of how many targets
(irstd_jax/data/registration.py). A minute of a core for each.
"""

import functools
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from irstd_jax import platform  # noqa: E402

platform.prepare()

import jax  # noqa: E402
import numpy as np  # noqa: E402
from absl import app, flags  # noqa: E402

from configs import nuaa_sirst, nudt_sirst  # noqa: E402
from irstd_jax import data, evaluate, inference, tasks  # noqa: E402
from irstd_jax.data import registration  # noqa: E402

WEIGHTS = flags.DEFINE_list("weights", ["realtime-nudt"], "Names or files, by commas.")
ON = ((nuaa_sirst, "train"), (nudt_sirst, "validation"))


def main(_):
    for weights in WEIGHTS.value:
        for recipe, part in ON:
            config = recipe.get_config("realtime")
            config.weights = weights
            drawn, truth = offsets(config, part)
            where = f"{config.data.name}, {part}"
            print(f"{where}: masks {told(truth)}; by {weights} {told(drawn)}")


def offsets(config, part):
    """Offsets (n, 2) of the masks that weights draw, and (m, 2) of the set's own."""
    config, variables, _ = inference.trained(config, "")
    predict = inference.predictor(tasks.build(config), keep=(config.predict.mode,))
    predict = functools.partial(predict, jax.device_put(variables))
    drawn, truth = [], []

    def each(sample, prediction):
        image, mask = sample["image"][..., 0], prediction[config.predict.mode][..., 0]
        drawn.append(registration.offsets(image, mask > config.evaluation.threshold))
        truth.append(registration.offsets(image, sample["mask"][..., 0]))

    source = data.load(config.data, part)
    evaluate.judge(config, predict, source, calibrate=False, each=each)
    return np.concatenate(drawn), np.concatenate(truth)


def told(found):
    """A mean offset in words."""
    (y, x), error = registration.shift(found)
    return f"({y:+.3f}, {x:+.3f}) ± ({error[0]:.3f}, {error[1]:.3f}) px of {len(found)}"


if __name__ == "__main__":
    app.run(main)
