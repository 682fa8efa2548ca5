"""What differs between training a panoptic network and a classification network."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import Dataset

from axial_deeplab.config.schema import Config, DataConfig
from axial_deeplab.data.channels import ALL, mean_and_deviation
from axial_deeplab.data.image_folder import ImageFolder
from axial_deeplab.data.image_warnings import ImageWarning
from axial_deeplab.data.images import read_image, warn_of_images
from axial_deeplab.data.panoptic_dataset import PanopticDataset
from axial_deeplab.data.tiff import UnsupportedImageError
from axial_deeplab.models.registry import create_model
from axial_deeplab.training.module import TrainingModule
from axial_deeplab.weights.metadata import arguments_of

# Images whose channels are measured.
_MEASURED = 100


@dataclass(frozen=True)
class Task:
    """A network with its losses and its data.

    Args:
        module: trains and validates the network.
        train: augmented items by the key (epoch, index).
        val: what `module` validates on, one item an image; None for no validation.
        val_batch_size: items that the validation takes at a time.
        stacked: function that makes a training batch of items; None stacks what they hold.
    """

    module: TrainingModule
    train: Dataset[Any]
    val: Dataset[Any] | None
    val_batch_size: int = 1
    stacked: Callable[[Sequence[Any]], Any] | None = None


def build_model(config: Config, num_classes: int, **of_images: Any) -> nn.Module:
    """Build the network of the settings, whose overrides count more than `of_images`.

    Raises:
        ValueError: its name or one of its arguments is not valid.
    """
    name, overrides = config.model.name, of_images | config.model.overrides
    with arguments_of(name, "model.overrides", overrides):
        return create_model(name, num_classes=num_classes, span=config.model.span, **overrides)


def reading(data: DataConfig) -> dict[str, Any]:
    """Return range of values and page if they are not the usual ones, so that older versions read weights."""
    usual = DataConfig()
    names = ("value_range", "page")
    return {name: getattr(data, name) for name in names if getattr(data, name) != getattr(usual, name)}


def see_channels(dataset: PanopticDataset, in_channels: int | None) -> dict[str, Any]:
    """Look at the channels that are chosen in some of the images; let the data set refuse other files.

    Args:
        dataset: images of a training; from now on all must have as many channels as these.
        in_channels: channels of the network if the settings say so.

    Returns:
        Arguments of the network: number, mean and standard deviation of the channels; nothing for RGB.

    Raises:
        ValueError: the settings contradict each other, an image cannot be read, or two have other channels.
        OSError: an image cannot be opened.
    """
    if dataset.channels is None:
        if in_channels not in (None, 1, 3):
            raise ValueError(
                f"data.channels must be {in_channels} numbers of channels for model.overrides.in_channels "
                f"{in_channels}, got null; give them, such as --data.channels [1,2], or leave in_channels out"
            )
        return {}
    number = len(dataset.channels.numbers)
    if in_channels not in (None, number):
        raise ValueError(
            f"model.overrides.in_channels must be {number}, as many as data.channels, got {in_channels}; "
            "leave it out"
        )
    files = dataset.image_files[:: max(1, -(-len(dataset) // _MEASURED))]
    first: dict[int, Path] = {}

    def chosen() -> Iterator[NDArray[np.uint8]]:
        for path in files:
            pixels = read_image(path, **dataset.reading | {"channels": ALL})
            first.setdefault(pixels.shape[2], path)
            yield channels.chosen(pixels)

    channels = dataset.channels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImageWarning)  # which `look_at_images` tells
            mean, deviation = mean_and_deviation(chosen())
    except UnsupportedImageError as error:
        raise ValueError(f"{[*first.values()][-1]} {error}") from None
    if len(first) > 1:
        (one, path), (other, odd) = [*first.items()][:2]
        raise ValueError(
            f"{odd} must have {one} channels as {path}, got {other}; save all images of a training alike"
        )
    dataset.channels = replace(channels, of=next(iter(first)))
    return {"in_channels": number, "pixel_mean": mean, "pixel_std": deviation}


@rank_zero_only
def look_at_images(dataset: PanopticDataset | ImageFolder) -> None:
    """Tell what is odd in some of the images, before hours of training in which nothing is told."""
    warn_of_images(dataset.image_files, **dataset.reading)
