"""The subcommand `axial-deeplab app`."""

from axial_deeplab.cli.command_line import Arguments, Parser
from axial_deeplab.util.packages import require_package


def app(arguments: Arguments) -> None:
    """Serve a page for the browser: drop a picture, see its segments, click a pixel, see where it looks."""
    parser = Parser(app)
    parser.add_argument(
        "--weights",
        nargs="+",
        default=[],
        metavar="W",
        help="files of weights, checkpoints or names to offer, the first one chosen; "
        "shipped and public weights are offered anyway",
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, mps or auto (default: %(default)s)")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at; 0.0.0.0 lets others in, without a password (default: %(default)s)",
    )
    parser.add_argument("--port", type=int, default=7860, help="0 takes a free one (default: %(default)s)")
    parser.add_argument(
        "--max-side",
        type=int,
        default=2048,
        metavar="N",
        help="refuse pictures wider or higher, pixels (default: %(default)s)",
    )
    parser.add_argument(
        "--time-limit",
        type=float,
        default=60,
        metavar="S",
        help="stop a network that takes longer for a picture, seconds (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    require_package("gradio", "app", "the app needs")
    from axial_deeplab.app.limits import Limits
    from axial_deeplab.app.server import serve

    serve(
        options.weights,
        device=options.device,
        host=options.host,
        port=options.port,
        limits=Limits(options.max_side, options.time_limit),
        announce=lambda address: print(f"axial-deeplab app: {address} (Ctrl+C stops it)", flush=True),
    )
