"""Training where nothing descends: a look at every training image, then a choice.

The images are whole, prepared as for predicting, and as training has them: without the
validation and test parts, resized if `data.resize` says so. What is chosen is saved as
the weights of any run. A fit that is cut begins anew; one that is there is kept.
"""

import pathlib

import jax

from irstd_jax import data, evaluate, inference, tasks
from irstd_jax.data import pipeline
from irstd_jax.training import writer
from irstd_jax.weights import store


def run(config, workdir):
    """Fits the task of `config`, saves, and evaluates if asked; returns 0.

    Raises ValueError where there is nothing to choose, or nothing can be chosen.
    """
    task, path = tasks.build(config), pathlib.Path(workdir) / inference.BEST
    if not task.learns:
        raise ValueError(
            f"{config.name} has nothing to learn: evaluate and predict work as it is, "
            "and --config.task.rule=deviations has its k chosen on training images"
        )
    if jax.process_index() > 0:
        return 0
    if not path.is_file():
        source = data.load(config.data, "train")
        variables, told = fitted(config, workdir, task, source)
        values = ", ".join(f"{name} = {value:.4g}" for name, value in told.items())
        learnt = f"{values} on {len(source)} training images"
        about = {"config": config.to_dict(), "learnt": learnt, "training": told}
        store.save(path, variables, about)
        print(f"{config.name}: {learnt}")
    return evaluate.run(config, workdir) if config.evaluation.at_end else 0


def fitted(config, workdir, task, source):
    """What `task.fit` gives on a source, with a bar and a row of metrics.jsonl."""
    prepare, side = pipeline.preparation(config.data).image, config.data.resize
    with writer.Writer(workdir, 0, len(source)) as out:

        def samples():
            for i in range(len(source)):
                sample = evaluate.sized(source[i], side)
                yield sample | {"image": prepare(sample["image"])}
                out.advance()

        variables, told = task.fit(samples())
        out.scalars(len(source), {"loss": 1 - told["IoU"]} | told)
    return variables, told
