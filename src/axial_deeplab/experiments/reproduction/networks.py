"""The networks that are compared, and the tables that they stand in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from axial_deeplab.models.backbones.attention_resnet import STAGE_WIDTH as ATTENTION_RESNET_WIDTH
from axial_deeplab.models.backbones.axial_resnet import STAGE_WIDTH as AXIAL_RESNET_WIDTH
from axial_deeplab.models.backbones.resnet import STAGE_WIDTH as RESNET_WIDTH
from axial_deeplab.models.registry import NANO_BACKBONE, NANO_DECODERS


@dataclass(frozen=True)
class WidthUnit:
    """What a network's widths are counted in.

    Args:
        stage_width: channels of the first stage at a width multiplier of 1.
        step: its width is a multiple of this many channels.
    """

    stage_width: int
    step: int


@dataclass(frozen=True)
class Network:
    """A row of a table.

    Args:
        key: its name among the results, and of the folder of its runs.
        label: what the tables call it.
        name: name of its builder.
        span: positions that a query attends to; None is the whole axis.
        options: further arguments of the builder.
        width_unit: given, the network's width is chosen so that it has the M-Adds of `BASE`.
    """

    key: str
    label: str
    name: str = "axial_deeplab_nano"
    span: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    width_unit: WidthUnit | None = None


NANO: dict[str, Any] = {**NANO_BACKBONE, **NANO_DECODERS}
NUM_HEADS: int = NANO["num_heads"]
# As many as the instance decoder: ASPP's 256 channels would be most of so small a network.
ASPP = {"aspp": True, "aspp_channels": NANO["instance_channels"]}
# Depths, decoders and heads are those of BASE, so that only what a block does is another.
CONVOLUTIONAL = {"depths": NANO["depths"], "aspp": False, **NANO_DECODERS}
SQUARE_ATTENTION = {**CONVOLUTIONAL, "num_heads": NUM_HEADS}
CONVOLUTIONAL_WIDTHS = WidthUnit(RESNET_WIDTH, 1)
SQUARE_ATTENTION_WIDTHS = WidthUnit(ATTENTION_RESNET_WIDTH, NUM_HEADS)

BASE = Network("axial_deeplab", "Axial-DeepLab")
BASE_ASPP = Network(
    "axial_deeplab_aspp",
    "Axial-DeepLab, ASPP",
    options=ASPP,
    width_unit=WidthUnit(AXIAL_RESNET_WIDTH, 2 * NUM_HEADS),
)
RESNET = Network(
    "resnet",
    "Panoptic-DeepLab, ResNet",
    "panoptic_deeplab_resnet50",
    options=CONVOLUTIONAL,
    width_unit=CONVOLUTIONAL_WIDTHS,
)
RESNET_ASPP = Network(
    "resnet_aspp",
    "Panoptic-DeepLab, ResNet, ASPP",
    "panoptic_deeplab_resnet50",
    options={**CONVOLUTIONAL, **ASPP},
    width_unit=CONVOLUTIONAL_WIDTHS,
)
SASA = Network(
    "sasa",
    "Panoptic-DeepLab, attention over 7 x 7 (SASA, with norms)",
    "panoptic_deeplab_sasa_bn_resnet50",
    span=7,
    options=SQUARE_ATTENTION,
    width_unit=SQUARE_ATTENTION_WIDTHS,
)
PS_ATTENTION = Network(
    "ps_attention",
    "Panoptic-DeepLab, PS-Attention over 7 x 7",
    "panoptic_deeplab_ps_attention_resnet50",
    span=7,
    options=SQUARE_ATTENTION,
    width_unit=SQUARE_ATTENTION_WIDTHS,
)
SPANS = {span: Network(f"span_{span}", f"span {span}", span=span) for span in (5, 9, 17, 33)}
AXIAL_DECODER = {"decoder": "axial", "num_heads": NUM_HEADS}
STRIDES = {
    "32": Network("stride_32", "output stride 32", options={"output_stride": 32}),
    "8": Network("stride_8", "output stride 8", options={"output_stride": 8}),
    "32_axial": Network(
        "stride_32_axial_decoder",
        "output stride 32, axial decoder",
        options={"output_stride": 32, **AXIAL_DECODER},
    ),
    "16_axial": Network("axial_decoder", "output stride 16, axial decoder", options=AXIAL_DECODER),
}
TERMS = {
    "q": Network("without_rel_q", "without q·r^q", options={"rel_q": False}),
    "k": Network("without_rel_k", "without k·r^k", options={"rel_k": False}),
    "v": Network("without_rel_v", "without r^v", options={"rel_v": False}),
    "all": Network(
        "without_positions",
        "without all three: no positions",
        options={"rel_q": False, "rel_k": False, "rel_v": False},
    ),
}


@dataclass(frozen=True)
class Table:
    """A table of the report.

    Args:
        title: title of the table.
        networks: its rows, by key, with what each is called there.
        measures: columns of results that claims are judged by, named as in the files of the runs.
        details: further columns.
    """

    title: str
    networks: Mapping[str, str]
    measures: tuple[str, ...] = ("PQ", "mIoU", "AP")
    details: tuple[str, ...] = ("PQ_things", "PQ_stuff")

    @property
    def columns(self) -> tuple[str, ...]:
        """Return all columns of results."""
        return (*self.measures, *self.details)


def _rows(*networks: Network, base: str | None = None) -> dict[str, str]:
    rows = {network.key: network.label for network in networks}
    return rows | {BASE.key: base} if base else rows


STRESS_SCALES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
LOSSES = ("semantic", "center", "offset")
STRESSED = (BASE, RESNET, RESNET_ASPP)

TABLES: dict[str, Table] = {
    "networks": Table(
        "Networks of equal M-Adds (table 6)", _rows(BASE, BASE_ASPP, RESNET, RESNET_ASPP, SASA, PS_ATTENTION)
    ),
    "spans": Table("Spans (table 7)", _rows(*SPANS.values(), base="the whole axis")),
    "strides": Table(
        "Output stride and axial decoder (table 9)",
        {
            STRIDES["32"].key: STRIDES["32"].label,
            BASE.key: "output stride 16",
            STRIDES["8"].key: STRIDES["8"].label,
            STRIDES["32_axial"].key: STRIDES["32_axial"].label,
            STRIDES["16_axial"].key: STRIDES["16_axial"].label,
        },
    ),
    "terms": Table(
        "Terms of position-sensitive attention (equation 4)",
        {BASE.key: "all terms", **_rows(*TERMS.values())},
    ),
    "stress": Table(
        "Scale stress test (figure 4): PQ with the images magnified",
        _rows(*STRESSED),
        tuple(f"PQ at {scale:g}x" for scale in STRESS_SCALES),
        details=(),
    ),
    "losses": Table(
        "Training losses at the end (figure 9)",
        _rows(BASE, RESNET, RESNET_ASPP),
        tuple(f"{loss} loss" for loss in LOSSES),
        details=(),
    ),
}

NETWORKS: dict[str, Network] = {
    network.key: network
    for network in (
        # In the order in which they are trained: first what most tables need, last what takes longest.
        *(BASE, RESNET, RESNET_ASPP, SPANS[5], TERMS["all"], SPANS[17], BASE_ASPP, STRIDES["32"]),
        *(STRIDES["16_axial"], TERMS["q"], TERMS["k"], TERMS["v"], SPANS[9], SPANS[33], STRIDES["8"]),
        *(STRIDES["32_axial"], PS_ATTENTION, SASA),
    )
}
