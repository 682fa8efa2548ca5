"""Networks by name, with random or with trained weights."""

import os
import sys
from pathlib import Path
from typing import Any

from torch import nn

from axial_deeplab.models import registry
from axial_deeplab.models.panoptic import PanopticDeepLab
from axial_deeplab.weights.file import read_network
from axial_deeplab.weights.matching import load_matching
from axial_deeplab.weights.names import default_name, pretrained_names, public_weights, shipped_path


def path_of(path_or_name: str | os.PathLike[str]) -> Path:
    """Return the file of weights that have a name, downloaded if need be; of anything else, the path.

    Raises:
        ValueError: an empty word; public weights are not what they were, or cannot be converted.
        OSError: public weights cannot be downloaded.
    """
    path, name = Path(path_or_name), str(path_or_name)
    if not name:  # which is the current folder to `Path`
        raise ValueError("weights must be a file or a name of `axial-deeplab weights list`, got ''")
    if path.exists():
        return path
    if name in pretrained_names():
        return shipped_path(name)
    if name in public_weights():
        # Not at the top, for a quick start: downloading and converting are needed at the first use alone.
        from axial_deeplab.weights.public import local_weights

        return local_weights(name, progress=sys.stderr.isatty())
    return path


def create_model(
    name: str,
    *,
    num_classes: int | None = None,
    span: int | None = None,
    in_channels: int = 3,
    pretrained: bool | str = False,
    features_only: bool = False,
    **overrides: Any,
) -> nn.Module:
    """Build a network by its name.

    Args:
        name: one of `list_models()`; with `pretrained`, the name of weights will do.
        num_classes: classes of the classifier or of the semantic head; None is 1000 (ImageNet) or 133
            (COCO), or as many as the weights have.
        span: positions that a query attends to, odd; None is the whole axis.
        in_channels: channels of the images.
        pretrained: load shipped or public weights (see `axial-deeplab weights list`): those of this name or
            the default or only ones of this network, or those that are named here. The arguments that they
            were trained with replace all defaults; what does not fit the given ones (such as a head of
            another number of classes) keeps its random values.
        features_only: return the backbone alone, whose output are the maps res2 to res5.
        overrides: further arguments of the network's classes (`AxialResNet`, `PanopticDeepLab`, ...), such
            as `output_stride`, `checkpoint`, `width_multiplier`, `depths`, `decoder`, `aspp`.

    Returns:
        The network, in training mode. `create_model(**model.config)` builds it again, without its weights.

    Raises:
        ValueError: for an unknown name or argument, a span without attention, or `pretrained` without
            weights.
        OSError: public weights cannot be downloaded.
    """
    if not pretrained:
        return registry.create_model(
            name,
            num_classes=num_classes,
            span=span,
            in_channels=in_channels,
            features_only=features_only,
            **overrides,
        )
    # What keeps its default is as the weights have it.
    given: dict[str, Any] = {"num_classes": num_classes, "span": span}
    given = {key: value for key, value in given.items() if value is not None}
    given |= {} if in_channels == 3 else {"in_channels": in_channels}
    given |= {"features_only": True} if features_only else {}
    weights = default_name(name) if isinstance(pretrained, bool) else pretrained
    source, _, metadata = read_network(path_of(weights))
    config = metadata["model"]
    if name in registry.ENTRIES and config["name"] != name:
        raise ValueError(
            f"pretrained must be weights of {name}, got weights of {config['name']}; choose others"
        )
    model = registry.create_model(**{**config, **given, **overrides})
    if features_only and isinstance(source, PanopticDeepLab):
        source = source.backbone
    load_matching(model, source.state_dict())
    return model
