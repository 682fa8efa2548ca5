"""What was found in a picture, and the files that people download; all of it in memory alone."""

import html
import io
import json
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from axial_deeplab.app.limits import time_limit
from axial_deeplab.app.networks import Network
from axial_deeplab.app.pictures import Picture
from axial_deeplab.panoptic.map import LABEL_DIVISOR, resized_map
from axial_deeplab.panoptic.png import id2rgb, to_coco_annotation
from axial_deeplab.prediction.doubts import Certainty, doubt_of_scores
from axial_deeplab.prediction.prediction import Prediction
from axial_deeplab.visualization.overlay import draw_overlay, in_color, instance_color

# Results that are kept, one for each page that is open.
MOST_KEPT = 16
# Pixels of the screen, whatever a browser says that it has.
NARROWEST, WIDEST = 160, 1600
MOST_ENLARGED = 8
COLUMNS = ("class", "kind", "score", "pixels", "box: left, top, width, height")


class Download(NamedTuple):
    """A file for people to download."""

    label: str
    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True, eq=False)
class Result:
    """A segmented picture.

    Args:
        picture: what was sent.
        weights: name of the network.
        overlay: the picture with its segments drawn over it, as the page shows it.
        message: one line about it.
        table: its segments, HTML.
        downloads: overlay PNG, panoptic PNG and panoptic JSON, by the last part of their address.
        key: the part of their address that nobody guesses.
    """

    picture: Picture
    weights: str
    overlay: Image.Image
    message: str
    table: str
    downloads: Mapping[str, Download]
    key: str = field(default_factory=lambda: secrets.token_urlsafe(16))

    def pixel_at(self, x: int, y: int) -> tuple[int, int]:
        """Return (y, x) in the picture of a place in the overlay."""
        height, width = self.picture.pixels.shape[:2]
        return y * height // self.overlay.height, x * width // self.overlay.width

    @property
    def links(self) -> str:
        """Links to the downloads, HTML."""
        return "".join(
            f'<a href="files/{self.key}/{kind}" download="{html.escape(file.name)}">{file.label}</a>'
            for kind, file in self.downloads.items()
        )


def segment(
    network: Network, picture: Picture, knobs: Mapping[str, Any], *, seconds: float, room: int = 900
) -> Result:
    """Segment a picture.

    Args:
        network: network that predicts.
        picture: picture to segment.
        knobs: settings of the post-processing.
        seconds: time that the network may take.
        room: width that the page has for the overlay, pixels of the screen.

    Raises:
        ValueError: a knob is out of its range, the network sees other values or channels of the file, the
            time is over, or the memory too small.
    """
    if picture.reading and picture.reading != network.predictor.view.reading:
        raise ValueError(
            f"picture must be read as {network.weights} does, got other values or channels of "
            f"{picture.file_name}; drop it again"
        )
    with time_limit(network.predictor.model, seconds):
        prediction = network.predict(picture.pixels, knobs)
    return Result(
        picture,
        network.weights,
        overlay_for_page(prediction, room),
        _message(picture, prediction, network.predictor.low_scores),
        segments_table(prediction),
        _downloads(picture, prediction),
    )


def overlay_for_page(prediction: Prediction, room: int) -> Image.Image:
    """Return an overlay of the size at which the page shows it, so that its names can be read there.

    Args:
        prediction: prediction to draw.
        room: width that the page has for it, pixels of the screen.
    """
    height, width = prediction.panoptic.shape
    room = min(max(room, NARROWEST), WIDEST)
    # A high picture should not fill more than the screen.
    scale = min(room / width, room / height, MOST_ENLARGED)
    shown = (max(1, round(height * scale)), max(1, round(width * scale)))
    image = Image.fromarray(in_color(prediction.image)).resize(shown[::-1], Image.Resampling.LANCZOS)
    panoptic = replace(prediction.result, map=resized_map(prediction.panoptic, shown))
    return draw_overlay(np.asarray(image), panoptic, prediction.categories)


def segments_table(prediction: Prediction) -> str:
    """Return the segments as an HTML table, the largest first."""
    pairs = zip(prediction.segments, prediction.segments_info, strict=True)
    rows = []
    for found, info in sorted(pairs, key=lambda pair: -pair[1]["area"]):
        color = instance_color(prediction.categories.colors[found.train_id], found.id % LABEL_DIVISOR)
        cells = (
            f'<span class="swatch" style="background: rgb{color}"></span>{html.escape(info["name"])}',
            "thing" if info["isthing"] else "stuff",
            f"{info['score']:.0%}",
            f"{info['area']:,}",
            ", ".join(map(str, info["bbox"])),
        )
        rows.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    head = "".join(f'<th scope="col">{title}</th>' for title in COLUMNS)
    body = "".join(rows) or f'<tr><td colspan="{len(COLUMNS)}">no segment</td></tr>'
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


class Results:
    """The last results: each page that is open has one at most."""

    def __init__(self) -> None:
        self._of_session: OrderedDict[str, Result] = OrderedDict()

    def put(self, session: str, result: Result) -> None:
        """Keep the result of a page in the place of the one before; forget the oldest ones."""
        self._of_session[session] = result
        self._of_session.move_to_end(session)
        while len(self._of_session) > MOST_KEPT:
            self._of_session.popitem(last=False)

    def get(self, session: str) -> Result | None:
        """Return the result of a page, if it has one."""
        return self._of_session.get(session)

    def discard(self, session: str) -> None:
        """Forget the result of a page, if it has one."""
        self._of_session.pop(session, None)

    def download(self, key: str, kind: str) -> Download | None:
        """Return a file of a result by its address, if it is still kept."""
        for result in list(self._of_session.values()):
            if secrets.compare_digest(result.key, key):
                return result.downloads.get(kind)
        return None


def _message(picture: Picture, prediction: Prediction, low_scores: Certainty) -> str:
    height, width = picture.pixels.shape[:2]
    num_things = sum(info["isthing"] for info in prediction.segments_info)
    num_stuff = len(prediction.segments_info) - num_things
    parts = [
        f"{picture.file_name}, {width} x {height} pixels",
        *picture.changes,
        f"{num_things} things and {num_stuff} stuff segments",
        *_doubts(prediction, low_scores),
        f"network {prediction.network_ms:.0f} ms, post-processing {prediction.post_processing_ms:.0f} ms",
    ]
    return "; ".join(parts)


def _doubts(prediction: Prediction, low_scores: Certainty) -> list[str]:
    number, doubts = prediction.num_left_out, []
    if number:
        doubts.append(f"{number} more objects than top_k, whose pixels others took: raise top_k")
    doubt = doubt_of_scores([prediction.certainty], low_scores)
    return [*doubts, doubt] if doubt else doubts


def _downloads(picture: Picture, prediction: Prediction) -> dict[str, Download]:
    """Return the overlay, and a COCO panoptic data set of one image."""
    png_name = f"{picture.stem}_panoptic.png"
    annotation, ids = to_coco_annotation(prediction.result, prediction.categories, 1, png_name)
    height, width = prediction.panoptic.shape
    document = {
        "images": [{"id": 1, "file_name": picture.file_name, "height": height, "width": width}],
        "annotations": [annotation],
        "categories": prediction.categories.to_json(),
    }
    text = json.dumps(document).encode()
    panoptic = _png(Image.fromarray(id2rgb(ids)))
    return {
        "overlay": Download(
            "Overlay PNG", f"{picture.stem}_overlay.png", "image/png", _png(prediction.draw())
        ),
        "panoptic": Download("Panoptic PNG", png_name, "image/png", panoptic),
        "json": Download("Panoptic JSON", f"{picture.stem}_panoptic.json", "application/json", text),
    }


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
