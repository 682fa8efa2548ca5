"""Options that several subcommands share, and what they mean."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from axial_deeplab.cli.command_line import Parser

if TYPE_CHECKING:
    from axial_deeplab.config.schema import DataConfig
    from axial_deeplab.data.convert.read_options import ReadOptions
    from axial_deeplab.panoptic.categories import Categories


ALL = "all"


def add_data_set(parser: Parser) -> None:
    """Add the options that name a data set."""
    parser.add_argument("--config", help="take the data set from data.val of this YAML file")
    parser.add_argument(
        "--format",
        choices=("coco", "cityscapes", "mapillary", "image_folder"),
        help="of the data set (default: coco); image_folder for classification",
    )
    parser.add_argument("--root", metavar="DIR", help="folder of the data set")
    parser.add_argument("--split", metavar="NAME", help="part of the data set, as its folders are called")
    parser.add_argument("--annotations", metavar="NAME", help="gtFine, gtCoarse; v1.2, v2.0")
    parser.add_argument("--images", metavar="DIR", help="coco: folder of the photographs")
    parser.add_argument("--panoptic", metavar="DIR", help="coco: folder of the panoptic PNG files")
    parser.add_argument("--json", metavar="FILE", help="coco: panoptic JSON")


def data_set(options: argparse.Namespace) -> DataConfig:
    """Return the data set of `--config`, with what the options give instead, as the part val."""
    from axial_deeplab.config.parse import read_config
    from axial_deeplab.config.schema import DataConfig, SplitConfig

    keys = ("images", "panoptic", "json", "root", "split", "annotations")
    given = {key: getattr(options, key) for key in keys if getattr(options, key)}
    if options.config is None:
        missing = [f"--{key}" for key in keys[:3] if key not in given]
        if missing and options.root is None:
            raise ValueError(
                f"data set must be given by --images, --panoptic and --json, got no {missing[0]}; "
                "add it, or give --root"
            )
        data = DataConfig()
    else:
        data = read_config(options.config).data
    if options.root:  # in the place of the paths that the file names
        data = replace(data, val=replace(data.val, images=None, panoptic=None, json=None))
    val = replace(data.val, **given) if options.config else SplitConfig(**given)
    return replace(data, format=options.format or data.format, val=val)


def add_prediction_options(parser: Parser, *, views: bool = True) -> None:
    """Add the options of device, sizes and post-processing; with `views` also magnified and mirrored ones."""
    parser.add_argument("--device", default="auto", help="cpu, cuda, mps or auto (default: %(default)s)")
    parser.add_argument(
        "--max-size", type=int, metavar="N", help="longest side in pixels that the network sees"
    )
    parser.add_argument(
        "--long-side",
        type=int,
        metavar="N",
        help="resize images to so many pixels of the longer side for the network; 0 keeps their size "
        "(default: as the weights were trained)",
    )
    add_reading(parser, "as the weights were trained")
    if views:
        parser.add_argument(
            "--scales",
            nargs="+",
            metavar="S",
            help="see the image at these magnifications and average, such as 0.5 1 2 "
            "(default: as the weights were trained); or coco, cityscapes, mapillary for the paper's",
        )
        parser.add_argument("--flip", action="store_true", help="see it mirrored, too, and average")
    knobs = parser.add_argument_group("post-processing; what is not given is as the weights were trained for")
    knobs.add_argument(
        "--center-threshold", type=float, metavar="P", help="lowest value of a center in the heatmap"
    )
    knobs.add_argument("--nms-kernel", type=int, metavar="N", help="side of the square that has one center")
    knobs.add_argument("--top-k", type=_top_k, metavar="K", help="most centers of an image, or all")
    knobs.add_argument(
        "--top-k-area",
        type=int,
        metavar="A",
        help="pixels that --top-k is for: larger images have more centers",
    )
    knobs.add_argument(
        "--stuff-area", type=int, metavar="A", help="stuff segments of fewer pixels become void"
    )
    knobs.add_argument("--thing-area", type=int, metavar="A", help="instances of fewer pixels become void")
    knobs.add_argument(
        "--thing-threshold", type=float, metavar="P", help="probability above which a pixel is a thing"
    )
    knobs.add_argument(
        "--grouping",
        choices=("offsets", "watershed"),
        help="what gives pixels to centers: their offsets, or a watershed of the heatmap",
    )


def add_reading(parser: Parser, default: str) -> None:
    """Add the options of how image files are read; the help tells their default."""
    parser.add_argument(
        "--value-range",
        metavar="RULE",
        help='which values are black and white in images of more than 8 bits: full, "bits 12", '
        f'"percentiles 1 99", or two numbers "0 4095" (default: {default})',
    )
    parser.add_argument(
        "--channels",
        nargs="+",
        type=int,
        metavar="N",
        help="channels of the image files, from 1 on, as they are stored: 4 3 2 of a satellite image as RGB "
        f"(default: {'RGB' if default == 'full' else default})",
    )
    parser.add_argument(
        "--page", type=int, metavar="N", help="page of image files that have several, from 1 on"
    )


def _top_k(word: str) -> int | str:
    try:
        return ALL if word == ALL else int(word)
    except ValueError:
        raise argparse.ArgumentTypeError(f"invalid int value: {word!r}; give a number, or {ALL}") from None


def prediction_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return what was given; what was not stays as the weights have it."""
    names = (
        *("max_size", "long_side", "value_range", "page", "channels"),
        *("center_threshold", "nms_kernel", "top_k", "top_k_area"),
        *("stuff_area", "thing_area", "thing_threshold", "grouping"),
    )
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if given.get("top_k") == ALL:
        given["top_k"] = None
    if getattr(options, "scales", None) is not None:
        from axial_deeplab.prediction.multi_scale import parse_scales

        given["scales"] = parse_scales(options.scales)
    if getattr(options, "flip", False):
        given["flip"] = True
    return {"device": options.device, **given}


def add_annotation_options(parser: Parser) -> None:
    """Add the options that say how the files of labeling tools are read."""
    parser.add_argument("--format", metavar="KIND", help="kind of SOURCE (default: it is recognized)")
    parser.add_argument("--images", metavar="DIR", help="folder of the photographs, if not beside SOURCE")
    parser.add_argument(
        "--categories",
        metavar="FILE",
        help="JSON list of id, name, isthing; or --thing, --stuff and --background",
    )
    parser.add_argument("--thing", metavar="NAME", help="what instances without a class are (SOURCE: object)")
    parser.add_argument("--background", metavar="NAME", help="stuff where no instance is (default: void)")
    parser.add_argument(
        "--stuff", metavar="NAME", nargs="+", default=[], help="classes of SOURCE that are stuff, not things"
    )
    parser.add_argument(
        "--things",
        metavar="NAME",
        nargs="+",
        default=[],
        help="classes of SOURCE that are things; all others are stuff",
    )
    parser.add_argument(
        "--crowds-are-objects", action="store_true", help="take what SOURCE marks as crowds for objects"
    )
    parser.add_argument(
        "--inner-outlines-are-holes",
        action="store_true",
        help="coco: an outline within another of its object is a hole",
    )
    parser.add_argument(
        "--attribute", metavar="NAME", help="attribute of SOURCE's shapes that is their class"
    )


def annotation_options(options: argparse.Namespace, scratch: Path) -> ReadOptions:
    """Return what the options of `add_annotation_options` say; archives are unpacked into a folder."""
    from axial_deeplab.data.convert.instance_maps import InstanceReading
    from axial_deeplab.data.convert.read_options import ReadOptions
    from axial_deeplab.data.convert.tools import KINDS

    if options.format is not None and options.format not in KINDS:
        raise ValueError(f"--format must be one of {', '.join(KINDS)}, got {options.format}; correct it")
    return ReadOptions(
        images=None if options.images is None else Path(options.images),
        categories=None if options.categories is None else categories_of_file(options.categories),
        thing=options.thing,
        background=options.background,
        stuff=options.stuff,
        things=options.things,
        crowds_are_objects=options.crowds_are_objects,
        inner_outlines_are_holes=options.inner_outlines_are_holes,
        attribute=options.attribute,
        reading=InstanceReading(options.page),
        scratch=scratch,
    )


def categories_of_file(path: str) -> Categories:
    """Return the categories that a JSON file lists."""
    from axial_deeplab.panoptic.categories import Categories, warn_of_names
    from axial_deeplab.panoptic.json_entries import load_json

    entries = load_json(Path(path), types=(dict, list))
    if isinstance(entries, dict):
        entries = entries.get("categories")
    categories = Categories.from_json(entries, source=path)
    warn_of_names(categories.names, path)
    return categories


def add_workers(parser: Parser, purpose: str) -> None:
    """Add the option of the number of threads, whose purpose the help tells."""
    parser.add_argument(
        "--workers",
        "--num-workers",
        dest="num_workers",
        type=int,
        metavar="N",
        help=f"{purpose} (default: one a processor, at most 4)",
    )
