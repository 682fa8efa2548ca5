"""What all subcommands of `axial-deeplab` share: how they refuse words and write numbers."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

Arguments = list[str]
Command = Callable[[Arguments], None]


class Parser(argparse.ArgumentParser):
    """A parser of one subcommand, whose errors are one line like all others."""

    def __init__(self, function: Command) -> None:
        super().__init__(
            prog=f"axial-deeplab {function.__name__.replace('_', '-')}",
            description=first_line(function),
        )

    def error(self, message: str) -> NoReturn:
        """Refuse the words of the command line."""
        raise ValueError(f"{message} (see {self.prog} --help)")


def first_line(function: Command) -> str:
    """Return the help of a subcommand."""
    return (function.__doc__ or "").strip().splitlines()[0]


def write_json(path: str | None, numbers: dict[str, Any]) -> None:
    """Write the numbers of a subcommand to the file that its option names, if any."""
    if path is not None:
        from axial_deeplab.util.files import atomic_path

        with atomic_path(Path(path)) as temporary:
            temporary.write_text(json.dumps(numbers, indent=2) + "\n")
