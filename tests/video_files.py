"""Small videos for tests, and a network that understands them."""

import struct
from fractions import Fraction

import av
import numpy as np
import torch

from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.prediction.predictor import Predictor
from axial_deeplab.weights.loaded import LoadedWeights


def draw_square(pixels, top, left, side=16):
    """Draw a red square whose middle is brightest."""
    pixels[top : top + side, left : left + side] = (255, 0, 0)
    y, x = top + side // 2, left + side // 2
    pixels[y - 1 : y + 2, x - 1 : x + 2] = (255, 130, 130)
    pixels[y, x] = 255


def moving_square(num_frames, height=48, width=64):
    """Draw a square that moves to the right over black."""
    for number in range(num_frames):
        pixels = np.zeros((height, width, 3), dtype=np.uint8)
        draw_square(pixels, min(8, height - 16), 4 + number % max(1, width - 24))
        yield pixels


class RedSquares(torch.nn.Module):
    """A network that sees a car in every red pixel, with its center where it is brightest, else sky."""

    def __init__(self):
        super().__init__()
        self.semantic_head = torch.nn.Linear(1, 1)
        self.config = {"name": "red_squares", "num_classes": 2}

    def forward(self, images):
        images = images.float() / 255
        is_car = (images[:, 0] > 0.5).float()
        logits = torch.stack([-8 + 16 * is_car, 8 - 16 * is_car], dim=1)
        heatmap = (2 * images.mean(1, keepdim=True) - 1).clamp(0)
        return {
            "semantic_logits": logits,
            "center_heatmap": heatmap,
            "offsets": torch.zeros(len(images), 2, *images.shape[2:]),
        }


def red_square_predictor():
    """Return a predictor of cars that are red squares and of sky."""
    categories = Categories([Category(5, "car", True), Category(11, "sky", False, (40, 230, 40))])
    metadata = {"model": {"name": "red_squares"}, "post_processing": {"stuff_area": 1, "nms_kernel": 7}}
    return Predictor(LoadedWeights(RedSquares(), categories, metadata), "cpu")


def write_clip(
    path,
    frames,
    *,
    rate=Fraction(30000, 1001),
    times=None,
    time_base=Fraction(1, 30000),
    codec="libx264",
    aspect=None,
    muxer_options=None,
):
    """Write frames as a video, at `times` (in units of `time_base`) or at an even rate."""
    with av.open(str(path), "w", options=muxer_options or {}) as container:
        stream = container.add_stream(codec, rate=rate)
        for number, pixels in enumerate(frames):
            if number == 0:
                stream.height, stream.width = pixels.shape[:2]
                stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
                stream.codec_context.time_base = time_base
                stream.codec_context.gop_size = 10
                if aspect:
                    stream.codec_context.sample_aspect_ratio = aspect
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = times[number] if times else round(number / (rate * time_base))
            frame.time_base = time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def turn(path, *, clockwise):
    """Make the MP4 file say that its pictures are to be shown turned by 90 degrees, as telephones do."""
    content = bytearray(path.read_bytes())
    # Version 0 of the track header: its matrix starts 44 bytes after the name.
    place = content.index(b"tkhd") + 44
    assert struct.unpack(">9i", content[place : place + 36]) == (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    one = 1 << 16 if clockwise else -1 << 16
    content[place : place + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
