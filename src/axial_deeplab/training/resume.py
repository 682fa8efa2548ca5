"""Going on with a training: its checkpoint, looked at before anything begins."""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import lightning
import torch
from torch import Tensor

from axial_deeplab.config.schema import Config, config_from_dict, config_to_dict
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.training.checkpoints import LAST
from axial_deeplab.training.module import TrainingModule
from axial_deeplab.training.optimizers import fresh_state
from axial_deeplab.weights.metadata import check_metadata

# Settings on which the numbers stored in a checkpoint depend.
FIXED_BY_CHECKPOINT = (
    "model",
    "data.value_range",
    "data.channels",
    "data.page",
    "optim.optimizer",
    "optim.lr",
    "optim.weight_decay",
    "optim.momentum",
    "optim.ema_decay",
    "trainer.batch_size",
    "trainer.accumulate",
    "trainer.seed",
)


# What a checkpoint must have, beside what Lightning can do without.
CHECKPOINT_ENTRIES: dict[str, type] = {
    "axial_deeplab": dict,
    "state_dict": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
    "loops": dict,
    "callbacks": dict,
    "global_step": int,
    "pytorch-lightning_version": str,
}


def checkpoint_to_resume(config: Config, output: Path) -> Path | None:
    """Return the checkpoint that a training goes on from, None where it begins anew.

    Raises:
        ValueError: the output has a run that was not asked to go on.
        FileNotFoundError: there is no such checkpoint.
    """
    last = output / LAST
    if config.trainer.resume is None:
        if last.exists():
            raise ValueError(
                f"trainer.output must be a folder without {LAST}, got {output}; give --resume to go on with "
                "that run, or another --trainer.output"
            )
        return None
    takes_last = config.trainer.resume == "last"
    if takes_last and not last.exists():
        return None
    checkpoint = last if takes_last else Path(config.trainer.resume)
    if not checkpoint.is_file():
        raise FileNotFoundError(
            f"trainer.resume must be a checkpoint, got {checkpoint}, which is no file; correct the path"
        )
    return checkpoint


def check_resumed(checkpoint: Path | None, module: TrainingModule, config: Config) -> int:
    """Return the step that training starts from; refuse a checkpoint of another run, tell what differs."""
    if checkpoint is None:
        return 0
    try:
        stored = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # a damaged file can fail anywhere in the unpickler
        raise _not_ours(checkpoint, type(error).__name__) from None
    run = _checked_run(checkpoint, stored)
    stored_classes = Categories.from_json(run["categories"], source=str(checkpoint))
    module.categories.require_same_classes(stored_classes, "data.train.json", f"trainer.resume {checkpoint}")
    # Through a `Config`, so that settings which are newer than the checkpoint have their defaults.
    before, now = (_flat(config_to_dict(c)) for c in (config_from_dict(run["config"]), config))
    changes = {key: (before.get(key), value) for key, value in now.items() if before.get(key) != value}
    for key, (old, new) in changes.items():
        # Sharded, the optimizer's state has another order.
        sharding = key == "trainer.strategy" and "fsdp" in (old, new)
        if sharding or any(f"{key}.".startswith(f"{fixed}.") for fixed in FIXED_BY_CHECKPOINT):
            raise ValueError(
                f"{key} must be {old} as in {checkpoint}, got {new}; leave it, or start a new run"
            )
    network = cast("Mapping[str, Any]", module.model.config)
    if any(run["model"].get(name) != network.get(name) for name in ("pixel_mean", "pixel_std")):
        raise ValueError(
            f"data.train must have the images whose channels {checkpoint} was normalized by, got others; "
            "give them back, or start a new run with --model.weights"
        )
    changed = [f"{key} {old} -> {new}" for key, (old, new) in changes.items() if key != "trainer.resume"]
    _check_content(checkpoint, stored, module)
    step: int = stored["global_step"]
    last = config.optim.max_steps
    if step > last:
        raise ValueError(
            f"optim.max_steps must be at least {step}, the step of {checkpoint}, got {last}; give more steps"
        )
    print(f"resuming {checkpoint} at step {step}" + (f"; changed: {', '.join(changed)}" if changed else ""))
    return step


def _not_ours(checkpoint: Path, found: str) -> ValueError:
    return ValueError(
        f"trainer.resume must be a checkpoint of `axial-deeplab train`, got {checkpoint} ({found}); "
        "weights alone can be given as --model.weights"
    )


def _checked_run(checkpoint: Path, stored: Any) -> dict[str, Any]:
    """Return what our module has stored; refuse a checkpoint that lacks what Lightning goes on with."""
    if not isinstance(stored, dict):
        raise _not_ours(checkpoint, f"a {type(stored).__name__}")
    for name, kind in CHECKPOINT_ENTRIES.items():
        if not isinstance(stored.get(name), kind):
            raise _not_ours(checkpoint, f"its {name} is of type {type(stored.get(name)).__name__}")
    if not stored["optimizer_states"]:
        raise _not_ours(checkpoint, "it has no state of the optimizer")
    version = stored["pytorch-lightning_version"]
    if not re.match(r"\d+\.\d", version):
        raise _not_ours(checkpoint, f"its pytorch-lightning_version is {version!r}")
    if not 0 <= stored["global_step"] < 2**31:
        raise _not_ours(checkpoint, f"its global_step is {stored['global_step']}")
    run: dict[str, Any] = stored["axial_deeplab"]
    if not isinstance(run.get("config"), dict) or "categories" not in run:
        raise _not_ours(checkpoint, "it has no settings and categories")
    check_metadata(str(checkpoint), run)
    return run


def _check_content(checkpoint: Path, stored: Mapping[str, Any], module: TrainingModule) -> None:
    """Refuse what is of another kind than what this training would store."""
    optim, fresh = module.config.optim, cast("dict[str, Any]", module.configure_optimizers())
    optimizer = fresh["optimizer"].state_dict()
    if module.config.trainer.strategy == "fsdp":  # whose parameters have another order
        optimizer = stored["optimizer_states"][0]
    elif stored["global_step"]:
        parameters = [each for group in fresh["optimizer"].param_groups for each in group["params"]]
        optimizer["state"] = fresh_state(optim.optimizer, parameters, momentum=optim.momentum)
    schedule = fresh["lr_scheduler"]["scheduler"].state_dict()
    parts = [
        ("tensors", stored["state_dict"], module.state_dict()),
        ("values of the optimizer", stored["optimizer_states"], [optimizer]),
        ("values of the learning rate", stored["lr_schedulers"], [schedule]),
        ("values of the callbacks", stored["callbacks"], {"Checkpoints": {"best_score": 0.0}}),
    ]
    if stored["pytorch-lightning_version"] == lightning.__version__:  # which brings older ones up to date
        loop = lightning.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False).fit_loop
        parts.append(("counts", stored["loops"], {"fit_loop": loop.state_dict()}))
    for what, found, wanted in parts:
        differing = list(_differences(found, wanted))
        if differing:
            raise _not_ours(checkpoint, f"{len(differing)} of its {what} are others, such as {differing[0]}")


def _differences(stored: Any, fresh: Any, place: str = "") -> Iterator[str]:
    """Yield where a stored value is of another kind than a fresh one, or not finite."""
    inside = place and f"{place}."
    if isinstance(fresh, Tensor):
        if not isinstance(stored, Tensor):
            yield f"{place} ({type(stored).__name__})"
        elif (stored.shape, stored.is_floating_point()) != (fresh.shape, fresh.is_floating_point()):
            yield f"{place} ({stored.dtype} of shape {tuple(stored.shape)})"
        elif not stored.isfinite().all():
            yield f"{place} (not finite)"
    elif isinstance(fresh, int | float):
        kind = type(fresh) if isinstance(fresh, int) else (int, float)
        if not isinstance(stored, kind) or not stored < math.inf or (isinstance(fresh, int) and stored < 0):
            yield f"{place} ({str(stored)[:40]})"
    elif isinstance(fresh, list | tuple):
        if not isinstance(stored, list | tuple) or len(stored) != len(fresh):
            yield f"{place or 'their number'} ({str(stored)[:40]})"
        else:
            for number, pair in enumerate(zip(stored, fresh, strict=True)):
                yield from _differences(*pair, f"{inside}{number}")
    elif isinstance(fresh, Mapping):
        if not isinstance(stored, Mapping):
            yield f"{place} ({type(stored).__name__})"
            return
        for key, value in fresh.items():
            if key in stored:
                yield from _differences(stored[key], value, f"{inside}{key}")
            # Switches that newer versions of PyTorch have added get their defaults.
            elif not ("params" in fresh and isinstance(value, bool | None)):
                yield f"{inside}{key} (missing)"
        for key in stored:
            if key not in fresh and (isinstance(key, int) or isinstance(stored[key], Tensor)):
                yield f"{inside}{key} (too many)"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
