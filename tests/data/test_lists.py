"""Lists of names: what files hold, and the fixed rules that cut them."""

import hypothesis
import hypothesis.strategies as st
import pytest

from irstd_jax.data import lists

NAMES = tuple(f"{k:06d}" for k in range(1, 1328))
some_names = st.lists(
    st.text("abc_1", min_size=1), min_size=2, max_size=30, unique=True
)


@pytest.mark.parametrize(
    "content",
    [
        b"a\nb\nc",
        b"a\nb\nc\n",
        b"a\r\nb\r\nc\r\n",
        b"\xef\xbb\xbfa\nb\nc\n",
        b"\n a \n\nb\t\nc\n\n",
        b"a.png\nb.PNG\nc.tif\n",
    ],
)
def test_every_way_to_write_three_names(tmp_path, content):
    path = tmp_path / "train.txt"
    path.write_bytes(content)
    assert lists.read_list(path) == (("a", "b", "c"), [])


def test_other_dots_belong_to_the_name(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text("frame.001\nv1.2.png\n")
    assert lists.read_list(path)[0] == ("frame.001", "v1.2")


@pytest.mark.parametrize("bad", ["../a", "/etc/a", "x/a.png", "x\\a", "C:a", "..", "."])
def test_names_that_leave_the_folder(tmp_path, bad):
    path = tmp_path / "train.txt"
    path.write_text(f"fine\n{bad}\n")
    names, problems = lists.read_list(path)
    assert names == ("fine",)
    assert len(problems) == 1 and f"{path} line 2" in problems[0]
    assert "no bare image name" in problems[0]


def test_names_that_stand_there_twice(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text("a\nb\na.png\n")
    names, problems = lists.read_list(path)
    assert names == ("a", "b")
    assert problems == [f"{path} line 3: 'a' stands there twice: remove one"]


def test_a_list_in_another_encoding(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text("a\nb\n", encoding="utf-16")
    names, problems = lists.read_list(path)
    assert names == () and "is not UTF-8" in problems[0]


def test_the_unpublished_split_has_its_counts():
    train, test = lists.random_80_20(NAMES)
    assert (len(train), len(test)) == (1062, 265)
    assert not set(train) & set(test)
    # The rule must never change: reports of old runs would mean other images.
    assert lists.fingerprint(test).startswith("41ea9c7d7f625da2")


@hypothesis.given(some_names, st.floats(0.0, 0.9), st.randoms())
@hypothesis.settings(max_examples=30, deadline=None)
def test_cuts_are_partitions_that_ignore_the_order(names, share, random):
    shuffled = random.sample(names, len(names))
    for cut in (lists.random_80_20, lambda n: lists.cut_validation(n, share)):
        first, second = cut(names)
        assert sorted(first + second) == sorted(names)
        assert cut(shuffled) == (first, second)
    assert lists.fingerprint(names) == lists.fingerprint(shuffled)


def test_validation_share():
    train, validation = lists.cut_validation(NAMES[:663], 0.1)
    assert (len(train), len(validation)) == (597, 66)
    assert lists.cut_validation(NAMES, 0.0) == (NAMES, ())
    assert len(lists.cut_validation(NAMES[:3], 0.01)[1]) == 1
    with pytest.raises(ValueError, match="validation_share is 1.5"):
        lists.cut_validation(NAMES, 1.5)


def test_fingerprint_tells_sets_apart():
    assert lists.fingerprint(["ab", "c"]) != lists.fingerprint(["a", "bc"])


def test_some_names_and_how_many_more():
    assert lists.some("abc") == "a, b, c"
    assert lists.some("abcdefg") == "a, b, c, d, e and 2 more"
