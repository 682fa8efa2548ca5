"""Trained networks, from files, from names, from the Hugging Face Hub."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.post_processing import PostProcessing
from axial_deeplab.weights import hub
from axial_deeplab.weights.factory import path_of
from axial_deeplab.weights.file import read_network


@dataclass(frozen=True)
class LoadedWeights:
    """A network with its weights.

    Args:
        model: network in evaluation mode, on the CPU.
        categories: what its classes are.
        metadata: everything that the file says: `model`, `categories`, `post_processing` and more.
    """

    model: nn.Module
    categories: Categories
    metadata: dict[str, Any]

    def save_pretrained(self, folder: str | os.PathLike[str], **options: Any) -> None:
        """Write a folder as the Hugging Face Hub has it; see `hub.save_pretrained`."""
        hub.save_pretrained(self, folder, **options)

    def push_to_hub(self, repository: str, **options: Any) -> str:
        """Upload to the Hugging Face Hub; see `hub.push_to_hub`."""
        return hub.push_to_hub(self, repository, **options)


def load_weights(path_or_name: str | os.PathLike[str]) -> LoadedWeights:
    """Build a network with the weights of a file, or with weights that have a name.

    Args:
        path_or_name: file that `save_weights` wrote, checkpoint of our training (`*.ckpt`), or name of
            `axial-deeplab weights list`; public weights are downloaded at their first use.

    Raises:
        FileNotFoundError: there is neither such a file nor such a name.
        OSError: public weights cannot be downloaded.
        ValueError: the file has another format, is broken, or its tensors are not those of its network.
    """
    return _loaded(path_of(path_or_name))


def from_pretrained(
    repository: str | os.PathLike[str],
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
) -> LoadedWeights:
    """Load weights from the Hub, or from a folder that `save_pretrained` wrote.

    Args:
        repository: folder, or "user/name" on the Hub.
        revision: branch, tag or commit.
        token: token of the user, for private repositories; None takes the one that is stored.
        cache_dir: where huggingface_hub keeps its downloads; None is its own place.
        local_files_only: whether to use what was downloaded before.
        force_download: whether to download it again.

    Returns:
        What `Predictor` takes.

    Raises:
        FileNotFoundError: there are no weights in the folder.
        OSError: the repository does not exist or cannot be reached.
        ValueError: the file is not one of ours, or huggingface_hub is not installed.
    """
    path = hub.download_weights(
        repository,
        revision=revision,
        token=token,
        cache_dir=None if cache_dir is None else Path(cache_dir),
        local_files_only=local_files_only,
        force_download=force_download,
    )
    return _loaded(path)


def _loaded(path: Path) -> LoadedWeights:
    model, categories, metadata = read_network(path)
    if hasattr(model, "semantic_head"):
        try:
            PostProcessing.from_metadata(metadata, categories.thing_ids)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    return LoadedWeights(model, categories, metadata)
