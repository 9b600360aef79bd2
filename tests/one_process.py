"""One of several processes of a toy run: PORT COUNT INDEX WORKDIR."""

import sys

from irstd_jax import platform

platform.prepare(simulated_devices=1, quick=True)

import jax  # noqa: E402


def main(port, count, index, workdir):
    """Trains the toy task as process `index` of `count`."""
    jax.distributed.initialize(f"localhost:{port}", int(count), int(index))
    import toy_task

    from irstd_jax import tasks, train

    tasks.TASKS["toy"] = toy_task.from_config
    config = toy_task.config()
    config.parallel = "sharded"
    return train.run(config, workdir)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
