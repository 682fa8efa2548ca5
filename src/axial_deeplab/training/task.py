"""What differs between training a panoptic network and a classification network."""

from dataclasses import dataclass
from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import nn
from torch.utils.data import Dataset

from axial_deeplab.config.schema import Config, DataConfig
from axial_deeplab.data.image_folder import ImageFolder
from axial_deeplab.data.images import warn_of_images
from axial_deeplab.data.panoptic_dataset import PanopticDataset
from axial_deeplab.models.registry import create_model
from axial_deeplab.training.module import TrainingModule


@dataclass(frozen=True)
class Task:
    """A network with its losses and its data.

    Args:
        module: trains and validates the network.
        train: augmented items by the key (epoch, index).
        val: what `module` validates on, one item an image; None for no validation.
        val_batch_size: items that the validation takes at a time.
    """

    module: TrainingModule
    train: Dataset[Any]
    val: Dataset[Any] | None
    val_batch_size: int = 1


def build_model(config: Config, num_classes: int) -> nn.Module:
    """Build the network of the settings.

    Raises:
        ValueError: its name or one of its arguments is not valid.
    """
    name, overrides = config.model.name, config.model.overrides
    try:
        return create_model(name, num_classes=num_classes, span=config.model.span, **overrides)
    except (TypeError, RuntimeError, ZeroDivisionError) as error:
        # The networks check what their arguments mean, but a text for a number breaks them anywhere.
        message = " ".join(str(error).split())
        raise ValueError(
            f"model.overrides must be arguments of {name}, got {overrides} "
            f"({type(error).__name__}: {message}); correct types and values"
        ) from None


def value_range(data: DataConfig) -> dict[str, Any]:
    """Return the range of values if it is not that of the type, so that older versions read usual weights."""
    return {} if data.value_range == "full" else {"value_range": data.value_range}


@rank_zero_only
def look_at_images(dataset: PanopticDataset | ImageFolder) -> None:
    """Tell what is odd in some of the images, before hours of training in which nothing is told."""
    warn_of_images(dataset.image_files, dataset.value_range)
