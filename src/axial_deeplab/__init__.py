"""Axial attention and bottom-up panoptic segmentation in PyTorch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from axial_deeplab.hub import from_pretrained
    from axial_deeplab.inference import Predictor
    from axial_deeplab.models.axial_attention import AxialAttention, AxialBlock
    from axial_deeplab.models.local_attention import GlobalAttention2d, LocalAttention2d
    from axial_deeplab.models.registry import create_model, list_models
    from axial_deeplab.ops.axial_attention import axial_attention
    from axial_deeplab.post_processing import PostProcessing
    from axial_deeplab.weights import load_weights, save_weights

__version__ = "0.1.0"

__all__ = [
    "AxialAttention",
    "AxialBlock",
    "GlobalAttention2d",
    "LocalAttention2d",
    "PostProcessing",
    "Predictor",
    "__version__",
    "axial_attention",
    "create_model",
    "from_pretrained",
    "list_models",
    "load_weights",
    "save_weights",
]

# Public name -> the module that defines it; imported on first use, so that the command line starts quickly.
_MODULE_OF_NAME = {
    "AxialAttention": "models.axial_attention",
    "AxialBlock": "models.axial_attention",
    "GlobalAttention2d": "models.local_attention",
    "LocalAttention2d": "models.local_attention",
    "PostProcessing": "post_processing",
    "Predictor": "inference",
    "axial_attention": "ops.axial_attention",
    "create_model": "models.registry",
    "from_pretrained": "hub",
    "list_models": "models.registry",
    "load_weights": "weights",
    "save_weights": "weights",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULE_OF_NAME[name]}", __name__), name)
