"""The command `axial-deeplab`: parse, call one function, print."""

import json
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from axial_deeplab import __version__
from axial_deeplab.cli.command_line import COMMANDS, Arguments, Parser, command, first_line
from axial_deeplab.cli.options import (
    add_data_set,
    add_prediction_options,
    add_workers,
    data_set,
    prediction_options,
)
from axial_deeplab.util.termination import EXIT_STATUS, Terminated, sigterm_handler, terminate

if TYPE_CHECKING:
    import argparse

    from axial_deeplab.config.schema import DataConfig


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Args:
        arguments: words of the command line; None takes those of the process.

    Returns:
        The exit code: 0, 2 for bad input (one line on standard error), 130 after Ctrl+C, 143 after SIGTERM.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning  # type: ignore[assignment]
        with sigterm_handler(terminate):
            return _run(words)


def _run(words: Arguments) -> int:
    try:
        if not words or words[0] in ("-h", "--help"):
            print(_help())
        elif words[0] == "--version":
            print(f"axial-deeplab {__version__}")
        elif words[0] in COMMANDS:
            COMMANDS[words[0]](words[1:])
        else:
            raise ValueError(
                f"command must be one of {', '.join(COMMANDS)}, got {words[0]}; see axial-deeplab --help"
            )
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of a pipe (`| head`) has seen enough; Python must not complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError) as error:
        print(f"axial-deeplab: error: {_one_line(error)}", file=sys.stderr)
        return 2
    except Terminated as stop:
        print(f"axial-deeplab: {stop.message}", file=sys.stderr)
        return EXIT_STATUS
    except KeyboardInterrupt:
        print("axial-deeplab: stopped", file=sys.stderr)
        return 130
    return 0


@command
def train(arguments: Arguments) -> None:
    """Train a network: --config FILE.yaml, then any setting as --section.key VALUE; --resume [CHECKPOINT]."""
    from axial_deeplab.config.schema import parse_config

    config = parse_config(_with_resume(arguments))
    _require_lightning()
    from axial_deeplab.training.train import train

    train(config)


@command
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
    parser.add_argument("--json-out", metavar="FILE", help="write the numbers as JSON")
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
        print(result.to_text(classwise=options.classwise))
        _write_json(options.json_out, result.to_json())


# What `evaluate` can be told of panoptic networks alone.
OF_SEGMENTS = (
    *("ap", "classwise", "output", "report", "max_size", "long_side", "scales", "flip"),
    *("center_threshold", "nms_kernel", "top_k"),
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
        print(result.to_text())
        _write_json(options.json_out, result.to_json())


@command
def predict(arguments: Arguments) -> None:
    """Segment images and videos: overlays, and of images a panoptic PNG each and one COCO panoptic JSON."""
    parser = Parser(predict)
    parser.add_argument("images", nargs="+", metavar="FILE", help="image and video files, or folders of them")
    parser.add_argument(
        "--weights",
        required=True,
        help="file of weights, checkpoint, or a name of `axial-deeplab weights list`",
    )
    parser.add_argument(
        "--output", default="predictions", metavar="DIR", help="folder of the results (default: %(default)s)"
    )
    parser.add_argument(
        "--json",
        metavar="FILE",
        help="predict what this COCO JSON lists (image_info_test-dev2017.json), no overlays",
    )
    parser.add_argument(
        "--submission",
        metavar="NAME",
        help="with --json: write the zip file of the COCO server for this method",
    )
    parser.add_argument(
        "--runtime",
        default="torch",
        choices=("torch", "onnx"),
        help="onnx: --weights is a file of axial-deeplab export (default: %(default)s)",
    )
    add_prediction_options(parser)
    options = parser.parse_args(arguments)
    if (options.json or options.submission) and (options.json is None or len(options.images) != 1):
        given = "--json" if options.submission is None else "--submission"
        raise ValueError(
            f"{given} must come with --json and one folder of images, got {len(options.images)} inputs and "
            f"--json {options.json}; give both"
        )
    from axial_deeplab.prediction.files import predict_files
    from axial_deeplab.prediction.predictor import Predictor

    weights = options.weights
    if options.runtime == "onnx":
        from axial_deeplab.export.onnx_runtime import load_onnx

        weights = load_onnx(weights)
    predictor = Predictor(weights, **prediction_options(options))
    progress = sys.stderr.isatty()
    if options.json:
        from axial_deeplab.prediction.submission import predict_listed

        (folder,) = options.images
        print(
            predict_listed(
                predictor,
                folder,
                options.json,
                options.output,
                submission=options.submission,
                progress=progress,
            )
        )
        return
    print(predict_files(predictor, options.images, options.output, progress=progress))


@command
def configs(arguments: Arguments) -> None:
    """List the settings that come with the package, for train --config NAME; or copy them to change them."""
    parser = Parser(configs)
    parser.add_argument("--output", metavar="DIR", help="a new folder to copy all of them to")
    options = parser.parse_args(arguments)
    from axial_deeplab.config.files import copy_shipped_settings, shipped_settings

    if options.output is None:
        print("\n".join(shipped_settings()))
        return
    copy_shipped_settings(options.output)
    print(f"{len(shipped_settings())} settings and their shared parts written to {options.output}")


@command
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


@command
def pq(arguments: Arguments) -> None:
    """Compare predictions with the ground truth, both as COCO panoptic files, and print panoptic quality."""
    parser = Parser(pq)
    parser.add_argument(
        "--gt-json", "--gt_json_file", required=True, metavar="FILE", help="JSON of the ground truth"
    )
    parser.add_argument(
        "--gt-folder", "--gt_folder", metavar="DIR", help="its PNG files (default: beside the JSON)"
    )
    parser.add_argument(
        "--pred-json", "--pred_json_file", required=True, metavar="FILE", help="JSON of the predictions"
    )
    parser.add_argument(
        "--pred-folder", "--pred_folder", metavar="DIR", help="its PNG files (default: beside the JSON)"
    )
    add_workers(parser, "threads that read and count")
    parser.add_argument("--classwise", action="store_true", help="print a line for each class")
    parser.add_argument("--json", metavar="FILE", help="write the numbers as JSON")
    options = parser.parse_args(arguments)
    from axial_deeplab.evaluation.panoptic_quality import evaluate_files

    result = evaluate_files(
        options.gt_json,
        options.gt_folder,
        options.pred_json,
        options.pred_folder,
        num_workers=options.num_workers,
        progress=sys.stderr.isatty(),
    )
    print(result.to_text(classwise=options.classwise))
    _write_json(options.json, result.to_json())


@command
def demo(arguments: Arguments) -> None:
    """Predict built-in scenes that training never saw; print panoptic quality and time, draw a picture."""
    parser = Parser(demo)
    parser.add_argument(
        "--output", default="demo", metavar="DIR", help="folder of the pictures (default: %(default)s)"
    )
    parser.add_argument(
        "--weights",
        default="axial_deeplab_nano_scenes",
        help="file of weights, or name of shipped ones (default: %(default)s)",
    )
    parser.add_argument("--num-images", type=int, default=50, help="how many scenes (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, mps or auto (default: %(default)s)")
    options = parser.parse_args(arguments)
    from axial_deeplab.experiments.demo import run_demo

    print(
        run_demo(
            options.output, weights=options.weights, num_images=options.num_images, device=options.device
        )
    )


@command
def models(arguments: Arguments) -> None:
    """List the networks with their parameters and multiply-adds, beside the published digits."""
    parser = Parser(models)
    parser.add_argument("names", nargs="*", metavar="NAME", help="networks (default: all)")
    parser.add_argument("--input", metavar="HxW", help="size of the image; counts activations, too")
    parser.add_argument("--span", type=int, metavar="M", help="positions that a query attends to")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="arguments of create_model")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="print Markdown")
    form.add_argument("--json", action="store_true", help="print a list of objects")
    options = parser.parse_args(arguments)
    from axial_deeplab.accounting.tables import models_table, select_rows

    rows = select_rows(options.names, input_size=options.input, span=options.span, settings=options.set)
    if options.json:
        print(json.dumps([row.to_json() for row in rows], indent=2))
    else:
        print(models_table(rows, markdown=options.markdown))


@command
def benchmark(arguments: Arguments) -> None:
    """Time attention, whole networks or training steps, side by side; print ratios and peak memory."""
    parser = Parser(benchmark)
    parser.add_argument("what", choices=("attention", "model", "training"), help="what to time")
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        default=["axial_resnet_s", "resnet50"],
        help="networks of `axial-deeplab models` (default: axial_resnet_s resnet50)",
    )
    parser.add_argument(
        "--input", nargs="+", default=["224x224"], metavar="HxW", help="sizes of the images, pixels"
    )
    parser.add_argument(
        "--batch", nargs="+", type=int, metavar="N", help="images (default: 1 8; training: 4)"
    )
    parser.add_argument("--span", type=int, metavar="M", help="positions that a query attends to")
    parser.add_argument("--rounds", type=int, default=11, help="timed runs of each (default: %(default)s)")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="default: %(default)s")
    parser.add_argument("--dtype", default="float32", help="float32, bfloat16 or float16")
    parser.add_argument("--compile", action="store_true", help="also through torch.compile")
    parser.add_argument("--cpu-time", action="store_true", help="time of the processor, not of the clock")
    parser.add_argument("--no-reference", action="store_true", help="leave out the reference implementation")
    parser.add_argument("--no-backward", action="store_true", help="attention: only the forward pass")
    parser.add_argument("--no-memory", action="store_true", help="do not measure the peak of the memory")
    parser.add_argument(
        "--first-author",
        type=Path,
        metavar="DIR",
        help="a checkout of github.com/csrhddlam/axial-deeplab to compare with; its code is run",
    )
    parser.add_argument("--json", metavar="FILE", help="write the numbers as JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw time and memory against the size")
    options = parser.parse_args(arguments)
    from axial_deeplab.benchmark.report import (
        Settings,
        benchmark_attention,
        benchmark_model,
        draw,
        parse_size,
    )

    settings = Settings(
        rounds=options.rounds,
        memory=not options.no_memory,
        device=options.device,
        dtype=options.dtype,
        compiled=options.compile,
        cpu_time=options.cpu_time,
        progress=sys.stderr.isatty(),
    )
    if options.what == "attention":
        report = benchmark_attention(settings, backward=not options.no_backward)
    else:
        training = options.what == "training"
        report = benchmark_model(
            settings,
            options.names,
            sizes=[parse_size(word) for word in options.input],
            batches=options.batch or ([4] if training else [1, 8]),
            span=options.span,
            reference=not options.no_reference,
            training=training,
            first_author=options.first_author,
        )
    print(report.to_text())
    _write_json(options.json, report.to_json())
    if options.plot:
        draw(report, options.plot)


@command
def tables(arguments: Arguments) -> None:
    """Count the paper's tables of parameters and multiply-adds and write them as Markdown."""
    parser = Parser(tables)
    parser.add_argument("--output", default="docs/tables.md", metavar="FILE", help="default: %(default)s")
    options = parser.parse_args(arguments)
    from axial_deeplab.accounting.tables import write_tables

    print(write_tables(options.output))


def _with_resume(arguments: Arguments) -> Arguments:
    """Turn `--resume [CHECKPOINT]` into the setting that it is short for."""
    words = list(arguments)
    if "--resume" in words:
        place = words.index("--resume")
        has_value = place + 1 < len(words) and not words[place + 1].startswith("--")
        words[place : place + 1] = ["--trainer.resume"] if has_value else ["--trainer.resume", "last"]
    return words


def _require_lightning() -> None:
    from importlib.util import find_spec

    if find_spec("lightning") is None:
        raise ValueError(
            'training needs the package lightning, which is missing; pip install "axial-deeplab[train]"'
        )


def _write_json(path: str | None, numbers: dict[str, Any]) -> None:
    if path is not None:
        from axial_deeplab.util.files import atomic_path

        with atomic_path(Path(path)) as temporary:
            temporary.write_text(json.dumps(numbers, indent=2) + "\n")


def _help() -> str:
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:{width}}{first_line(function)}" for name, function in COMMANDS.items()]
    return "\n".join(
        [
            "usage: axial-deeplab COMMAND [OPTIONS]; axial-deeplab COMMAND --help tells the options",
            "",
            "Axial attention and bottom-up panoptic segmentation.",
            "",
            *lines,
        ]
    )


def _show_warning(message: Warning | str, *origin: Any) -> None:
    """Print a warning as one line, without the place in the source code that nobody asked for."""
    print(f"axial-deeplab: warning: {_one_line(message)}", file=sys.stderr)


def _one_line(error: Exception | str) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        # The second name, if any, is what a temporary file should have been renamed to.
        return f"{error.strerror}: {error.filename2 or error.filename}; correct the path or its permissions"
    return " ".join(str(error).split()) or type(error).__name__


# Their commands join those above; at the end, for the list of help follows the order of definition.
from axial_deeplab.cli import app as app_commands  # noqa: E402, F401
from axial_deeplab.cli import dataset as dataset_commands  # noqa: E402, F401
from axial_deeplab.cli import experiment as experiment_commands  # noqa: E402, F401
from axial_deeplab.cli import weights as weights_commands  # noqa: E402, F401

if __name__ == "__main__":
    sys.exit(main())
