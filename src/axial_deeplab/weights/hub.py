"""Weights on the Hugging Face Hub, or in folders as it has them: safetensors, config.json, a model card."""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from axial_deeplab.util.files import atomic_path

if TYPE_CHECKING:
    from axial_deeplab.weights.file import LoadedWeights

WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"
CARD_NAME = "README.md"
SCORES = {"pq": "PQ", "sq": "SQ", "rq": "RQ", "miou": "mIoU", "ap": "AP", "top1": "top-1", "top5": "top-5"}


def from_pretrained(
    repository: str | os.PathLike[str],
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
) -> "LoadedWeights":
    """Load weights from the Hub, or from a folder that `save_pretrained` wrote.

    Args:
        repository: a folder, or "user/name" on the Hub.
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
    from axial_deeplab.weights.file import load_weights

    if Path(repository).is_dir():
        return load_weights(Path(repository) / WEIGHTS_NAME)
    _require_hub()
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HFValidationError

    try:
        path = hf_hub_download(
            str(repository),
            WEIGHTS_NAME,
            revision=revision,
            token=token,
            cache_dir=None if cache_dir is None else Path(cache_dir),
            local_files_only=local_files_only,
            force_download=force_download,
        )
    except HFValidationError:
        raise FileNotFoundError(
            f"repository must be a folder or user/name on the Hub, got {repository}; correct it"
        ) from None
    return load_weights(path)


def save_pretrained(
    weights: "LoadedWeights", folder: str | os.PathLike[str], *, metrics: Mapping[str, Any] | None = None
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
    from axial_deeplab.weights.file import save_weights

    folder = Path(folder)
    if metrics is not None:
        weights = replace(weights, metadata={**weights.metadata, "metrics": measured_scores(metrics)})
    extra = {name: value for name, value in weights.metadata.items() if name not in ("model", "categories")}
    save_weights(folder / WEIGHTS_NAME, weights.model, weights.categories, extra=extra)
    for name, text in ((CONFIG_NAME, _config(weights)), (CARD_NAME, model_card(weights))):
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def push_to_hub(
    weights: "LoadedWeights",
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
        commit_message: for its history.
        create_pr: whether to open a pull request instead of changing the branch.

    Returns:
        The address of the commit.

    Raises:
        ValueError: as for `save_pretrained`, or huggingface_hub is not installed.
        OSError: the Hub cannot be reached or refuses.
    """
    _require_hub()
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


def measured_scores(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores of an evaluation that a model card shows, in percent, and what they are of.

    Args:
        metrics: what `axial-deeplab evaluate --json-out` writes and `to_json()` of an evaluation returns, or
            scores by the names of `SCORES`; `data` names the data.

    Raises:
        ValueError: there is none of these scores.
    """
    sections = [metrics, metrics.get("All"), metrics.get("instances")]
    flat = {key: value for part in sections if isinstance(part, Mapping) for key, value in part.items()}
    semantic = metrics.get("semantic")
    if isinstance(semantic, Mapping):
        flat["miou"] = semantic.get("mean_iou")
    scores = {key: float(flat[key]) for key in SCORES if isinstance(flat.get(key), int | float)}
    if not scores:
        raise ValueError(
            f"metrics must have some of {', '.join(SCORES)}, got {list(metrics)}; evaluate first"
        )
    images = f"{metrics['num_images']} images" if "num_images" in metrics else ""
    return {"data": metrics.get("data", images), **scores}


def model_card(weights: "LoadedWeights") -> str:
    """Return the text of a model card; it has those scores that the metadata have, and no others."""
    metadata, categories = weights.metadata, weights.categories
    name = metadata["model"]["name"]
    parameters = sum(parameter.numel() for parameter in weights.model.parameters())
    is_panoptic = hasattr(weights.model, "semantic_head")
    task = "image-segmentation" if is_panoptic else "image-classification"
    tags = ["axial-attention", *(["panoptic-segmentation"] if is_panoptic else [])]
    lines = ["---", "library_name: axial-deeplab", f"pipeline_tag: {task}", "tags:"]
    lines += [*(f"- {tag}" for tag in tags), "---", "", f"# {name}", ""]
    lines.append(f"Weights of the network `{name}` of axial-deeplab, {parameters / 1e6:.2f} M parameters.")
    if is_panoptic:
        counts = f"things: {len(categories.thing_ids)}, stuff: {len(categories.stuff_ids)}"
        lines[-1] += f" Classes ({counts}): {', '.join(categories.names)}."
        lines += ["", "```python", "from axial_deeplab import Predictor, from_pretrained", ""]
        lines += ['prediction = Predictor(from_pretrained("user/name"))("photo.jpg")', "```"]
    for key, title in (("training_data", "Training data"), ("license", "License")):
        if isinstance(metadata.get(key), str):
            lines += ["", f"{title}: {metadata[key]}."]
    for key, title in (("metrics", "Measured"), ("published", "Published by the authors of the weights")):
        if isinstance(metadata.get(key), Mapping):
            lines += ["", *_score_table(title, metadata[key])]
    return "\n".join([*lines, ""])


def _score_table(title: str, scores: Mapping[str, Any]) -> list[str]:
    columns = {label: f"{scores[key]:.1f}" for key, label in SCORES.items() if key in scores}
    data = str(scores.get("data", ""))
    header = f"| {title} | {' | '.join(columns)} |"
    return [header, "| --- |" + " ---: |" * len(columns), f"| {data} | {' | '.join(columns.values())} |"]


def _config(weights: "LoadedWeights") -> str:
    names = weights.categories.names
    config = {
        "library_name": "axial-deeplab",
        "architectures": [type(weights.model).__name__],
        "id2label": {str(train_id): name for train_id, name in enumerate(names)},
        "label2id": {name: train_id for train_id, name in enumerate(names)},
        **weights.metadata,
    }
    return json.dumps(config, indent=2) + "\n"


def _require_hub() -> None:
    if find_spec("huggingface_hub") is None:
        raise ValueError(
            'the Hub needs the package huggingface_hub, which is missing; pip install "axial-deeplab[hub]"'
        )
