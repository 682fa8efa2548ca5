"""Writing JSON of any length without having it in memory."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON object, to the byte as `json.dumps` has it.

    Args:
        path: file to write.
        document: names and values, at least one; an iterator is written as a list, item by item.
    """
    with path.open("w", encoding="utf-8") as file:
        before = "{"
        for name, value in document.items():
            file.write(f"{before}{json.dumps(name)}: ")
            before = ", "
            if isinstance(value, Iterator):
                file.write("[")
                for place, item in enumerate(value):
                    file.write(f"{', ' if place else ''}{json.dumps(item)}")
                file.write("]")
            else:
                file.write(json.dumps(value))
        file.write("}")
