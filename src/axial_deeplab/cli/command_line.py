"""What all subcommands of `axial-deeplab` share: how they refuse words and write numbers."""

import argparse
import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

Arguments = list[str]
Command = Callable[[Arguments], None]


LARGEST = 2**31 - 1
# Options -> their least and largest number, where others would take all memory, processes or time. Other
# limits are checked, and told, where the numbers are used.
LIMITS = {
    **dict.fromkeys(("--num-workers", "--workers", "--threads"), (-LARGEST, 256)),
    **dict.fromkeys(("--height", "--width", "--long-side", "--max-side"), (-LARGEST, 2**15)),
    "--num-images": (-LARGEST, 10**6),
    "--rounds": (-LARGEST, 10**6),
    "--batch": (1, 2**16),
    "--steps": (1, LARGEST),
    "--tolerance": (0, LARGEST),
    "--port": (0, 2**16 - 1),
}


class Parser(argparse.ArgumentParser):
    """A parser of one subcommand: its errors are one line like all others, its numbers have limits.

    Args:
        function: what is called; its docstring is the help.
        name: words of the subcommand; None takes the name of the function.
    """

    def __init__(self, function: Callable[..., None], name: str | None = None) -> None:
        self._written: list[argparse.Action] = []
        super().__init__(
            prog=f"axial-deeplab {name or function.__name__.replace('_', '-')}",
            description=" ".join((function.__doc__ or "").split()),
        )

    def add_argument(self, *names: Any, writes: bool = False, **options: Any) -> argparse.Action:
        """Add an option; numbers that are too large for it, or none at all, are refused.

        So is a file that it `writes` where the command reads it, or where annotations are.
        """
        if options.get("type") in (int, float):
            options["type"] = _Limited(options["type"], *LIMITS.get(names[0], (-LARGEST, LARGEST)))
        action = super().add_argument(*names, **options)
        self._written += [action] * writes
        return action

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Read the words; an empty one would mean the folder where the command runs."""
        if "" in (args or ()):
            self.error("words must not be empty, got '': is a variable of the shell not set")
        parsed, rest = super().parse_known_args(args, namespace)
        for action in self._written:
            others = [value for name, value in vars(parsed).items() if name != action.dest]
            _refuse_loss(
                "/".join(action.option_strings) or action.metavar, getattr(parsed, action.dest), others
            )
        return parsed, rest

    def error(self, message: str) -> NoReturn:
        """Refuse the words of the command line."""
        if re.match(r"unrecognized arguments: \S*\d", message):
            message += '; numbers of one option stand in quotes, as in --value-range "0 4095"'
        raise ValueError(f"{message} (see {self.prog} --help)")


def _refuse_loss(option: Any, written: Any, others: Iterable[Any]) -> None:
    """Refuse to write over what the other words name, or over annotations, which nobody would find again."""
    if written is None or not os.path.isfile(written):
        return
    words = [word for each in others for word in (each if isinstance(each, list) else [each])]
    files = [word for word in words if isinstance(word, str | Path) and os.path.isfile(word)]
    if any(os.path.samefile(written, file) for file in files):
        what = "which the command reads"
    elif Path(written).suffix == ".json" and b'"annotations"' in Path(written).read_bytes():
        what = "which holds annotations"
    else:
        return
    raise ValueError(f"{option} must be a file to write, got {written}, {what}; name another")


class _Limited:
    """The type of an option: numbers from one limit to another."""

    def __init__(self, kind: type[int] | type[float], least: int, most: int) -> None:
        self.kind = kind
        self.least = least
        self.most = most
        self.__name__ = kind.__name__  # argparse names it where a word is no number

    def __call__(self, word: str) -> float:
        value = self.kind(word)
        if not self.least <= value <= self.most:
            rule = f"at most {self.most}" if value > self.most else f"a number of at least {self.least}"
            raise argparse.ArgumentTypeError(f"must be {rule}, got {word[:40]}")
        return value


def first_line(function: Command) -> str:
    """Return the help of a subcommand."""
    return (function.__doc__ or "").strip().splitlines()[0]


def write_json(path: str | None, numbers: dict[str, Any]) -> None:
    """Write the numbers of a subcommand to the file that its option names, if any."""
    if path is not None:
        from axial_deeplab.util.files import write_text

        write_text(path, json.dumps(numbers, indent=2) + "\n")
