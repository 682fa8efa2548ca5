"""Time the post-processing and measure its peak memory: noise, a structured scene, maps of a low resolution.

Noise is the worst case: every pixel has a class of its own, and 200 centers lie anywhere. The structured
scene is a drawn one, with its true centers and offsets, and logits that are wrong at a tenth of the
pixels. The maps have 133 classes at a quarter of the resolution, as networks make them, and 50 centers.
Each case runs in a process of its own, so that its peak is its own; the inputs do not count. Where others
keep the processors busy, the time of the processor tells more than that of the clock.

    python benchmarks/post_processing.py
    OMP_NUM_THREADS=1 python benchmarks/post_processing.py --height 1025 --width 2049 --json times.json
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from axial_deeplab.benchmark.measure import peak_mb
from axial_deeplab.data.coco import CocoPanopticDataset
from axial_deeplab.data.scenes import write_scenes
from axial_deeplab.data.targets import PanopticTargets
from axial_deeplab.models.upsampled_logits import UpsampledLogits
from axial_deeplab.post_processing import PostProcessing

CASES = ("noise", "scene", "maps")
NUM_CLASSES, THING_IDS = 19, range(11, 19)
NUM_CENTERS = 200


def noise(height: int, width: int) -> tuple[dict[str, Tensor], PostProcessing]:
    """Return random logits and offsets, a heatmap of random centers, and the settings of Cityscapes."""
    generator = torch.Generator().manual_seed(0)
    heatmap = torch.zeros(height * width)
    places = torch.randperm(height * width, generator=generator)[:NUM_CENTERS]
    heatmap[places] = 0.2 + 0.8 * torch.rand(NUM_CENTERS, generator=generator)
    outputs = {
        "semantic_logits": torch.randn(1, NUM_CLASSES, height, width, generator=generator),
        "center_heatmap": heatmap.view(1, 1, height, width),
        "offsets": 30 * torch.randn(1, 2, height, width, generator=generator),
    }
    return outputs, PostProcessing(THING_IDS, stuff_area=2048)


def maps(height: int, width: int) -> tuple[dict[str, Any], PostProcessing]:
    """Return random logits of 133 classes at stride 4, with 50 centers, and the settings of COCO."""
    outputs, _ = noise(height, width)
    generator = torch.Generator().manual_seed(0)
    low = [-(-length // 4) + 1 for length in (height, width)]
    padded = (4 * low[0] - 3, 4 * low[1] - 3)
    logits = 3 * torch.randn(1, 133, *low, generator=generator)
    heatmap = outputs["center_heatmap"].flatten()
    heatmap[heatmap.argsort(descending=True)[50:]] = 0
    upsampled = UpsampledLogits(logits, padded, (height, width))
    return {**outputs, "semantic_logits": upsampled}, PostProcessing(range(80))


def scene(height: int, width: int) -> tuple[dict[str, Tensor], PostProcessing]:
    """Return the targets of a drawn scene as outputs, with a tenth of the classes wrong."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "scenes"
        write_scenes(folder, 1, seed=0, height=height, width=width)
        dataset = CocoPanopticDataset(folder / "images", folder / "panoptic", folder / "panoptic.json")
        sample = dataset[0]
    assert sample.truth is not None
    targets = PanopticTargets(dataset.categories.thing_ids)(sample.truth)
    generator = torch.Generator().manual_seed(0)
    num_classes = len(dataset.categories)
    semantic = targets["semantic_target"].long().clamp(max=num_classes - 1)
    is_wrong = torch.rand(height, width, generator=generator) < 0.1
    random = torch.randint(num_classes, (height, width), generator=generator)
    classes = torch.where(is_wrong, random, semantic)
    outputs = {
        "semantic_logits": 5 * F.one_hot(classes, num_classes).permute(2, 0, 1)[None].float().contiguous(),
        "center_heatmap": targets["center_target"].view(1, 1, height, width),
        "offsets": targets["offset_target"].view(1, 2, height, width),
    }
    return outputs, PostProcessing(dataset.categories.thing_ids, stuff_area=2048)


def measure(case: str, height: int, width: int, rounds: int) -> dict[str, Any]:
    """Return the median seconds of clock and processor, and the peak of the first run in MB of 10^6 bytes."""
    make = {"noise": noise, "scene": scene, "maps": maps}[case]
    outputs, post_processing = make(height, width)
    for loads_kernels in (noise, maps):
        small, small_post_processing = loads_kernels(33, 33)
        small_post_processing(small)
    peak = peak_mb(lambda: post_processing(outputs), "cpu")
    num_segments = len(post_processing(outputs)[0].segments)
    seconds, processor_seconds = [], []
    for _ in range(rounds):
        start, processor_start = time.perf_counter(), time.process_time()
        post_processing(outputs)
        seconds.append(time.perf_counter() - start)
        processor_seconds.append(time.process_time() - processor_start)
    return {
        "seconds": statistics.median(seconds),
        "processor_seconds": statistics.median(processor_seconds),
        "peak_mb": peak,
        "num_segments": num_segments,
    }


def main() -> None:
    """Measure every case in a process of its own and print the table, or one case in this process."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--height", type=int, default=1025)
    parser.add_argument("--width", type=int, default=2049)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--case", choices=CASES, help="measure this one here and print it as JSON")
    options = parser.parse_args()
    size = (options.height, options.width)
    if options.case:
        print(json.dumps(measure(options.case, *size, options.rounds)))
        return
    results = {}
    for case in CASES:
        words = [sys.executable, __file__, "--case", case, "--rounds", str(options.rounds)]
        words += ["--height", str(options.height), "--width", str(options.width)]
        output = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        results[case] = numbers = json.loads(output.splitlines()[-1])
        print(
            f"{case:8} {numbers['seconds']:.2f} s (processor {numbers['processor_seconds']:.2f} s), peak "
            f"{numbers['peak_mb']:.0f} MB, {numbers['num_segments']} segments"
        )
    print(f"{size[0]} x {size[1]} pixels, {torch.get_num_threads()} threads, PyTorch {torch.__version__}")
    if options.json:
        options.json.write_text(json.dumps({**results, "size": size}, indent=2) + "\n")


if __name__ == "__main__":
    main()
