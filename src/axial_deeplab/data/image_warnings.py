"""Telling what is odd in image files: once for a run, with the number of images and the first of them."""

import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from os import PathLike


class ImageWarning(UserWarning):
    """What is odd in an image file.

    Args:
        path: the file.
        text: what is odd, and what to do; it goes on after the path.
        kind: a word that is the same for what has the same cause in other files.
    """

    def __init__(self, path: str | PathLike[str], text: str, kind: str) -> None:
        super().__init__(path, text, kind)
        self.text = text
        self.kind = kind

    def __str__(self) -> str:
        return f"{self.args[0]} {self.text}"


def together(notes: Iterable[str | ImageWarning]) -> list[str]:
    """Return notes as text: of the warnings of one kind the first alone, with the number of images.

    An image may be there several times, as one that is opened for its size and again for its pixels.
    """
    groups: dict[str, list[str | ImageWarning]] = {}
    for note in notes:
        groups.setdefault(note.kind if isinstance(note, ImageWarning) else note, []).append(note)
    return [
        f"{num} images, of which the first: {group[0]}" if (num := _num_images(group)) > 1 else str(group[0])
        for group in groups.values()
    ]


def _num_images(group: Iterable[str | ImageWarning]) -> int:
    return len({os.fspath(note.args[0]) for note in group if isinstance(note, ImageWarning)})


@contextmanager
def told_together() -> Iterator[None]:
    """Keep the warnings of single images in the block until its end, and tell them together then.

    Threads that work for the block may warn; it is for the main thread to enter and leave it.
    """
    found: list[ImageWarning] = []
    try:
        with warnings.catch_warnings():
            show = warnings.showwarning

            def keep(message: Warning | str, *origin: object) -> None:
                if isinstance(message, ImageWarning):
                    found.append(message)
                else:
                    show(message, *origin)  # type: ignore[arg-type]

            warnings.showwarning = keep  # type: ignore[assignment]
            warnings.simplefilter("always", ImageWarning)
            yield
    finally:
        # Threads find them in any order; the same images are to give the same words.
        found.sort(key=lambda note: str(note.args[0]))
        for text in together(found):
            warnings.warn(text, stacklevel=3)


def ignore_in_worker(worker: int) -> None:
    """Keep a process that loads images from warning of each, where they were looked at before."""
    warnings.simplefilter("ignore", ImageWarning)
