"""Settings of YAML files, checked against the types of `Config` as the command line checks its own."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jsonargparse
import yaml

from axial_deeplab.config.files import read_settings
from axial_deeplab.config.schema import Config, config_from_dict
from axial_deeplab.util.text import one_line


def read_config(path: str) -> Config:
    """Read the settings of a YAML file.

    Args:
        path: YAML file, or a name of `axial_deeplab.config.files.shipped_settings()`.

    Raises:
        ValueError: an unknown key, a value of a wrong type or outside its range, a YAML file that is none.
        OSError: the file cannot be read.
    """
    text = yaml.safe_dump(read_settings(path))
    return checked_config(lambda: _parser().parse_string(text))


def settings_parser(**options: Any) -> jsonargparse.ArgumentParser:
    """Return a parser that knows every setting, whose errors are exceptions for `checked_config`."""
    jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = jsonargparse.ArgumentParser(exit_on_error=False, **options)
    parser.add_class_arguments(Config)
    return parser


def checked_config(parse: Callable[[], jsonargparse.Namespace]) -> Config:
    """Return the settings that a parser finds; its refusal becomes a ValueError of one line."""
    try:
        settings = parse().as_dict()
    except jsonargparse.ArgumentError as error:
        message = one_line(error)
        bare = re.search(r"Expected a <class '(?:tuple|list)'>.* value: \(?([\d.,-]+)\)?$", message)
        remedy = f"write [{bare[1]}]" if bare else "correct them"
        raise ValueError(
            f"settings must be those of `axial-deeplab train --help`, got: {message}; {remedy}"
        ) from None
    settings.pop("config", None)
    return config_from_dict(settings)


# Kept, for reading all docstrings takes longer than reading a file of settings.
_parser = lru_cache(settings_parser)
