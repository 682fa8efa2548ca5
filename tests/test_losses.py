"""The three losses against deeplab2's and detectron2's numbers, and by hand where pixels are ignored."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from axial_deeplab.losses import PanopticLoss, bootstrapped_cross_entropy, center_loss, offset_loss

Golden = Callable[[str], Path]


def small_batch(
    batch: int = 2, classes: int = 4, size: tuple[int, int] = (6, 8)
) -> tuple[dict[str, Tensor], dict]:
    generator = torch.Generator().manual_seed(5)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    outputs = {
        "semantic_logits": 3 * uniform(batch, classes, *size),
        "center_heatmap": uniform(batch, 1, *size),
        "offsets": 9 * uniform(batch, 2, *size),
    }
    targets = {
        "semantic_target": torch.randint(0, classes, (batch, *size), generator=generator),
        "semantic_weight": torch.ones(batch, *size),
        "center_target": uniform(batch, 1, *size),
        "center_weight": torch.ones(batch, 1, *size),
        "offset_target": 9 * uniform(batch, 2, *size),
        "offset_weight": torch.ones(batch, 1, *size),
    }
    return outputs, targets


@pytest.mark.parametrize(
    ("name", "top_k_fraction"),
    [("losses_top20", 0.2), ("losses_top100", 1.0), ("losses_top15_semantic_stride4", 0.15)],
)
def test_equals_deeplab2(golden: Golden, name: str, top_k_fraction: float) -> None:
    z = np.load(golden(f"{name}.npz"))
    ignore_label = json.loads(str(z["config"]))["ignore_label"]

    def tensor(key: str) -> Tensor:
        return torch.from_numpy(z[key])

    outputs = {
        "semantic_logits": tensor("pred/semantic_logits").permute(0, 3, 1, 2).requires_grad_(),
        "center_heatmap": tensor("pred/center_heatmap")[:, None].requires_grad_(),
        "offsets": tensor("pred/offset_map").permute(0, 3, 1, 2).requires_grad_(),
    }
    targets = {
        "semantic_target": tensor("gt/semantic_gt").long(),
        "semantic_weight": tensor("gt/semantic_loss_weight"),
        "center_target": tensor("gt/instance_center_gt")[:, None],
        "center_weight": tensor("gt/center_loss_weight")[:, None],
        "offset_target": tensor("gt/instance_regression_gt").permute(0, 3, 1, 2),
        "offset_weight": tensor("gt/regression_loss_weight")[:, None],
    }
    losses = PanopticLoss(top_k_fraction=top_k_fraction, ignore_label=ignore_label)(outputs, targets)
    expected = {
        "semantic": "semantic_loss",
        "center": "center_loss",
        "offset": "regression_loss",
        "total": "total_loss",
    }
    for ours, theirs in expected.items():
        assert losses[ours].item() == pytest.approx(z[f"output/{theirs}"].mean(), rel=2e-6)
    losses["total"].backward()
    gradients = {
        "semantic_logits": tensor("grad/semantic_logits").permute(0, 3, 1, 2),
        "center_heatmap": tensor("grad/center_heatmap")[:, None],
        "offsets": tensor("grad/offset_map").permute(0, 3, 1, 2),
    }
    for key, gradient in gradients.items():
        torch.testing.assert_close(
            outputs[key].grad, gradient, rtol=1e-5, atol=1e-6 * gradient.abs().max().item()
        )


def test_equals_detectron2_cross_entropy(golden: Golden) -> None:
    z = np.load(golden("losses_pt_deeplabce.npz"))
    logits = torch.from_numpy(z["pred/logits"]).requires_grad_()
    target, weight = torch.from_numpy(z["gt/labels"]), torch.from_numpy(z["gt/weights"])
    loss = bootstrapped_cross_entropy(logits, target, weight, 0.2, convention="detectron2")
    assert loss.item() == pytest.approx(z["output/loss"].item(), rel=1e-6)
    loss.backward()
    torch.testing.assert_close(logits.grad, torch.from_numpy(z["grad/logits"]), rtol=1e-5, atol=1e-9)


def test_detectron2_center_and_offset_by_hand() -> None:
    weight = torch.tensor([[1.0, 1.0], [0.0, 0.0]]).reshape(2, 1, 1, 2)  # the second image is void
    center = center_loss(torch.full((2, 1, 1, 2), 3.0), torch.ones(2, 1, 1, 2), weight, "detectron2")
    assert center == 4  # over the two pixels of the batch with a weight; deeplab2 averages 4 and 0
    assert center_loss(torch.full((2, 1, 1, 2), 3.0), torch.ones(2, 1, 1, 2), weight) == 2
    offsets = torch.tensor([5.0, 1.0]).reshape(1, 2, 1, 1).expand(2, 2, 1, 2)
    assert offset_loss(offsets, torch.zeros(2, 2, 1, 2), weight, "detectron2") == 6  # |5| + |1|
    assert offset_loss(offsets, torch.zeros(2, 2, 1, 2), weight) == 1.5  # mean of (5 + 1) / 2 and 0


def test_bootstrapping_by_hand() -> None:
    # Two classes, logits (x, 0), all of class 0: the loss is log(1 + exp(-x)).
    x = torch.tensor([[-3.0, -2.0, -1.0, 0.0, 1.0]])
    logits = torch.stack([x, torch.zeros_like(x)])[None]  # (1, 2, 1, 5)
    target = torch.zeros(1, 1, 5, dtype=torch.int64)
    weight = torch.ones(1, 1, 5)
    losses = torch.log1p(torch.exp(-x))[0]
    torch.testing.assert_close(bootstrapped_cross_entropy(logits, target, weight, 0.4), losses[:2].mean())
    # Weights multiply before the selection: the last pixel becomes the largest.
    weight[0, 0, 4] = 30
    expected = (losses[0] + 30 * losses[4]) / 2
    torch.testing.assert_close(bootstrapped_cross_entropy(logits, target, weight, 0.4), expected)
    # Ignored pixels are selected when nothing else is left, but do not count in the mean.
    target[0, 0, 1:] = 255
    torch.testing.assert_close(bootstrapped_cross_entropy(logits, target, weight, 0.4), losses[0])
    torch.testing.assert_close(
        bootstrapped_cross_entropy(logits, target, weight, 0.4, convention="detectron2"), losses[0] / 2
    )


def test_top_k_counts_pixels_of_each_image() -> None:
    outputs, targets = small_batch(batch=3)
    both = PanopticLoss()(outputs, targets)
    alone = [
        PanopticLoss()(
            {k: v[i : i + 1] for k, v in outputs.items()}, {k: v[i : i + 1] for k, v in targets.items()}
        )
        for i in range(3)
    ]
    for key, value in both.items():
        torch.testing.assert_close(value, torch.stack([losses[key] for losses in alone]).mean())


def test_weights_scale_each_loss() -> None:
    outputs, targets = small_batch()
    plain = PanopticLoss(1, 1, 1)(outputs, targets)
    scaled = PanopticLoss(2, 3, 5)(outputs, targets)
    for key, factor in {"semantic": 2, "center": 3, "offset": 5}.items():
        torch.testing.assert_close(scaled[key], factor * plain[key])
    torch.testing.assert_close(scaled["total"], scaled["semantic"] + scaled["center"] + scaled["offset"])


@pytest.mark.parametrize("convention", ["deeplab2", "detectron2"])
@pytest.mark.parametrize("size", [(6, 8), (1, 1)])
def test_all_void_gives_zero_loss_and_zero_gradient(convention: str, size: tuple[int, int]) -> None:
    outputs, targets = small_batch(size=size)
    targets["semantic_target"][:] = 255
    targets["center_weight"][:] = 0
    targets["offset_weight"][:] = 0
    outputs = {key: value.requires_grad_() for key, value in outputs.items()}
    losses = PanopticLoss(convention=convention)(outputs, targets)
    assert {key: value.item() for key, value in losses.items()} == dict.fromkeys(losses, 0.0)
    losses["total"].backward()
    assert all(torch.equal(value.grad, torch.zeros_like(value)) for value in outputs.values())


def test_one_void_image_does_not_hide_the_other() -> None:
    outputs, targets = small_batch()
    targets["semantic_target"][1] = 255
    first = bootstrapped_cross_entropy(
        outputs["semantic_logits"][:1], targets["semantic_target"][:1], targets["semantic_weight"][:1], 0.2
    )
    losses = PanopticLoss()(outputs, targets)
    torch.testing.assert_close(losses["semantic"], first / 2)


@pytest.mark.parametrize("convention", ["deeplab2", "detectron2"])
@pytest.mark.parametrize(
    ("output", "loss"), [("semantic_logits", "semantic"), ("center_heatmap", "center"), ("offsets", "offset")]
)
def test_nan_is_not_hidden(convention: str, output: str, loss: str) -> None:
    outputs, targets = small_batch()
    outputs[output][0, 0, 2, 3] = math.nan
    losses = PanopticLoss(convention=convention)(outputs, targets)
    assert {key for key, value in losses.items() if value.isnan()} == {loss, "total"}


def test_float32_under_autocast() -> None:
    outputs, targets = small_batch()
    expected = PanopticLoss()(outputs, targets)
    with torch.autocast("cpu", torch.bfloat16):
        losses = PanopticLoss()(outputs, targets)
    assert all(torch.equal(losses[key], expected[key]) for key in expected)
    low = {key: value.bfloat16() for key, value in outputs.items()}
    up = {key: value.float() for key, value in low.items()}
    expected = PanopticLoss()(up, targets)
    losses = PanopticLoss()(low, targets)
    assert all(torch.equal(losses[key], expected[key]) for key in expected)


def test_gradcheck_in_float64() -> None:
    outputs, targets = small_batch(batch=1, size=(3, 4))
    targets["semantic_target"][0, 0, 0] = 255
    targets["offset_weight"][0, 0, 1] = 0
    targets = {key: value.double() if value.is_floating_point() else value for key, value in targets.items()}
    keys = list(outputs)

    def total(*values: Tensor) -> Tensor:
        return PanopticLoss(top_k_fraction=0.5)(dict(zip(keys, values, strict=True)), targets)["total"]

    assert torch.autograd.gradcheck(total, [outputs[key].double().requires_grad_() for key in keys])


def test_coarse_logits_see_every_s_th_pixel() -> None:
    target = torch.arange(35).reshape(1, 5, 7) % 4
    logits = torch.rand(1, 4, 3, 4, generator=torch.Generator().manual_seed(0))
    ours = bootstrapped_cross_entropy(logits, target, torch.ones(1, 5, 7), 1.0)
    expected = torch.nn.functional.cross_entropy(logits, target[:, ::2, ::2])
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("size", [(6, 6), (4, 8), (1, 8), (11, 8)])
def test_refuses_sizes_that_do_not_fit(size: tuple[int, int]) -> None:
    outputs, targets = small_batch(size=(6, 8))
    outputs["semantic_logits"] = torch.zeros(2, 4, *size)
    with pytest.raises(ValueError, match=r"semantic_logits must be as large as the targets \(6, 8\)"):
        PanopticLoss()(outputs, targets)


@pytest.mark.parametrize("output", ["center_heatmap", "offsets"])
def test_refuses_other_shapes(output: str) -> None:
    outputs, targets = small_batch()
    outputs[output] = outputs[output][..., :-1]
    with pytest.raises(ValueError, match=f"{output} must have the shape"):
        PanopticLoss()(outputs, targets)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"center_weight": -1}, "center_weight must be >= 0, got -1"),
        ({"offset_weight": math.nan}, "offset_weight must be >= 0, got nan"),
        ({"top_k_fraction": 0}, r"top_k_fraction must be in \(0, 1\], got 0"),
        ({"top_k_fraction": 20}, r"top_k_fraction must be in \(0, 1\], got 20"),
        ({"convention": "keras"}, "convention must be one of deeplab2, detectron2, got 'keras'"),
    ],
)
def test_refuses_settings(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PanopticLoss(**arguments)


@pytest.mark.parametrize("convention", ["deeplab2", "detectron2"])
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("semantic_weight", (2, 1, 6, 8)),
        ("semantic_weight", (1, 6, 8)),
        ("semantic_target", (1, 6, 8)),
        ("semantic_target", (2, 1, 6, 8)),
        ("center_weight", (2, 6, 8)),
        ("center_weight", (1, 1, 6, 8)),
        ("offset_weight", (2, 6, 8)),
        ("offset_weight", (2, 2, 6, 8)),
    ],
)
def test_refuses_weights_that_would_be_broadcast(name: str, shape: tuple[int, ...], convention: Any) -> None:
    outputs, targets = small_batch()
    targets[name] = torch.zeros(shape, dtype=targets[name].dtype)
    with pytest.raises(ValueError, match=rf"{name} must have the shape \(2, .*, got \({shape[0]}, "):
        PanopticLoss(convention=convention)(outputs, targets)


def test_refuses_to_ignore_a_class() -> None:
    outputs, targets = small_batch(classes=256, size=(1, 1))
    with pytest.raises(ValueError, match="ignore_label must be no class, got 255 of 256 classes; use -1"):
        PanopticLoss()(outputs, targets)
    assert PanopticLoss(ignore_label=-1)(outputs, targets)["semantic"] > 0


def test_functions_refuse_settings() -> None:
    outputs, targets = small_batch()
    semantic = outputs["semantic_logits"], targets["semantic_target"], targets["semantic_weight"]
    with pytest.raises(ValueError, match=r"top_k_fraction must be in \(0, 1\], got 20; 1 trains all"):
        bootstrapped_cross_entropy(*semantic, 20)
    convention: Any = "detectron"
    for loss in (
        lambda: bootstrapped_cross_entropy(*semantic, 0.2, convention=convention),
        lambda: center_loss(
            outputs["center_heatmap"], targets["center_target"], targets["center_weight"], convention
        ),
        lambda: offset_loss(
            outputs["offsets"], targets["offset_target"], targets["offset_weight"], convention
        ),
    ):
        with pytest.raises(
            ValueError, match=r"convention must be one of deeplab2, detectron2, got 'detectron'"
        ):
            loss()
