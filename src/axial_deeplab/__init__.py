"""Axial attention and bottom-up panoptic segmentation in PyTorch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from axial_deeplab import _moved

if TYPE_CHECKING:
    from axial_deeplab.models.attention.axial import AxialAttention
    from axial_deeplab.models.attention.global_ import GlobalAttention2d
    from axial_deeplab.models.attention.window import LocalAttention2d
    from axial_deeplab.models.blocks.axial_block import AxialBlock
    from axial_deeplab.models.registry import list_models
    from axial_deeplab.ops.axial.api import axial_attention
    from axial_deeplab.post_processing import PostProcessing
    from axial_deeplab.prediction.predictor import Predictor
    from axial_deeplab.weights.factory import create_model
    from axial_deeplab.weights.file import save_weights
    from axial_deeplab.weights.loaded import from_pretrained, load_weights

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
    "AxialAttention": "models.attention.axial",
    "AxialBlock": "models.blocks.axial_block",
    "GlobalAttention2d": "models.attention.global_",
    "LocalAttention2d": "models.attention.window",
    "PostProcessing": "post_processing",
    "Predictor": "prediction.predictor",
    "axial_attention": "ops.axial.api",
    "create_model": "weights.factory",
    "from_pretrained": "weights.loaded",
    "list_models": "models.registry",
    "load_weights": "weights.loaded",
    "save_weights": "weights.file",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULE_OF_NAME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


_moved.install()
