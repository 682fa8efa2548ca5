"""Writing COCO panoptic data from the files of other annotations."""

import hashlib
import os
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from axial_deeplab._moved import contents_moved
from axial_deeplab.data.check.report import ImageFindings, SegmentFindings, notes_of_things
from axial_deeplab.data.cityscapes import CityscapesDataset, cityscapes_annotation
from axial_deeplab.data.convert.id_maps import read_id_map
from axial_deeplab.data.convert.unwritten import UnwrittenImage
from axial_deeplab.data.image_warnings import told_together
from axial_deeplab.data.images import naming_damage, picture_size
from axial_deeplab.data.tiff import save_page
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.map import measure_segments
from axial_deeplab.panoptic.writer import PanopticWriter
from axial_deeplab.util.file_names import require_text
from axial_deeplab.util.files import atomic_directory
from axial_deeplab.util.text import shortened

Folder = str | os.PathLike[str]

__getattr__ = contents_moved(__name__, "axial_deeplab.data.convert.map_files")


def write_panoptic(
    images: Sequence[UnwrittenImage],
    categories: Categories,
    output: Folder,
    *,
    copy_images: bool = False,
    hold_out: int | None = None,
    skip_empty: bool = False,
    background: str | None = None,
    progress: bool = False,
) -> int:
    """Write images as `panoptic/` and `panoptic.json` in COCO panoptic format.

    Args:
        images: what to write, in this order.
        categories: the label space.
        output: a new folder, which appears when all is written.
        copy_images: copy the images to `images/`, so that the folder is a data set by itself.
        hold_out: about one image in so many goes to `val/`, the others to `train/`, which a hash of its name
            decides: more images or another order move none, unless a side would be empty. None makes one data
            set.
        skip_empty: leave out images on which nothing is drawn but the background, with a warning.
        background: name of the stuff where nothing is drawn.
        progress: show a progress bar.

    Returns:
        How many images are written.

    Raises:
        ValueError: the output is not empty, there are too few images, or an annotation is not valid.
        OSError: a file cannot be read or written.
    """
    for image in images:
        require_text(image.file_name)
        if image.page not in (None, 1) and not copy_images:
            raise ValueError(
                f"{image.path} must have one page to stay where it is, for training reads the first, got "
                f"page {image.page}; give --copy-images, which copies that page alone, or leave out --page "
                "and give data.page in training"
            )
    _refuse_repeated(images)
    parts = _parts(images, hold_out)
    if not categories.stuff_ids:
        warnings.warn(
            "no category is stuff, so that void pixels teach nothing and a network sees things everywhere; "
            "give --background NAME unless every pixel has an instance",
            stacklevel=2,
        )
    empty: list[str] = []
    findings: list[ImageFindings] = []
    with (
        told_together(),
        atomic_directory(output) as folder,
        tqdm(None, "convert", len(images), unit="image", disable=not progress) as bar,
    ):
        for name, part in parts.items():
            empty_before = len(empty)
            with PanopticWriter(
                folder / name / "panoptic", folder / name / "panoptic.json", categories
            ) as writer:
                for image in part:
                    bar.update()
                    panoptic = image.annotate()
                    drawn = {categories[each.train_id].name for each in panoptic.segments}
                    if skip_empty and drawn <= {background}:
                        empty.append(image.file_name)
                        continue
                    segments = tuple(map(SegmentFindings.of, panoptic.segments))
                    findings.append(ImageFindings(str(image.path), segments=segments))
                    writer.add(panoptic, image_file_name=image.file_name, image_id=image.image_id)
                    if copy_images:
                        _copy(image, folder / name / "images" / image.file_name)
            if len(empty) - empty_before == len(part):
                raise ValueError(
                    f"--skip-empty must leave images{f' in {name}' if name else ''}, got {len(part)} on "
                    "which nothing is drawn; leave it out, or look for the annotations"
                )
    if empty:
        warnings.warn(
            f"nothing is drawn on {len(empty)} images ({shortened(empty, 1)}); left out", stacklevel=2
        )
    for note in notes_of_things(categories, findings):
        warnings.warn(note, stacklevel=2)
    return len(findings)


def write_cityscapes(dataset: CityscapesDataset, output: Folder, *, progress: bool = False) -> None:
    """Write `panoptic/` and `panoptic.json` with the ids and annotations of cityscapesScripts.

    Source:
        cityscapesScripts, preparation/createPanopticImgs.py; file names are those of the images, which are
        other ones there.

    Args:
        dataset: a split with ground truth.
        output: a new folder, which appears when all is written.
        progress: show a progress bar.

    Raises:
        ValueError: the split has no ground truth, the output is not empty, or an annotation is not valid.
        OSError: a file cannot be read or written.
    """
    if not dataset.has_ground_truth:
        raise ValueError(
            "split must have ground truth to convert, got test; choose train, val or train_extra"
        )
    with (
        atomic_directory(output) as folder,
        PanopticWriter(folder / "panoptic", folder / "panoptic.json", dataset.categories) as writer,
    ):
        for record in tqdm(dataset.records, "convert", unit="image", disable=not progress):
            path = record.ground_truth
            assert path is not None
            name = path.name.replace("_instanceIds.png", "_panoptic.png")
            ids, annotation = cityscapes_annotation(
                read_id_map(path), image_id=record.image_id, file_name=name, source=path
            )
            picture_size(record.image, size=(ids.shape[0], ids.shape[1]))  # Refuses other sizes.
            values, _, boxes = measure_segments(ids)
            box_of_id = dict(zip(values.tolist(), boxes.tolist(), strict=True))
            segments = [
                {
                    "id": s.id,
                    "category_id": s.category_id,
                    "iscrowd": int(s.is_crowd),
                    "area": s.area,
                    "bbox": box_of_id[s.id],
                }
                for s in annotation.segments
            ]
            entry = {"image_id": record.image_id, "file_name": name, "segments_info": segments}
            writer.add_entry(entry, ids, image_file_name=record.file_name)


def _parts(images: Sequence[UnwrittenImage], hold_out: int | None) -> dict[str, Sequence[UnwrittenImage]]:
    parts = dict.fromkeys(image.part for image in images)
    if len(parts) > 1 and hold_out is None:
        return {part: [image for image in images if image.part == part] for part in parts}
    if hold_out is None:
        return {"": images}
    if len(parts) > 1:
        raise ValueError(
            f"hold_out must not be given for data that has parts already ({', '.join(parts)}), got "
            f"{hold_out}; "
            "leave it out"
        )
    if hold_out < 2:
        raise ValueError(f"hold_out must be at least 2, got {hold_out}; 5 holds out a fifth of the images")
    is_val = [_hash(image.file_name) % hold_out == 0 for image in images]
    if len(images) < 2:
        raise ValueError(
            f"hold_out must leave images on both sides, got {hold_out} for {len(images)} images; "
            "leave it out, or add images"
        )
    if all(is_val) or not any(is_val):
        # Of few images, chance may send all to one side: that with the smallest hash changes it.
        moved = min(range(len(images)), key=lambda place: _hash(images[place].file_name))
        is_val[moved] = not is_val[moved]
        warnings.warn(
            f"{images[moved].file_name} goes to {'val' if is_val[moved] else 'train'}/, which the hashes of "
            f"{len(images)} names left empty; with more images it may move",
            stacklevel=3,
        )
    return {
        "train": [image for image, val in zip(images, is_val, strict=True) if not val],
        "val": [image for image, val in zip(images, is_val, strict=True) if val],
    }


def _refuse_repeated(images: Sequence[UnwrittenImage]) -> None:
    """Refuse an image that is listed twice: the second map would replace the first."""
    seen: dict[tuple[str, str], UnwrittenImage] = {}
    for image in images:
        other = seen.setdefault((image.part, image.file_name), image)
        if other is not image:
            raise ValueError(
                f"{image.path} must be listed once, got it twice, of which one map would be lost; remove one"
            )


def _hash(file_name: str) -> int:
    """Return a number that depends on the name without its suffix alone, on every machine the same."""
    name = PurePosixPath(file_name).with_suffix("").as_posix()
    return int(hashlib.sha256(name.encode()).hexdigest(), 16)


def _copy(image: UnwrittenImage, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if image.page is None:
        shutil.copyfile(image.path, target)
        return
    with naming_damage(image.path):
        save_page(image.path, image.page, target)
