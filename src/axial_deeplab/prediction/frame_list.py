"""What was found in the frames of a video, on disk, so that a run that was stopped goes on where it was."""

import dataclasses
import json
import os
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from axial_deeplab.panoptic.map import Panoptic, Segment
from axial_deeplab.util.files import open_alone

# Of the list of a video, after the name of the overlays.
LIST_SUFFIX = ".part"


class SeenFrame(NamedTuple):
    """What was found in a frame, before its things are numbered after those of the frame before.

    Args:
        result: panoptic map and segments.
        network_ms: time of the network, milliseconds.
        post_processing_ms: time of the post-processing, milliseconds.
        num_left_out: centers of objects beyond `top_k`.
    """

    result: Panoptic
    network_ms: float
    post_processing_ms: float
    num_left_out: int


class FrameList:
    """Keeps what is found, frame by frame, and gives what an earlier run of the same settings has kept.

    The file is a line of JSON, then for each frame another and its map, compressed; in the place of frames a
    video that is complete has a report. First all frames of the earlier run are to be read.

    Args:
        path: file of the list.
        head: what must be equal for an earlier list to count, such as weights, options and video.

    Raises:
        OSError: another process writes there, or the file cannot be written.
    """

    def __init__(self, path: Path, head: Mapping[str, str]) -> None:
        self._file = open_alone(path)
        self._head = f"{json.dumps(dict(head))}\n".encode()
        self._file.seek(0)
        if self._file.readline() != self._head:
            self._start()
        self._end = self._file.tell()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def report(self) -> dict[str, Any] | None:
        """Return what `finish` has kept, None if the video is not complete."""
        self._file.seek(len(self._head))
        report: dict[str, Any] | None = None
        with suppress(ValueError, AttributeError):
            report = json.loads(self._file.readline()).get("report")
        self._file.seek(len(self._head))
        return report

    def read(self) -> SeenFrame | None:
        """Return the next frame that an earlier run has kept, None where it was stopped."""
        with suppress(ValueError, LookupError, TypeError, zlib.error):
            self._file.seek(self._end)
            line = json.loads(self._file.readline())
            pixels = np.frombuffer(zlib.decompress(self._file.read(line["bytes"])), np.int32)
            segments = tuple(Segment(**segment) for segment in line["segments"])
            frame = SeenFrame(Panoptic(pixels.reshape(line["size"]), segments), *line["rest"])
            self._end = self._file.tell()
            return frame
        self._file.truncate(self._end)  # what was being written
        return None

    def add(self, frame: SeenFrame) -> None:
        """Keep a frame."""
        content = zlib.compress(frame.result.map.astype(np.int32, copy=False).tobytes(), level=1)
        segments = [dataclasses.asdict(segment) for segment in frame.result.segments]
        line = {"bytes": len(content), "size": frame.result.size, "segments": segments, "rest": frame[1:]}
        self._append(line, content)

    def finish(self, report: Mapping[str, Any]) -> None:
        """Keep a report of the whole video in the place of its frames."""
        self._start()
        self._append({"report": report})

    def _append(self, line: Mapping[str, Any], content: bytes = b"") -> None:
        self._file.seek(0, os.SEEK_END)
        self._file.write(f"{json.dumps(line)}\n".encode() + content)
        self._file.flush()

    def _start(self) -> None:
        self._file.truncate(0)
        self._file.write(self._head)
        self._file.flush()
