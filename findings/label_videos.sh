#!/usr/bin/env bash
# imageio 2.38.1, OpenCV 5.0.0.93, Pillow 13.0.0: lossless videos of labels have other ids, or fewer frames.
#
# Seen: 6 frames of 48 x 66 pixels with ids from 0 to 255. imageio's pyav plugin with codec="ffv1" (and "rawvideo")
# writes yuv420p, whose 220 levels do not hold 256 ids: 49% of the pixels are off by 1. OpenCV's VideoWriter keeps all
# with FFV1, and with Huffyuv in color; with Huffyuv and isColor=False 49% are off by 1. Pillow writes 6 frames, of
# which 3 repeat the one before, into a GIF and a lossless WebP of 3 frames, so that the fourth map is read as the
# second; TIFF and APNG keep 6. All without a word.
#
# Remedy: out_pixel_format="gray" (gray16le for ids of 16 bits); FFV1; a TIFF of pages, or a PNG of each frame.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    av==18.1.0 imageio==2.38.1 numpy==2.2.6 opencv-python-headless==5.0.0.93 pillow==13.0.0
PYTHONPATH=packages python3 - <<'PYTHON'
import cv2
import imageio.v3 as imageio
import numpy as np
from PIL import Image, ImageSequence

blocks = np.random.default_rng(0).integers(0, 256, (6, 12, 33), dtype=np.uint8)
maps = np.ascontiguousarray(blocks.repeat(4, axis=1).repeat(2, axis=2))


def off(frames):
    """Return the share of pixels that have another id, and by how much at most."""
    frames = np.asarray(frames)
    frames = frames[..., 0] if frames.ndim == 4 else frames
    difference = np.abs(frames.astype(int) - maps)
    return round(float((difference > 0).mean()), 2), int(difference.max())


of_imageio = {}
gray = {"out_pixel_format": "gray"}
for codec, extension, options in [("ffv1", "mkv", {}), ("rawvideo", "avi", {}), ("ffv1", "mkv", gray)]:
    name = f"labels.{extension}"
    imageio.imwrite(name, maps, plugin="pyav", codec=codec, fps=10, in_pixel_format="gray", **options)
    of_imageio[codec, bool(options)] = off(imageio.imread(name, plugin="pyav"))
of_opencv = {}
for codec in ("FFV1", "HFYU"):
    for color in (True, False):
        writer = cv2.VideoWriter("labels.avi", cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), 10, (66, 48), color)
        for frame in maps:
            writer.write(np.repeat(frame[..., None], 3, axis=2) if color else frame)
        writer.release()
        video = cv2.VideoCapture("labels.avi")
        of_opencv[codec, color] = off([video.read()[1] for _ in maps])
repeated = [Image.fromarray(maps[index]) for index in (0, 0, 0, 1, 1, 0)]
frames = {}
for extension, options in {"gif": {}, "webp": {"lossless": True}, "png": {}, "tif": {}}.items():
    repeated[0].save(f"labels.{extension}", save_all=True, append_images=repeated[1:], **options)
    with Image.open(f"labels.{extension}") as file:
        frames[extension] = [np.asarray(frame.convert("L")) for frame in ImageSequence.Iterator(file)]
second = (frames["gif"][1] == maps[1]).all() and (frames["webp"][1] == maps[1]).all()
frames = {extension: len(read) for extension, read in frames.items()}
print("imageio, by codec and stated format:", of_imageio, "OpenCV, by codec and color:", of_opencv)
print("frames of 6:", frames)
assert of_imageio == {("ffv1", False): (0.49, 1), ("rawvideo", False): (0.49, 1), ("ffv1", True): (0, 0)}
assert of_opencv["FFV1", True] == of_opencv["FFV1", False] == of_opencv["HFYU", True] == (0, 0)
assert of_opencv["HFYU", False] == (0.49, 1)
assert frames == {"gif": 3, "webp": 3, "png": 6, "tif": 6} and second
PYTHON
