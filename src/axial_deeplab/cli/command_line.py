"""What all subcommands of `axial-deeplab` share: how they are found, and how they refuse words."""

import argparse
from collections.abc import Callable
from typing import NoReturn

Arguments = list[str]
Command = Callable[[Arguments], None]

COMMANDS: dict[str, Command] = {}
"""Every subcommand by name; the first line of its docstring is its help."""


def command(function: Command) -> Command:
    """Make a function a subcommand: it gets the words after its name."""
    COMMANDS[function.__name__.replace("_", "-")] = function
    return function


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
