"""The statistics of averaged parameters are measured, not inherited."""

import itertools

import jax
import numpy as np
import toy_task

from irstd_jax.tasks.mask_diffusion import Sampling
from irstd_jax.training import averaging

TASK = toy_task.ToyTask(toy_task.ToyNetwork(), Sampling())


def batch(number):
    rng = np.random.default_rng(number)
    image = (3 + 2 * rng.standard_normal((64, 8, 8, 1))).astype(np.float32)
    return {"image": image, "mask": (image > 5).astype(np.float32)}


def test_statistics_become_those_of_the_parameters():
    variables = TASK.init(jax.random.key(0))
    kernel = variables["params"]["Conv_0"]["kernel"]
    calibrate = averaging.calibrator(TASK.loss)
    batches = map(batch, itertools.count())
    found = calibrate(variables, batches, jax.random.key(1))
    features = jax.lax.conv_general_dilated(
        batch(99)["image"],
        kernel,
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    expected, statistics = features.mean((0, 1, 2)), found["batch_stats"]["BatchNorm_0"]
    left = 0.9**averaging.BATCHES
    np.testing.assert_allclose(
        statistics["mean"], (1 - left) * expected, atol=0.05 * np.abs(expected).max()
    )
    np.testing.assert_allclose(
        statistics["var"], left + (1 - left) * features.var((0, 1, 2)), rtol=0.1
    )
    assert found["params"] is variables["params"]


def test_a_network_without_statistics_reads_no_batch():
    calibrate = averaging.calibrator(TASK.loss)
    variables = {"params": {"w": np.ones(2)}, "batch_stats": {}}
    found = calibrate(variables, iter(()), jax.random.key(0))
    assert found["batch_stats"] == {}
