"""A bounded number of threads that read and count ahead, while the results keep their order."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from axial_deeplab.util.in_order import in_order

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_DEFAULT_WORKERS = 4


def check_num_workers(num_workers: int | None) -> int:
    """Return the number of threads; None is one a processor, at most 4.

    Raises:
        ValueError: it is below 1.
    """
    if num_workers is None:
        return min(MAX_DEFAULT_WORKERS, os.cpu_count() or 1)
    if num_workers < 1:
        raise ValueError(
            f"num_workers must be at least 1, got {num_workers}; leave it out for one a processor"
        )
    return num_workers


def map_in_order(
    function: Callable[[Item], Result], items: Sequence[Item], num_workers: int
) -> Iterator[Result]:
    """Yield function(item) for each item, in order; threads work at most 2 items each ahead of the reader.

    Threads suffice where the function decodes files and counts pixels, which releases the interpreter lock.

    Args:
        function: called once for each item.
        items: its arguments.
        num_workers: threads; one works without any, when the result is asked for.
    """
    if num_workers == 1:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(num_workers)
    try:
        for _, pending in in_order(lambda item: pool.submit(function, item), items, 2 * num_workers):
            yield pending.result()
    finally:
        pool.shutdown(cancel_futures=True)
