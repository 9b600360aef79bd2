import pytest

from irstd_jax.weights import names


def test_a_prefix_is_taken_off_only_where_all_have_it():
    assert names.bare({"a.b.x": 1, "a.b.y": 2}, "a.", "b.") == {"x": 1, "y": 2}
    assert names.bare({"a.x": 1, "y": 2}, "a.") == {"a.x": 1, "y": 2}
    assert names.bare({}, "a.") == {}


def test_rules_follow_one_another():
    rules = ((r"^a(\d)", r"b\1"), (r"b1", "c"))
    assert names.substituted("a1.a1", rules) == "c.a1"


def test_names_must_stay_apart():
    assert names.renamed({"a": 1, "b": 2}, str.upper) == {"A": 1, "B": 2}
    with pytest.raises(ValueError, match="'a' and 'A' both mean 'A'"):
        names.renamed({"a": 1, "A": 2}, str.upper)


def test_highest_number():
    given = {"down.3.x": 0, "down.12.y": 0, "up.99.x": 0}
    assert names.highest(given, r"^down\.(\d+)\.") == 12
    assert names.highest(given, r"^none\.(\d+)") == -1
