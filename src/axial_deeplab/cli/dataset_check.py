"""The subcommand `axial-deeplab dataset check`."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from axial_deeplab.cli.command_line import Arguments, Parser
from axial_deeplab.cli.options import add_annotation_options, add_reading, annotation_options

if TYPE_CHECKING:
    from axial_deeplab.config.schema import DataConfig
    from axial_deeplab.data.panoptic_dataset import PanopticDataset

# More lines help nobody; what is wrong with one file is often wrong with all.
MOST_LINES = 100


def check(arguments: Arguments, scratch: Path) -> None:
    """Read every file of data sets, tell what is in them and what is wrong, and how to fix it."""
    parser = Parser(check, "dataset check")
    parser.add_argument(
        "folders",
        nargs="*",
        metavar="DIR",
        help="of a data set, or of several; also what dataset convert takes as SOURCE",
    )
    add_annotation_options(parser)
    parser.add_argument(
        "--panoptic", metavar="DIR", help="folder of the panoptic PNG files; without it images alone are read"
    )
    parser.add_argument("--json", metavar="FILE", help="panoptic JSON")
    parser.add_argument(
        "--picture",
        writes=True,
        metavar="FILE",
        help="draw images of each data set beside their ground truth",
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
            path = Path(options.picture)
            path = path.with_stem(f"{path.stem}_{place + 1}") if len(found) > 1 else path
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
    kind, (images, categories) = read(folder, annotation_options(options, scratch), options.format)
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


def _print_lines(kind: str, lines: list[str]) -> None:
    for line in lines[:MOST_LINES]:
        print(f"{kind}: {line}")
    if len(lines) > MOST_LINES:
        print(f"{kind}: and {len(lines) - MOST_LINES} more")
