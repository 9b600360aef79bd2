"""Work ahead in threads: nothing lost, in order, not too far, together."""

import threading

import pytest

from irstd_jax.ahead import ahead


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 9])
def test_every_result_once_and_in_order(threads, count):
    assert list(ahead(lambda x: x * x, range(count), threads)) == [
        x * x for x in range(count)
    ]


@pytest.mark.parametrize("threads", [1, 3])
def test_items_are_drawn_no_further_than_there_are_threads(threads):
    drawn = []
    items = (drawn.append(x) or x for x in range(9))
    for taken, _ in enumerate(ahead(lambda x: x, items, threads), start=1):
        assert len(drawn) <= taken + threads


def test_the_next_is_worked_on_while_a_result_is_used():
    begun = [threading.Event() for _ in range(3)]
    used = 0
    for result in ahead(lambda x: begun[x].set() or x, range(3)):
        # Without a thread this would wait for ever.
        assert begun[min(result + 1, 2)].wait(timeout=60)
        used += 1
    assert used == 3


def test_an_error_comes_in_its_place_and_ends_the_drawing():
    drawn = []

    def reciprocal(x):
        return 1 / x

    results = ahead(reciprocal, (drawn.append(x) or x for x in (2, 1, 0, 4, 5, 6, 7)))
    assert next(results) == 0.5
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert drawn == [2, 1, 0, 4]
    with pytest.raises(StopIteration):
        next(results)


def test_who_leaves_early_leaves_nothing_running():
    before = threading.active_count()
    results = ahead(lambda x: x, range(100), 2)
    assert next(results) == 0
    results.close()
    assert threading.active_count() == before
