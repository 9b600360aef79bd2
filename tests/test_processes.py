"""Two processes train what one trains, and their checkpoint is restored by one."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import jax
import numpy as np
import toy_task

from irstd_jax import tasks, train
from irstd_jax.training import checkpoint, optimizer, state

ROOT = pathlib.Path(__file__).parents[1]


def free_port():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def run_two(workdir):
    port = free_port()
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    environment.pop("XLA_FLAGS", None)
    script = str(ROOT / "tests" / "one_process.py")
    processes = [
        subprocess.Popen(
            [sys.executable, script, str(port), "2", str(index), str(workdir)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(2)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output[-3000:]


def restored(workdir):
    config = toy_task.config()
    optimiser = optimizer.make_optimizer(config.optimizer, config.num_steps)
    task = tasks.build(config)
    with checkpoint.open_manager(workdir) as manager:
        return checkpoint.restore(
            manager, state.create(task.init(jax.random.key(0)), optimiser)
        )


def losses(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [row["loss"] for row in map(json.loads, lines) if "loss" in row]


def test_two_processes_equal_one(tmp_path, monkeypatch):
    monkeypatch.setitem(tasks.TASKS, "toy", toy_task.from_config)
    one, two = tmp_path / "one", tmp_path / "two"
    assert train.run(toy_task.config(), one) == 0
    run_two(two)
    np.testing.assert_allclose(losses(one), losses(two), rtol=1e-5)
    (state_one, progress_one), (state_two, progress_two) = restored(one), restored(two)
    assert progress_one["batches"] == progress_two["batches"]
    leaves = (jax.tree.leaves(x) for x in (state_one, state_two))
    for a, b in zip(*leaves, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-4, atol=1e-5)
