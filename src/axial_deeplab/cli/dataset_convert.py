"""The subcommand `axial-deeplab dataset convert`."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from axial_deeplab.cli.command_line import Arguments, Parser
from axial_deeplab.cli.options import add_annotation_options, annotation_options, categories_of_file

if TYPE_CHECKING:
    from axial_deeplab.data.convert.instance_maps import InstanceReading
    from axial_deeplab.data.convert.unwritten import UnwrittenImage
    from axial_deeplab.panoptic.categories import Categories

CONVERSIONS = ("maps", "masks", "coco-instances", "cityscapes")
# Which conversions take an option, also kinds of SOURCE; elsewhere it would have no effect.
TAKEN_BY = {
    **dict.fromkeys(("semantic", "instances"), ("maps",)),
    "void_label": ("maps", "two-channel"),
    "masks": ("masks",),
    **dict.fromkeys(("connected_components", "threshold", "nodata"), ("maps", "masks", "label-maps")),
    "inner_outlines_are_holes": ("coco-instances", "coco"),
    "json": ("coco-instances",),
    **dict.fromkeys(("root", "split", "annotations"), ("cityscapes",)),
}


def convert(arguments: Arguments, scratch: Path) -> None:
    """Write a data set in COCO panoptic format: panoptic/ and panoptic.json."""
    parser = Parser(convert, "dataset convert")
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="folder, file or ZIP as a labeling tool exported it; or one of maps: a PNG of category ids "
        "and one of instance numbers for each image; masks: a folder of masks for each image; "
        "coco-instances: polygons and run lengths; cityscapes: its folders",
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="a new folder")
    add_annotation_options(parser)
    parser.add_argument("--semantic", metavar="DIR", help="maps: folder of PNG files of category ids")
    parser.add_argument("--instances", metavar="DIR", help="maps: folder of PNG files of instance numbers")
    parser.add_argument(
        "--void-label", type=int, metavar="ID", help="maps: id that means void (default: 255; two-channel: 0)"
    )
    parser.add_argument(
        "--connected-components",
        action="store_true",
        help="maps, masks: each connected piece is an instance (for maps of 0 and 255)",
    )
    parser.add_argument(
        "--threshold",
        type=int,
        metavar="T",
        help="maps, masks: values up to T are no instance (for soft edges; default: 0)",
    )
    parser.add_argument(
        "--page", type=int, metavar="N", help="page of pictures and label maps that have several, from 1 on"
    )
    parser.add_argument("--masks", metavar="DIR", help="masks: folder of the folders of masks")
    parser.add_argument("--json", metavar="FILE", help="coco-instances: the instances JSON")
    parser.add_argument("--root", metavar="DIR", help="cityscapes: folder that has leftImg8bit")
    parser.add_argument("--split", metavar="NAME", help="cityscapes: train, val or train_extra")
    parser.add_argument("--annotations", metavar="NAME", help="cityscapes: gtFine or gtCoarse")
    parser.add_argument(
        "--nodata", type=int, metavar="ID", help="maps, masks: number of what lies outside of the picture"
    )
    parser.add_argument(
        "--skip-empty", action="store_true", help="leave out images on which nothing is drawn"
    )
    parser.add_argument("--copy-images", action="store_true", help="copy the photographs to images/, too")
    parser.add_argument(
        "--hold-out",
        type=int,
        metavar="N",
        help="write train/ and val/; a hash of the name sends about one image in N to val/",
    )
    options = parser.parse_args(arguments)
    if options.source not in CONVERSIONS:
        _convert_source(options, scratch)
        return
    _refuse_unused(options, options.source)
    _refuse_options(options, ("format", "attribute"), f"with a SOURCE, got it for {options.source}")
    if options.source != "coco-instances":
        names = ("stuff", "things", "crowds_are_objects")
        _refuse_options(options, names, f"with a SOURCE or coco-instances, got it for {options.source}")
    from axial_deeplab.data.cityscapes import CityscapesDataset
    from axial_deeplab.data.convert.coco_instances import coco_instances_to_convert
    from axial_deeplab.data.convert.convert import write_cityscapes
    from axial_deeplab.data.convert.map_files import maps_to_convert, masks_to_convert
    from axial_deeplab.data.convert.tools import KINDS, recognize
    from axial_deeplab.data.convert.unread_kinds import unread_kind

    progress = sys.stderr.isatty()
    needed = {
        "maps": ("images",),
        "masks": ("images", "masks"),
        "coco-instances": ("images", "json"),
        "cityscapes": ("root", "split"),
    }
    for name in needed[options.source]:
        if getattr(options, name) is None:
            raise ValueError(f"--{name} must be given for {options.source}, got none; add it")
    if options.source == "cityscapes":
        if options.copy_images or options.skip_empty or (options.hold_out, options.page) != (None, None):
            raise ValueError(
                "--copy-images, --skip-empty, --page and --hold-out must not be given for cityscapes, whose "
                "parts are its splits, got one of them; leave it out"
            )
        split = CityscapesDataset(options.root, options.split, annotations=options.annotations)
        write_cityscapes(split, options.output, progress=progress)
        print(f"{len(split)} images written to {options.output}")
        return
    if options.source == "coco-instances":
        kind = recognize(Path(options.json))
        if kind not in (None, "coco"):
            raise ValueError(
                f"{options.json} must be a COCO instances JSON, got {KINDS[kind].TITLE}; give it as SOURCE"
            )
        if kind is None and (unread := unread_kind(Path(options.json))):
            raise ValueError(f"{options.json} must be a COCO instances JSON, got {unread}")
        images, categories = coco_instances_to_convert(
            options.json, options.images, options=annotation_options(options, scratch)
        )
    else:
        categories = _categories(options)
        reading = _reading(options)
        if options.source == "masks":
            images = masks_to_convert(options.images, options.masks, categories, reading=reading)
        else:
            images = maps_to_convert(
                options.images,
                categories,
                semantic=options.semantic,
                instances=options.instances,
                void_label=255 if options.void_label is None else options.void_label,
                reading=reading,
            )
    _write(images, categories, options, options.images)


def _convert_source(options: argparse.Namespace, scratch: Path) -> None:
    from axial_deeplab.data.convert.source_files import folder_of
    from axial_deeplab.data.convert.tools import KINDS, read

    source = Path(options.source)
    _refuse_unused(options, *KINDS)  # What no kind takes, before anything is read.
    wanted = replace(
        annotation_options(options, scratch), reading=_reading(options), void_label=options.void_label or 0
    )
    kind, (images, categories) = read(source, wanted, options.format)
    print(f"{source}: read as {KINDS[kind].TITLE} ({kind})")
    _refuse_unused(options, kind)
    if not options.copy_images and any(image.path.is_relative_to(scratch) for image in images):
        raise ValueError(
            f"--copy-images must be given for {source}, which has the pictures in it, got none; add it"
        )
    _write(images, categories, options, options.images or folder_of(source))


def _reading(options: argparse.Namespace) -> "InstanceReading":
    from axial_deeplab.data.convert.instance_maps import InstanceReading

    return InstanceReading(options.page, options.threshold, options.connected_components, options.nodata)


def _refuse_unused(options: argparse.Namespace, *kinds: str) -> None:
    """Refuse options that only other conversions take."""
    for name, takers in TAKEN_BY.items():
        if set(takers).isdisjoint(kinds):
            _refuse_options(options, (name,), f"with {' or '.join(takers)}, got it for {options.source}")


def _refuse_options(options: argparse.Namespace, names: tuple[str, ...], where: str) -> None:
    """Refuse options that would have no effect."""
    for name in names:
        if getattr(options, name) not in (None, []) and getattr(options, name) is not False:
            raise ValueError(f"--{name.replace('_', '-')} must be given {where}; leave it out")


def _write(
    images: "list[UnwrittenImage]", categories: "Categories", options: argparse.Namespace, photographs: object
) -> None:
    from axial_deeplab.data.convert.convert import write_panoptic

    written = write_panoptic(
        images,
        categories,
        options.output,
        copy_images=options.copy_images,
        hold_out=options.hold_out,
        skip_empty=options.skip_empty,
        background=options.background,
        progress=sys.stderr.isatty(),
    )
    print(f"{written} images written to {options.output}")
    if not options.copy_images:
        print(
            f"the photographs stay in {photographs}: name that folder in training (--data.train.images), "
            "or convert with --copy-images"
        )


def _categories(options: argparse.Namespace) -> "Categories":
    """Return the categories of a JSON file, or those that are named."""
    from axial_deeplab.data.convert.read_options import ReadOptions
    from axial_deeplab.panoptic.categories import Categories, Category, warn_of_names

    ReadOptions(thing=options.thing, background=options.background)  # Refuses one name for both.
    if (options.categories is None) == (options.thing is None):
        raise ValueError("categories must be given by --categories or by --thing, got both or none; give one")
    if options.categories is None:
        names = [name for name in (options.background, options.thing) if name is not None]
        warn_of_names(names, "--thing and --background")
        return Categories(
            [Category(number, name, name == options.thing) for number, name in enumerate(names, start=1)]
        )
    return categories_of_file(options.categories)
