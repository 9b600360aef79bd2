"""Judging a run on its validation part, and keeping the weights that are chosen.

Tasks with masks are judged by the IoU of one of their maps, tasks that make images by
the score that they name themselves. The weights are a file of their own; the test part
is never looked at.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from irstd_jax import data, evaluate, inference, scoring, tasks, viz
from irstd_jax.data import transforms
from irstd_jax.training import averaging
from irstd_jax.weights import store

LOGGED = ("IoU", "nIoU", "Pd", "Fa")
CHOICES = ("best", "last")


class Verdict(NamedTuple):
    """What one look at the validation part gives.

    Attributes:
      scores: JSON-able, for the weights file.
      logged: {name: number} for the log.
      words: the figure that chooses, for people.
      value: the same; higher is better, NaN is no value.
      rows: of a contact sheet.
    """

    scores: Any
    logged: dict
    words: str
    value: float
    rows: list


class Validation:
    """Judges the averaged weights, and keeps the chosen ones in the workdir.

    Args:
      config: of the run.
      workdir: where the weights file lies.
      batches: function without arguments that opens the training batches anew.
    """

    def __init__(self, config, workdir, batches):
        self.config, self.workdir, self.batches = config, workdir, batches
        if config.validation.choose not in CHOICES:
            raise ValueError(
                f"unknown validation.choose {config.validation.choose!r}; choose from "
                f"{CHOICES}"
            )
        self.task = task = tasks.build(config)
        self.calibrate = averaging.calibrator(task.loss)
        self.judge = (images if hasattr(task, "score") else masks)(config, task)
        if config.data.get("validation_share", 0.1) == 0:
            # All of the training part learns: there is nothing to choose by.
            if config.validation.choose == "best":
                raise ValueError(
                    "without a validation part (data.validation_share=0) no weights "
                    "can be chosen: set --config.validation.choose=last"
                )
            self.source = None
        else:
            whole = data.load(config.data, "validation")
            self.source = data.some(whole, config.validation.images)

    def check(self, variables):
        """Refuses what would fail at the first look, thousands of steps from now.

        Args:
          variables: of the task, of which only the shapes matter.

        Raises:
          ValueError: a mode that the network does not give, or a sampling that cannot
            be; names the field and the choices.
        """
        if self.source is None or hasattr(self.task, "score"):
            return
        mode = self.config.validation.mode
        given = offered(self.config, self.task, variables)
        if mode not in given:
            raise ValueError(f"unknown validation.mode {mode!r}; choose from {given}")

    def __call__(self, step, train_state, best, out):
        """Judges a state; returns the best value so far, -inf before there is one.

        Until then every state is kept, so that a run has weights whatever comes: a
        value is NaN where nothing is to be found and nothing is found.
        """
        averaged = jax.device_get(train_state.variables(train_state.ema))
        variables = self.calibrate(averaged, self.batches(), jax.random.key(0))
        verdict = self.look(step, variables, out)
        value = -math.inf if math.isnan(verdict.value) else verdict.value
        last = self.config.validation.choose == "last"
        if not (last or value > best or best == -math.inf):
            return best
        if jax.process_index() == 0:
            about = {
                "config": self.config.to_dict(),
                "step": step,
                "validation": verdict.scores,
            }
            store.save(f"{self.workdir}/{inference.BEST}", variables, about)
        return value

    def look(self, step, variables, out):
        """The verdict on these variables, logged; an empty one without images."""
        if self.source is None:
            return Verdict({}, {}, "", -math.inf, [])
        verdict = self.judge(variables, self.source)
        out.scalars(step, verdict.logged)
        out.image(step, "validation", viz.contact_sheet(verdict.rows))
        out.say(f"step {step}: validation {verdict.words}")
        return verdict


def offered(config, task, variables):
    """The modes that a task gives in validation; nothing is computed."""
    settings, evaluation = config.validation, config.evaluation
    side = evaluation.size or config.data.crop or config.data.resize or 64
    size = transforms.canvas(side, side, evaluation.canvas_multiple)
    image = jax.ShapeDtypeStruct((1, *size, config.data.channels), jnp.float32)
    keys = inference.image_keys(["0"], evaluation.seed)
    try:
        predict = tasks.quick(task, settings).predict
        given = jax.eval_shape(predict, variables, {"image": image}, keys)
    except ValueError as error:
        fields = [name for name in ("sampler", "steps") if name in settings]
        told = ", ".join(f"validation.{name}={settings[name]!r}" for name in fields)
        raise ValueError(f"{told or 'validation'}: {error}") from None
    return [mode for mode in tasks.MODES if mode in given]


def masks(config, task):
    """`judge(variables, source) -> Verdict` by masks."""
    settings = config.validation
    predict = inference.predictor(tasks.quick(task, settings))

    def judge(variables, source):
        run = functools.partial(predict, variables)
        judged = evaluate.judge(config, run, source, calibrate=False)
        scores = evaluate.scores(judged)
        logged = {
            f"validation/{mode}/{name}": value
            for mode, values in scores.items()
            for name, value in values.items()
            if name in LOGGED
        }
        iou = scores[settings.mode]["IoU"]
        words = f"IoU ({settings.mode}) {iou:.4f}"
        return Verdict(scores, logged, words, iou, judged.pictures)

    return judge


def images(config, task):
    """`judge(variables, source) -> Verdict` by the task's own scores."""
    run = scoring.scorer(task)
    name, sign = task.chosen_by

    def judge(variables, source):
        means, _, rows = scoring.score(config, run, variables, source)
        logged = {f"validation/{key}": value for key, value in means.items()}
        words = f"{name} {means[name]:.4f}"
        return Verdict(means, logged, words, sign * means[name], rows)

    return judge
