"""The three losses of bottom-up panoptic segmentation."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from axial_deeplab.data.targets import CONVENTIONS, Convention


class PanopticLoss(nn.Module):
    """Weighted sum of bootstrapped cross entropy, squared center error and absolute offset error.

    Computed in float32 (or float64 if the outputs are), also under autocast.

    Args:
        semantic_weight: factor of the semantic loss; the paper's factors are 1, 200 and 0.01.
        center_weight: factor of the loss of the center heatmap.
        offset_weight: factor of the loss of the offsets.
        top_k_fraction: share of the pixels, those with the largest loss, that train the semantic head.
        ignore_label: semantic target that is not trained.
        convention: "deeplab2" normalizes each image on its own; "detectron2" the batch as a whole, and adds
            the two offset channels up instead of averaging. docs/deviations.md, "Losses", has the formulas.

    Raises:
        ValueError: a weight is negative, the fraction is outside (0, 1], or the convention is unknown.

    Source:
        Panoptic-DeepLab (Cheng et al. 2020), section 3; Axial-DeepLab, section 4.2.
    """

    def __init__(
        self,
        semantic_weight: float = 1.0,
        center_weight: float = 200.0,
        offset_weight: float = 0.01,
        top_k_fraction: float = 0.2,
        *,
        ignore_label: int = 255,
        convention: Convention = "deeplab2",
    ) -> None:
        super().__init__()
        weights = {
            "semantic_weight": semantic_weight,
            "center_weight": center_weight,
            "offset_weight": offset_weight,
        }
        for name, weight in weights.items():
            if not weight >= 0:
                raise ValueError(f"{name} must be >= 0, got {weight}; 0 turns that loss off")
        _check_settings(convention, top_k_fraction)
        self.semantic_weight = semantic_weight
        self.center_weight = center_weight
        self.offset_weight = offset_weight
        self.top_k_fraction = top_k_fraction
        self.ignore_label = ignore_label
        self.convention = convention

    def forward(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the scalars "semantic", "center", "offset", each with its weight, and their sum "total".

        Shapes:
            outputs of a model and targets of `PanopticTargets`, stacked to B images:
            semantic_logits (B, C, h, w), center_heatmap (B, 1, H, W), offsets (B, 2, H, W).
            h x w is H x W, or the grid of every s-th pixel: H - 1 = s (h - 1); targets are then taken there.

        Raises:
            ValueError: sizes that do not fit.
        """
        semantic = bootstrapped_cross_entropy(
            outputs["semantic_logits"],
            targets["semantic_target"],
            targets["semantic_weight"],
            self.top_k_fraction,
            ignore_label=self.ignore_label,
            convention=self.convention,
        )
        center = center_loss(
            outputs["center_heatmap"], targets["center_target"], targets["center_weight"], self.convention
        )
        offset = offset_loss(
            outputs["offsets"], targets["offset_target"], targets["offset_weight"], self.convention
        )
        losses = {
            "semantic": self.semantic_weight * semantic,
            "center": self.center_weight * center,
            "offset": self.offset_weight * offset,
        }
        losses["total"] = losses["semantic"] + losses["center"] + losses["offset"]
        return losses


def bootstrapped_cross_entropy(
    logits: Tensor,
    target: Tensor,
    weight: Tensor,
    top_k_fraction: float,
    *,
    ignore_label: int = 255,
    convention: Convention = "deeplab2",
) -> Tensor:
    """Weighted cross entropy of the pixels where it is largest.

    Shapes:
        logits (B, C, h, w), target and weight (B, H, W); see `PanopticLoss.forward` for sizes that differ.

    Args:
        top_k_fraction: share of the pixels that count: of each image ("deeplab2", which divides by the number
            of non-zero losses among them and averages images) or of the batch ("detectron2", zeros count).

    Returns:
        A scalar; 0 where everything is ignored.

    Raises:
        ValueError: h x w does not fit to H x W, target and weight have other shapes, there are more than
            255 classes of which 255 is ignored, or a setting is none of the above.
    """
    _check_settings(convention, top_k_fraction)
    num_classes = logits.shape[1]
    # A class may mean void, as deeplab2's class 0 does; that the default is one is hardly meant.
    if ignore_label == 255 < num_classes:
        raise ValueError(
            f"ignore_label must be no class, got {ignore_label} of {num_classes} classes; use -1, "
            "for the targets too"
        )
    _check_shape("semantic_target", target, (len(logits), *target.shape[-2:]))
    _check_shape("semantic_weight", weight, target.shape)
    stride_y, stride_x = _strides(logits.shape[-2:], target.shape[-2:])
    target = target[:, ::stride_y, ::stride_x]
    weight = weight[:, ::stride_y, ::stride_x]
    logits = _full_precision(logits)
    losses = F.cross_entropy(logits, target, ignore_index=ignore_label, reduction="none") * weight
    if convention == "detectron2":
        return _largest(losses.reshape(1, -1), int(top_k_fraction * losses.numel())).mean()
    # Python's round is half to even, as deeplab2's.
    return _mean_of_nonzero(_largest(losses.flatten(1), round(top_k_fraction * losses.shape[1:].numel())))


def center_loss(
    heatmap: Tensor, target: Tensor, weight: Tensor, convention: Convention = "deeplab2"
) -> Tensor:
    """Squared error of the center heatmap; all tensors (B, 1, H, W); a scalar."""
    _check_settings(convention)
    _check_shape("center_heatmap", heatmap, target.shape)
    _check_shape("center_weight", weight, target.shape)
    losses = (_full_precision(heatmap) - target).square() * weight
    return _mean_of_nonzero(losses.flatten(1)) if convention == "deeplab2" else _weighted_mean(losses, weight)


def offset_loss(
    offsets: Tensor, target: Tensor, weight: Tensor, convention: Convention = "deeplab2"
) -> Tensor:
    """Absolute error of the center offsets; offsets, target (B, 2, H, W), weight (B, 1, H, W); a scalar."""
    _check_settings(convention)
    _check_shape("offsets", offsets, target.shape)
    _check_shape("offset_weight", weight, (len(target), 1, *target.shape[2:]))
    losses = (_full_precision(offsets) - target).abs() * weight
    if convention == "deeplab2":
        return _mean_of_nonzero(losses.mean(dim=1).flatten(1))
    return _weighted_mean(losses, weight)


def _mean_of_nonzero(losses: Tensor) -> Tensor:
    """(B, n) -> scalar: sum of each image over its number of non-zero losses (0 if none), then the mean."""
    counts = torch.count_nonzero(losses, dim=1).clamp(min=1)
    return (losses.sum(dim=1) / counts).mean()


def _weighted_mean(losses: Tensor, weight: Tensor) -> Tensor:
    # A sum of zero weights comes with a sum of zero losses; the clamp makes it 0 and no weight is below 1.
    return losses.sum() / weight.sum().clamp(min=1)


def _largest(losses: Tensor, count: int) -> Tensor:
    """(B, n) -> (B, count): the largest losses of each row, in any order."""
    if count >= losses.shape[1]:
        return losses
    # At least one, so that images of a few pixels train too; unsorted selection costs a tenth of a sort.
    return torch.topk(losses, max(count, 1), dim=1, sorted=False).values


def _full_precision(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _strides(size: torch.Size, target_size: torch.Size) -> tuple[int, int]:
    stride_y, stride_x = (
        max((target - 1) // max(source - 1, 1), 1) for source, target in zip(size, target_size, strict=True)
    )
    if ((size[0] - 1) * stride_y, (size[1] - 1) * stride_x) != (target_size[0] - 1, target_size[1] - 1):
        raise ValueError(
            f"semantic_logits must be as large as the targets {tuple(target_size)} or lie on every s-th "
            f"pixel, got {tuple(size)}; resize them"
        )
    return stride_y, stride_x


def _check_settings(convention: str, top_k_fraction: float = 1.0) -> None:
    if not 0 < top_k_fraction <= 1:
        raise ValueError(f"top_k_fraction must be in (0, 1], got {top_k_fraction}; 1 trains all pixels")
    if convention not in CONVENTIONS:
        raise ValueError(
            f"convention must be one of {', '.join(CONVENTIONS)}, got {convention!r}; choose one"
        )


def _check_shape(name: str, x: Tensor, shape: Sequence[int]) -> None:
    """Refuse what would be multiplied with numbers of other pixels or images."""
    if x.shape != tuple(shape):
        raise ValueError(f"{name} must have the shape {tuple(shape)}, got {tuple(x.shape)}; resize it")
