"""Reading and writing videos frame by frame, whatever their length, with PyAV (extra `video`)."""

import itertools
import os
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.util.files import opened
from axial_deeplab.util.packages import require_package

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import OutputContainer
    from av.video.stream import VideoStream

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".wmv")

# In the order of preference. Every player knows H.264, but it has no odd sizes with halved chroma. With
# mbtree, x264 gives now and then other bytes for the same frames.
_ENCODERS = {
    "libx264": {"preset": "veryfast", "crf": "18", "x264-params": "mbtree=0"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "24", "b": "0"},
}
_BT709 = 1  # the color matrix, primaries and transfer of HD video, as FFmpeg numbers them
_LIMITED_RANGE = 1
# Containers round their duration, and some count a longer sound track: seconds, and share of the duration.
_TOLERATED_SECONDS, _TOLERATED_SHARE = 1.0, 0.05


class DamagedVideoError(ValueError):
    """A video cannot be read, or not to its end."""


class Frame(NamedTuple):
    """One picture of a video.

    Args:
        pixels: RGB (H, W, 3), uint8, upright.
        time: since the first frame, in units of the `time_base` of the video.
        duration: length in the same units; 0 if the file does not say.
    """

    pixels: NDArray[np.uint8]
    time: int
    duration: int


def is_video(path: str | os.PathLike[str]) -> bool:
    """Say whether the suffix of a file is that of a video."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def require_pyav() -> None:
    """Refuse videos where PyAV is missing.

    Raises:
        ValueError: it is.
    """
    require_package("av", "video", "videos need", instead=", or give images only")


class VideoReader:
    """Iterates over the frames of a video file, once, as far as it can be read.

    Afterwards `damage` says what is wrong with a file that is broken or ends sooner than it claims.

    Args:
        path: the file.

    Raises:
        DamagedVideoError: no frame can be read.
        OSError: the file cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        import av

        self.path = Path(path)
        self.damage: DamagedVideoError | None = None
        with opened(self.path):
            pass  # the system's own words about a file that is missing or may not be read
        with ExitStack() as on_failure:
            try:
                self._container = on_failure.enter_context(av.open(f"file:{self.path}"))
                if not self._container.streams.video:
                    raise self._refusal("no picture in it")
                self._stream: VideoStream = self._container.streams.video[0]
                self._stream.thread_type = "AUTO"
                self._decoded = self._container.decode(self._stream)
                self._first = next(self._decoded, None)
            except av.FFmpegError as error:
                raise self._refusal(_reason(error)) from None
            if self._first is None:
                raise self._refusal("no frame in it")
            on_failure.pop_all()
        self.size = _upright(self._first).shape[:2]
        self.time_base: Fraction = self._stream.time_base or Fraction(1, 90_000)
        self.frame_rate: Fraction = self._stream.guessed_rate or self._stream.average_rate or Fraction(25)
        aspect = self._stream.sample_aspect_ratio or Fraction(1)
        self.pixel_aspect: Fraction = 1 / aspect if _quarter_turns(self._first) % 2 else aspect

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        import av

        assert self._first is not None
        start = self._first.pts or 0
        step = max(1, round(1 / (self.frame_rate * self.time_base)))
        time, end = -1, 0
        try:
            for decoded in itertools.chain([self._first], self._decoded):
                # A few formats have no times, and those of broken files may run back.
                time = max(time + 1, end if decoded.pts is None else decoded.pts - start)
                end = time + (decoded.duration or step)
                pixels = _upright(decoded)
                if pixels.shape[:2] != self.size:
                    height, width = pixels.shape[:2]
                    self.damage = self._refusal(
                        f"frames of {width} x {height} pixels (width x height) {self._place(time)}"
                    )
                    return
                yield Frame(pixels, time, end - time)
        except av.FFmpegError as error:
            self.damage = self._refusal(f"{_reason(error)} {self._place(end)}")
            return
        missing = (self.seconds or 0) - float(end * self.time_base)
        if missing > max(_TOLERATED_SECONDS, _TOLERATED_SHARE * (self.seconds or 0)):
            self.damage = self._refusal(f"its end {self._place(end)}, {missing:.1f} s too soon")

    def _place(self, time: int) -> str:
        return f"after {float(time * self.time_base):.1f} s"

    def _refusal(self, reason: str) -> DamagedVideoError:
        return DamagedVideoError(
            f"video must be a whole video file, got {self.path}: {reason}; repair it or copy it again"
        )

    @property
    def seconds(self) -> float | None:
        """The duration that the file claims to have."""
        if self._stream.duration is not None:
            return float(self._stream.duration * self.time_base)
        microseconds = self._container.duration
        return None if microseconds is None else microseconds / 1e6

    @property
    def num_frames(self) -> int | None:
        """About how many frames there should be."""
        return None if self.seconds is None else max(1, round(self.seconds * self.frame_rate))


class VideoWriter:
    """Writes frames as an MP4 file: H.264, or VP9 for odd sizes and where FFmpeg lacks H.264.

    Args:
        path: the file.
        size: height and width of the frames, pixels.
        frame_rate: frames a second, for players; each frame has its own time.
        time_base: unit of these times, seconds.
        pixel_aspect: width of a pixel divided by its height.

    Raises:
        ValueError: PyAV has no encoder.
        OSError: the file cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        size: tuple[int, int],
        *,
        frame_rate: Fraction,
        time_base: Fraction,
        pixel_aspect: Fraction = Fraction(1),
    ) -> None:
        import av
        from av.video.reformatter import VideoReformatter

        self._time_base = time_base
        self._reformatter = VideoReformatter()
        height, width = size
        encoder = _encoder(height, width)
        self._container: OutputContainer = av.open(f"file:{path}", "w", format="mp4")
        stream = self._container.add_stream(encoder, rate=frame_rate, options=_ENCODERS[encoder])
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        self._stream = stream
        codec = self._stream.codec_context
        codec.time_base = time_base
        codec.sample_aspect_ratio = pixel_aspect
        codec.colorspace = codec.color_primaries = codec.color_trc = _BT709
        codec.color_range = _LIMITED_RANGE

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        import av

        try:
            if kind is None:
                self._encode(None)
        finally:
            try:
                self._container.close()
            except av.FFmpegError as failure:
                if kind is None:
                    raise _write_error(failure) from None

    def write(self, frame: Frame) -> None:
        """Append a frame.

        Raises:
            OSError: the file cannot be written.
        """
        import av

        encoded = self._reformatter.reformat(
            av.VideoFrame.from_ndarray(frame.pixels, format="rgb24"),
            format="yuv420p",
            dst_colorspace=_BT709,
            dst_color_range=_LIMITED_RANGE,
        )
        encoded.pts, encoded.time_base, encoded.duration = frame.time, self._time_base, frame.duration
        self._encode(encoded)

    def _encode(self, frame: "VideoFrame | None") -> None:
        import av

        try:
            self._container.mux(self._stream.encode(frame))
        except av.FFmpegError as error:
            raise _write_error(error) from None


def _upright(decoded: "VideoFrame") -> NDArray[np.uint8]:
    """Return the pixels as they are to be seen: telephones store how they were held."""
    return np.ascontiguousarray(np.rot90(decoded.to_ndarray(format="rgb24"), _quarter_turns(decoded)))


def _quarter_turns(decoded: "VideoFrame") -> int:
    """Return how often a frame must be turned against the clock."""
    return round(decoded.rotation / 90)


def _encoder(height: int, width: int) -> str:
    from av.codec import codecs_available

    is_odd = height % 2 or width % 2
    for name in _ENCODERS:
        if name in codecs_available and not (is_odd and name == "libx264"):
            return name
    raise ValueError(
        f"package av must have an encoder for {width} x {height} pixels (width x height), "
        f"got one without {' and '.join(_ENCODERS)}; install PyAV's own wheel"
    )


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).lower()


def _write_error(error: Exception) -> OSError:
    return OSError(f"output must be writable, got: {_reason(error)}; free space or give another folder")
