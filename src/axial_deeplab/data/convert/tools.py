"""The kinds of files that are converted: which one a file or folder is, and reading it."""

import warnings
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Protocol

from axial_deeplab.data.convert.archives import is_archive, unpack
from axial_deeplab.data.convert.kinds import (
    ade20k,
    bdd100k,
    coco,
    coco_panoptic,
    cvat,
    imagej,
    kitti_step,
    label_maps,
    label_studio,
    labelme,
    qupath,
    supervisely,
    two_channel,
    via,
    voc,
    yolo,
)
from axial_deeplab.data.convert.read_options import ReadOptions, ToConvert
from axial_deeplab.data.convert.source_files import files_of, part_of
from axial_deeplab.data.convert.unread_kinds import unread_kind
from axial_deeplab.data.convert.unwritten import UnwrittenImage
from axial_deeplab.data.image_files import linked_folders
from axial_deeplab.panoptic.map import Panoptic
from axial_deeplab.util.text import shortened


class Kind(Protocol):
    """A file of `kinds/`; those told by their first maps also have `misfit`, what is wrong with these."""

    TITLE: str

    def recognize(self, source: Path) -> bool:
        """Tell whether a file or folder is of this kind."""

    def read(self, source: Path, options: ReadOptions) -> ToConvert:
        """Read a source that was recognized.

        Raises:
            ValueError: a file is damaged or has what it must not have, the message names it and the place; or
                an option has no effect.
            OSError: a picture or another file is missing.
        """


# The first that recognizes a source reads it.
KINDS: dict[str, Kind] = {
    "labelme": labelme,
    "via": via,
    "cvat": cvat,
    "label-studio": label_studio,
    "coco": coco,
    "qupath": qupath,
    "imagej": imagej,
    "supervisely": supervisely,
    "voc": voc,
    "yolo": yolo,
    "ade20k": ade20k,
    "kitti-step": kitti_step,
    "label-maps": label_maps,
    "bdd100k": bdd100k,
    "two-channel": two_channel,
    # Last, since what was converted before may lie in the folder of a tool.
    "coco-panoptic": coco_panoptic,
}
# COCO's own PNG files have no blue either, as long as their ids are small.
_BY_NAME_ALONE = ("two-channel",)


def recognize(source: Path) -> str | None:
    """Return the kind of a file or folder, None if it is none of `KINDS`, or one that must be named."""
    kinds = (kind for kind in KINDS if kind not in _BY_NAME_ALONE)
    return next((kind for kind in kinds if KINDS[kind].recognize(source)), None)


def read(source: Path, options: ReadOptions, kind: str | None = None) -> tuple[str, ToConvert]:
    """Read the files of a tool.

    Args:
        source: folder or file as the tool exported it, or a ZIP file of it.
        options: what its files do not say.
        kind: one of `KINDS`; None recognizes it.

    Returns:
        The kind, the images to convert and their categories.

    Raises:
        ValueError: the source is of no kind or of another one, or a file is damaged.
        OSError: a file is missing.
    """
    if not source.exists():
        raise FileNotFoundError(
            f"SOURCE must be the folder or file that a tool exported, got {source}, which does not exist; "
            "correct the path"
        )
    if is_archive(source) and not (recognize(source) if kind is None else KINDS[kind].recognize(source)):
        if options.scratch is None:
            raise ValueError(f"SOURCE must be unpacked, got {source}; unpack it, and give its folder")
        source = unpack(source, options.scratch)
    if source.is_dir() and (links := linked_folders(source)):
        warnings.warn(
            f"{source}: left out {len(links)} links to folders ({shortened(links, 2)}), so that what they "
            "have counts for nothing; put what they lead to in their place, or give that as SOURCE",
            stacklevel=2,
        )
    if kind is None:
        kind = recognize(source)
        if kind is None:
            unread = unread_kind(source)  # refuses what is damaged, and may be of a kind
            for path in files_of(source, ".zip"):
                if not zipfile.is_zipfile(path):
                    raise ValueError(f"{path} must be a complete ZIP file, got a damaged one; save it again")
            raise ValueError(
                f"{source} must be of a kind that is recognized ({', '.join(KINDS)}), got "
                + (
                    unread
                    or "none of them; give --format KIND, or see docs/data.md for folders of maps and masks"
                )
            )
    elif not KINDS[kind].recognize(source):
        other = recognize(source)
        what = (
            f"this is {KINDS[other].TITLE}; give --format {other}"
            if other
            else "nothing of it; correct the path"
        )
        misfit = getattr(KINDS[kind], "misfit", None)
        if source.is_dir() and misfit and (wrong := misfit(source)):
            what = f"{wrong}; {what}" if other else wrong
        raise ValueError(f"{source} must be {KINDS[kind].TITLE}, got no such files: {what}")
    images, categories = KINDS[kind].read(source, options)
    parts = [part_of(PurePosixPath(image.file_name)) for image in images]
    if all(parts) and not any(image.part for image in images):
        images = [image._replace(part=part) for image, part in zip(images, parts, strict=True)]
    if options.crowds_are_objects:
        images = [image._replace(annotate=partial(_without_crowds, image)) for image in images]
    return kind, (images, categories)


def _without_crowds(image: UnwrittenImage) -> Panoptic:
    panoptic, segments = image.annotate()
    return Panoptic(panoptic, [replace(segment, is_crowd=False) for segment in segments])
