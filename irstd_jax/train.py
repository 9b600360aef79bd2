"""Training, one loop for every task that descends on a loss.

The order within a step is: evaluate, save, next batch, step. What is saved is always a
whole state with the place in the data stream that belongs to it, and a run that is cut
anywhere goes on bit for bit by the same command. Tasks that choose a few numbers by
looking once at every image are fitted instead (fitting.py).
"""

import functools
import math
import pathlib
import signal

import jax
from jax.experimental import multihost_utils

from irstd_jax import data, evaluate, fitting, inference, tasks, validation
from irstd_jax.data import pipeline
from irstd_jax.metrics import bootstrap
from irstd_jax.training import checkpoint, optimizer, parallel, state, writer
from irstd_jax.weights import store

INTERRUPTED = 143  # 128 + SIGTERM, as shells report it


def run(config, workdir):
    """Trains `config` in `workdir`, or goes on with what is there.

    Returns:
      0 when the last step is reached, 143 after SIGTERM (with everything saved).

    Raises:
      ValueError: another config's workdir, settings that do not fit, or parts that were
        replaced since the run began.
      FloatingPointError: a term of the loss is not finite.
    """
    if config.weights:
        # The evaluation at the end would be of these, and not of what was learnt.
        raise ValueError(
            f"weights={config.weights} is for evaluate, predict and export; training "
            "begins from --config.start=FILE"
        )
    if config.evaluation.at_end:
        bootstrap.check(config.evaluation.bootstrap)
    checkpoint.guard_config(workdir, config)
    if hasattr(tasks.build(config), "fit"):
        return fitting.run(config, workdir)
    source = data.load(config.data, "train")
    batches = functools.partial(stream, config, source)
    judge = validation.Validation(config, workdir, batches)
    step_fn, train_state, step_key, batches = prepare(config, source)
    judge.check(train_state.variables(train_state.ema))
    best, parts = -math.inf, digests(config)
    with checkpoint.open_manager(workdir) as manager, Interruption() as interruption:
        restored = checkpoint.restore(manager, train_state)
        if restored is not None:
            train_state, progress = restored
            # Runs of earlier versions lack the entry.
            same_parts(config, parts, progress.get("parts", parts))
            batches.set_state(progress["batches"])
            best = -math.inf if progress["best"] is None else progress["best"]
        first, pending = int(train_state.step), None
        quiet = jax.process_index() > 0
        with writer.Writer(workdir, first, config.num_steps, quiet) as out:
            out.say(describe(config, source, train_state, first))
            for step in range(first, config.num_steps + 1):
                last = step == config.num_steps
                stop = last or interruption.asked(step)
                evaluates = last or step % config.evaluate_every == 0
                saves = stop or step % config.checkpoint_every == 0
                if step > first and (evaluates or saves):
                    pending = check(pending, out, config.log_every)
                if step > first and evaluates:
                    best = judge(step, train_state, best, out)
                if step > first and saves:
                    place, known = batches.get_state(), finite(best)
                    progress = {"batches": place, "best": known, "parts": parts}
                    checkpoint.save(manager, step, train_state, progress)
                if stop:
                    break
                batch = next(batches)
                train_state, terms = step_fn(train_state, batch, step_key)
                # The terms of the step before are read while this one runs.
                check(pending, out, config.log_every)
                pending = step + 1, terms
                out.advance()
    if not last:
        print(f"stopped by SIGTERM after step {step}; the same command goes on from it")
        return INTERRUPTED
    if config.evaluation.at_end and jax.process_index() == 0:
        return evaluate.run(config, workdir)
    return 0


def ended(config, workdir):
    """Whether there is nothing left to train in a workdir."""
    if hasattr(tasks.build(config), "fit"):
        return (pathlib.Path(workdir) / inference.BEST).is_file()
    return checkpoint.ended(workdir, config.num_steps)


def prepare(config, source):
    """(step function, state at step 0, key of the steps, batches) of a run."""
    task, optimiser, step_fn = stepper(config, config.data.batch_size)
    batches = stream(config, source, jax.process_index(), jax.process_count())
    init_key, step_key = jax.random.split(jax.random.key(config.seed))
    train_state = state.create(inference.initial(config, task, init_key), optimiser)
    train_state, step_key = parallel.place((train_state, step_key))
    return step_fn, train_state, step_key, batches


def digests(config):
    """{name: SHA-256} of the files of `config.parts`, networks trained before."""
    return {n: store.digest(path) for n, path in (config.get("parts") or {}).items()}


def same_parts(config, found, known):
    """Refuses parts, by their digests, other than those that a run has learnt from."""
    for name in inference.differing(found, known):
        raise ValueError(
            f"parts.{name}: {config.parts[name]} holds other weights than those that "
            "this run has learnt from so far: bring them back, or choose another "
            "--workdir"
        )


def stepper(config, batch_size):
    """(task, optimiser, step function for global batches of this size) of a config."""
    task = tasks.build(config, parallel.norm_axis(config.parallel))
    settings = config.optimizer
    optimiser = optimizer.make_optimizer(settings, config.num_steps)
    step_fn = parallel.train_step(
        config.parallel,
        task.loss,
        optimiser,
        ema=settings.ema,
        accumulate=settings.accumulate,
        batch_size=batch_size,
    )
    return task, optimiser, step_fn


def stream(config, source, process_index=0, process_count=1):
    """The training batches of a process; by default whole ones."""
    return pipeline.training_batches(
        source,
        pipeline.preparation(config.data).training,
        config.data.batch_size,
        config.seed,
        process_index,
        process_count,
        config.data.threads,
    )


def finite(best):
    """The best score as JSON has it: None where nothing was scored yet."""
    return best if math.isfinite(best) else None


def check(pending, out, log_every):
    """Looks at a step's terms: logs them in turn, stops at what is not finite."""
    if pending is None:
        return None
    step, terms = pending
    terms = {name: float(value) for name, value in jax.device_get(terms).items()}
    broken = [name for name, value in terms.items() if not math.isfinite(value)]
    if broken:
        shown = ", ".join(f"{name} = {terms[name]}" for name in broken)
        raise FloatingPointError(
            f"the loss is not finite at step {step}: {shown}. The newest checkpoint is "
            "of an earlier step. Lower optimizer.learning_rate, set optimizer.clip=1, "
            "or look at the data with --mode=check"
        )
    if step % log_every == 0 or step == 1:
        out.scalars(step, terms)
    return None


def describe(config, source, train_state, first):
    """What is about to run, in a line."""
    count = sum(x.size for x in jax.tree.leaves(train_state.params))
    begins = f"goes on at step {first}" if first else "begins"
    return (
        f"{config.name}: {begins}; {count:,} parameters, {len(source)} training "
        f"images, batch {config.data.batch_size} on {jax.device_count()} "
        f"{jax.devices()[0].platform} device(s), {config.num_steps} steps"
    )


class Interruption:
    """A context in which SIGTERM only asks to stop, after the step that is running.

    With several processes they agree on the step through JAX's coordination service.
    """

    def __enter__(self):
        self.signalled = False
        self.alone = jax.process_count() == 1
        if self.alone:
            self.before = signal.signal(signal.SIGTERM, self._note)
        return self

    def _note(self, *_):
        self.signalled = True

    def asked(self, step):
        """True from the step on at which the run shall stop."""
        if self.alone:
            return self.signalled
        return multihost_utils.reached_preemption_sync_point(step)

    def __exit__(self, *_):
        if self.alone:
            signal.signal(signal.SIGTERM, self.before)
