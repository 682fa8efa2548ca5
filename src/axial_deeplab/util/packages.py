"""Packages that are not always installed."""

from importlib import import_module
from importlib.util import find_spec

from axial_deeplab.util.text import one_line


def require_package(package: str, extra: str | None, what_needs: str, *, instead: str = "") -> None:
    """Import a package, or refuse what needs it.

    Args:
        package: its name.
        extra: our extra that installs it; None if there is none.
        what_needs: what needs it, and that word: "videos need".
        instead: what else can be done.

    Raises:
        ValueError: it is missing, or broken.
    """
    try:
        import_module(package)
    except ImportError as error:
        is_missing = find_spec(package) is None
        reason = "is missing" if is_missing else f"cannot be imported ({one_line(error)})"
        install = package if extra is None else f'"axial-deeplab[{extra}]"'
        raise ValueError(
            f"{what_needs} the package {package}, which {reason}; pip install {install}{instead}"
        ) from None
