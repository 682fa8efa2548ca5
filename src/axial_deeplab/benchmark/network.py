"""Networks to be timed: ours, plain convolutional ones, and the first author's code."""

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from axial_deeplab.benchmark.measure import Step, compile_options
from axial_deeplab.models.folding.fold import fuse
from axial_deeplab.models.panoptic import IMAGENET_MEAN, IMAGENET_STD, PanopticDeepLab
from axial_deeplab.models.pointwise import Conv2d
from axial_deeplab.models.registry import create_model

FIRST_AUTHOR_PREFIX = "first_author:"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class NetworkCandidate:
    """A network at one input size.

    Args:
        name: one of `list_models()`, or `first_author:axial50s` and the like with `checkout`.
        batch: images.
        height: pixels.
        width: pixels.
        training: time forward pass, backward pass and a step of SGD; else inference without gradients.
        span: positions that a query attends to; None is the whole axis.
        num_classes: classes of the classifier or the semantic logits; None is the default of the network.
        impl: implementation of attention.
        fuse: fold the norms away for inference.
        plain: take PyTorch's own way of 1x1 convolutions, see `models.pointwise`.
        standardize: time the standardization of a classifier's image as well; a panoptic network
            has its own.
        compiled: run it through `torch.compile`.
        dtype: "float32", or "bfloat16" or "float16" by autocast.
        device: "cpu" or "cuda".
        checkout: folder of the first author's code, for names that begin with `first_author:`.
    """

    name: str
    batch: int = 1
    height: int = 224
    width: int = 224
    training: bool = False
    span: int | None = None
    num_classes: int | None = None
    impl: str = "auto"
    fuse: bool = True
    plain: bool = False
    standardize: bool = False
    compiled: bool = False
    dtype: str = "float32"
    device: str = "cpu"
    checkout: Path | None = None

    @property
    def is_first_authors(self) -> bool:
        """Whether it is built by the first author's code."""
        return self.name.startswith(FIRST_AUTHOR_PREFIX)

    @property
    def label(self) -> str:
        """Name in the table, with what is special about it."""
        if self.is_first_authors:
            return self.name.removeprefix(FIRST_AUTHOR_PREFIX) + " (first author)"
        extras = [
            f"span {self.span}" if self.span else "",
            f"{self.num_classes} classes" if self.num_classes else "",
            self.impl if self.impl != "auto" else "",
            "not folded" if not (self.fuse or self.training) else "",
            "compiled" if self.compiled else "",
            "PyTorch's convolutions" if self.plain else "",
            self.dtype if self.dtype != "float32" else "",
        ]
        extras = [extra for extra in extras if extra]
        return f"{self.name} ({', '.join(extras)})" if extras else self.name

    def build(self) -> nn.Module:
        """Return the network with random weights, on its device, in the mode that is timed.

        Raises:
            ValueError: the name is unknown, or the first author's code is not where `checkout` says.
        """
        torch.manual_seed(0)
        model = self._first_authors() if self.is_first_authors else self._ours()
        model = model.to(self.device).train(self.training)
        if self.fuse and not self.training and not self.is_first_authors:
            model = fuse(model)
        if self.compiled:
            model.compile(**compile_options())
        return model

    def _ours(self) -> nn.Module:
        classes: dict[str, Any] = {} if self.num_classes is None else {"num_classes": self.num_classes}
        model = create_model(self.name, span=self.span, **classes)
        for module in model.modules():
            if hasattr(module, "impl"):
                module.impl = self.impl  # type: ignore[assignment]
        pointwise: list[Any] = [module for module in model.modules() if isinstance(module, Conv2d)]
        for convolution in pointwise if self.plain else ():
            convolution.__class__ = nn.Conv2d
        # PyTorch's annotation of `to` forgets the memory format.
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return model

    def prepare(self) -> Step:
        """Return one inference or training step on random images."""
        model = self.build()
        images = torch.rand(self.batch, 3, self.height, self.width, device=self.device)
        if not self.is_first_authors:
            images = images.contiguous(memory_format=torch.channels_last)
        if isinstance(model, PanopticDeepLab):
            images = images * 255
        return self._training_step(model, images) if self.training else self._inference(model, images)

    def _inference(self, model: nn.Module, images: Tensor) -> Step:
        mean, std = (
            images.new_tensor(values)[:, None, None] / 255 for values in (IMAGENET_MEAN, IMAGENET_STD)
        )
        standardize = self.standardize and not isinstance(model, PanopticDeepLab)

        def infer() -> None:
            with torch.inference_mode(), self._autocast():
                model((images - mean) / std if standardize else images)

        return infer

    def _training_step(self, model: nn.Module, images: Tensor) -> Step:
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
        labels = torch.arange(len(images), device=images.device)

        def train() -> None:
            with self._autocast():
                loss = _loss(model(images), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

        return train

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device, DTYPES[self.dtype], enabled=self.dtype != "float32")

    def _first_authors(self) -> nn.Module:
        name = self.name.removeprefix(FIRST_AUTHOR_PREFIX)
        builder: Callable[[], nn.Module] | None = getattr(first_authors_models(self.checkout), name, None)
        if builder is None:
            raise ValueError(f"name must be a network of the first author's code, got {name}; try axial50s")
        return builder()


def _loss(outputs: Any, labels: Tensor) -> Tensor:
    """Return a loss that reaches every output; its value means nothing."""
    if isinstance(outputs, dict):
        return torch.stack([output.float().square().mean() for output in outputs.values()]).sum()
    return F.cross_entropy(outputs.float(), labels)


def first_authors_models(checkout: Path | None) -> ModuleType:
    """Import the networks of a checkout of https://github.com/csrhddlam/axial-deeplab.

    Raises:
        ValueError: there is no such code in the folder.
    """
    if checkout is None or not (checkout / "lib" / "models" / "axialnet.py").is_file():
        raise ValueError(
            f"first_author must be a checkout of github.com/csrhddlam/axial-deeplab, got {checkout}; "
            "it has lib/models/axialnet.py"
        )
    folder = checkout / "lib" / "models"
    name = "first_authors_models"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except Exception:
            del sys.modules[name]
            raise
    return sys.modules[name]
