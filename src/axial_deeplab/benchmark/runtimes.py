"""Networks in other runtimes: exported to ONNX with their norms folded, as fast as the runtime makes them."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from axial_deeplab.benchmark.measure import Step
from axial_deeplab.benchmark.network import NetworkCandidate
from axial_deeplab.export.export import export
from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.weights.loaded import LoadedWeights

Run = Callable[[NDArray[np.float32]], Any]


@dataclass(frozen=True)
class RuntimeCandidate:
    """Inference of a network in another runtime on the CPU.

    Args:
        network: network at one size; one image is exported for that size, several for all sizes.
        runtime: one of `RUNTIMES`.

    Raises:
        ValueError: there is no such runtime, its package is missing, or it does not compute such numbers.
    """

    network: NetworkCandidate
    runtime: str
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.runtime not in RUNTIMES:
            raise ValueError(f"runtime must be one of {', '.join(RUNTIMES)}, got {self.runtime}; choose one")
        if find_spec(self.runtime) is None:
            raise ValueError(
                f"runtime {self.runtime} needs the package of that name, which is missing; "
                f"pip install {self.runtime}"
            )
        if self.network.training or self.network.device != "cpu" or self.network.dtype != "float32":
            raise ValueError(
                f"runtime {self.runtime} must be for inference in float32 on the CPU, got something else; "
                "leave it out"
            )

    @property
    def label(self) -> str:
        """Name in the table."""
        return f"{self.network.label} in {self.runtime}"

    def prepare(self) -> Step:
        """Return inference on random images, the same at each call."""
        network = self.network
        model = replace(network, fuse=False).build()
        categories = Categories([Category(1, "any", is_thing=False)])
        weights = LoadedWeights(model, categories, {"model": {"name": network.name}})
        size = network.height, network.width
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.onnx"
            export(weights, path, size=size if network.batch == 1 else None, sizes=((network.batch, *size),))
            run = RUNTIMES[self.runtime](path)
        images = np.random.default_rng(0).random((network.batch, 3, *size), dtype=np.float32)
        return lambda: run(images)


def _onnxruntime(path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})


def _openvino(path: Path) -> Run:
    import openvino

    # Its default is bfloat16 on processors that have it.
    options = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(path, "CPU", options).create_infer_request()
    return lambda images: request.infer([images])


RUNTIMES: dict[str, Callable[[Path], Run]] = {"onnxruntime": _onnxruntime, "openvino": _openvino}
"""By name, what opens a file and returns what runs it on images, in as many threads as PyTorch has."""
