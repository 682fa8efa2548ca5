"""The command `axial-deeplab`: find the subcommand, call it, print what went wrong in one line."""

import io
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from axial_deeplab import __version__
from axial_deeplab.cli.command_line import Arguments, Command, first_line
from axial_deeplab.util.files import NO_ROOM
from axial_deeplab.util.termination import EXIT_STATUS, Terminated, signal_handler, terminate
from axial_deeplab.util.text import one_line

COMMANDS = {
    "train": ("training", "train"),
    "evaluate": ("evaluation", "evaluate"),
    "predict": ("prediction", "predict"),
    "configs": ("training", "configs"),
    "scenes": ("dataset", "scenes"),
    "pq": ("evaluation", "pq"),
    "demo": ("prediction", "demo"),
    "models": ("networks", "models"),
    "benchmark": ("networks", "benchmark"),
    "tables": ("networks", "tables"),
    "app": ("app", "app"),
    "dataset": ("dataset", "dataset"),
    "experiment": ("experiment", "experiment"),
    "attention-maps": ("experiment", "attention_maps"),
    "convert": ("weights", "convert"),
    "weights": ("weights", "weights"),
    "export": ("weights", "export"),
}
"""Subcommand -> its module in this folder and its function, which gets the words after the name."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Args:
        arguments: words of the command line; None takes those of the process.

    Returns:
        The exit code: 0, 2 for bad input (one line on standard error), 130 after Ctrl+C, 143 after SIGTERM.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    _wait_asleep()
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who started the process
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        # A console may lack letters of a name, as that of Windows: a question mark is better than an end.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning  # type: ignore[assignment]
        with signal_handler(signal.SIGTERM, terminate):
            return _run(words)


def _wait_asleep() -> None:
    """Let PyTorch's threads wait asleep for each other, unless the environment says otherwise.

    GNU's OpenMP lets a thread look for the others 300,000 times before it sleeps, which keeps those from a
    core that another program uses, too. It reads its setting when PyTorch is imported.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def find_command(name: str) -> Command:
    """Import a subcommand.

    Raises:
        ValueError: there is none of this name.
    """
    if name not in COMMANDS:
        raise ValueError(
            f"command must be one of {', '.join(COMMANDS)}, got {name}; see axial-deeplab --help"
        )
    module, function = COMMANDS[name]
    command: Command = getattr(import_module(f"axial_deeplab.cli.{module}"), function)
    return command


def _run(words: Arguments) -> int:
    try:
        if not words or words[0] in ("-h", "--help"):
            print(_help())
        elif words[0] == "--version":
            print(f"axial-deeplab {__version__}")
        else:
            find_command(words[0])(words[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of a pipe (`| head`) has seen enough; Python must not complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError) as error:
        print(f"axial-deeplab: error: {_told(error)}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        # PyTorch has no type for it on CPUs.
        signs = ("can't allocate memory", "out of memory")
        if isinstance(error, RuntimeError) and not any(sign in str(error) for sign in signs):
            raise
        print(f"axial-deeplab: error: {_beyond_memory(error)}", file=sys.stderr)
        return 2
    except Terminated as stop:
        print(f"axial-deeplab: {stop.message}", file=sys.stderr)
        return EXIT_STATUS
    except KeyboardInterrupt as stop:
        print(f"axial-deeplab: {str(stop) or 'stopped'}", file=sys.stderr)
        return 130
    return 0


def _beyond_memory(error: BaseException) -> str:
    reason = str(error).strip().splitlines()[:1]
    return f"memory must suffice, got {(reason or ['too little'])[0]}; give smaller sizes, or fewer at a time"


def _help() -> str:
    width = max(map(len, COMMANDS)) + 2
    return "\n".join(
        [
            "usage: axial-deeplab COMMAND [OPTIONS]; axial-deeplab COMMAND --help tells the options",
            "",
            "Axial attention and bottom-up panoptic segmentation.",
            "",
            *(f"  {name:{width}}{first_line(find_command(name))}" for name in COMMANDS),
        ]
    )


def _show_warning(message: Warning | str, *origin: Any) -> None:
    """Print a warning as one line, without the place in the source code that nobody asked for."""
    print(f"axial-deeplab: warning: {_told(message)}", file=sys.stderr)


def _told(error: Exception | str) -> str:
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        name = error.filename2 or error.filename or "what is written"
        return f"{error.strerror}: {name}; make room, or give an output on another disk"
    if isinstance(error, OSError) and error.strerror and error.filename:
        # The second name, if any, is what a temporary file should have been renamed to.
        return f"{error.strerror}: {error.filename2 or error.filename}; correct the path or its permissions"
    return one_line(error)


if __name__ == "__main__":
    sys.exit(main())
