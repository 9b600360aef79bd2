"""The network that a run is judged by: averaged parameters, statistics of their own.

The moving average of the parameters is another network than the one that is trained,
and BatchNorm's running statistics are not its. Neither the live ones nor their average
fit: at step 600 of `nuaa_sirst.py:small` the mean logit of target pixels was 1.9 with
live parameters, but with averaged ones -6.9 (live statistics) and -10.7 (averaged
ones), and 0.5 with the statistics of the batch. So they are measured anew, with the
averaged parameters on some training batches, as for any average of weights (Izmailov
et al. 2018, section 3.2). The released code keeps the live ones.
"""

import itertools

import jax

from irstd_jax.training.parallel import example_keys

BATCHES = 24  # the weight of what was before them is .9 ** 24 = .08


def calibrator(loss):
    """`calibrate(variables, batches, key)` -> variables to judge.

    Args:
      loss: of a task whose BatchNorms average over no mapped axis.

    The returned function takes the averaged parameters with the live statistics, an
    iterable of training batches and a key; it reads BATCHES of them, and none where the
    network has no statistics.
    """

    @jax.jit
    def measured(variables, batch, keys):
        return loss(variables, batch, keys)[1]["batch_stats"]

    def calibrate(variables, batches, key):
        variables = dict(variables)
        if not jax.tree.leaves(variables["batch_stats"]):
            return variables
        for number, batch in enumerate(itertools.islice(batches, BATCHES)):
            keys = example_keys(key, number, len(batch["mask"]))
            variables["batch_stats"] = measured(variables, batch, keys)
        return variables

    return calibrate
