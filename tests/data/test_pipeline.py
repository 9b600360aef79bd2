"""The training stream: a function of source, seed and step, whoever reads it."""

import numpy as np
import pytest

from irstd_jax.data import pipeline


class Numbers:
    """Seven samples whose image is their number."""

    def __len__(self):
        return 7

    def __getitem__(self, i):
        image = np.full((4, 4, 1), i, np.float32)
        return {"name": str(i), "image": image, "mask": np.zeros((4, 4, 1), np.uint8)}


def with_noise(sample, rng):
    return {"image": sample["image"] + 0.5 * rng.random()}


def stream(seed=0, index=0, count=1, threads=2):
    return pipeline.training_batches(
        Numbers(), with_noise, 6, seed, index, count, threads
    )


def take(iterator, n):
    return [next(iterator)["image"] for _ in range(n)]


def test_two_processes_read_the_rows_of_one():
    whole = take(stream(), 5)
    halves = [take(stream(index=i, count=2), 5) for i in range(2)]
    for batch, a, b in zip(whole, *halves, strict=True):
        np.testing.assert_array_equal(batch, np.concatenate([a, b]))


def test_every_epoch_holds_each_image_once_in_a_new_order():
    numbers = np.floor(np.concatenate(take(stream(), 7))[:, 0, 0, 0]).reshape(6, 7)
    assert all(sorted(epoch) == list(range(7)) for epoch in numbers)
    assert len({tuple(epoch) for epoch in numbers}) > 1


def test_the_stream_goes_on_from_its_state():
    iterator = stream()
    take(iterator, 3)
    place = iterator.get_state()
    expected = take(iterator, 4)
    other = stream(threads=1)
    other.set_state(place)
    np.testing.assert_array_equal(take(other, 4), expected)


@pytest.mark.parametrize(("limit", "kept"), [(0, 0), (79, 0), (239, 2), (10**6, 7)])
def test_samples_stay_in_memory_up_to_a_limit(limit, kept):
    """A sample has 64 + 16 bytes; what no longer fits is read again each time."""
    read = []

    class Counted(Numbers):
        def __getitem__(self, i):
            read.append(i)
            return super().__getitem__(i)

    source = pipeline.Kept(Counted(), limit)
    for _ in range(3):
        values = [int(source[i]["image"][0, 0, 0]) for i in range(len(source))]
        assert values == list(range(7))
    assert read == [*range(7), *range(kept, 7), *range(kept, 7)]


def test_seeds_differ_and_repeat():
    a, b, c = take(stream(1), 3), take(stream(1), 3), take(stream(2), 3)
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_a_batch_that_processes_cannot_share_is_refused():
    with pytest.raises(
        ValueError, match="data.batch_size 6 is not a multiple of the 4"
    ):
        stream(count=4)


def test_preparation_gives_one_shape_for_all_sizes():
    prepare = pipeline.Preparation(
        channels=3, normalisation="nuaa", crop=16, augment={"flip": True}
    )
    rng = np.random.default_rng(0)
    mask = np.zeros((20, 31, 1), np.uint8)
    mask[3:5, 4:6] = 1
    sample = {"name": "a", "image": rng.random((20, 31, 1), np.float32), "mask": mask}
    item = prepare.training(sample, rng)
    assert item["image"].shape == (16, 16, 3) and item["mask"].shape == (16, 16, 1)
    assert item["image"].dtype == item["mask"].dtype == np.float32


def test_a_frame_lies_at_the_border_of_the_crop():
    prepare = pipeline.Preparation(
        channels=1, normalisation="none", crop=16, augment={"frame": 1.0}
    )
    image = np.full((60, 60, 1), 0.123, np.float32)
    sample = {"name": "a", "image": image, "mask": np.zeros((60, 60, 1), np.uint8)}
    rng = np.random.default_rng(0)
    crops = np.stack([prepare.training(sample, rng)["image"] for _ in range(20)])
    changed = crops != np.float32(0.123)
    assert changed[:, 0].any() and changed[:, -1].any() and changed[:, :, 0].any()
    assert not changed[:, 4:-4, 4:-4].any()


def test_unknown_normalisation_lists_the_choices():
    prepare = pipeline.Preparation(channels=1, normalisation="visible")
    with pytest.raises(ValueError, match="unknown data.normalisation 'visible'.*nuaa"):
        prepare.image(np.zeros((4, 4, 1)))
