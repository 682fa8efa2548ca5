"""The parameters, multiply-adds and accuracies that the paper prints, each beside its network."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

IMAGENET = (224, 224)
COCO = (1025, 1025)
CITYSCAPES = (1025, 2049)
MAPILLARY = (2177, 2177)

# Scales of multi-scale testing, each with and without a flip; they follow from the ratios of the digits.
COCO_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5)
MAPILLARY_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)

# All published panoptic rows of Axial-DeepLab have this span, those of COCO included: their digits say so.
SPAN_65 = {"span": 65}
NO_ASPP = {"aspp": False}


@dataclass(frozen=True)
class PublishedRow:
    """A row of the paper's tables.

    Attributes:
        label: the paper's name of the network.
        name: ours, for `create_model`.
        input_size: height and width of the image, pixels.
        params: the printed parameters in millions; None where the paper prints none.
        madds: the printed multiply-adds in billions, or with a T behind in trillions; None likewise.
        overrides: arguments of `create_model` besides the name.
        scales: scales of multi-scale testing with flips; empty is a single pass.
        scores: the printed accuracies on the validation set by measure, percent.
        pretraining: data set that the weights were trained on before.
    """

    label: str
    name: str
    input_size: tuple[int, int]
    params: str | None = None
    madds: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    scales: tuple[float, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    pretraining: str = "ImageNet"

    @property
    def params_m(self) -> float | None:
        """Printed parameters in millions."""
        return None if self.params is None else float(self.params)

    @property
    def madds_b(self) -> float | None:
        """Printed multiply-adds in billions."""
        if self.madds is None:
            return None
        return 1000 * float(self.madds[:-1]) if self.madds.endswith("T") else float(self.madds)


def _axial_deeplab(size: str, input_size: tuple[int, int], params: str, madds: str) -> PublishedRow:
    return PublishedRow(
        f"Axial-DeepLab-{size.upper()}", f"axial_deeplab_{size}", input_size, params, madds, SPAN_65
    )


def _multi_scale(row: PublishedRow, madds: str, scales: tuple[float, ...]) -> PublishedRow:
    return replace(row, label=f"{row.label}, multi-scale", madds=madds, scales=scales)


def _span(span: int, madds: str) -> PublishedRow:
    return PublishedRow(
        f"Axial-ResNet-L, span {span}", "axial_deeplab_l", CITYSCAPES, None, madds, {"span": span}
    )


def _with_and_without_aspp(
    label: str, backbone: str, without: tuple[str, str], with_aspp: tuple[str, str]
) -> list[PublishedRow]:
    name = f"panoptic_deeplab_{backbone}"
    return [
        PublishedRow(label, name, CITYSCAPES, *without, NO_ASPP),
        PublishedRow(f"{label} + ASPP", name, CITYSCAPES, *with_aspp),
    ]


def _table_9(size: str) -> list[PublishedRow]:
    """Return output strides and decoders; what the paper prints of them is accuracy alone."""
    rows = []
    for decoder in ("dual", "axial"):
        for output_stride in (32, 16, 8) if decoder == "dual" else (32, 16):
            overrides: dict[str, Any] = dict(SPAN_65)
            label = f"Axial-DeepLab-{size.upper()}, output stride {output_stride}"
            if output_stride != 16:
                overrides["output_stride"] = output_stride
            if decoder == "axial":
                overrides["decoder"] = decoder
                label += ", axial decoder"
            rows.append(PublishedRow(label, f"axial_deeplab_{size}", CITYSCAPES, overrides=overrides))
    return rows


_RESNET_50 = PublishedRow("ResNet-50", "resnet50", IMAGENET, "25.6", "4.1")
_SASA = PublishedRow("Conv-Stem + Attention", "sasa_resnet50", IMAGENET, "18.0", "3.5")
_SASA_BN = PublishedRow("Conv-Stem + Attention + BN", "sasa_bn_resnet50", IMAGENET, "18.0", "3.5")
_PS = PublishedRow("Conv-Stem + PS-Attention", "ps_attention_resnet50", IMAGENET, "18.0", "3.7")
_AXIAL_S = PublishedRow("Conv-Stem + Axial-Attention (S)", "axial_resnet_s", IMAGENET, "12.4", "2.8")
_FULL_SASA = PublishedRow("Full Attention", "full_sasa_resnet50", IMAGENET, "18.0", "3.6")
_FULL_AXIAL_S = PublishedRow("Full Axial-Attention (S)", "full_axial_resnet_s", IMAGENET, "12.5", "3.3")
_XCEPTION_COCO = PublishedRow(
    "Panoptic-DeepLab (Xception-71)", "panoptic_deeplab_xception71", COCO, "46.7", "274.0"
)
_XCEPTION_MAPILLARY = PublishedRow(
    "Panoptic-DeepLab (Xception-71)", "panoptic_deeplab_xception71", MAPILLARY, "46.7", "1.24T"
)
# Its digits on Cityscapes are those of Panoptic-DeepLab (Cheng et al. 2020), which table 5 compares with;
# unlike the others they were written down from memory (docs/tables.md).
_XCEPTION_CITYSCAPES = PublishedRow(
    "Panoptic-DeepLab (Xception-71)", "panoptic_deeplab_xception71", CITYSCAPES, "46.72", "547.49"
)
_L_COCO = _axial_deeplab("l", COCO, "44.9", "343.9")
_L_MAPILLARY = _axial_deeplab("l", MAPILLARY, "44.9", "1.55T")
_L_CITYSCAPES = _axial_deeplab("l", CITYSCAPES, "44.9", "687.4")
_XL_CITYSCAPES = _axial_deeplab("xl", CITYSCAPES, "173.0", "2446.8")

TABLES: dict[str, list[PublishedRow]] = {
    "Table 1: ImageNet, 224 x 224": [
        _RESNET_50, _SASA, _SASA_BN, _PS, _AXIAL_S, _FULL_SASA, _FULL_AXIAL_S,
    ],
    "Table 2: COCO, 1025 x 1025": [
        _XCEPTION_COCO,
        _multi_scale(_XCEPTION_COCO, "3081.4", COCO_SCALES),
        _axial_deeplab("s", COCO, "12.1", "110.4"),
        _axial_deeplab("m", COCO, "25.9", "209.9"),
        _L_COCO,
        _multi_scale(_L_COCO, "3867.7", COCO_SCALES),
    ],
    "Table 4: Mapillary Vistas, 2177 x 2177": [
        _XCEPTION_MAPILLARY,
        _multi_scale(_XCEPTION_MAPILLARY, "31.35T", MAPILLARY_SCALES),
        _L_MAPILLARY,
        _multi_scale(_L_MAPILLARY, "39.35T", MAPILLARY_SCALES),
    ],
    "Tables 5 and 6: Cityscapes, 1025 x 2049": [
        _XCEPTION_CITYSCAPES,
        *_with_and_without_aspp("ResNet-50", "resnet50", ("24.8", "374.8"), ("30.0", "390.0")),
        *_with_and_without_aspp("Attention", "sasa_bn_resnet50", ("17.3", "317.7"), ("22.5", "332.9")),
        *_with_and_without_aspp(
            "PS-Attention", "ps_attention_resnet50", ("17.3", "326.7"), ("22.5", "341.9")
        ),
        _axial_deeplab("s", CITYSCAPES, "12.1", "220.8"),
        _axial_deeplab("m", CITYSCAPES, "25.9", "419.6"),
        _L_CITYSCAPES,
        _XL_CITYSCAPES,
    ],
    "Table 7: spans on Cityscapes, 1025 x 2049": [
        PublishedRow(
            "ResNet-101", "panoptic_deeplab_resnet101", CITYSCAPES, "43.8", "530.0", NO_ASPP
        ),
        _span(5, "617.4"), _span(9, "622.1"), _span(17, "631.5"), _span(33, "650.2"), _span(65, "687.4"),
    ],
    "Table 9: output stride and decoder on Cityscapes, 1025 x 2049": _table_9("l"),
    "Table 10: widths on ImageNet, 224 x 224": [
        PublishedRow("PS-Attention x0.5", "ps_attention_resnet50_x0_5", IMAGENET, "5.1", "1.2"),
        PublishedRow("PS-Attention x0.75", "ps_attention_resnet50_x0_75", IMAGENET, "10.5", "2.3"),
        _PS,
        PublishedRow("PS-Attention x1.25", "ps_attention_resnet50_x1_25", IMAGENET, "27.5", "5.6"),
        PublishedRow("PS-Attention x1.5", "ps_attention_resnet50_x1_5", IMAGENET, "39.0", "7.8"),
        _AXIAL_S,
        PublishedRow("Conv-Stem + Axial-Attention (M)", "axial_resnet_m", IMAGENET, "26.4", "5.7"),
        PublishedRow("Conv-Stem + Axial-Attention (L)", "axial_resnet_l", IMAGENET, "45.6", "9.6"),
        _FULL_AXIAL_S,
        PublishedRow("Full Axial-Attention (M)", "full_axial_resnet_m", IMAGENET, "26.5", "6.8"),
        PublishedRow("Full Axial-Attention (L)", "full_axial_resnet_l", IMAGENET, "45.8", "11.6"),
    ],
}  # fmt: skip
"""The tables of the paper that give parameters or multiply-adds, or ask for them, by their titles."""


def _scored(
    table: str, measures: tuple[str, ...], scores: Mapping[str, tuple[float, ...]]
) -> list[PublishedRow]:
    """Return rows of a table, found by their labels, with their accuracies."""
    rows = {row.label: row for row in TABLES[table]}
    return [
        replace(rows[label], scores=dict(zip(measures, values, strict=True)))
        for label, values in scores.items()
    ]


def _more_of_table_5() -> list[PublishedRow]:
    """Return what table 5 has in accuracy alone: multi-scale testing, pre-training on Mapillary Vistas."""
    rows = []
    for row, pretraining, single, multiple in (
        (_XCEPTION_CITYSCAPES, "ImageNet", None, (64.1, 38.5, 81.5)),
        (_L_CITYSCAPES, "ImageNet", None, (64.7, 37.9, 81.5)),
        (_XL_CITYSCAPES, "ImageNet", None, (65.1, 39.0, 81.1)),
        (_L_CITYSCAPES, "Mapillary Vistas", (66.5, 40.2, 83.2), (67.7, 42.9, 83.8)),
        (_XL_CITYSCAPES, "Mapillary Vistas", (67.8, 41.9, 84.2), (68.5, 44.2, 84.6)),
    ):
        label = row.label if pretraining == "ImageNet" else f"{row.label}, from {pretraining}"
        for way, scales, values in (("", (), single), (", multi-scale", MAPILLARY_SCALES, multiple)):
            if values is not None:
                scores = dict(zip(_STREET, values, strict=True))
                rows.append(
                    replace(row, label=label + way, scales=scales, scores=scores, pretraining=pretraining)
                )
    return rows


_STREET = ("PQ", "AP", "mIoU")
_TABLE_1, _TABLE_2, _TABLE_4, _TABLES_5_6, _TABLE_7, _, _TABLE_10 = TABLES

ACCURACIES: dict[str, list[PublishedRow]] = {
    _TABLE_1: _scored(_TABLE_1, ("top-1",), {
        "ResNet-50": (76.9,), "Conv-Stem + Attention": (77.4,), "Conv-Stem + Attention + BN": (77.7,),
        "Conv-Stem + PS-Attention": (78.1,), "Conv-Stem + Axial-Attention (S)": (77.5,),
        "Full Attention": (77.6,), "Full Axial-Attention (S)": (78.1,),
    }),
    _TABLE_2: _scored(_TABLE_2, ("PQ", "PQ things", "PQ stuff"), {
        "Panoptic-DeepLab (Xception-71)": (39.7, 43.9, 33.2),
        "Panoptic-DeepLab (Xception-71), multi-scale": (41.2, 44.9, 35.7),
        "Axial-DeepLab-S": (41.8, 46.1, 35.2),
        "Axial-DeepLab-M": (42.9, 47.6, 35.8),
        "Axial-DeepLab-L": (43.4, 48.5, 35.6),
        "Axial-DeepLab-L, multi-scale": (43.9, 48.6, 36.8),
    }),
    _TABLE_4: _scored(_TABLE_4, _STREET, {
        "Panoptic-DeepLab (Xception-71)": (37.7, 14.9, 55.4),
        "Panoptic-DeepLab (Xception-71), multi-scale": (40.3, 17.2, 56.8),
        "Axial-DeepLab-L": (40.1, 16.7, 57.6),
        "Axial-DeepLab-L, multi-scale": (41.1, 17.2, 58.4),
    }),
    _TABLES_5_6: _scored(_TABLES_5_6, _STREET, {
        "Panoptic-DeepLab (Xception-71)": (63.0, 35.3, 80.5),
        "ResNet-50": (58.1, 30.0, 73.3), "ResNet-50 + ASPP": (59.8, 32.6, 77.8),
        "Attention": (58.7, 31.9, 75.8), "Attention + ASPP": (60.9, 30.0, 78.2),
        "PS-Attention": (59.9, 32.2, 76.3), "PS-Attention + ASPP": (61.5, 33.1, 79.1),
        "Axial-DeepLab-S": (62.6, 34.9, 80.5), "Axial-DeepLab-M": (63.1, 35.6, 80.3),
        "Axial-DeepLab-L": (63.9, 35.8, 81.0), "Axial-DeepLab-XL": (64.4, 36.7, 80.6),
    }) + _more_of_table_5(),
    _TABLE_7: _scored(_TABLE_7, _STREET, {
        "ResNet-101": (59.9, 31.9, 74.6),
        "Axial-ResNet-L, span 5": (59.1, 31.3, 74.5), "Axial-ResNet-L, span 9": (61.2, 31.1, 77.6),
        "Axial-ResNet-L, span 17": (62.8, 34.0, 79.5), "Axial-ResNet-L, span 33": (63.8, 35.9, 80.2),
        "Axial-ResNet-L, span 65": (64.2, 36.3, 80.6),
    }),
    _TABLE_10: _scored(_TABLE_10, ("top-1",), {
        "PS-Attention x0.5": (75.5,), "PS-Attention x0.75": (77.4,), "Conv-Stem + PS-Attention": (78.1,),
        "PS-Attention x1.25": (78.5,), "PS-Attention x1.5": (79.0,),
        "Conv-Stem + Axial-Attention (S)": (77.5,), "Conv-Stem + Axial-Attention (M)": (78.6,),
        "Conv-Stem + Axial-Attention (L)": (79.0,), "Full Axial-Attention (S)": (78.1,),
        "Full Axial-Attention (M)": (79.2,), "Full Axial-Attention (L)": (79.3,),
    }),
}  # fmt: skip
"""The accuracies that the paper prints for validation sets, by the titles of `TABLES`."""
