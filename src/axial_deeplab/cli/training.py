"""The subcommands of `axial-deeplab` that are about training: `train` and `configs`."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from axial_deeplab.cli.command_line import Arguments, Parser
from axial_deeplab.util.freed_memory import take_large_pages
from axial_deeplab.util.packages import require_package

if TYPE_CHECKING:
    import jsonargparse

    from axial_deeplab.config.schema import Config


def train(arguments: Arguments) -> None:
    """Train a network: --config FILE.yaml, then any setting as --section.key VALUE; --resume [CHECKPOINT]."""
    take_large_pages()
    config = parse_config(_with_resume(arguments))
    require_package("lightning", "train", "training needs")
    from axial_deeplab.training.train import train

    train(config)


def configs(arguments: Arguments) -> None:
    """List the settings that come with the package, for train --config NAME; or copy them to change them."""
    parser = Parser(configs)
    parser.add_argument("--output", metavar="DIR", help="a new folder to copy all of them to")
    options = parser.parse_args(arguments)
    from axial_deeplab.config.files import copy_shipped_settings, shipped_settings

    names = shipped_settings()
    if options.output is None:
        print("\n".join(names))
        return
    copy_shipped_settings(options.output)
    print(f"{len(names)} settings and their shared parts written to {options.output}")


def parse_config(arguments: Sequence[str]) -> "Config":
    """Read the settings from `--config FILE` and from overrides `--any.key value`.

    Returns:
        The settings. `--help` and `--print_config` print and exit instead.

    Raises:
        ValueError: an unknown key, a value of a wrong type or outside its range, a YAML file that is none.
        OSError: the YAML file cannot be read.
    """
    from axial_deeplab.config.parse import checked_config

    words = [*arguments, *_paths_that_give_way(arguments)]
    return checked_config(lambda: _settings_parser().parse_args(words))


@lru_cache
def _settings_parser() -> "jsonargparse.ArgumentParser":
    import jsonargparse
    import yaml

    from axial_deeplab.config.files import read_settings
    from axial_deeplab.config.parse import settings_parser

    class ConfigFile(jsonargparse.ActionConfigFile):
        """The option --config; the parser itself knows no `base` and does not name a file it cannot read."""

        def __call__(self, parser: Any, settings: Any, path: Any, option: str | None = None) -> None:
            super().__call__(parser, settings, yaml.safe_dump(read_settings(path)), option)

    parser = settings_parser(
        prog="axial-deeplab train",
        description="Train a network. --resume [CHECKPOINT] goes on with a run: it is short for "
        "--trainer.resume CHECKPOINT, alone for the last checkpoint in --trainer.output.",
    )
    parser.add_argument(
        "--config",
        action=ConfigFile,
        help="YAML file, or a name of `axial-deeplab configs`; later files and options override it",
    )
    return parser


def _paths_that_give_way(arguments: Sequence[str]) -> Iterator[str]:
    """Yield options that take back the paths of a recipe where the command line gives a root instead.

    Raises:
        ValueError: it gives a root of both parts, and that of one.
    """
    given = {word.partition("=")[0] for word in arguments}
    for part in ("data.train", "data.val"):
        own = next(
            (word for key in ("root", "panoptic", "json") if (word := f"--{part}.{key}") in given), None
        )
        if "--data.root" in given and own:
            raise ValueError(
                f"--data.root must stand for both parts, got {own}, too; give --data.train.root and "
                "--data.val.root instead"
            )
        if f"--{part}.root" in given:
            for key in ("images", "panoptic", "json"):
                if f"--{part}.{key}" not in given:
                    yield from (f"--{part}.{key}", "null")


def _with_resume(arguments: Arguments) -> Arguments:
    """Turn `--resume [CHECKPOINT]` into the setting that it is short for."""
    words = list(arguments)
    if "--resume" in words:
        place = words.index("--resume")
        has_value = place + 1 < len(words) and not words[place + 1].startswith("--")
        words[place : place + 1] = ["--trainer.resume"] if has_value else ["--trainer.resume", "last"]
    return words
