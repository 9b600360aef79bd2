"""The protocol of a number: without it, an IoU of infrared targets means nothing.

The same weights on the same 214 images move by 2 points of IoU with the resize, by 9
with the threshold, and by a factor of 30 in Fa with the matching rule.
"""

import dataclasses

from irstd_jax.metrics.overlap import EMPTY_SCORES
from irstd_jax.metrics.targets import MATCHING


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Under which conditions a set was scored; printed with every figure.

    count and hash identify the images; size_rule: "native", or the side in px to which
    image and mask were resized; mask_rule: how a mask became binary; rule: by which a
    saliency was cut, None for probabilities; views: of each image, whose mean counts;
    the sampling fields are None for a network that does not sample.
    """

    set: str
    split: str
    part: str
    count: int
    hash: str
    size_rule: str = "native"
    threshold: float = 0.5
    matching: str = "centroid"
    mask_rule: str = "value > 127"
    rule: str | None = None
    views: int = 1
    seed: int | None = None
    sampler: str | None = None
    steps: int | None = None
    samples: int | None = None
    ensemble: str | None = None
    weights: str | None = None
    empty_rule: str = "one"

    def __post_init__(self):
        if self.matching not in MATCHING:
            raise ValueError(
                f"unknown matching rule {self.matching!r}; "
                f"choose from {sorted(MATCHING)}"
            )
        if self.empty_rule not in EMPTY_SCORES:
            raise ValueError(
                f"unknown empty rule {self.empty_rule!r}; "
                f"choose from {sorted(EMPTY_SCORES)}"
            )

    def as_dict(self):
        """The fields as a plain dict, for report.json."""
        return dataclasses.asdict(self)

    def describe(self):
        """One paragraph for people."""
        return " ".join([self._images(), self._scoring(), self._sampling()])

    def _images(self):
        size = "native size" if self.size_rule == "native" else self.size_rule
        return (
            f"{self.count} {self.part} images of {self.set}, split {self.split} "
            f"(hash {self.hash}), scored at {size}; masks: {self.mask_rule}."
        )

    def _scoring(self):
        by_rule = f", by the rule {self.rule}" if self.rule else ""
        seen = f", the mean over {self.views} views" if self.views > 1 else ""
        return (
            f"A pixel is detected where p > {self.threshold:g}{by_rule}{seen}; targets "
            f"are matched by the {self.matching} rule; an image without target and "
            f"detection scores {EMPTY_SCORES[self.empty_rule]:g} in nIoU."
        )

    def _sampling(self):
        weights = f"Weights: {self.weights or 'not stated'}"
        if self.sampler is None:
            return f"{weights}; nothing was sampled."
        samples = f"{self.samples or 1} sample(s) an image"
        if self.ensemble:
            samples += f" joined by {self.ensemble}"
        return (
            f"{weights}; {samples}, sampler {self.sampler} with {self.steps} steps, "
            f"seed {self.seed}."
        )
