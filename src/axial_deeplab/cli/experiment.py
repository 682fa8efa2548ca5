"""The subcommands of `axial-deeplab` for the paper's figures: `experiment` and `attention-maps`."""

import sys

from axial_deeplab.cli.command_line import Arguments, Parser
from axial_deeplab.cli.options import add_data_set, add_prediction_options, data_set, prediction_options


def experiment(arguments: Arguments) -> None:
    """Repeat the paper: figures (widths, stress, compare, losses), its comparisons in small (reproduce)."""
    actions = {
        "widths": _widths,
        "stress": _stress,
        "compare": _compare,
        "losses": _losses,
        "reproduce": _reproduce,
    }
    if arguments and arguments[0] in actions:
        actions[arguments[0]](arguments[1:])
        return
    parser = Parser(experiment)
    parser.add_argument(
        "figure",
        choices=tuple(actions),
        help="which one; `axial-deeplab experiment FIGURE --help` tells the options",
    )
    parser.parse_args(arguments)


def _widths(arguments: Arguments) -> None:
    """Draw the published top-1 against parameters and M-Adds (figure 3, table 10)."""
    parser = Parser(_widths, "experiment widths")
    parser.add_argument(
        "--output", writes=True, required=True, metavar="FILE", help="the picture: .png, .pdf or .svg"
    )
    parser.add_argument(
        "--results",
        metavar="DIR",
        help="add one's own: reports as `axial-deeplab tables --results` reads them",
    )
    options = parser.parse_args(arguments)
    from axial_deeplab.accounting.accuracies import read_reports
    from axial_deeplab.experiments.widths import draw_widths, widths_table

    reports = [] if options.results is None else read_reports(options.results)
    draw_widths(options.output, reports)
    print(f"{widths_table(reports)}\npicture: {options.output}")


def _compare(arguments: Arguments) -> None:
    """Draw what two networks, or more, see in the same pictures, side by side (figure 6)."""
    parser = Parser(_compare, "experiment compare")
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help="image files, or folders of them")
    parser.add_argument(
        "--weights",
        nargs="+",
        required=True,
        help="files of weights, or names of `axial-deeplab weights list`",
    )
    parser.add_argument(
        "--names", nargs="+", metavar="NAME", help="what to call them (default: as the files)"
    )
    parser.add_argument(
        "--output", writes=True, required=True, metavar="FILE", help="the picture: .png or .jpg"
    )
    add_prediction_options(parser)
    options = parser.parse_args(arguments)
    from axial_deeplab.experiments.comparison import compare_networks

    print(
        compare_networks(
            options.weights,
            options.pictures,
            options.output,
            names=options.names,
            **prediction_options(options),
        )
    )


def _stress(arguments: Arguments) -> None:
    """Measure PQ of the same weights on smaller and larger images (figure 4)."""
    parser = Parser(_stress, "experiment stress")
    parser.add_argument("--weights", nargs="+", required=True, help="files or names of weights, usually two")
    parser.add_argument(
        "--names", nargs="+", metavar="NAME", help="what to call them (default: as the files)"
    )
    add_data_set(parser)
    parser.add_argument(
        "--scales", nargs="+", metavar="S", help="magnifications (default: 0.25 0.5 0.75 1 1.5 2 3 4)"
    )
    parser.add_argument("--limit", type=int, help="only the first so many images")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder of stress.csv and stress.png")
    add_prediction_options(parser, views=False)
    options = parser.parse_args(arguments)
    from axial_deeplab.experiments.plots import require_matplotlib
    from axial_deeplab.experiments.stress import SCALES, stress_test, write_stress_test

    require_matplotlib()
    settings = {"scales": SCALES, **prediction_options(options)}
    result = stress_test(
        options.weights,
        data_set(options),
        names=options.names,
        limit=options.limit,
        progress=sys.stderr.isatty(),
        **settings,
    )
    write_stress_test(result, options.output)
    print(result.to_text())


def _losses(arguments: Arguments) -> None:
    """Draw the three losses of training runs over their steps (figure 9)."""
    parser = Parser(_losses, "experiment losses")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders of runs, or their metrics.csv")
    parser.add_argument(
        "--names", nargs="+", metavar="NAME", help="what to call them (default: as the folders)"
    )
    parser.add_argument(
        "--output", writes=True, required=True, metavar="FILE", help="the picture: .png, .pdf or .svg"
    )
    parser.add_argument(
        "--window", type=int, default=10, metavar="N", help="logged values to average (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    from axial_deeplab.experiments.losses import draw_losses, losses_table, read_losses

    names = options.names or [None] * len(options.runs)
    if len(names) != len(options.runs):
        raise ValueError(
            f"--names must be {len(options.runs)}, one for each run, got {len(names)}; name all of them"
        )
    curves = [read_losses(run, name) for run, name in zip(options.runs, names, strict=True)]
    draw_losses(curves, options.output, window=options.window)
    print(losses_table(curves))


def _reproduce(arguments: Arguments) -> None:
    """Train small networks and compare them as a table of the paper does.

    A run that was stopped goes on, a finished one stays; several processes share the runs out.
    """
    from axial_deeplab.experiments.reproduction.networks import TABLES
    from axial_deeplab.experiments.reproduction.page import SCENES_RECIPE

    parser = Parser(_reproduce, "experiment reproduce")
    parser.add_argument("tables", nargs="+", choices=(*TABLES, "all"), help="which comparisons")
    parser.add_argument(
        "--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="of the runs (default: 0 1 2)"
    )
    parser.add_argument("--steps", type=int, metavar="N", help="of each training (default: as in the recipe)")
    parser.add_argument(
        "--output",
        default="runs/reproduction",
        metavar="DIR",
        help="folder of scenes, runs and tables (default: %(default)s)",
    )
    parser.add_argument(
        "--config",
        default=SCENES_RECIPE,
        help="the recipe that all share; without data sets in it, scenes are drawn (default: %(default)s)",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="processor threads (default: PyTorch's)")
    parser.add_argument("--only-report", action="store_true", help="train nothing: tables of what is there")
    parser.add_argument("--page", metavar="FILE", help="write a report of what was asked for, Markdown")
    options = parser.parse_args(arguments)
    from axial_deeplab.experiments.reproduction.reproduce import reproduce

    reproduce(
        [name for name in TABLES if name in options.tables or "all" in options.tables],
        options.seeds,
        output=options.output,
        recipe=options.config,
        steps=options.steps,
        threads=options.threads,
        only_report=options.only_report,
        page=options.page,
        progress=sys.stderr.isatty(),
    )


def attention_maps(arguments: Arguments) -> None:
    """Draw where a pixel looks: the attention of every head of a block along its column and its row."""
    parser = Parser(attention_maps)
    parser.add_argument("image", metavar="IMAGE", help="image file")
    parser.add_argument(
        "--weights", required=True, help="file of weights, or a name of `axial-deeplab weights list`"
    )
    parser.add_argument(
        "--pixel", nargs=2, type=int, required=True, metavar=("Y", "X"), help="row and column in the image"
    )
    parser.add_argument(
        "--block",
        help="name of an axial block (default: the last one; a wrong name lists them); the paper's are "
        "backbone.res4.1 (figure 7) and backbone.res5.2 (figure 8)",
    )
    parser.add_argument(
        "--output",
        writes=True,
        required=True,
        metavar="FILE",
        help="the picture, .png; the numbers go beside it as .npz",
    )
    options = parser.parse_args(arguments)
    from axial_deeplab.data.images import read_image
    from axial_deeplab.experiments.attention_maps import axial_blocks, write_attention_maps
    from axial_deeplab.prediction.predictor import stored_view
    from axial_deeplab.weights.loaded import load_weights

    loaded = load_weights(options.weights)
    model = loaded.model
    image = read_image(options.image, **stored_view(loaded).reading)
    block = options.block or next(reversed(axial_blocks(model)), "")
    maps = write_attention_maps(model, image, tuple(options.pixel), block, options.output)
    num_heads, height = maps.height.shape
    print(
        f"{block}: {num_heads} heads over {height} positions of the column and {maps.width.shape[1]} of the "
        f"row; picture: {options.output}"
    )
