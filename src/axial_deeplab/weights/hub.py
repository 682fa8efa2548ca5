"""Weights on the Hugging Face Hub, or in folders as it has them: safetensors, config.json, a model card."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.util.files import write_text
from axial_deeplab.util.packages import require_package
from axial_deeplab.weights.card import measured_scores, model_card, model_config
from axial_deeplab.weights.file import save_weights

WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"
CARD_NAME = "README.md"


class Weights(Protocol):
    """A network, its classes and what else is known: `LoadedWeights`, for example."""

    @property
    def model(self) -> nn.Module:
        """The network."""

    @property
    def categories(self) -> Categories:
        """What its classes are."""

    @property
    def metadata(self) -> dict[str, Any]:
        """Everything else that is known."""


def download_weights(repository: str | os.PathLike[str], **options: Any) -> Path:
    """Return the file of weights in a folder that `save_pretrained` wrote, or in a repository on the Hub.

    Args:
        repository: folder, or "user/name" on the Hub.
        options: arguments of `huggingface_hub.hf_hub_download`.

    Raises:
        OSError: the repository does not exist or cannot be reached.
        ValueError: huggingface_hub is not installed.
    """
    if Path(repository).is_dir():
        return Path(repository) / WEIGHTS_NAME
    require_package("huggingface_hub", "hub", "the Hub needs")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(hf_hub_download(str(repository), WEIGHTS_NAME, **options))
    except HFValidationError:
        raise FileNotFoundError(
            f"repository must be a folder or user/name on the Hub, got {repository}; correct it"
        ) from None


def save_pretrained(
    weights: Weights, folder: str | os.PathLike[str], *, metrics: Mapping[str, Any] | None = None
) -> None:
    """Write weights, their configuration and a model card into a folder.

    Args:
        weights: what `load_weights` returned, for example.
        folder: made if it is missing; files of the same names are replaced.
        metrics: scores for the card, see `measured_scores`; None keeps those that the weights have, if any.

    Raises:
        ValueError: a tensor is not finite, or there is no score among the metrics.
        OSError: the folder cannot be written.
    """
    folder = Path(folder)
    model, categories, metadata = weights.model, weights.categories, dict(weights.metadata)
    if metrics is not None:
        metadata["metrics"] = measured_scores(metrics)
    extra = {name: value for name, value in metadata.items() if name not in ("model", "categories")}
    save_weights(folder / WEIGHTS_NAME, model, categories, extra=extra)
    for name, describe in ((CONFIG_NAME, model_config), (CARD_NAME, model_card)):
        write_text(folder / name, describe(model, categories, metadata))


def push_to_hub(
    weights: Weights,
    repository: str,
    *,
    metrics: Mapping[str, Any] | None = None,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    commit_message: str = "Upload weights",
    create_pr: bool = False,
) -> str:
    """Upload what `save_pretrained` writes; the repository is made if it is missing.

    Args:
        weights: see `save_pretrained`.
        repository: "user/name".
        metrics: see `save_pretrained`.
        private: whether only the user sees a new repository.
        token: token of the user; None takes the one that is stored.
        revision: branch.
        commit_message: message for its history.
        create_pr: whether to open a pull request instead of changing the branch.

    Returns:
        The address of the commit.

    Raises:
        ValueError: as for `save_pretrained`, or huggingface_hub is not installed.
        OSError: the Hub cannot be reached or refuses.
    """
    require_package("huggingface_hub", "hub", "the Hub needs")
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(weights, folder, metrics=metrics)
        repo_id = api.create_repo(repository, private=private, exist_ok=True).repo_id
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            revision=revision,
            commit_message=commit_message,
            create_pr=create_pr,
        )
    return str(commit)
