"""The data of the recipe nuclei/axial_deeplab_nano: two sets of nuclei as one training set and three others.

    python examples/nuclei_data_set.py --output data/nuclei --sets dsb2018_nuclei dsb2018_nuclei_large

Each set is a folder with `images/` and `instances/` (PNG, 0 is background). A hash of the names holds out
a fifth of each as `val_<set>`, as `axial-deeplab dataset convert --hold-out 5` does, and an eleventh of the
rest as `choose`, on which thresholds and scales are chosen. What there is little of is repeated in `train`:
stained tissue twice, the second set three times, bright field five times.
"""

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from axial_deeplab.data.convert.convert import write_panoptic
from axial_deeplab.data.convert.map_files import maps_to_convert
from axial_deeplab.data.convert.unwritten import UnwrittenImage
from axial_deeplab.data.images import read_image
from axial_deeplab.panoptic.categories import Categories, Category

CATEGORIES = Categories([Category(1, "background", is_thing=False), Category(2, "nucleus", is_thing=True)])


def kind_of(image: UnwrittenImage) -> str:
    """Return "stained", "bright field" or "fluorescence", by color and light."""
    pixels = read_image(image.path).astype(np.float64)
    if (pixels.max(axis=2) - pixels.min(axis=2)).mean() > 8:
        return "stained"
    return "bright field" if np.median(pixels) >= 100 else "fluorescence"


def split(sets: Sequence[Path]) -> dict[str, list[UnwrittenImage]]:
    """Return the images of each part by name, repeated as often as they are seen.

    Args:
        sets: two folders of images and instances.
    """
    parts: dict[str, list[UnwrittenImage]] = {"train": [], "choose": []}
    for times, folder in zip((1, 3), sets, strict=True):
        images = maps_to_convert(folder / "images", CATEGORIES, instances=folder / "instances")
        for image in images:
            name = PurePosixPath(image.file_name).with_suffix("").as_posix()
            number = int(hashlib.sha256(name.encode()).hexdigest(), 16)
            if number % 5 == 0:
                parts.setdefault(f"val_{folder.name}", []).append(image)
            elif number % 11 == 0:
                parts["choose"].append(image)
            else:
                copies = {"stained": 2, "bright field": 5}.get(kind_of(image), times)
                suffixes = ["", *(f"_{copy}" for copy in range(2, copies + 1))]
                parts["train"] += [image._replace(file_name=f"{name}{suffix}.png") for suffix in suffixes]
    return {part: sorted(images, key=lambda image: image.file_name) for part, images in parts.items()}


def write(parts: Mapping[str, Sequence[UnwrittenImage]], categories: Categories, output: Path) -> None:
    """Write each part to a folder of its name."""
    for part, images in parts.items():
        write_panoptic(images, categories, output / part, copy_images=True)
        print(f"{len(images)} images written to {output / part}")


def main() -> None:
    """Write the four parts."""
    parser = argparse.ArgumentParser(description="Write the training set of the nuclei and what is held out.")
    parser.add_argument("--sets", type=Path, nargs=2, required=True, help="folders; the second is repeated")
    parser.add_argument("--output", type=Path, required=True, help="a new folder")
    options = parser.parse_args()
    write(split(options.sets), CATEGORIES, options.output)


if __name__ == "__main__":
    main()
