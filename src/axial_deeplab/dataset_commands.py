"""The subcommands of `axial-deeplab` that are about data sets: `dataset check` and `dataset convert`."""

import sys
from pathlib import Path

from axial_deeplab.command_line import Arguments, Parser, command

# More lines help nobody; what is wrong with one file is often wrong with all.
MOST_LINES = 100


@command
def dataset(arguments: Arguments) -> None:
    """Examine a data set before training (check), or convert one to COCO panoptic format (convert)."""
    actions = {"check": _check}
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
        "Read every file of data sets, tell what is in them and what is wrong, and how to mend it."
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
    parser.add_argument(
        "--num-workers", type=int, default=0, help="processes that read (default: %(default)s, this one)"
    )
    options = parser.parse_args(arguments)
    from axial_deeplab.config import DataConfig, SplitConfig
    from axial_deeplab.data.check import check_dataset, draw_samples, shared_images
    from axial_deeplab.data.discover import FoundDataset, find_datasets
    from axial_deeplab.files import atomic_path

    found = [each for folder in options.folders for each in find_datasets(folder)]
    if options.images or options.panoptic or options.json:
        val = SplitConfig(images=options.images, panoptic=options.panoptic, json=options.json)
        found.append(FoundDataset(str(options.json), DataConfig(val=val)))
    if not found:
        raise ValueError(
            "data set must be given by DIR, or by --images, --panoptic and --json, got none; add it"
        )
    reports = []
    for place, each in enumerate(found):
        report = check_dataset(
            each.data, each.name, num_workers=options.num_workers, progress=sys.stderr.isatty()
        )
        print(f"{report.to_text()}\n")
        _print_lines("note", report.notes)
        _print_lines("problem", report.problems)
        reports.append(report)
        if options.picture and report.has_ground_truth:
            path = _numbered(Path(options.picture), place if len(found) > 1 else None)
            with atomic_path(path) as temporary:
                draw_samples(each.data).save(temporary)
            print(f"picture: {path}")
    _print_lines("note", shared_images(reports))
    number = sum(len(report.problems) for report in reports)
    if number:
        raise ValueError(
            f"data set must be free of problems, got {number}; correct the files that are named above"
        )
    print("no problems")


def _print_lines(kind: str, lines: list[str]) -> None:
    for line in lines[:MOST_LINES]:
        print(f"{kind}: {line}")
    if len(lines) > MOST_LINES:
        print(f"{kind}: and {len(lines) - MOST_LINES} more")


def _numbered(path: Path, number: int | None) -> Path:
    return path if number is None else path.with_stem(f"{path.stem}_{number + 1}")
