"""Batches for training: an endless, seeded, resumable stream.

Batch k is a pure function of (source, seed, k): its members are the k-th run of
`batch_size` names in an endless sequence of reshuffled epochs, and member j draws its
augmentation from the generator of (seed, k, j). So the state of the stream is one
number, and what a process reads does not depend on how many processes there are: each
takes its own rows of the same global batch.
"""

import dataclasses

import grain
import numpy as np

from irstd_jax.data import transforms

KEPT_BYTES = 2**29  # of decoded samples, by each process


@dataclasses.dataclass(frozen=True)
class Preparation:
    """How a sample becomes network input; in training the order is as listed.

    Attributes:
      augment: the block of `transforms.augment`, or None.
      resize: side in pixels to which both sides are brought (the paper: 256), or 0.
      crop: side in pixels of a training crop at the native scale, or 0.
      target_share: of the crops that are placed to hold a target.
      normalisation: name in `transforms.PRESETS`.
      channels: of the network's image input; grey is repeated.
    """

    channels: int
    normalisation: str
    resize: int = 0
    crop: int = 0
    target_share: float = 0.5
    augment: object = None

    def image(self, image):
        """(h, w, 1) in [0, 1] -> (h, w, channels) float32, normalised."""
        if self.normalisation not in transforms.PRESETS:
            names = sorted(transforms.PRESETS)
            raise ValueError(
                f"unknown data.normalisation {self.normalisation!r}; choose from "
                f"{names}"
            )
        mean, std = transforms.PRESETS[self.normalisation]
        return transforms.normalise(image, mean, std, self.channels)

    def training(self, sample, rng):
        """Sample -> {"image" (h, w, channels), "mask" (h, w, 1)} float32."""
        # Augmentation changes sizes, so it comes before what makes them equal.
        if self.augment is not None:
            sample = transforms.augment(sample, rng, self.augment)
        if self.resize:
            sample = transforms.resize(sample, self.resize)
        if self.crop:
            sample = transforms.crop(sample, rng, self.crop, self.target_share)
        if self.augment is not None and self.augment.get("frame"):
            sample = transforms.frame(sample, rng, self.augment.get("frame"))
        mask = np.asarray(sample["mask"], np.float32)
        return {"image": self.image(sample["image"]), "mask": mask}


def preparation(settings):
    """The `Preparation` of a config's data block."""
    return Preparation(
        channels=settings.channels,
        normalisation=settings.normalisation,
        resize=settings.resize,
        crop=settings.crop,
        target_share=settings.target_share,
        augment=settings.augment,
    )


class Kept:
    """A source whose samples stay in memory once read, as long as `limit` bytes last.

    Decoding is half of what a training sample costs. Whoever reads a sample leaves
    its arrays as they are; threads may read one sample at once, which does no harm.
    """

    def __init__(self, source, limit=KEPT_BYTES):
        self.source, self.left, self.samples = source, limit, {}

    def __len__(self):
        return len(self.source)

    def __getitem__(self, index):
        sample = self.samples.get(index)
        if sample is None:
            sample = self.source[index]
            size = sample["image"].nbytes + sample["mask"].nbytes
            if size <= self.left:
                self.left -= size
                self.samples[index] = sample
        return sample


def training_batches(
    source, prepare, batch_size, seed, process_index=0, process_count=1, threads=4
):
    """An endless grain iterator of this process' rows of the global batches.

    Args:
      source: random access to samples.
      prepare: (sample, numpy generator) -> dict of arrays of one shape each.
      batch_size: of the global batch; `process_count` must divide it.
      seed: of the order and of the augmentation.
      process_index, process_count: which rows of each batch are read here.
      threads: that read ahead.

    Returns:
      An iterator of dicts of stacked arrays, with `get_state` and `set_state`.
    """
    if batch_size % process_count:
        raise ValueError(
            f"data.batch_size {batch_size} is not a multiple of the "
            f"{process_count} processes"
        )
    source, local = Kept(source), batch_size // process_count
    rows = range(process_index * local, (process_index + 1) * local)

    def load(batch, indices):
        rngs = [np.random.default_rng([seed, batch, row]) for row in rows]
        items = [
            prepare(source[int(indices[row])], rng)
            for row, rng in zip(rows, rngs, strict=True)
        ]
        return {key: np.stack([item[key] for item in items]) for key in items[0]}

    order = grain.MapDataset.range(len(source)).seed(seed).shuffle().repeat()
    stream = order.batch(batch_size, drop_remainder=True).map_with_index(load)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
    return iter(stream.to_iter_dataset(options))
