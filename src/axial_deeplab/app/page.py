"""The layout of the page, and what happens when somebody drops, chooses or clicks something."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from axial_deeplab.app.attention import attention_grid
from axial_deeplab.app.gate import is_number
from axial_deeplab.app.limits import Limits
from axial_deeplab.app.networks import KNOBS, Network, Networks
from axial_deeplab.app.pictures import Picture, read_picture
from axial_deeplab.app.results import Results, segment
from axial_deeplab.util.text import one_line

TITLE = "axial-deeplab"
INTRODUCTION = (
    "Every pixel of a picture gets a class, every object a mask of its own. "
    "Click a pixel to see where it looks. Pictures are not kept."
)
HINT_TO_START = "Drop a picture to start."
HINT_TO_CLICK = "Click a pixel of the picture: the maps show where it looks along its column and its row."
# The system's own fonts: nothing is loaded from elsewhere.
THEME = gr.themes.Default(
    font=("system-ui", "Arial", "sans-serif"), font_mono=("ui-monospace", "Consolas", "monospace")
).set(block_info_text_color="*neutral_600", block_info_text_color_dark="*neutral_300")
STYLES = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
# Uploads and pictures on show are temporary files; seconds between two looks at them, and how old they get.
CLEANING = (60, 600)
# Events that wait for the network; further ones are refused.
MOST_WAITING = 32


class Page:
    """The page and its events; all pages that are open share one network at a time."""

    def __init__(self, networks: Networks, results: Results, limits: Limits) -> None:
        self.networks, self.results, self.limits = networks, results, limits
        self.known_blocks: set[str] = set()

    def build(self) -> gr.Blocks:
        """Return the page, with the first network chosen."""
        network = self.networks[self.networks.names[0]]
        with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=CLEANING) as page:
            gr.HTML(f"<h1>{TITLE}</h1><p>{INTRODUCTION}</p>")
            with gr.Row():
                with gr.Column(scale=1, min_width=300):
                    self._lay_out_inputs(network)
                with gr.Column(scale=3, min_width=300):
                    self._lay_out_outputs(network)
            self._connect()
            page.unload(self.forget)
        self.blocks = page
        return page.queue(max_size=MOST_WAITING, api_open=False)

    def check_event(self, function: Any, inputs: Any, told: Any) -> None:
        """Refuse an event that the page does not send; Gradio would log a traceback for it.

        Args:
            function: number of the function, as the page knows it.
            inputs: values of its components.
            told: what the event itself tells, such as the place of a click.

        Raises:
            ValueError: it is of another kind.
        """
        functions = self.blocks.fns
        if type(function) is not int or function not in functions:
            raise ValueError(f"fn_index must be a function of the page, got {function!r}")
        components = functions[function].inputs
        if not isinstance(inputs, list) or len(inputs) != len(components):
            raise ValueError(f"data must be a list of {len(components)} inputs, got {inputs!r:.80}")
        for component, value in zip(components, inputs, strict=True):
            self._check_input(component, value)
        place = told.get("index") if isinstance(told, dict) else None
        is_place = isinstance(place, list) and len(place) == 2 and all(type(x) is int for x in place)
        if functions[function].fn == self.click and not (is_place and "value" in told):
            raise ValueError(f"event_data must have index and value of a pixel, got {told!r:.80}")

    def _check_input(self, component: Any, value: Any) -> None:
        label, rule, is_valid = component.label or type(component).__name__, "one that is offered", True
        if component is self.weights:
            is_valid = value in self.networks.names
        elif component is self.block:
            is_valid = value is None or (isinstance(value, str) and value in self.known_blocks)
        elif component is self.room:
            label, rule, is_valid = "width of the page", "a number", is_number(value)
        elif isinstance(component, gr.Number | gr.Slider):
            rule, is_valid = "a number", value is None or is_number(value)
            if is_valid and isinstance(component, gr.Slider):
                rule, is_valid = "from 0 to 1", value is None or 0 <= value <= 1
        elif isinstance(component, gr.Checkbox):
            rule, is_valid = "true or false", isinstance(value, bool)
        elif isinstance(component, gr.File):
            is_sent = isinstance(value, dict) and isinstance(value.get("path"), str)
            rule, is_valid = "a file that was sent", is_sent
        if not is_valid:
            raise ValueError(f"{label} must be {rule}, got {value!r:.80}")

    def _lay_out_inputs(self, network: Network) -> None:
        # Of any name: Gradio would refuse some pictures by their suffixes, and tell others in a traceback.
        self.upload = gr.File(label="Picture", height=140, elem_id="upload")
        self.weights = gr.Dropdown(
            self.networks.labels, value=network.weights, label="Weights", filterable=False, elem_id="weights"
        )
        with gr.Accordion("Post-processing", open=False, elem_id="post-processing"):
            self.knobs = _knobs(network.knobs)
        self.again = gr.Button("Segment again", elem_id="again")

    def _lay_out_outputs(self, network: Network) -> None:
        self.message = gr.HTML(_note(HINT_TO_START), elem_id="message")
        with gr.Column(visible=False, elem_id="result") as self.result:
            self.overlay = gr.Image(
                show_label=False, interactive=False, buttons=[], format="png", elem_id="overlay"
            )
            self.links = gr.HTML(elem_id="downloads")
            with gr.Accordion("Attention", elem_id="attention"):
                self.block = gr.Dropdown(
                    **self._blocks(network), label="Block", filterable=False, elem_id="block"
                )
                self.heads = gr.HTML(_note(HINT_TO_CLICK), elem_id="heads")
            with gr.Accordion("Segments", elem_id="segments"):
                self.table = gr.HTML()
        self.pixel = gr.State(None)
        self.room = gr.Number(visible=False)

    def _blocks(self, network: Network) -> dict[str, Any]:
        """Return the choices of blocks, the last one chosen: its positions see most of the picture."""
        names = network.blocks
        self.known_blocks.update(names)
        return {"choices": names, "value": names[-1] if names else None}

    def _connect(self) -> None:
        one_at_a_time = {"concurrency_limit": 1, "concurrency_id": "network", "api_visibility": "private"}
        settings = [self.room, self.weights, *self.knobs]
        shown = [self.message, self.result, self.overlay, self.links, self.table, self.heads, self.pixel]
        self.upload.upload(
            self.open, [self.upload, *settings], [self.upload, *shown], js=_told_room(1), **one_at_a_time
        )
        self.again.click(self.segment_again, settings, shown, js=_told_room(0), **one_at_a_time)
        self.weights.input(
            self.choose,
            [self.room, self.weights],
            [*self.knobs, self.block, *shown],
            js=_told_room(0),
            **one_at_a_time,
        )
        self.overlay.select(self.click, self.block, [self.heads, self.pixel], **one_at_a_time)
        self.block.input(self.look, [self.block, self.pixel], self.heads, **one_at_a_time)

    def open(
        self, request: gr.Request, upload: str | None, room: int, weights: str, *knobs: Any
    ) -> dict[Any, Any]:
        """Segment the picture that was dropped."""
        if upload is None:
            return {self.upload: gr.skip()}
        session = request.session_hash
        self.results.discard(session)
        try:
            view = self.networks[weights].predictor.view
            picture = read_picture(upload, max_side=self.limits.max_side, **view.reading)
        except (ValueError, OSError) as error:
            return {self.upload: None, **self._refuse(session, error)}
        return {self.upload: None, **self._segment(session, picture, room, weights, knobs)}

    def segment_again(self, request: gr.Request, room: int, weights: str, *knobs: Any) -> dict[Any, Any]:
        """Segment the picture of the page with other settings."""
        result = self.results.get(request.session_hash)
        if result is None:
            return {self.message: _note(HINT_TO_START), self.result: gr.update(visible=False)}
        return self._segment(request.session_hash, result.picture, room, weights, knobs)

    def choose(self, request: gr.Request, room: int, weights: str) -> dict[Any, Any]:
        """Load other weights, show their settings, and segment the picture of the page with them."""
        try:
            network = self.networks[weights]
        except (ValueError, OSError) as error:
            return self._refuse(request.session_hash, error)
        knobs = network.knobs
        updates = dict(zip(self.knobs, knobs.values(), strict=True))
        updates[self.block] = gr.update(**self._blocks(network))
        return {**updates, **self.segment_again(request, room, weights, *knobs.values())}

    def click(self, request: gr.Request, event: gr.SelectData, block: str | None) -> dict[Any, Any]:
        """Show where the clicked pixel looks."""
        result = self.results.get(request.session_hash)
        pixel = None if result is None else result.pixel_at(*event.index)
        return {self.pixel: pixel, self.heads: self._attention(request.session_hash, pixel, block)}

    def look(self, request: gr.Request, block: str | None, pixel: tuple[int, int] | None) -> str:
        """Show where the pixel looks that was clicked before, in another block."""
        return self._attention(request.session_hash, pixel, block)

    def forget(self, request: gr.Request) -> None:
        """Forget the picture of a page that is closed."""
        self.results.discard(request.session_hash)

    def _segment(
        self, session: str, picture: Picture, room: int, weights: str, knobs: Sequence[Any]
    ) -> dict[Any, Any]:
        # An empty field leaves the setting as the weights have it.
        given = {name: value for name, value in zip(KNOBS, knobs, strict=True) if value is not None}
        try:
            result = segment(
                self.networks[weights], picture, given, seconds=self.limits.seconds, room=int(room)
            )
        except (ValueError, OSError) as error:
            return self._refuse(session, error)
        self.results.put(session, result)
        return {
            self.message: _note(result.message),
            self.result: gr.update(visible=True),
            self.overlay: result.overlay,
            self.links: result.links,
            self.table: result.table,
            self.heads: _note(HINT_TO_CLICK),
            self.pixel: None,
        }

    def _attention(self, session: str, pixel: tuple[int, int] | None, block: str | None) -> str:
        result = self.results.get(session)
        if result is None or pixel is None:
            return _note(HINT_TO_CLICK if result else HINT_TO_START)
        if block is None:
            return _note("These weights have no axial attention.")
        try:
            network = self.networks[result.weights]
            return attention_grid(network, result.picture.pixels, pixel, block, seconds=self.limits.seconds)
        except (ValueError, OSError) as error:
            return _error(error)

    def _refuse(self, session: str, error: Exception) -> dict[Any, Any]:
        return {
            self.message: _error(error),
            self.result: gr.update(visible=self.results.get(session) is not None),
        }


def _told_room(position: int) -> str:
    """Return a script that puts the width of the result's column among the inputs of an event."""
    width = "document.querySelector('#message').clientWidth"
    return f"(...inputs) => inputs.map((input, place) => place === {position} ? {width} : input)"


def _knobs(values: Mapping[str, Any]) -> list[gr.Component]:
    """Lay out a field for each of `KNOBS`."""

    def count(name: str, purpose: str) -> gr.Component:
        return gr.Number(values[name], precision=0, label=name, info=purpose, elem_id=name)

    return [
        gr.Slider(
            0,
            1,
            values["center_threshold"],
            step=0.01,
            label="center_threshold",
            info="lowest value of a center in the heatmap",
            elem_id="center_threshold",
        ),
        count("nms_kernel", "side of the square that has one center, pixels"),
        count("top_k", "most centers of a picture"),
        count("stuff_area", "stuff segments of fewer pixels become void"),
        gr.Checkbox(values["fill_void"], label="fill_void: no void pixels", elem_id="fill_void"),
    ]


def _note(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def _error(error: Exception) -> str:
    return f'<p class="error" role="alert">{html.escape(one_line(error))}</p>'
