"""Packages that are not always installed."""

from importlib.util import find_spec


def require_package(package: str, extra: str | None, what_needs: str, *, instead: str = "") -> None:
    """Refuse what needs a package that is missing.

    It is not imported: some read the environment then, which whoever needs them may set first.

    Args:
        package: its name.
        extra: our extra that installs it; None if there is none.
        what_needs: what needs it, and that word: "videos need".
        instead: what else can be done.

    Raises:
        ValueError: it is missing.
    """
    if find_spec(package) is None:
        install = package if extra is None else f'"axial-deeplab[{extra}]"'
        raise ValueError(
            f"{what_needs} the package {package}, which is missing; pip install {install}{instead}"
        )
