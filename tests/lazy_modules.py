"""Modules imported on first use, so that collecting the tests does not wait for Lightning and Gradio."""

from importlib import import_module
from typing import Any


class LazyModule:
    """A module that is imported as soon as one of its public names is asked for.

    Not `importlib.util.LazyLoader`: pytest asks each global for its `__class__`, which would import it.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):
            raise AttributeError(attribute)
        return getattr(import_module(self._name), attribute)
