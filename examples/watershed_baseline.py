"""What a dozen lines of scikit-image make of nuclei or grains: Gaussian, Otsu, distance transform, watershed.

    python examples/watershed_baseline.py --output baseline --images data/nuclei/val/images \
        --json data/nuclei/val/panoptic.json
    axial-deeplab pq --gt-json data/nuclei/val/panoptic.json --pred-json baseline/panoptic.json --classwise

The JSON gives the images and the two classes, a thing and its background; the answers in it are not read.
Needs scikit-image and SciPy.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.color import rgb2gray
from skimage.feature import peak_local_max
from skimage.filters import gaussian, threshold_otsu
from skimage.segmentation import watershed

from axial_deeplab.data.coco import CocoPanopticDataset
from axial_deeplab.panoptic.map import LABEL_DIVISOR, Panoptic, Segment
from axial_deeplab.panoptic.writer import PanopticWriter


def segment(
    image: NDArray[np.uint8], sigma: float, min_distance: int, smallest: int, side: str = "auto"
) -> NDArray[np.int32]:
    """Return the number of the object of each pixel, 0 for the background.

    Shapes: image (H, W, 3), the result (H, W).

    Args:
        image: RGB.
        sigma: width of the Gaussian, pixels.
        min_distance: distance between two peaks of the distance transform, pixels.
        smallest: area of an object, pixels.
        side: "dark" or "bright", that of Otsu's threshold on which objects are; "auto" is the darker one
            in bright images (median over the threshold).
    """
    smooth = gaussian(rgb2gray(image), sigma)
    if smooth.max() == smooth.min():
        return np.zeros(smooth.shape, np.int32)
    threshold = threshold_otsu(smooth)
    is_dark = np.median(smooth) > threshold if side == "auto" else side == "dark"
    foreground = ndimage.binary_fill_holes(smooth < threshold if is_dark else smooth > threshold)
    distance = gaussian(ndimage.distance_transform_edt(foreground), 1)
    peaks = peak_local_max(distance, min_distance=min_distance, labels=ndimage.label(foreground)[0])
    markers = np.zeros(distance.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    objects = watershed(-distance, markers, mask=foreground)
    objects[np.bincount(objects.ravel())[objects] < smallest] = 0
    return np.unique(objects, return_inverse=True)[1].reshape(objects.shape).astype(np.int32)


def main() -> None:
    """Write the panoptic PNG files and the JSON of a folder of images."""
    parser = argparse.ArgumentParser(description="Segment touching objects by a watershed.")
    parser.add_argument("--images", required=True, help="folder of the images")
    parser.add_argument("--json", required=True, help="panoptic JSON that lists them")
    parser.add_argument("--output", type=Path, required=True, help="folder for panoptic/ and panoptic.json")
    parser.add_argument("--sigma", type=float, default=1.0, help="of the Gaussian, pixels")
    parser.add_argument("--min-distance", type=int, default=5, help="between two centers, pixels")
    parser.add_argument("--smallest", type=int, default=20, help="area of an object, pixels")
    parser.add_argument(
        "--side", choices=("auto", "dark", "bright"), default="auto", help="where objects are"
    )
    options = parser.parse_args()
    dataset = CocoPanopticDataset(options.images, None, options.json)
    (thing,), (stuff,) = sorted(dataset.categories.thing_ids), sorted(dataset.categories.stuff_ids)
    output = options.output
    with PanopticWriter(output / "panoptic", output / "panoptic.json", dataset.categories) as writer:
        for index in range(len(dataset)):
            sample = dataset[index]
            objects = segment(
                sample.image, options.sigma, options.min_distance, options.smallest, options.side
            )
            first_thing = (thing + 1) * LABEL_DIVISOR
            panoptic = np.where(objects > 0, first_thing + objects, (stuff + 1) * LABEL_DIVISOR)
            values = np.unique(panoptic).tolist()
            segments = [Segment(id=value, train_id=value // LABEL_DIVISOR - 1, area=0) for value in values]
            prediction = Panoptic(panoptic.astype(np.int32), segments).measured()
            writer.add(prediction, image_file_name=sample.file_name, image_id=sample.image_id)


if __name__ == "__main__":
    main()
