"""The subcommands of `axial-deeplab` that are about data sets: `dataset` and `scenes`."""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from axial_deeplab.cli.command_line import Arguments, Parser


def dataset(arguments: Arguments) -> None:
    """Examine a data set before training (check), or convert one to COCO panoptic format (convert)."""
    from axial_deeplab.cli.dataset_check import check
    from axial_deeplab.cli.dataset_convert import convert

    actions = {"check": check, "convert": convert}
    if arguments and arguments[0] in actions:
        with (
            TemporaryDirectory(prefix="axial-deeplab-") as scratch,  # for what archives hold
            _naming_archives(scratch, arguments),
        ):
            actions[arguments[0]](arguments[1:], Path(scratch))
        return
    parser = Parser(dataset)
    parser.add_argument(
        "action",
        choices=tuple(actions),
        help="what to do; `axial-deeplab dataset ACTION --help` tells the options",
    )
    parser.parse_args(arguments)


class _Renaming:
    """A stream of text that is changed before it is written."""

    def __init__(self, stream: Any, rename: Callable[[str], str]) -> None:
        self._stream, self._rename = stream, rename

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> Any:
        return self._stream.write(self._rename(text))


@contextmanager
def _naming_archives(scratch: str, words: Arguments) -> Iterator[None]:
    """Name the files of archives by the ZIP that was given, not by the folder that is soon gone."""
    unpacked = re.compile(rf"{re.escape(scratch)}[/\\][^/\\]+[/\\]([^/\\]+?\.zip)", re.IGNORECASE)

    def given(found: re.Match[str]) -> str:
        archives = [word for word in words if Path(word).name == found[1]]
        return archives[0] if len(archives) == 1 else found[1]

    def rename(text: str) -> str:
        return unpacked.sub(given, text)

    streams: list[Any] = [_Renaming(stream, rename) for stream in (sys.stdout, sys.stderr)]
    try:
        with redirect_stdout(streams[0]), redirect_stderr(streams[1]):
            yield
    except (ValueError, FileNotFoundError) as error:
        if isinstance(error, FileNotFoundError) and error.filename is not None:
            error.filename = rename(str(error.filename))
        else:
            error.args = (rename(str(error)),)
        raise


def scenes(arguments: Arguments) -> None:
    """Draw scenes and write them as a data set in COCO panoptic format."""
    parser = Parser(scenes)
    parser.add_argument("--output", required=True, metavar="DIR", help="a new folder")
    parser.add_argument("--num-images", type=int, required=True, metavar="N", help="how many scenes")
    parser.add_argument(
        "--seed", type=int, default=0, help="scenes of another seed are others (default: %(default)s)"
    )
    parser.add_argument("--height", type=int, default=256, help="pixels (default: %(default)s)")
    parser.add_argument("--width", type=int, default=384, help="pixels (default: %(default)s)")
    parser.add_argument(
        "--num-workers", type=int, default=1, help="processes that draw (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    from axial_deeplab.data.scenes import write_scenes

    write_scenes(**vars(options))
    print(f"{options.num_images} scenes written to {options.output}")
