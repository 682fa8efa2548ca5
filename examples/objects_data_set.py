"""The data of the recipe objects/axial_deeplab_nano: nuclei, grains and particles as one class.

    python examples/objects_data_set.py --output data/objects --grains segmenteverygrain_grains \
        --particles ampis_microscopy --nuclei dsb2018_nuclei dsb2018_nuclei_large

Each set is a folder with `images/` and `instances/` (PNG, 0 is background). Held out, as `val_grains` and
`val_particles`, are whole images of each kind, those whose names have the lowest hashes; the nuclei that
`nuclei_data_set.py` holds out are in no part. The right fifth of the other images is `choose`, with a third
of the nuclei's. `train` has the rest in pieces of about 520 pixels, also at half the size where objects are
large, and every second image of the nuclei's, repeated so that each kind is about a third.
"""

import argparse
import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from nuclei_data_set import split, write
from numpy.typing import NDArray
from PIL import Image

from axial_deeplab.data.convert.panoptic_from import panoptic_from_maps
from axial_deeplab.data.convert.unwritten import UnwrittenImage
from axial_deeplab.data.images import read_image
from axial_deeplab.panoptic.categories import Categories, Category

CATEGORIES = Categories([Category(1, "background", is_thing=False), Category(2, "object", is_thing=True)])
SIDE = 520


class Kind(NamedTuple):
    """A kind of picture.

    Args:
        name: its name, before those of its pieces.
        folder: the set.
        pattern: names of its images.
        held_out: images that are held out.
        repeats: times that a piece is seen; twice as often at half the size.
        scales: sizes at which it is cut.
    """

    name: str
    folder: Path
    pattern: str
    held_out: int
    repeats: int
    scales: tuple[float, ...]


def resize(image: NDArray[np.uint8], labels: NDArray[np.int32], scale: float) -> tuple[NDArray, NDArray]:
    """Return an image (H, W, 3) and its instances (H, W) at another size."""
    if scale == 1:
        return image, labels
    height, width = (int(side * scale) for side in labels.shape)
    small = Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(small), np.asarray(
        Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST)
    )


def pieces(labels: NDArray[np.int32]) -> Iterator[tuple[str, tuple[slice, slice]]]:
    """Yield name and place of each piece with an object."""
    height, width = labels.shape
    rows, columns = (max(1, round(side / SIDE)) for side in labels.shape)
    for y in range(rows):
        for x in range(columns):
            place = np.s_[
                y * height // rows : (y + 1) * height // rows,
                x * width // columns : (x + 1) * width // columns,
            ]
            if labels[place].any():
                yield f"{y}{x}", place


def main() -> None:
    """Write the four parts."""
    parser = argparse.ArgumentParser(
        description="Write the training set of the objects and what is held out."
    )
    parser.add_argument("--grains", type=Path, required=True, help="folder")
    parser.add_argument("--particles", type=Path, required=True, help="folder of powder* and spheroidite*")
    parser.add_argument("--nuclei", type=Path, nargs=2, required=True, help="folders; the second is repeated")
    parser.add_argument("--output", type=Path, required=True, help="a new folder")
    options = parser.parse_args()
    kinds = (
        Kind("grains", options.grains, "*", held_out=2, repeats=10, scales=(1, 0.5)),
        Kind("powder", options.particles, "powder*", held_out=1, repeats=12, scales=(1, 0.5)),
        Kind("steel", options.particles, "spheroidite*", held_out=2, repeats=20, scales=(1,)),
    )
    nuclei = split(options.nuclei)
    chosen = {"train": nuclei["train"][::2], "choose": nuclei["choose"][::3]}
    parts = {
        part: [image._replace(file_name=f"nuclei_{image.file_name}") for image in images]
        for part, images in chosen.items()
    } | {"val_grains": [], "val_particles": []}
    with TemporaryDirectory() as folder:

        def add(
            part: str, name: str, image: NDArray[np.uint8], labels: NDArray[np.int32], repeats: int = 1
        ) -> None:
            path = Path(folder, f"{name}.png")
            Image.fromarray(image).save(path)
            annotate = partial(panoptic_from_maps, None, labels, CATEGORIES, source=path)
            names = [f"{name}_r{repeat}.png" if repeats > 1 else f"{name}.png" for repeat in range(repeats)]
            parts[part] += [UnwrittenImage(path, name, annotate) for name in names]

        for kind in kinds:
            paths = sorted(
                (kind.folder / "images").glob(kind.pattern),
                key=lambda path: hashlib.sha256(path.stem.encode()).hexdigest(),
            )
            for rank, path in enumerate(paths):
                image = read_image(path)
                with Image.open(kind.folder / "instances" / f"{path.stem}.png") as picture:
                    labels = np.asarray(picture).astype(np.int32)
                if rank < kind.held_out:
                    add("val_grains" if kind.name == "grains" else "val_particles", path.stem, image, labels)
                    continue
                name, cut = f"{kind.name}_{path.stem}", int(image.shape[1] * 0.8)
                add("choose", name, image[:, cut:], labels[:, cut:])
                for scale in kind.scales:
                    scaled, scaled_labels = resize(image[:, :cut], labels[:, :cut], scale)
                    for number, place in pieces(scaled_labels):
                        repeats = kind.repeats if scale == 1 else 2 * kind.repeats
                        add("train", f"{name}_{scale}_{number}", scaled[place], scaled_labels[place], repeats)
        ordered = {part: sorted(images, key=lambda image: image.file_name) for part, images in parts.items()}
        write(ordered, CATEGORIES, options.output)


if __name__ == "__main__":
    main()
