"""The subcommands of `axial-deeplab` that are about data sets: `dataset` and `scenes`."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from axial_deeplab.cli.command_line import Arguments, Parser
from axial_deeplab.cli.options import add_value_range

if TYPE_CHECKING:
    from axial_deeplab.panoptic.categories import Categories

# More lines help nobody; what is wrong with one file is often wrong with all.
MOST_LINES = 100


def dataset(arguments: Arguments) -> None:
    """Examine a data set before training (check), or convert one to COCO panoptic format (convert)."""
    actions = {"check": _check, "convert": _convert}
    if arguments and arguments[0] in actions:
        actions[arguments[0]](arguments[1:])
        return
    parser = Parser(dataset)
    parser.add_argument(
        "action",
        choices=tuple(actions),
        help="what to do; `axial-deeplab dataset ACTION --help` tells the options",
    )
    parser.parse_args(arguments)


def _check(arguments: Arguments) -> None:
    parser = Parser(dataset)
    parser.prog += " check"
    parser.description = (
        "Read every file of data sets, tell what is in them and what is wrong, and how to fix it."
    )
    parser.add_argument("folders", nargs="*", metavar="DIR", help="of a data set, or of several")
    parser.add_argument("--images", metavar="DIR", help="instead of DIR: folder of the photographs")
    parser.add_argument(
        "--panoptic", metavar="DIR", help="folder of the panoptic PNG files; without it images alone are read"
    )
    parser.add_argument("--json", metavar="FILE", help="panoptic JSON")
    parser.add_argument(
        "--picture", metavar="FILE", help="draw images of each data set beside their ground truth"
    )
    add_value_range(parser, "full")
    parser.add_argument(
        "--num-workers", type=int, default=0, help="processes that read (default: %(default)s, this one)"
    )
    options = parser.parse_args(arguments)
    from axial_deeplab.config.schema import DataConfig, SplitConfig
    from axial_deeplab.data.check.check import check_dataset, differing_classes, draw_samples, shared_images
    from axial_deeplab.data.check.report import DatasetReport
    from axial_deeplab.data.discover import FoundDataset, find_datasets
    from axial_deeplab.data.value_range import ValueRange
    from axial_deeplab.util.files import atomic_path

    has_files = bool(options.images or options.panoptic or options.json)
    if has_files and not (options.images and options.json):
        raise ValueError(
            "data set must be given by --images and --json together, got one of them; add the other"
        )
    found = [each for folder in options.folders for each in find_datasets(folder)]
    if has_files:
        val = SplitConfig(images=options.images, panoptic=options.panoptic, json=options.json)
        found.append(FoundDataset(str(options.json), DataConfig(val=val)))
    if options.value_range is not None:
        value_range = ValueRange(options.value_range).rule  # refuses what is none
        found = [each._replace(data=replace(each.data, value_range=value_range)) for each in found]
    if not found:
        raise ValueError(
            "data set must be given by DIR, or by --images, --panoptic and --json, got none; add it"
        )
    reports = []
    for place, each in enumerate(found):
        try:
            report = check_dataset(
                each.data, each.name, num_workers=options.num_workers, progress=sys.stderr.isatty()
            )
        except (ValueError, OSError) as error:
            if len(found) == 1:
                raise
            report = DatasetReport(each.name, (), (str(error),), ())  # The others are examined all the same.
        print(f"{report.to_text()}\n")
        _print_lines("note", report.notes)
        _print_lines("problem", report.problems)
        reports.append(report)
        if options.picture and report.has_ground_truth:
            path = _numbered(Path(options.picture), place if len(found) > 1 else None)
            with atomic_path(path) as temporary:
                draw_samples(each.data).save(temporary)
            print(f"picture: {path}")
    differences, notes = differing_classes(reports)
    _print_lines("note", [*shared_images(reports), *notes])
    _print_lines("problem", differences)
    number = sum(len(report.problems) for report in reports) + len(differences)
    if number:
        raise ValueError(
            f"data set must be free of problems, got {number}; correct the files that are named above"
        )
    print("no problems")


def scenes(arguments: Arguments) -> None:
    """Draw scenes and write them as a data set in COCO panoptic format."""
    parser = Parser(scenes)
    parser.add_argument("--output", required=True, metavar="DIR", help="a new folder")
    parser.add_argument("--num-images", type=int, required=True, metavar="N", help="how many scenes")
    parser.add_argument(
        "--seed", type=int, default=0, help="scenes of another seed are others (default: %(default)s)"
    )
    parser.add_argument("--height", type=int, default=256, help="pixels (default: %(default)s)")
    parser.add_argument("--width", type=int, default=384, help="pixels (default: %(default)s)")
    parser.add_argument(
        "--num-workers", type=int, default=1, help="processes that draw (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    from axial_deeplab.data.scenes import write_scenes

    write_scenes(**vars(options))
    print(f"{options.num_images} scenes written to {options.output}")


CONVERSIONS = ("maps", "masks", "coco-instances", "cityscapes")


def _convert(arguments: Arguments) -> None:
    parser = Parser(dataset)
    parser.prog += " convert"
    parser.description = "Write a data set in COCO panoptic format: panoptic/ and panoptic.json."
    parser.add_argument(
        "kind",
        choices=CONVERSIONS,
        help="maps: a PNG of category ids and one of instance numbers for each image; masks: a folder of "
        "masks for each image; coco-instances: polygons and run lengths; cityscapes: its folders",
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="a new folder")
    parser.add_argument("--images", metavar="DIR", help="folder of the photographs; not for cityscapes")
    parser.add_argument("--semantic", metavar="DIR", help="maps: folder of PNG files of category ids")
    parser.add_argument("--instances", metavar="DIR", help="maps: folder of PNG files of instance numbers")
    parser.add_argument(
        "--void-label",
        type=int,
        default=255,
        metavar="ID",
        help="maps: id that means void (default: %(default)s)",
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
        "--page", type=int, metavar="N", help="maps, masks and their photographs: page of TIFF files"
    )
    parser.add_argument("--masks", metavar="DIR", help="masks: folder of the folders of masks")
    parser.add_argument(
        "--categories",
        metavar="FILE",
        help="maps: JSON list of id, name, isthing; or --thing and --background",
    )
    parser.add_argument("--thing", metavar="NAME", help="maps, masks: what all instances are")
    parser.add_argument("--background", metavar="NAME", help="stuff where no instance is (default: void)")
    parser.add_argument("--json", metavar="FILE", help="coco-instances: the instances JSON")
    parser.add_argument("--root", metavar="DIR", help="cityscapes: folder that has leftImg8bit")
    parser.add_argument("--split", metavar="NAME", help="cityscapes: train, val or train_extra")
    parser.add_argument("--annotations", metavar="NAME", help="cityscapes: gtFine or gtCoarse")
    parser.add_argument("--copy-images", action="store_true", help="copy the photographs to images/, too")
    parser.add_argument(
        "--hold-out",
        type=int,
        metavar="N",
        help="write train/ and val/; a hash of the name sends about one image in N to val/",
    )
    options = parser.parse_args(arguments)
    from axial_deeplab.data.cityscapes import CityscapesDataset
    from axial_deeplab.data.convert.coco_instances import coco_instances_to_convert
    from axial_deeplab.data.convert.convert import (
        maps_to_convert,
        masks_to_convert,
        write_cityscapes,
        write_panoptic,
    )
    from axial_deeplab.data.convert.instance_maps import InstanceReading

    progress = sys.stderr.isatty()
    needed = {
        "maps": ("images",),
        "masks": ("images", "masks"),
        "coco-instances": ("images", "json"),
        "cityscapes": ("root", "split"),
    }
    for name in needed[options.kind]:
        if getattr(options, name) is None:
            raise ValueError(f"--{name} must be given for {options.kind}, got none; add it")
    if options.kind == "cityscapes":
        if options.copy_images or options.hold_out is not None:
            raise ValueError(
                "--copy-images and --hold-out must not be given for cityscapes, whose parts are its splits, "
                "got one of them; leave it out"
            )
        split = CityscapesDataset(options.root, options.split, annotations=options.annotations)
        write_cityscapes(split, options.output, progress=progress)
        print(f"{len(split)} images written to {options.output}")
        return
    if options.kind == "coco-instances":
        images, categories = coco_instances_to_convert(
            options.json, options.images, background=options.background
        )
    else:
        categories = _categories(options)
        reading = InstanceReading(options.page, options.threshold, options.connected_components)
        if options.kind == "masks":
            images = masks_to_convert(options.images, options.masks, categories, reading=reading)
        else:
            images = maps_to_convert(
                options.images,
                categories,
                semantic=options.semantic,
                instances=options.instances,
                void_label=options.void_label,
                reading=reading,
            )
    write_panoptic(
        images,
        categories,
        options.output,
        copy_images=options.copy_images,
        hold_out=options.hold_out,
        progress=progress,
    )
    print(f"{len(images)} images written to {options.output}")
    if not options.copy_images:
        print(
            f"the photographs stay in {options.images}: name that folder in training (--data.train.images), "
            "or convert with --copy-images"
        )


def _categories(options: argparse.Namespace) -> "Categories":
    """Return the categories of a JSON file, or those that are named."""
    from axial_deeplab.panoptic.categories import Categories, Category
    from axial_deeplab.panoptic.coco_json import load_json

    if (options.categories is None) == (options.thing is None):
        raise ValueError("categories must be given by --categories or by --thing, got both or none; give one")
    if options.categories is None:
        names = [name for name in (options.background, options.thing) if name is not None]
        return Categories(
            [Category(number, name, name == options.thing) for number, name in enumerate(names, start=1)]
        )
    entries = load_json(Path(options.categories), types=(dict, list))
    if isinstance(entries, dict):
        entries = entries.get("categories")
    return Categories.from_json(entries, source=options.categories)


def _print_lines(kind: str, lines: list[str]) -> None:
    for line in lines[:MOST_LINES]:
        print(f"{kind}: {line}")
    if len(lines) > MOST_LINES:
        print(f"{kind}: and {len(lines) - MOST_LINES} more")


def _numbered(path: Path, number: int | None) -> Path:
    return path if number is None else path.with_stem(f"{path.stem}_{number + 1}")
