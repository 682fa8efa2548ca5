"""The subcommands of `axial-deeplab` that segment images: `predict` and `demo`."""

import sys

from axial_deeplab.cli.command_line import Arguments, Parser
from axial_deeplab.cli.options import add_prediction_options, prediction_options


def predict(arguments: Arguments) -> None:
    """Segment images and videos: overlays, and of images a panoptic PNG each and one COCO panoptic JSON."""
    from axial_deeplab.prediction.save.kinds import KINDS

    # With weights it is a folder of this name.
    if arguments[:1] == ["merge"] and not any(word.startswith("--w") for word in arguments):
        merge(arguments[1:])
        return
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
        "--cityscapes",
        action="store_true",
        help="write the files of the Cityscapes server, too: label ids of pixels, masks of instances",
    )
    parser.add_argument(
        "--tile",
        type=int,
        metavar="N",
        help="see images whose longer side exceeds N pixels in tiles of that size, labels are tiled TIFF "
        "(default: only those that may not fit into memory, in tiles of 449 to 577)",
    )
    parser.add_argument(
        "--overlap",
        type=int,
        metavar="N",
        help="pixels that tiles share (default: 32, a quarter of small tiles)",
    )
    parser.add_argument(
        "--shard",
        metavar="I/N",
        help="predict every N-th file alone, from the I-th on; after all: axial-deeplab predict merge DIR",
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="share the images, and the tiles of large ones, out to N processes (default: threads)",
    )
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="share them out to the workers of a Dask scheduler"
    )
    parser.add_argument(
        "--runtime",
        default="torch",
        choices=("torch", "onnx"),
        help="onnx: --weights is a file of axial-deeplab export (default: %(default)s)",
    )
    parser.add_argument(
        "--save",
        nargs="+",
        choices=tuple(KINDS),
        metavar="KIND",
        help=f"kinds of files: {', '.join(KINDS)} (default: coco)",
    )
    pictures = parser.add_argument_group("overlays of images")
    pictures.add_argument("--outlines", action="store_true", help="draw outlines alone, no areas")
    pictures.add_argument(
        "--color-by",
        default="class",
        choices=("class", "instance"),
        help="instance: each thing has a color of its own (default: %(default)s)",
    )
    pictures.add_argument(
        "--numbers", action="store_true", help="write the numbers of things, as --save has them, not names"
    )
    pictures.add_argument(
        "--contact-sheet", action="store_true", help="write pages of all overlays, small, too"
    )
    add_prediction_options(parser)
    options = parser.parse_args(arguments)
    shard = None if options.shard is None else _shard(options.shard)
    if (options.json or options.submission) and (options.json is None or len(options.images) != 1):
        given = "--json" if options.submission is None else "--submission"
        raise ValueError(
            f"{given} must come with --json and one folder of images, got {len(options.images)} inputs and "
            f"--json {options.json}; give both"
        )
    if options.cityscapes and options.json:
        raise ValueError("--cityscapes must come without --json, got both; give the folder of images alone")
    in_tiles = options.tile is not None or options.overlap is not None
    for word, value in (("--json", options.json), ("--top-k", options.top_k)):
        if in_tiles and value is not None:
            raise ValueError(
                f"{word} must come without --tile and --overlap, got {value}; leave it out: "
                "tiles are for images of any size, and keep all centers"
            )
    drawn = {"outlines": True, "color_by": "instance", "numbers": True}
    drawing = {name: value for name, value in drawn.items() if getattr(options, name) == value}
    of_folders = {"save": options.save, **drawing, "contact_sheet": options.contact_sheet}
    of_folders |= {name: getattr(options, name) for name in ("shard", "workers", "scheduler")}
    of_folder = next((name.replace("_", "-") for name, value in of_folders.items() if value), None)
    if of_folder and options.json:
        raise ValueError(f"--{of_folder} must come without --json, got both; give the folder of images alone")
    if options.runtime == "onnx" and (options.workers or options.scheduler):
        raise ValueError(
            "--runtime onnx must come without --workers and --scheduler, got both; leave them out"
        )
    from axial_deeplab.ops.dispatch import avoiding_compiled_code
    from axial_deeplab.prediction.files import predict_files
    from axial_deeplab.prediction.little_work import is_little_work
    from axial_deeplab.prediction.predictor import Predictor
    from axial_deeplab.util.freed_memory import give_large_maps_back
    from axial_deeplab.weights.loaded import load_weights

    give_large_maps_back(of_one_size=in_tiles)
    weights, settings, little = options.weights, prediction_options(options), False
    if options.runtime == "onnx":
        from axial_deeplab.export.onnx_runtime import load_onnx

        weights = load_onnx(weights)
    elif not (in_tiles or options.json):
        weights = load_weights(weights)
        little = is_little_work(weights, options.images, **settings)
    with avoiding_compiled_code(little):
        predictor = Predictor(weights, **settings)
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
        print(
            predict_files(
                predictor,
                options.images,
                options.output,
                cityscapes=options.cityscapes,
                tile=options.tile,
                overlap=options.overlap,
                save=options.save or ("coco",),
                drawing=drawing,
                contact_sheet=options.contact_sheet,
                shard=shard,
                workers=options.workers,
                scheduler=options.scheduler,
                progress=progress,
            )
        )


def merge(arguments: Arguments) -> None:
    """Write the files of all images together, once all shards of `predict --shard` are there."""
    parser = Parser(merge, "predict merge")
    parser.add_argument("output", metavar="DIR", help="folder that the shards were predicted into")
    options = parser.parse_args(arguments)
    from axial_deeplab.prediction.merge import merge_shards

    print(merge_shards(options.output))


def _shard(word: str) -> tuple[int, int]:
    """Return number and total of a shard."""
    numbers = word.split("/")
    if len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
        raise ValueError(f"--shard must be I/N, got {word!r}; give 1/8 for the first of eight")
    return int(numbers[0]), int(numbers[1])


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
