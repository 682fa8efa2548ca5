"""The subcommands of `axial-deeplab` that measure: `evaluate` and `pq`."""

import sys
from typing import TYPE_CHECKING, Any

from axial_deeplab.cli.command_line import Arguments, Parser, write_json
from axial_deeplab.cli.options import (
    add_data_set,
    add_prediction_options,
    add_workers,
    data_set,
    prediction_options,
)

if TYPE_CHECKING:
    import argparse

    from axial_deeplab.config.schema import DataConfig


def evaluate(arguments: Arguments) -> None:
    """Predict the images of a data set and print panoptic quality, mIoU and AP, or top-1 and top-5."""
    parser = Parser(evaluate)
    parser.add_argument(
        "--weights",
        required=True,
        help="file of weights, checkpoint, or a name of `axial-deeplab weights list`",
    )
    add_data_set(parser)
    add_prediction_options(parser)
    parser.add_argument(
        "--ap",
        choices=("cityscapes", "coco"),
        help="measure the average precision of the instances, too, as this benchmark defines it",
    )
    parser.add_argument("--limit", type=int, help="only the first so many images")
    add_workers(parser, "threads that read images ahead")
    parser.add_argument("--classwise", action="store_true", help="print a line for each class")
    parser.add_argument("--json-out", writes=True, metavar="FILE", help="write the numbers as JSON")
    parser.add_argument("--output", metavar="DIR", help="keep the predictions, as panoptic PNG and JSON")
    parser.add_argument(
        "--report", metavar="DIR", help="write report.html: scores, confusions, best and worst images"
    )
    options = parser.parse_args(arguments)
    from axial_deeplab.evaluation.evaluate import evaluate as evaluate_weights
    from axial_deeplab.evaluation.processes import is_first_process

    data = data_set(options)
    if data.format == "image_folder":
        _evaluate_classifier(options, data)
        return
    result = evaluate_weights(
        options.weights,
        data,
        output=options.output,
        report=options.report,
        ap=options.ap,
        limit=options.limit,
        num_workers=options.num_workers,
        progress=sys.stderr.isatty(),
        **prediction_options(options),
    )
    if is_first_process():
        print(f"{result.to_text(classwise=options.classwise)}\nmeasured on {data.val.place}")
        write_json(options.json_out, result.to_json())


# What `evaluate` can be told of panoptic networks alone.
OF_SEGMENTS = (
    *("ap", "classwise", "output", "report", "max_size", "long_side", "scales", "flip"),
    *("value_range", "page", "channels"),
    *("center_threshold", "nms_kernel", "top_k", "top_k_area"),
    *("stuff_area", "thing_area", "thing_threshold", "grouping"),
)


def _evaluate_classifier(options: "argparse.Namespace", data: "DataConfig") -> None:
    from axial_deeplab.evaluation.classification import evaluate_classifier
    from axial_deeplab.evaluation.processes import is_first_process

    of_segments = [name for name in OF_SEGMENTS if getattr(options, name) not in (None, False)]
    if of_segments:
        raise ValueError(
            "options must be those of a classification network with --format image_folder, "
            f"got --{of_segments[0].replace('_', '-')}; leave it out"
        )
    result = evaluate_classifier(
        options.weights,
        data,
        device=options.device,
        limit=options.limit,
        num_workers=options.num_workers,
        progress=sys.stderr.isatty(),
    )
    if is_first_process():
        print(f"{result.to_text()}\nmeasured on {data.val.place}")
        write_json(options.json_out, result.to_json())


def pq(arguments: Arguments) -> None:
    """Compare predictions with the ground truth, both as COCO panoptic files, and print panoptic quality."""
    parser = Parser(pq)
    parser.add_argument(
        "--gt-json", "--gt_json_file", required=True, metavar="FILE", help="JSON of the ground truth"
    )
    parser.add_argument(
        "--gt-folder", "--gt_folder", metavar="DIR", help="its PNG files (default: beside the JSON)"
    )
    parser.add_argument("--pred-json", "--pred_json_file", metavar="FILE", help="JSON of the predictions")
    parser.add_argument(
        "--pred-folder", "--pred_folder", metavar="DIR", help="its PNG files (default: beside the JSON)"
    )
    parser.add_argument(
        "--pred-labels", metavar="DIR", help="instead: label maps, as cellpose writes them (a_cp_masks.tif)"
    )
    parser.add_argument(
        "--thing", metavar="NAME", help="with --pred-labels: class of the instances (default: the only thing)"
    )
    parser.add_argument(
        "--background", metavar="NAME", help="with --pred-labels: class where no instance is (default: void)"
    )
    parser.add_argument(
        "--rule",
        choices=("panopticapi", "stardist", "torchmetrics"),
        default="panopticapi",
        help="what matches: IoU above 0.5; 0.5, too (stardist); IoU without the void of the prediction "
        "(torchmetrics) (default: %(default)s)",
    )
    add_workers(parser, "threads that read and count")
    parser.add_argument("--classwise", action="store_true", help="print a line for each class")
    parser.add_argument("--json", writes=True, metavar="FILE", help="write the numbers as JSON")
    options = parser.parse_args(arguments)
    if (options.pred_json is None) == (options.pred_labels is None):
        count = "none" if options.pred_json is None else "both"
        raise ValueError(f"predictions must be given by --pred-json or --pred-labels, got {count}; give one")
    of_labels = {"thing": options.thing, "background": options.background}
    odd = next((name for name, value in of_labels.items() if value and options.pred_json), None)
    if odd:
        raise ValueError(f"--{odd} must come with --pred-labels, got --pred-json; leave it out")
    from axial_deeplab.evaluation.panoptic_quality import evaluate_files, evaluate_labels

    others: dict[str, Any] = {
        "num_workers": options.num_workers,
        "rule": options.rule,
        "progress": sys.stderr.isatty(),
    }
    if options.pred_labels:
        others |= of_labels
        result = evaluate_labels(options.gt_json, options.gt_folder, options.pred_labels, **others)
    else:
        result = evaluate_files(
            options.gt_json, options.gt_folder, options.pred_json, options.pred_folder, **others
        )
    print(result.to_text(classwise=options.classwise))
    if options.rule != "panopticapi":
        print(f"segments matched by the rule of {options.rule}")
    write_json(options.json, result.to_json())
