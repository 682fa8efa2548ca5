"""What people read about weights: the model card and the configuration, as the Hugging Face Hub has them."""

import json
from collections.abc import Mapping
from typing import Any

from torch import nn

from axial_deeplab.panoptic.categories import Categories

SCORES = {"pq": "PQ", "sq": "SQ", "rq": "RQ", "miou": "mIoU", "ap": "AP", "top1": "top-1", "top5": "top-5"}


def measured_scores(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores of an evaluation that a model card shows, in percent, and what they are scores on.

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


def model_card(model: nn.Module, categories: Categories, metadata: Mapping[str, Any]) -> str:
    """Return the text of a model card; it has those scores that the metadata have, and no others."""
    name = metadata["model"]["name"]
    parameters = sum(parameter.numel() for parameter in model.parameters())
    is_panoptic = hasattr(model, "semantic_head")
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


def model_config(model: nn.Module, categories: Categories, metadata: Mapping[str, Any]) -> str:
    """Return the text of a configuration."""
    names = categories.names
    config = {
        "library_name": "axial-deeplab",
        "architectures": [type(model).__name__],
        "id2label": {str(train_id): name for train_id, name in enumerate(names)},
        "label2id": {name: train_id for train_id, name in enumerate(names)},
        **metadata,
    }
    return json.dumps(config, indent=2) + "\n"
