"""Time networks in PyTorch, ONNX Runtime and OpenVINO on the CPU, in turns, and compare what they compute.

Each network is exported for any size and for one. The times are of the processor. OpenVINO is timed if it is
installed.

OMP_NUM_THREADS=1 python benchmarks/export.py --json export.json
"""

import argparse
import importlib.util
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import onnxruntime
import torch

from axial_deeplab import create_model, load_weights
from axial_deeplab.benchmark.measure import interleaved, quartiles, timed
from axial_deeplab.export.export import export
from axial_deeplab.export.onnx_runtime import OnnxNetwork
from axial_deeplab.export.program import Deployed
from axial_deeplab.models.blocks.axial_block import AxialBlock
from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.weights.loaded import LoadedWeights

SIZES = {
    "axial_resnet_s": ((1, 224, 224),),
    "axial_deeplab_nano": ((1, 513, 513),),
    "axial_deeplab_s": ((1, 513, 513),),
    "axial_deeplab_nano_scenes": ((1, 128, 192), (1, 256, 384), (1, 384, 576)),
}


def network(name: str) -> LoadedWeights:
    """Return shipped weights, or a network with random ones and blocks that are more than their shortcuts."""
    if name == "axial_deeplab_nano_scenes":
        return load_weights(name)
    torch.manual_seed(0)
    num_classes = 19 if "deeplab" in name else 1000
    model = create_model(name, num_classes=num_classes).eval()
    for block in model.modules():
        if isinstance(block, AxialBlock):
            torch.nn.init.constant_(block.up.get_parameter("norm.weight"), 0.3)
    classes = Categories(Category(index, f"class {index}", True) for index in range(num_classes))
    return LoadedWeights(model, classes, {"model": dict(model.config), "post_processing": {}})


def in_openvino(path: Path) -> Callable[[torch.Tensor], object]:
    """Return a file's network in OpenVINO, in float32 on as many threads as PyTorch has."""
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    request = openvino.compile_model(path, "CPU", settings).create_infer_request()
    return lambda images: request.infer([images.numpy()])


def measure(name: str, size: tuple[int, int, int], rounds: int) -> list[dict[str, object]]:
    weights = network(name)
    deployed = Deployed(weights).eval()
    images = deployed.example(*size).contiguous()
    candidates: dict[str, tuple[Callable[[torch.Tensor], object], float]] = {"eager": (deployed, 0.0)}
    with tempfile.TemporaryDirectory() as folder:
        for label, fixed in (("any size", None), ("--size", size[1:])):
            path = Path(folder) / "network.onnx"
            (comparison,) = export(weights, path, size=fixed, sizes=(size,)).comparisons
            candidates[f"ONNX Runtime, {label}"] = OnnxNetwork(path), comparison.difference
            if importlib.util.find_spec("openvino"):
                candidates[f"OpenVINO, {label}"] = in_openvino(path), comparison.difference
    steps = [partial(run, images) for run, _ in candidates.values()]
    with torch.no_grad():
        for step in 2 * steps:  # the first ones compile and allocate
            step()
        timers = [partial(timed, step, clock=time.process_time) for step in steps]
        times = interleaved(timers, rounds)
    rows = []
    for (label, (_, difference)), own in zip(candidates.items(), times, strict=True):
        ratio = statistics.median(each / eager for each, eager in zip(own, times[0], strict=True))
        median, (first, third) = statistics.median(own), quartiles(own)
        rows.append(
            {
                "network": name,
                "size": size,
                "runtime": label,
                "ms": own,
                "ratio": ratio,
                "difference": difference,
            }
        )
        print(
            f"{name:26}{' x '.join(map(str, size)):>14}  {label:22}{median:8.1f} ms "
            f"({first:.1f} to {third:.1f}){ratio:6.2f} of eager   difference {difference:.1e}",
            flush=True,
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--networks", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(
        f"PyTorch {torch.__version__}, ONNX Runtime {onnxruntime.__version__}, "
        f"{torch.get_num_threads()} threads; medians of {options.rounds} rounds"
    )
    rows = [
        row
        for name in options.networks
        for size in SIZES[name]
        for row in measure(name, size, options.rounds)
    ]
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
