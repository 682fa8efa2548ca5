"""Time opening a data set as large as the training images of COCO panoptic, and the memory it keeps.

Draws the JSON (118,287 images, 1.29 million segments) and empty files of its names.

    python benchmarks/coco_json.py --rounds 3
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from axial_deeplab.data.coco import CocoPanopticDataset
from axial_deeplab.util.freed_memory import return_freed_memory


def write_data_set(folder: Path, num_images: int, num_segments: int) -> None:
    """Write a JSON with all keys that COCO's has, and the names of its files."""
    generator = np.random.default_rng(0)
    categories = [{"id": i, "name": f"class {i}", "isthing": int(i <= 80)} for i in range(1, 134)]
    counts = generator.multinomial(num_segments, np.full(num_images, 1 / num_images))
    images, annotations = [], []
    for name in ("images", "panoptic"):
        (folder / name).mkdir()
    for number, count in enumerate(counts.tolist()):
        image, png = f"{5 * number:012d}.jpg", f"{5 * number:012d}.png"
        (folder / "images" / image).touch()
        (folder / "panoptic" / png).touch()
        size = {"height": 480, "width": 640}
        source = {"license": 3, "coco_url": f"http://images.cocodataset.org/train2017/{image}"}
        images.append({"id": 5 * number, "file_name": image, **size, **source})
        ids, areas = generator.integers(1, [[2**24], [100_000]], (2, count)).tolist()
        segments = [
            {"id": i, "category_id": i % 133 + 1, "iscrowd": 0, "bbox": [i % 300, 20, 90, 80], "area": area}
            for i, area in zip(dict.fromkeys(ids), areas, strict=False)
        ]
        annotations.append({"segments_info": segments, "file_name": png, "image_id": 5 * number})
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "panoptic.json").write_text(json.dumps(content))


def open_data_set(folder: Path) -> dict[str, float]:
    """Return seconds of the processor, and megabytes that are kept and that were needed on the way."""
    return_freed_memory()
    before, start = _megabytes("VmRSS"), time.process_time()
    dataset = CocoPanopticDataset(folder / "images", folder / "panoptic", folder / "panoptic.json")
    seconds = time.process_time() - start
    return_freed_memory()
    kept, peak = _megabytes("VmRSS") - before, _megabytes("VmHWM") - before
    return {"images": len(dataset), "seconds": seconds, "kept_mb": kept, "peak_mb": peak}


def _megabytes(name: str) -> float:
    """Return a number of this process alone, unlike that of `resource`, which begins with its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def main() -> None:
    """Print a line a round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--num-images", type=int, default=118_287)
    parser.add_argument("--num-segments", type=int, default=1_290_000)
    parser.add_argument("--rounds", type=int, default=3, help="processes that open it")
    parser.add_argument("--open", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.open:
        print(json.dumps(open_data_set(Path(options.open))))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_data_set(Path(folder), options.num_images, options.num_segments)
        for _ in range(options.rounds):
            result = subprocess.run(
                [sys.executable, __file__, "--open", folder], check=True, capture_output=True, text=True
            )
            numbers = json.loads(result.stdout)
            print(
                f"{numbers['images']} images: {numbers['seconds']:.1f} processor s, {numbers['kept_mb']:.0f} "
                f"MB kept, {numbers['peak_mb']:.0f} MB on the way"
            )


if __name__ == "__main__":
    main()
