"""Networks in ONNX files, run by ONNX Runtime in the place of PyTorch."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.util.packages import require_package
from axial_deeplab.weights.loaded import LoadedWeights

# Under this name the metadata of an ONNX file has ours, as JSON.
METADATA_KEY = "axial_deeplab"


class OnnxNetwork(nn.Module):
    """A network in an ONNX file, to be called like one of PyTorch; it runs on the CPU.

    Shapes: those of the network that was exported.

    Attributes:
        metadata: what the file says of network, categories and post-processing.
        output_names: names of the outputs, in their order.
        path: the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not an ONNX file of ours, or onnxruntime is not installed.
    """

    semantic_head: None
    """Tells, as in the networks of PyTorch, that it segments; absent otherwise."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        path = Path(path)
        require_onnx("onnxruntime")
        import onnxruntime

        if not path.is_file():
            raise FileNotFoundError(f"weights must be an ONNX file, got {path}; correct the path")
        self.path = path
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # The process may be limited to fewer processors than the machine has.
        options.intra_op_num_threads = torch.get_num_threads()
        # Threads that wait by spinning would take the processors from what follows, such as post-processing.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # The memory freed last and the nodes as they stand keep a part of the lines in the cache.
        options.enable_mem_reuse = False
        options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
        try:
            self.session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the runtime has its own types, which it does not export
            reason = str(error).splitlines()[0]
            raise ValueError(
                f"{path} must be an ONNX file, got: {reason}; write it with axial-deeplab export"
            ) from None
        text = self.session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        if text is None:
            raise ValueError(
                f"{path} must have {METADATA_KEY} in its metadata, got none; "
                "write it with axial-deeplab export"
            )
        self.metadata: dict[str, Any] = json.loads(text)
        self.config = self.metadata["model"]
        # (height, width) of all images in pixels, if the file was exported for one size.
        self.size: Sequence[int] | None = self.metadata.get("size")
        self.output_names = tuple(output.name for output in self.session.get_outputs())
        if "semantic_logits" in self.output_names:
            self.semantic_head = None
        # Tells the device, as the parameters of any network do.
        self.device_of_outputs = nn.Parameter(torch.empty(0), requires_grad=False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the outputs by name, on the device of this module.

        Raises:
            ValueError: the images have another shape than the network takes.
        """
        channels, smallest = self.config.get("in_channels", 3), self.metadata.get("smallest_side", 1)
        size = self.size
        if size is None:
            fits = images.ndim == 4 and images.shape[1] == channels and min(images.shape[-2:]) >= smallest
            wanted = f"(B, {channels}, H, W) with sides of at least {smallest} pixels"
            remedy = "enlarge them, or export another network"
        else:
            fits = list(images.shape) == [1, channels, *size]
            wanted = f"(1, {channels}, {size[0]}, {size[1]}), the size that the file was exported for"
            remedy = "resize them, or export without --size"
        if not fits:
            raise ValueError(f"images must be {wanted}, got {tuple(images.shape)}; {remedy}")
        pixels = images.detach().to("cpu", torch.float32).numpy()
        outputs = self.session.run(None, {"images": np.ascontiguousarray(pixels)})
        device = self.device_of_outputs.device
        return {
            name: torch.from_numpy(output).to(device)
            for name, output in zip(self.output_names, outputs, strict=True)
        }

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # A session cannot be copied, and holds nothing that a copy could change.
        return self


def load_onnx(path: str | os.PathLike[str]) -> LoadedWeights:
    """Load a network that `axial-deeplab export` wrote; no network of PyTorch is built.

    Args:
        path: an ONNX file, without post-processing in its graph if `Predictor` shall take it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not an ONNX file of ours, or onnxruntime is not installed.
    """
    network = OnnxNetwork(path)
    categories = Categories.from_json(network.metadata["categories"], source=f"{path}: categories")
    return LoadedWeights(network, categories, network.metadata)


def require_onnx(*packages: str) -> None:
    """Refuse to go on without packages of the extra "export".

    Raises:
        ValueError: one is missing.
    """
    for package in packages:
        require_package(package, "export", "ONNX needs")
