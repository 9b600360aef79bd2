"""How far to believe a report: calibration of its maps, samples as a posterior.

Every mode's probabilities are held against what is there (metrics/calibration.py).
Several samples of one image are judged as a distribution as well, by their targets
(metrics/samples.py), beside which stands what the other modes give at equal detection.
"""

from irstd_jax import metrics, viz

FIGURES = ("target_ECE", "target_Brier", "GED2", "diversity", "spread")


def count(settings, prediction, modes, truth):
    """What is counted of an image: {"calibration": {name: counts}, "samples": or None}.

    Beside the modes there is "votes", the share of the samples that hold a pixel, where
    several were drawn.

    Args:
      settings: the config's block evaluation.
      prediction: maps (h, w, 1) by mode; samples (s, h, w, 1) where they were drawn.
      modes: to count.
      truth: (h, w) in {0, 1}.
    """
    maps = {mode: prediction[mode] for mode in modes}
    calibration = {m: metrics.calibration.count(p, truth) for m, p in maps.items()}
    drawn, samples = prediction.get("samples", ()), None
    if len(drawn) > 1:
        votes = (drawn > settings.threshold).mean(0)
        calibration["votes"] = metrics.calibration.count(votes, truth, len(drawn))
        samples = metrics.samples.count(
            drawn, truth, settings.matching, settings.threshold
        )
    return {"calibration": calibration, "samples": samples}


def curves(calibration, counts):
    """{"reliability", "risk_coverage"} of a mode from its stacked counts.

    calibration: `metrics.calibration.Counts`, or None for maps that are no
    probabilities, which have no such curves; counts: `metrics.Counts`.
    """
    if calibration is None:
        return {}
    coverage = metrics.calibration.risk_coverage(calibration, counts.targets)
    reliability = metrics.calibration.curve(metrics.total(calibration))
    return {"reliability": reliability, "risk_coverage": coverage}


def posterior(settings, samples, votes, by_mode):
    """The report's block on the samples as a distribution.

    Beside Pd and Fa at every tau it has what else gives as much Pd: Fa_MODE, the least
    Fa of those thresholds of a mode that find as many targets; null where none do.

    Args:
      settings: the config's block evaluation.
      samples: stacked `metrics.samples.Counts`.
      votes: stacked `metrics.calibration.Counts` of the share of votes.
      by_mode: {mode: its curves}.
    """
    counts, votes = metrics.total(samples), metrics.total(votes)
    points = metrics.samples.pd_fa(counts)
    beside = {
        f"Fa_{mode}": metrics.samples.fa_at_equal_pd(of_mode["pd_fa"], points)
        for mode, of_mode in by_mode.items()
    }
    targets = metrics.samples.reliability(counts)
    return metrics.samples.compute(counts) | {
        "samples": len(points["tau"]),
        "threshold": settings.threshold,
        "intervals": metrics.intervals(
            samples, metrics.samples.compute, settings.bootstrap, seed=settings.seed
        ),
        "votes": {
            "calibration": metrics.calibration.compute(votes),
            "reliability": metrics.calibration.curve(votes),
        },
        "target_reliability": metrics.calibration.described(targets),
        "pd_fa": points | beside,
    }


def pictures(report):
    """{file name: picture}: the reliability of all modes; of a posterior its Pd-Fa.

    Nothing where no mode is a probability.
    """
    claims = {m: v for m, v in report["modes"].items() if "calibration" in v}
    if not claims:
        return {}
    lines = {mode: report["curves"][mode]["reliability"] for mode in claims}
    errors = {mode: values["calibration"]["ECE"] for mode, values in claims.items()}
    if "posterior" not in report:
        return {"reliability.png": viz.reliability(lines, errors)}
    about = report["posterior"]
    lines["targets by votes"] = about["target_reliability"]
    errors["targets by votes"] = about["target_ECE"]
    return {
        "reliability.png": viz.reliability(lines, errors),
        "posterior_pd_fa.png": viz.pd_fa({"posterior": about} | report["curves"]),
    }
