"""Many systems on several data sets under one protocol, in one table.

For each system, data set and seed there is a run in WORKDIR/runs/SYSTEM.SET.SEED, as
train and evaluate leave it: what lacks is trained by the system's recipe, what has
weights already (`systems.NAME.weights.SET`) is judged by these, and all are judged by
the config's one block `evaluation` (the recipe's own holds for validation alone). A
system that `learns` "its own" is trained once, in WORKDIR/runs/SYSTEM.SEED, on the data
of its recipe, and judged on every set. One that has nothing to learn (a classical
method) is judged as it is, once. What is there is not done again, so that a cut
comparison goes on by the same command, and a complete one takes seconds. Then tables
and figures are written into WORKDIR (comparison.py).

With `minutes` every system trains as many steps as its own step takes of that time on
this machine, so that all get the same work of the processor and not the same steps.
"""

import functools
import pathlib
from typing import NamedTuple

import jax
from ml_collections import ConfigDict

from irstd_jax import (
    answers,
    benchmark,
    comparison,
    evaluate,
    files,
    inference,
    tasks,
    train,
)
from irstd_jax.metrics import bootstrap
from irstd_jax.training import checkpoint
from irstd_jax.weights import box, store

ASKED, BUDGET = "asked.json", "budget.json"
LEARNS = ("set", "its own")
JUDGED_ON = ("name", "split", "mask_threshold", "stretch")
COSTS_BY = ("benchmark", "model", "task", "sampling", "optimizer")
FED_BY = ("batch_size", "crop", "resize")


class Job(NamedTuple):
    """One system on one set with one seed.

    Attributes:
      folder: where it is judged.
      recipe: by which it is judged.
      training: (recipe, folder) of where its weights come from, or None where they are
        given or needless; and how many `minutes` it may take, 0 for the recipe's steps.
    """

    system: str
    set: str
    seed: int
    folder: pathlib.Path
    recipe: ConfigDict
    training: tuple | None
    minutes: float


def run(config, workdir):
    """Trains and judges what lacks, and writes table and figures.

    Returns:
      0, or 143 where SIGTERM came while a system was trained.

    Raises:
      ValueError: nothing to compare, unknown systems or sets.
      FileNotFoundError: a set, or weights that are named.
    """
    workdir, config = pathlib.Path(workdir), chosen(config)
    planned = jobs(config, workdir)
    for number, job in enumerate(planned, start=1):
        if done(job):
            continue
        print(f"[{number}/{len(planned)}] {job.folder.name}")
        code = finish(config, workdir, job)
        if code:
            return code
        jax.clear_caches()  # one system's programs serve no other, and fill the memory
    costs = {system: cost(config, workdir, system) for system in config.order}
    comparison.write(config, workdir, planned, costs)
    return 0


def chosen(config):
    """The config with the systems and sets of `only`; refuses what is not there.

    Its field `order` becomes the names of these systems, row by row.
    """
    config = ConfigDict(config.to_dict())
    for kind in ("systems", "sets"):
        names = [name.strip() for name in config.only[kind].split(",") if name.strip()]
        unknown = sorted(set(names) - set(config[kind]))
        if unknown:
            raise ValueError(
                f"only.{kind} names {unknown[0]!r}; choose from {sorted(config[kind])}"
            )
        config[kind] = {n: config[kind][n] for n in names or list(config[kind])}
        if not config[kind]:
            raise ValueError(f"{kind} is empty: there is nothing to compare")
    # A ConfigDict sorts its names.
    late = [name for name in config.systems if name not in config.order]
    order = [name for name in (*config.order, *late) if name in config.systems]
    config.order = tuple(order)
    for system, block in config.systems.items():
        if block.learns not in LEARNS:
            raise ValueError(
                f"systems.{system}.learns {block.learns!r}: choose from {list(LEARNS)}"
            )
    bootstrap.check(config.evaluation.bootstrap)
    if config.minutes and config.benchmark.repeats < 1:
        raise ValueError(
            f"minutes={config.minutes} needs benchmark.repeats of 1 or more: how many "
            "steps they hold is timed"
        )
    if not config.seeds:
        raise ValueError("seeds is empty: --config.seeds='(0,1,2)'")
    return config


# --- what is to be done ---------------------------------------------------------------


def jobs(config, workdir):
    """All jobs, set by set; what is not trained here is judged with the first seed."""
    planned = [
        job(config, workdir, system, name, seed)
        for name in config.sets
        for system in config.order
        for seed in config.seeds
    ]
    return [job for job in planned if job.training or job.seed == config.seeds[0]]


def job(config, workdir, system, name, seed):
    """The `Job` of a system, a set and a seed."""
    block, runs = config.systems[system], workdir / "runs"
    recipe = tailored(config, system, name, seed)
    folder = runs / f"{system}.{name}.{seed}"
    if recipe.weights or not tasks.learns(recipe):
        return Job(system, name, seed, folder, recipe, None, config.minutes)
    # It is judged on the way as its recipe says: another protocol learns nothing anew.
    learns = ConfigDict(block.recipe.to_dict())
    learns.evaluation.at_end, learns.seed = False, seed
    if block.learns == "its own":
        learns.name, learns.data.root = system, config.root
        training = learns, runs / f"{system}.{seed}"
        recipe.weights = str(training[1] / inference.BEST)
    else:
        learns.name, learns.data = recipe.name, recipe.data
        training = learns, folder
    return Job(system, name, seed, folder, recipe, training, config.minutes)


def tailored(config, system, name, seed):
    """A system's recipe on one of the sets, under the one protocol."""
    block = config.systems[system]
    recipe = ConfigDict(block.recipe.to_dict())
    recipe.name, recipe.seed = f"{system}_{name}", seed
    own = block.data.to_dict()
    recipe.data = ConfigDict(recipe.data.to_dict() | config.sets[name].to_dict() | own)
    recipe.data.root = config.root
    recipe.evaluation = ConfigDict(
        recipe.evaluation.to_dict() | config.evaluation.to_dict() | {"at_end": False}
    )
    recipe.weights = block.weights.get(name, "")
    return recipe


def asked(job):
    """What a judgement depends on beside the weights of its own run."""
    facts = {
        "evaluation": job.recipe.evaluation.to_dict(),
        "mode": job.recipe.predict.mode,
        "views": job.recipe.get("views", 1),
        "data": {name: job.recipe.data[name] for name in JUDGED_ON},
    }
    if job.recipe.weights:
        facts["weights"] = store.digest(box.locate(job.recipe.weights))
    elif not job.training:
        facts |= {name: job.recipe[name].to_dict() for name in ("model", "task")}
    if job.training:
        learnt = checkpoint.decisive(job.training[0].to_dict())
        # Data may be moved.
        learnt["data"] = {k: v for k, v in learnt["data"].items() if k != "root"}
        facts |= {"training": learnt, "minutes": job.minutes}
    if "sampling" in job.recipe:
        facts["sampling"] = job.recipe.sampling.to_dict()
    return files.as_json(facts)


def done(job):
    """Whether a job has been judged, as it is asked for now, and its report is there.

    `--mode=evaluate` on the folder of a run would leave another one.
    """
    path, weights = job.folder / ASKED, job.recipe.weights
    lacking = job.training and weights and not pathlib.Path(weights).is_file()
    return path.exists() and not lacking and files.read_json(path) == judged_as(job)


def judged_as(job):
    """What is kept of a judgement: what it was asked, and the digest of its report."""
    report = job.folder / evaluate.REPORT
    return asked(job) | {"report": store.digest(report) if report.is_file() else None}


def finish(config, workdir, job):
    """Trains where weights lack, and judges; returns 0, or 143 after SIGTERM."""
    if job.training:
        recipe, folder = job.training
        recipe = within_budget(config, workdir, job.system, recipe, folder)
        checkpoint.guard_config(folder, recipe)  # no run of another recipe is judged
        if not train.ended(recipe, folder):
            code = train.run(recipe, folder)
            if code:
                return code
    judge(job)
    return 0


def within_budget(config, workdir, system, recipe, folder):
    """The recipe with as many steps as `config.minutes` hold, if they are limited.

    A training that has begun keeps its steps, though their time be taken again.
    """
    if not config.minutes:
        return recipe
    path, begun = folder / BUDGET, checkpoint.begun(folder)
    known = files.read_json(path) if begun and path.is_file() else {}
    if known.get("minutes") != config.minutes:
        seconds = cost(config, workdir, system)["train_step_seconds"]
        known = {"minutes": config.minutes, "step_seconds": seconds}
    if not begun:
        files.write_json(path, known)
    if known["step_seconds"] is None:  # it takes no steps
        return recipe
    recipe = ConfigDict(recipe.to_dict())
    steps = max(1, int(60 * config.minutes / known["step_seconds"]))
    recipe.num_steps = recipe.evaluate_every = steps
    recipe.optimizer.warmup = min(recipe.optimizer.warmup, steps // 10)
    return recipe


def judge(job):
    """Writes report.json, its pictures and the masks of a job into its folder."""
    (job.folder / ASKED).unlink(missing_ok=True)
    recipe, variables, about = inference.trained(job.recipe, job.folder)
    task, source = tasks.detector(recipe), evaluate.asked_for(recipe)
    shown, label = recipe.predict.mode, evaluate.weights_label(about)
    inference.warn_of_split(recipe, about, label)
    predict = inference.predictor(task, keep=(shown,))
    predict = functools.partial(predict, jax.device_put(variables))
    level, masks = evaluate.threshold(recipe.evaluation, shown), {}

    def keep(sample, prediction):
        masks[sample["name"]] = prediction[shown][..., 0] > level

    with answers.kept(predict, job.folder, recipe.to_dict(), variables) as predict:
        judged = evaluate.judge(recipe, predict, source, progress=True, each=keep)
        learnt = inference.learnt_from(about)
        report = evaluate.make_report(recipe, judged, source, task, label, learnt)
        report["mode"], report["trained_steps"] = shown, about.get("step")
        evaluate.write(job.folder, report, judged)
        comparison.write_masks(job.folder, masks)
        files.write_json(job.folder / ASKED, judged_as(job))


def cost(config, workdir, system):
    """What a system costs on this machine: `benchmark.measured`, taken once."""
    path = workdir / "costs" / f"{system}.json"
    first = job(config, workdir, system, next(iter(config.sets)), config.seeds[0])
    recipe = first.training[0] if first.training else first.recipe
    if not first.training:
        recipe, _, _ = inference.trained(recipe, first.folder)
    recipe = ConfigDict(recipe.to_dict())
    recipe.benchmark = ConfigDict(
        recipe.benchmark.to_dict() | config.benchmark.to_dict()
    )
    facts = {k: recipe[k].to_dict() for k in COSTS_BY if k in recipe}
    facts |= {"training": config.minutes > 0, "views": recipe.get("views", 1)}
    facts |= {"mode": recipe.predict.mode, "data": {k: recipe.data[k] for k in FED_BY}}
    facts = files.as_json(facts)
    if path.exists():
        known = files.read_json(path)
        # Records of earlier versions hold fewer facts.
        if facts | known.pop("asked") == facts:
            return known
    print(f"what {system} costs")
    report = files.as_json(benchmark.measured(recipe, training=config.minutes > 0))
    files.write_json(path, {"asked": facts} | report)
    return report
