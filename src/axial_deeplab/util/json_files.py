"""Writing JSON of any length without having it in memory."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON object, to the byte as `json.dumps` has it.

    Args:
        path: file to write.
        document: names and values, at least one; an iterator, also one in what another yields, is written as
            a list, item by item.
    """
    with path.open("w", encoding="utf-8") as file:
        file.writelines(_parts(document))


def _parts(value: Any) -> Iterator[str]:
    if isinstance(value, Iterator):
        yield "["
        for place, item in enumerate(value):
            yield ", " if place else ""
            yield from _parts(item)
        yield "]"
    elif isinstance(value, Mapping) and any(isinstance(each, Iterator) for each in value.values()):
        for place, (name, each) in enumerate(value.items()):
            yield f"{', ' if place else '{'}{json.dumps(name)}: "
            yield from _parts(each)
        yield "}"
    else:
        yield json.dumps(value)


@contextmanager
def text_of_items(path: Path, before: str, between: str, after: str) -> Iterator[Callable[[str], None]]:
    """Yield what writes one more item of a text, as they come."""
    with path.open("w", encoding="utf-8") as file:
        file.write(before)
        separator = ""

        def add(item: str) -> None:
            nonlocal separator
            file.write(f"{separator}{item}")
            separator = between

        yield add
        file.write(after)
