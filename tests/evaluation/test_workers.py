"""Threads that work ahead: bounded, in order, and stopped by an error."""

import threading

import pytest

from axial_deeplab.evaluation.workers import check_num_workers, map_in_order


@pytest.mark.parametrize("num_workers", [1, 3])
def test_results_keep_the_order_of_the_items(num_workers):
    assert list(map_in_order(lambda item: item * item, range(20), num_workers)) == [i * i for i in range(20)]
    assert list(map_in_order(str, [], num_workers)) == []


@pytest.mark.parametrize("num_workers", [1, 3])
def test_no_more_is_read_than_needed_soon(num_workers):
    started = set()
    lock = threading.Lock()

    def read(item: int) -> int:
        with lock:
            started.add(item)
        return item

    results = map_in_order(read, range(100), num_workers)
    assert [next(results) for _ in range(5)] == list(range(5))
    results.close()
    assert max(started) < 5 + 2 * num_workers


@pytest.mark.parametrize("num_workers", [1, 3])
def test_an_error_reaches_the_reader_in_its_turn(num_workers):
    def read(item: int) -> int:
        if item == 4:
            raise ValueError("image 4 must be whole")
        return item

    results = map_in_order(read, range(10), num_workers)
    assert [next(results) for _ in range(4)] == list(range(4))
    with pytest.raises(ValueError, match="image 4 must be whole"):
        next(results)


def test_the_default_is_bounded():
    assert 1 <= check_num_workers(None) <= 4
    assert check_num_workers(9) == 9
    with pytest.raises(ValueError, match=r"num_workers must be at least 1, got 0; leave it out"):
        check_num_workers(0)
