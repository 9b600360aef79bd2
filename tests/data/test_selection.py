"""A few samples of a source are that source's, evenly chosen, and say so."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from irstd_jax import data


class Letters:
    names = tuple("abcdefghijk")

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        return {"name": self.names[index]}

    def describe(self):
        return {"set": "letters", "part": "test", "count": 11, "hash": "whole"}


@given(count=st.integers(1, 30))
def test_they_are_evenly_spread_and_at_most_so_many(count):
    whole = Letters()
    few = data.some(whole, count)
    places = [whole.names.index(name) for name in few.names]
    assert 1 <= len(few) <= count and places[0] == 0
    assert len(set(np.diff(places))) <= 1
    assert [few[i]["name"] for i in range(len(few))] == list(few.names)
    assert len(few) == 11 or len(few) > count / 2


@pytest.mark.parametrize("count", [0, 11, 12])
def test_all_is_the_source_itself(count):
    whole = Letters()
    assert data.some(whole, count) is whole


def test_a_description_tells_of_how_many_they_are():
    facts = data.some(Letters(), 4).describe()
    assert facts["part"] == "of 11 test" and facts["count"] == 4
    assert facts["set"] == "letters" and facts["hash"] != "whole"


def test_fewer_than_none_are_refused():
    with pytest.raises(ValueError, match="-3 images are none"):
        data.some(Letters(), -3)
