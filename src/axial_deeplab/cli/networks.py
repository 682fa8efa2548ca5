"""The subcommands of `axial-deeplab` that count and time networks: `models`, `tables` and `benchmark`."""

import json
import sys
from pathlib import Path

from axial_deeplab.cli.command_line import Arguments, Parser, write_json
from axial_deeplab.util.freed_memory import take_large_pages


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


def tables(arguments: Arguments) -> None:
    """Count the paper's tables of networks, print their accuracies; write them as Markdown if asked."""
    parser = Parser(tables)
    parser.add_argument("--output", writes=True, metavar="FILE", help="file to write (default: print)")
    parser.add_argument(
        "--results",
        metavar="DIR",
        help="the published accuracies alone, beside those of the reports of evaluate, pq and train in DIR",
    )
    options = parser.parse_args(arguments)
    from axial_deeplab.accounting.tables import paper_tables, results_tables, write_tables

    text = paper_tables() if options.results is None else results_tables(options.results)
    print(write_tables(options.output, text) if options.output else text, end="")
    if options.output:
        print()


def benchmark(arguments: Arguments) -> None:
    """Time attention, whole networks or training steps, side by side; print ratios and peak memory."""
    parser = Parser(benchmark)
    parser.add_argument(
        "what",
        choices=("attention", "model", "training", "runtime"),
        help="what to time; runtime: Axial-ResNet-L and its peers as in the paper's appendix A",
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="networks of `axial-deeplab models` (default: axial_resnet_s resnet50; of runtime the peers)",
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
    parser.add_argument(
        "--runtime",
        nargs="+",
        metavar="NAME",
        default=(),
        help="model: also exported to ONNX, in these runtimes: onnxruntime, openvino",
    )
    parser.add_argument("--json", writes=True, metavar="FILE", help="write the numbers as JSON")
    parser.add_argument(
        "--plot", writes=True, type=Path, metavar="FILE", help="draw time and memory against the size"
    )
    options = parser.parse_args(arguments)
    take_large_pages()
    from axial_deeplab.benchmark.report import draw
    from axial_deeplab.benchmark.suites import (
        RUNTIME_NETWORKS,
        Settings,
        benchmark_attention,
        benchmark_model,
        benchmark_runtime,
    )
    from axial_deeplab.prediction.predictor import choose_device
    from axial_deeplab.util.text import parse_size

    settings = Settings(
        rounds=options.rounds,
        memory=not options.no_memory,
        device=options.device,
        dtype=options.dtype,
        compiled=options.compile,
        cpu_time=options.cpu_time,
        progress=sys.stderr.isatty(),
    )
    if options.runtime and options.what != "model":
        raise ValueError(f"runtime must be left out of benchmark {options.what}, got one; benchmark model")
    choose_device(options.device)  # refuses what is not here, before a process measures it
    if options.what == "attention":
        if options.input != ["224x224"] or options.names or options.batch or options.span:
            raise ValueError(
                "benchmark attention must be without NAME, --input, --batch and --span, got one; "
                "use benchmark model for other sizes"
            )
        report = benchmark_attention(settings, backward=not options.no_backward)
    elif options.what == "runtime":
        if options.input != ["224x224"] or options.batch or options.span or options.first_author:
            raise ValueError(
                "benchmark runtime must be without --input, --batch, --span and --first-author, got one; "
                "use benchmark model for other sizes"
            )
        report = benchmark_runtime(settings, options.names or RUNTIME_NETWORKS)
    else:
        training = options.what == "training"
        report = benchmark_model(
            settings,
            options.names or ["axial_resnet_s", "resnet50"],
            sizes=[parse_size(word) for word in options.input],
            batches=options.batch or ([4] if training else [1, 8]),
            span=options.span,
            reference=not options.no_reference,
            training=training,
            first_author=options.first_author,
            runtimes=options.runtime,
        )
    print(report.to_text())
    write_json(options.json, report.to_json())
    if options.plot:
        draw(report, options.plot)
