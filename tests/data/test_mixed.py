"""Two sources as one: the table of draws, names, and what it says of itself."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irstd_jax.data import lists, mixed


class Numbers:
    """A source whose samples are told apart by one pixel."""

    def __init__(self, prefix, count):
        self.names = tuple(f"{prefix}{k}" for k in range(count))

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        image = np.full((1, 1, 1), index, np.float32)
        return {"name": self.names[index], "image": image}

    def describe(self):
        return {
            "set": self.names[0],
            "split": "s",
            "part": "train",
            "count": len(self),
            "hash": lists.fingerprint(self.names),
            "mask_rule": "rule",
            "repairs": [],
        }


def drawn(source):
    """How often each sample is drawn in an epoch, by its bare name."""
    counts = {}
    for name in source.names:
        bare = name.partition(":")[0]
        counts[bare] = counts.get(bare, 0) + 1
    return counts


def test_by_list_is_each_once_in_order():
    source = mixed.join(Numbers("r", 3), [Numbers("a", 2), Numbers("b", 1)])
    assert source.names == ("r0", "r1", "r2", "a0", "a1", "b0")
    assert [source[i]["name"] for i in range(6)] == list(source.names)
    assert [int(source[i]["image"][0, 0, 0]) for i in range(6)] == [0, 1, 2, 0, 1, 0]
    with pytest.raises(IndexError):
        source[6]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 99))
def test_by_ratio_every_sample_occurs_evenly(n, m, percent):
    share = percent / 100
    source = mixed.join(Numbers("r", n), [Numbers("a", m)], share)
    counts = drawn(source)
    assert len(counts) == n + m and sum(counts.values()) == len(source)
    real, extra = (
        [count for name, count in counts.items() if name[0] == kind] for kind in "ra"
    )
    for kind in (real, extra):
        assert max(kind) - min(kind) <= 1
    assert min(max(real), max(extra)) == 1
    # To the nearest draw: half a draw more or less moves the share by at most this.
    assert abs(sum(extra) / len(source) - share) <= 0.5 / (len(source) - 0.5)
    assert len(set(source.names)) == len(source)


def test_repeats_are_the_same_sample_under_another_name():
    source = mixed.join(Numbers("r", 4), [Numbers("a", 1)], 0.5)
    assert source.names == ("r0", "r1", "r2", "r3", "a0", "a0:2", "a0:3", "a0:4")
    assert source[6]["name"] == "a0:3" and source[6]["image"] == 0


def test_the_repeats_are_spread_over_all_of_the_list():
    np.testing.assert_array_equal(mixed.spread(np.arange(4), 6), [0, 0, 1, 2, 2, 3])


def test_a_share_of_one_leaves_the_real_ones_out():
    source = mixed.join(Numbers("r", 4), [Numbers("a", 3)], 1)
    assert source.names == ("a0", "a1", "a2")


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_senseless_shares_are_refused(share):
    with pytest.raises(ValueError, match="data.extra_share is"):
        mixed.join(Numbers("r", 4), [Numbers("a", 3)], share)


def test_it_says_what_it_is_made_of():
    real, extra = Numbers("r", 4), Numbers("a", 3)
    facts = mixed.join(real, [extra], 0.5).describe()
    assert facts["count"] == 8 and facts["set"] == "r0 + a0"
    assert [part["draws"] for part in facts["parts"]] == [4, 4]
    assert [part["count"] for part in facts["parts"]] == [4, 3]
    assert facts["parts"][1]["hash"] == lists.fingerprint(extra.names)
    other = mixed.join(real, [Numbers("a", 2)], 0.5).describe()
    assert facts["hash"] != other["hash"]
    json.dumps(facts)
