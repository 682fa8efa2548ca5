"""Time networks in PyTorch and in ONNX Runtime on the CPU, taking turns, and compare what they compute.

python benchmarks/export.py --json export.json
"""

import argparse
import json
import statistics
import tempfile
from functools import partial
from pathlib import Path

import onnxruntime
import torch

from axial_deeplab import create_model, load_weights
from axial_deeplab.benchmark.measure import interleaved, timed
from axial_deeplab.export.export import export
from axial_deeplab.export.onnx_runtime import OnnxNetwork
from axial_deeplab.export.program import Deployed
from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.weights.loaded import LoadedWeights

SIZES = {
    "axial_deeplab_nano_scenes": ((1, 128, 192), (1, 256, 384), (1, 384, 576)),
    "axial_resnet_s": ((1, 160, 160), (1, 224, 224), (4, 224, 224)),
}


def network(name: str) -> LoadedWeights:
    """Return shipped weights, or a classifier with random ones."""
    if name == "axial_deeplab_nano_scenes":
        return load_weights(name)
    torch.manual_seed(0)
    model = create_model(name).eval()
    classes = Categories(Category(index, f"class {index}", True) for index in range(1000))
    return LoadedWeights(model, classes, {"model": dict(model.config)})


def measure(name: str, rounds: int) -> list[dict[str, object]]:
    weights = network(name)
    sizes = SIZES[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        comparisons = export(weights, path, sizes=sizes).comparisons
        runtime = OnnxNetwork(path)
    deployed = Deployed(weights).eval()
    rows = []
    for size, comparison in zip(sizes, comparisons, strict=True):
        images = deployed.example(*size)
        steps = [partial(run, images) for run in (deployed, runtime)]
        with torch.no_grad():
            for step in 2 * steps:  # the first ones compile and allocate
                step()
            times = interleaved([partial(timed, step) for step in steps], rounds)
        medians = dict(zip(("eager_ms", "onnx_ms"), map(statistics.median, times), strict=True))
        rows.append({"network": name, "size": size, "difference": comparison.difference, **medians})
        print(
            f"{name:28}{' x '.join(map(str, size)):>16}   eager {medians['eager_ms']:8.1f} ms   "
            f"ONNX Runtime {medians['onnx_ms']:8.1f} ms   difference {comparison.difference:.1e}",
            flush=True,
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(
        f"PyTorch {torch.__version__}, ONNX Runtime {onnxruntime.__version__}, "
        f"{torch.get_num_threads()} threads; medians of {options.rounds} rounds"
    )
    rows = [row for name in SIZES for row in measure(name, options.rounds)]
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
