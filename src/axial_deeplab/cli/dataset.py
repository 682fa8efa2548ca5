"""The subcommands of `axial-deeplab` that are about data sets: `dataset` and `scenes`."""

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from axial_deeplab.cli.command_line import Arguments, Parser
from axial_deeplab.cli.options import add_reading

if TYPE_CHECKING:
    from axial_deeplab.config.schema import DataConfig
    from axial_deeplab.data.convert.instance_maps import InstanceReading
    from axial_deeplab.data.convert.read_options import ReadOptions
    from axial_deeplab.data.convert.unwritten import UnwrittenImage
    from axial_deeplab.data.panoptic_dataset import PanopticDataset
    from axial_deeplab.panoptic.categories import Categories

# More lines help nobody; what is wrong with one file is often wrong with all.
MOST_LINES = 100


def dataset(arguments: Arguments) -> None:
    """Examine a data set before training (check), or convert one to COCO panoptic format (convert)."""
    actions = {"check": _check, "convert": _convert}
    if arguments and arguments[0] in actions:
        with (
            TemporaryDirectory(prefix="axial-deeplab-") as scratch,  # for what archives hold
            _naming_archives(scratch, arguments),
        ):
            actions[arguments[0]](arguments[1:], Path(scratch))
        return
    parser = Parser(dataset)
    parser.add_argument(
        "action",
        choices=tuple(actions),
        help="what to do; `axial-deeplab dataset ACTION --help` tells the options",
    )
    parser.parse_args(arguments)


class _Renaming:
    """A stream of text that is changed before it is written."""

    def __init__(self, stream: Any, rename: Callable[[str], str]) -> None:
        self._stream, self._rename = stream, rename

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> Any:
        return self._stream.write(self._rename(text))


@contextmanager
def _naming_archives(scratch: str, words: Arguments) -> Iterator[None]:
    """Name the files of archives by the ZIP that was given, not by the folder that is soon gone."""
    unpacked = re.compile(rf"{re.escape(scratch)}[/\\][^/\\]+[/\\]([^/\\]+?\.zip)", re.IGNORECASE)

    def given(found: re.Match[str]) -> str:
        archives = [word for word in words if Path(word).name == found[1]]
        return archives[0] if len(archives) == 1 else found[1]

    def rename(text: str) -> str:
        return unpacked.sub(given, text)

    streams: list[Any] = [_Renaming(stream, rename) for stream in (sys.stdout, sys.stderr)]
    try:
        with redirect_stdout(streams[0]), redirect_stderr(streams[1]):
            yield
    except (ValueError, FileNotFoundError) as error:
        if isinstance(error, FileNotFoundError) and error.filename is not None:
            error.filename = rename(str(error.filename))
        else:
            error.args = (rename(str(error)),)
        raise


def _check(arguments: Arguments, scratch: Path) -> None:
    parser = Parser(dataset)
    parser.prog += " check"
    parser.description = (
        "Read every file of data sets, tell what is in them and what is wrong, and how to fix it."
    )
    parser.add_argument(
        "folders",
        nargs="*",
        metavar="DIR",
        help="of a data set, or of several; also what dataset convert takes as SOURCE",
    )
    _add_reading_options(parser)
    parser.add_argument(
        "--panoptic", metavar="DIR", help="folder of the panoptic PNG files; without it images alone are read"
    )
    parser.add_argument("--json", metavar="FILE", help="panoptic JSON")
    parser.add_argument(
        "--picture", metavar="FILE", help="draw images of each data set beside their ground truth"
    )
    add_reading(parser, "full")
    parser.add_argument(
        "--num-workers", type=int, default=0, help="processes that read (default: %(default)s, this one)"
    )
    options = parser.parse_args(arguments)
    from axial_deeplab.config.schema import DataConfig, SplitConfig
    from axial_deeplab.data.check.check import check_dataset, differing_classes, draw_samples, shared_images
    from axial_deeplab.data.check.report import DatasetReport
    from axial_deeplab.data.panoptic_dataset import PanopticDataset
    from axial_deeplab.util.files import atomic_path

    has_files = bool(options.panoptic or options.json or (options.images and not options.folders))
    if has_files and not (options.images and options.json):
        raise ValueError(
            "data set must be given by --images and --json together, got one of them; add the other"
        )
    found: list[tuple[str, DataConfig | PanopticDataset]] = [
        each for folder in options.folders for each in _found(Path(folder), options, scratch)
    ]
    if has_files:
        val = SplitConfig(images=options.images, panoptic=options.panoptic, json=options.json)
        found.append((str(options.json), DataConfig(val=val)))
    reading = {name: getattr(options, name) for name in ("value_range", "page", "channels")}
    reading = {name: value for name, value in reading.items() if value is not None}
    found = [(name, _read_with(data, **reading)) for name, data in found]
    if not found:
        raise ValueError(
            "data set must be given by DIR, or by --images, --panoptic and --json, got none; add it"
        )
    reports = []
    for place, (name, data) in enumerate(found):
        try:
            report = check_dataset(data, name, num_workers=options.num_workers, progress=sys.stderr.isatty())
        except (ValueError, OSError) as error:
            if len(found) == 1:
                raise
            report = DatasetReport(name, (), (str(error),), ())  # The others are examined all the same.
        print(f"{report.to_text()}\n")
        _print_lines("note", report.notes)
        _print_lines("problem", report.problems)
        reports.append(report)
        if options.picture and report.has_ground_truth:
            path = _numbered(Path(options.picture), place if len(found) > 1 else None)
            with atomic_path(path) as temporary:
                draw_samples(data).save(temporary)
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


def _found(
    folder: Path, options: argparse.Namespace, scratch: Path
) -> "list[tuple[str, DataConfig | PanopticDataset]]":
    """Return the name of each data set in a folder, and the settings that open it; or the files of a tool."""
    from axial_deeplab.data.convert.archives import is_archive
    from axial_deeplab.data.convert.tools import KINDS, read, recognize
    from axial_deeplab.data.convert.unwritten import UnwrittenDataset
    from axial_deeplab.data.discover import find_datasets, has_known_layout

    # First what training reads: to look for other kinds is to open each JSON.
    if options.format is None and (
        not folder.exists()
        or has_known_layout(folder)
        or (recognize(folder) is None and not is_archive(folder))
    ):
        return [*find_datasets(folder)]
    kind, (images, categories) = read(folder, _reading_options(options, scratch), options.format)
    print(f"{folder}: read as {KINDS[kind].TITLE} ({kind})")
    return [(str(folder), UnwrittenDataset(images, categories))]


def _read_with(data: "DataConfig | PanopticDataset", **reading: Any) -> "DataConfig | PanopticDataset":
    """Return a data set whose images are read as these settings of `DataConfig` say."""
    from axial_deeplab.config.schema import DataConfig
    from axial_deeplab.data.channels import Channels
    from axial_deeplab.data.datasets import read_as

    if "channels" in reading:
        reading["channels"] = Channels(tuple(reading["channels"])).numbers  # which refuses what are none
    settings = replace(data if isinstance(data, DataConfig) else DataConfig(), **reading)
    return settings if isinstance(data, DataConfig) else read_as(data, settings)


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


def _convert(arguments: Arguments, scratch: Path) -> None:
    parser = Parser(dataset)
    parser.prog += " convert"
    parser.description = "Write a data set in COCO panoptic format: panoptic/ and panoptic.json."
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="folder, file or ZIP as a labeling tool exported it; or one of maps: a PNG of category ids "
        "and one of "
        "instance numbers for each image; masks: a folder of masks for each image; coco-instances: "
        "polygons and "
        "run lengths; cityscapes: its folders",
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="a new folder")
    _add_reading_options(parser)
    parser.add_argument("--semantic", metavar="DIR", help="maps: folder of PNG files of category ids")
    parser.add_argument("--instances", metavar="DIR", help="maps: folder of PNG files of instance numbers")
    parser.add_argument(
        "--void-label",
        type=int,
        metavar="ID",
        help="maps: id that means void (default: 255; two-channel: 0)",
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
    options.kind = options.source
    from axial_deeplab.data.cityscapes import CityscapesDataset
    from axial_deeplab.data.convert.coco_instances import coco_instances_to_convert
    from axial_deeplab.data.convert.convert import write_cityscapes
    from axial_deeplab.data.convert.map_files import maps_to_convert, masks_to_convert
    from axial_deeplab.data.convert.tools import KINDS, recognize

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
        if options.copy_images or options.skip_empty or (options.hold_out, options.page) != (None, None):
            raise ValueError(
                "--copy-images, --skip-empty, --page and --hold-out must not be given for cityscapes, whose "
                "parts are its splits, got one of them; leave it out"
            )
        split = CityscapesDataset(options.root, options.split, annotations=options.annotations)
        write_cityscapes(split, options.output, progress=progress)
        print(f"{len(split)} images written to {options.output}")
        return
    if options.kind == "coco-instances":
        kind = recognize(Path(options.json))
        if kind not in (None, "coco"):
            raise ValueError(
                f"{options.json} must be a COCO instances JSON, got {KINDS[kind].TITLE}; give it as SOURCE"
            )
        images, categories = coco_instances_to_convert(
            options.json, options.images, options=_reading_options(options, scratch)
        )
    else:
        categories = _categories(options)
        reading = _reading(options)
        if options.kind == "masks":
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
        _reading_options(options, scratch), reading=_reading(options), void_label=options.void_label or 0
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


def _add_reading_options(parser: Parser) -> None:
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
        "--crowds-are-objects",
        action="store_true",
        help="take what SOURCE marks as crowds for objects",
    )
    parser.add_argument(
        "--inner-outlines-are-holes",
        action="store_true",
        help="coco: an outline within another of its object is a hole",
    )
    parser.add_argument(
        "--attribute", metavar="NAME", help="attribute of SOURCE's shapes that is their class"
    )


def _reading_options(options: argparse.Namespace, scratch: Path) -> "ReadOptions":
    from axial_deeplab.data.convert.instance_maps import InstanceReading
    from axial_deeplab.data.convert.read_options import ReadOptions
    from axial_deeplab.data.convert.tools import KINDS

    if options.format is not None and options.format not in KINDS:
        raise ValueError(f"--format must be one of {', '.join(KINDS)}, got {options.format}; correct it")
    return ReadOptions(
        images=None if options.images is None else Path(options.images),
        categories=None if options.categories is None else _categories_of_file(options.categories),
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
    return _categories_of_file(options.categories)


def _categories_of_file(path: str) -> "Categories":
    from axial_deeplab.panoptic.categories import Categories, warn_of_names
    from axial_deeplab.panoptic.json_entries import load_json

    entries = load_json(Path(path), types=(dict, list))
    if isinstance(entries, dict):
        entries = entries.get("categories")
    categories = Categories.from_json(entries, source=path)
    warn_of_names(categories.names, path)
    return categories


def _print_lines(kind: str, lines: list[str]) -> None:
    for line in lines[:MOST_LINES]:
        print(f"{kind}: {line}")
    if len(lines) > MOST_LINES:
        print(f"{kind}: and {len(lines) - MOST_LINES} more")


def _numbered(path: Path, number: int | None) -> Path:
    return path if number is None else path.with_stem(f"{path.stem}_{number + 1}")
