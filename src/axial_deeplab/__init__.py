"""Axial attention and bottom-up panoptic segmentation in PyTorch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .models.registry import create_model, list_models

__version__ = "0.1.0"

__all__ = ["__version__", "create_model", "list_models"]

# Public name -> the module that defines it; imported on first use, so that the command line starts quickly.
_MODULE_OF_NAME = {
    "create_model": "models.registry",
    "list_models": "models.registry",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULE_OF_NAME[name]}", __name__), name)
