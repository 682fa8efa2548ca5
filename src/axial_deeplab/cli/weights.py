"""The subcommands of `axial-deeplab` that are about files of weights."""

import json
import sys

from axial_deeplab.cli.command_line import Arguments, Parser


def convert(arguments: Arguments) -> None:
    """Convert weights of other projects: deeplab2, csrhddlam/axial-deeplab, ResNets of torchvision."""
    parser = Parser(convert)
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="TensorFlow checkpoint (prefix, file or folder), .pth or .safetensors",
    )
    parser.add_argument("output", writes=True, metavar="OUTPUT", help="file to write, *.safetensors")
    parser.add_argument(
        "--entry", metavar="NAME", help="which weights of a file that has several, such as model_ema"
    )
    parser.add_argument("--model", metavar="NAME", help="network; needed for segmentation networks")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="arguments of create_model")
    parser.add_argument(
        "--categories",
        metavar="WHICH",
        help="cityscapes or coco, with deeplab2's settings for them, or a panoptic JSON file that lists them",
    )
    parser.add_argument(
        "--crop-size",
        metavar="HxW",
        help="size of deeplab2's training images (default: that for the categories)",
    )
    parser.add_argument(
        "--post-processing",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="settings to store, in the place of those for the categories: nms_kernel=13 ...",
    )
    parser.add_argument(
        "--allow-missing", action="store_true", help="leave tensors that the source lacks at random values"
    )
    parser.add_argument(
        "--allow-unused", action="store_true", help="leave out tensors that the network has no place for"
    )
    parser.add_argument("--half", action="store_true", help="store matrices in half precision")
    parser.add_argument(
        "--check", metavar="FILE", help="NPZ file of input and output (or output/NAME): they must agree"
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=1e-3,
        metavar="T",
        help="of the check, in standard deviations of the output (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    from axial_deeplab.accounting.tables import parse_settings
    from axial_deeplab.panoptic.coco_json import PanopticJson
    from axial_deeplab.util.text import parse_size
    from axial_deeplab.weights.convert.convert import convert as convert_weights
    from axial_deeplab.weights.convert.deeplab2_data_sets import DATA_SETS

    is_known = options.categories is None or options.categories in DATA_SETS
    report = convert_weights(
        options.source,
        options.output,
        entry=options.entry,
        model=options.model,
        overrides=parse_settings(options.set),
        data_set=options.categories if is_known else None,
        categories=None if is_known else PanopticJson.read(options.categories).categories,
        crop_size=parse_size(options.crop_size, "crop_size") if options.crop_size else None,
        post_processing=parse_settings(options.post_processing),
        allow_missing=options.allow_missing,
        allow_unused=options.allow_unused,
        half=options.half,
        check=options.check,
        tolerance=options.tolerance,
        progress=sys.stderr.isatty(),
    )
    print(f"{report}\nwritten to {options.output}")


def weights(arguments: Arguments) -> None:
    """List the shipped and public weights with their scores, or download some by name."""
    parser = Parser(weights)
    parser.add_argument("action", choices=("list", "download"), help="what to do")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of the weights to download")
    parser.add_argument("--json", action="store_true", help="print the whole table as JSON")
    parser.add_argument("--from", dest="file", metavar="FILE", help="a file that was downloaded elsewhere")
    options = parser.parse_args(arguments)
    from axial_deeplab.weights import table
    from axial_deeplab.weights.names import find_weights
    from axial_deeplab.weights.public import local_weights

    if options.action == "list":
        if options.names:
            raise ValueError(
                f"names must be given to download weights, got {options.names[0]} for list; leave it out"
            )
        print(json.dumps(table.rows(), indent=1) if options.json else table.as_text())
        return
    if not options.names:
        raise ValueError("names must be given to download weights, got none; see axial-deeplab weights list")
    if options.file and len(options.names) > 1:
        raise ValueError(f"names must be one name with --from, got {len(options.names)}; repeat the command")
    for chosen in [find_weights(name) for name in options.names]:
        print(f"{chosen.name}: {chosen.training_data}; {chosen.license}")
        print(local_weights(chosen.name, file=options.file, progress=sys.stderr.isatty()))


def export(arguments: Arguments) -> None:
    """Write a network for another runtime: ONNX, torch.export or ahead-of-time compiled; check it there."""
    parser = Parser(export)
    parser.add_argument("--weights", required=True, help="file of weights, checkpoint, or name of weights")
    parser.add_argument("--output", writes=True, required=True, metavar="FILE", help="*.onnx, or *.pt2")
    parser.add_argument(
        "--format", default="onnx", metavar="F", help="onnx, torch-export or aoti (default: %(default)s)"
    )
    parser.add_argument(
        "--post-processing", action="store_true", help="let the program give the panoptic maps themselves"
    )
    parser.add_argument(
        "--half", action="store_true", help="store the weights in half precision (onnx alone)"
    )
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        metavar=("H", "W"),
        help="height and width of the only images that the program takes, one at a time (default: any)",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=1e-4,
        metavar="T",
        help="largest difference from PyTorch in standard deviations (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    from axial_deeplab.export.export import export as export_weights
    from axial_deeplab.weights.loaded import load_weights

    exported = export_weights(
        load_weights(options.weights),
        options.output,
        format=options.format,
        post_processing=options.post_processing,
        half=options.half,
        size=None if options.size is None else tuple(options.size),
        tolerance=options.tolerance,
    )
    print("largest difference from PyTorch at batch x height x width:")
    for comparison in exported.comparisons:
        print(f"  {comparison}")
    if exported.side_multiple > 1:
        print(
            f"height and width of images must be multiples of {exported.side_multiple} pixels, from "
            f"{exported.smallest_side} on"
        )
    print(f"written to {options.output}")
