"""Work that is done ahead by others, threads or machines, while the results keep their order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Pending = TypeVar("Pending")


def in_order(
    submit: Callable[[Item], Pending], items: Iterable[Item], ahead: int
) -> Iterator[tuple[Item, Pending]]:
    """Yield each item with what `submit` made of it, in order.

    Args:
        submit: gives the item to whoever works, and returns what waits for the result.
        items: any number of them; they are taken as they are needed.
        ahead: how many are given away before the first is yielded.
    """
    rest = iter(items)
    given = deque((item, submit(item)) for item in islice(rest, ahead))
    while given:
        yield given.popleft()
        given.extend((item, submit(item)) for item in islice(rest, 1))
