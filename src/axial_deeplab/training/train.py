"""Training from the settings: data, network, Lightning's `Trainer`, and the weights at the end."""

import logging
import signal
import sys
import warnings
from collections.abc import Mapping, Sized
from pathlib import Path
from typing import Any, cast

import lightning
import torch
import yaml
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from axial_deeplab.config.schema import Config, config_from_dict, config_to_dict
from axial_deeplab.data.image_warnings import ImageWarning
from axial_deeplab.models.norm import convert_sync_batchnorm
from axial_deeplab.models.registry import is_classifier
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.training.batches import TrainingBatches
from axial_deeplab.training.checkpoints import LAST, AtomicCheckpointIO, Checkpoints
from axial_deeplab.training.classification import classification_task
from axial_deeplab.training.metrics_file import MetricsFile
from axial_deeplab.training.module import TrainingModule
from axial_deeplab.training.panoptic import panoptic_task
from axial_deeplab.training.strategies import ShardedStrategy, is_lost_connection, make_strategy
from axial_deeplab.training.task import Task
from axial_deeplab.util.files import atomic_path, naming_full_disk
from axial_deeplab.util.termination import Terminated, sigterm_handler
from axial_deeplab.weights.file import save_weights
from axial_deeplab.weights.loaded import load_weights

WEIGHTS = "weights.safetensors"

# Settings on which the numbers stored in a checkpoint depend.
FIXED_BY_CHECKPOINT = (
    "model",
    "data.value_range",
    "data.channels",
    "data.page",
    "optim.optimizer",
    "optim.lr",
    "optim.weight_decay",
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
    "loops": dict,
    "callbacks": dict,
    "global_step": int,
    "pytorch-lightning_version": str,
}


class ProgressBar(TQDMProgressBar):
    """Lightning's bar for a training that counts steps, not epochs."""

    def on_train_start(self, trainer: lightning.Trainer, *modules: Any) -> None:
        """Start the bar, also when a run is resumed."""
        super().on_train_start(trainer, *modules)
        self.on_train_epoch_start(trainer)

    def on_train_epoch_start(self, trainer: lightning.Trainer, *modules: Any) -> None:
        """Start the bar."""
        super().on_train_epoch_start(trainer, *modules)
        self.train_progress_bar.set_description("step")

    def get_metrics(self, *arguments: Any) -> dict[str, Any]:
        """Return what stands beside the bar."""
        metrics = super().get_metrics(*arguments)
        metrics.pop("v_num", None)
        return metrics


def train(config: Config) -> Path:
    """Train a network as the settings say.

    The output folder gets config.yaml, metrics.csv, TensorBoard's logs, last.ckpt, best.ckpt (by PQ), and
    at the end weights.safetensors with the weights of the last step.

    Args:
        config: the settings.

    Returns:
        The file of the final weights.

    Raises:
        ValueError: settings that contradict each other, the data or the checkpoint; a data set that is not
            valid.
        OSError: a file that cannot be read or written.
    """
    _quieten()
    output = Path(config.trainer.output)
    resume = _checkpoint_to_resume(config, output)
    torch.manual_seed(config.trainer.seed)
    task = classification_task(config) if is_classifier(config.model.name) else panoptic_task(config)
    module = task.module
    report = None
    if config.model.weights is not None and resume is None:
        report = module.load_initial_weights(config.model.weights)
    step = _check_resumed(resume, module, config)
    trainer = _trainer(config, output, task, first_step=step)
    batch_size = _batch_size_of_a_process(config, trainer)
    if trainer.world_size > 1:
        module.model = convert_sync_batchnorm(module.model)
    # Shards are parts of one row of numbers, in the usual order.
    if config.trainer.channels_last and config.trainer.strategy != "fsdp":
        module.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if trainer.is_global_zero:
        if report is not None:
            print(f"{config.model.weights}: {report}")
        print(_summary(config, trainer, task, batch_size))
        _write_config(config, output / "config.yaml")
    with naming_full_disk(output):
        _fit(trainer, module, _batches(config, task, batch_size), resume)
    weights = output / WEIGHTS
    if trainer.is_global_zero:
        # The parameters of a sharded network are in several processes; its last checkpoint is whole.
        sharded = isinstance(trainer.strategy, ShardedStrategy)
        model = load_weights(output / LAST).model if sharded else module.evaluated_model
        save_weights(weights, model, module.categories, extra=module.metadata())
        print(f"weights of step {trainer.global_step} written to {weights}")
    return weights


def _batches(config: Config, task: Task, batch_size: int) -> TrainingBatches:
    return TrainingBatches(
        task.train,
        task.val,
        batch_size=batch_size,
        val_batch_size=task.val_batch_size,
        accumulate=config.trainer.accumulate,
        max_steps=config.optim.max_steps,
        num_workers=config.trainer.num_workers,
        seed=config.trainer.seed,
    )


def _fit(
    trainer: lightning.Trainer, module: TrainingModule, batches: TrainingBatches, checkpoint: Path | None
) -> None:
    try:
        # Lightning notes SIGTERM and ends after the step; a handler that raises would end it in the middle.
        with sigterm_handler(signal.SIG_DFL):
            trainer.fit(module, datamodule=batches, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        if trainer.received_sigterm:
            raise _terminated(trainer) from None
        raise
    except RuntimeError as error:
        # Where the whole group of processes is terminated, those that load images may be gone first.
        if trainer.received_sigterm:
            raise _terminated(trainer) from None
        if not is_lost_connection(error):
            raise
        raise ConnectionError(
            f"the {trainer.world_size} training processes must all run to the end, got a process that ended "
            f"or cannot be reached ({str(error).splitlines()[0]}); see what that process said, then go on "
            "with --resume"
        ) from None
    except (ValueError, OSError) as error:
        if "in DataLoader worker process" not in str(error):
            raise
        # The worker's traceback ends with the line that tells what is wrong.
        message = str(error).strip().splitlines()[-1]
        raise type(error)(message.partition(": ")[2]) from None


def _terminated(trainer: lightning.Trainer) -> Terminated:
    last = Path(trainer.default_root_dir) / LAST
    how = "go on with --resume" if last.exists() else "there is no checkpoint yet"
    return Terminated(f"stopped by SIGTERM at step {trainer.global_step}; {how}")


def _trainer(config: Config, output: Path, task: Task, *, first_step: int) -> lightning.Trainer:
    settings, optim = config.trainer, config.optim
    validates = task.val is not None
    # A training that is shorter than the interval is scored at its end.
    val_interval = min(settings.val_interval, optim.max_steps)
    callbacks: list[lightning.Callback] = [
        Checkpoints(
            output,
            interval=settings.checkpoint_interval,
            val_interval=val_interval if validates else None,
            max_steps=optim.max_steps,
            score=task.module.score,
        )
    ]
    if settings.progress_bar:
        # A file gets a line now and then instead of a bar that moves.
        callbacks.append(ProgressBar(refresh_rate=1 if sys.stderr.isatty() else settings.log_interval))
    try:
        return lightning.Trainer(
            accelerator=settings.accelerator,
            devices=settings.devices,
            num_nodes=settings.num_nodes,
            strategy=make_strategy(settings.strategy),
            precision=_precision(settings.precision, settings.accelerator),
            max_steps=optim.max_steps,
            accumulate_grad_batches=settings.accumulate,
            gradient_clip_val=optim.gradient_clip,
            # In batches, not in optimizer steps, and counted over the whole run: there are no epochs.
            val_check_interval=val_interval * settings.accumulate,
            check_val_every_n_epoch=None,
            limit_val_batches=None if validates else 0,
            num_sanity_val_steps=0,
            log_every_n_steps=settings.log_interval,
            callbacks=callbacks,
            logger=[
                MetricsFile(output / "metrics.csv", task.module.columns, first_step=first_step),
                TensorBoardLogger(output, name="", version="tensorboard", purge_step=first_step),
            ],
            plugins=[AtomicCheckpointIO()],
            enable_checkpointing=False,
            enable_progress_bar=settings.progress_bar,
            enable_model_summary=False,
            use_distributed_sampler=False,
            default_root_dir=output,
        )
    except (MisconfigurationException, TypeError, ValueError) as error:
        message = " ".join(str(error).split())
        raise ValueError(f"trainer must be settings that this machine can run, got: {message}") from None


def _precision(precision: str, accelerator: str) -> Any:
    if precision in ("bf16-true", "16-true"):
        warnings.warn(
            f"trainer.precision {precision} holds weights and moving averages in half precision, which small "
            "steps do not change: variances of norms stay up to 4% off; take "
            f"{precision.replace('true', 'mixed')}",
            stacklevel=3,
        )
    if precision != "auto":
        return precision
    on_gpu = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return "bf16-mixed" if on_gpu and torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"


def _batch_size_of_a_process(config: Config, trainer: lightning.Trainer) -> int:
    parts = trainer.world_size * config.trainer.accumulate
    if config.trainer.batch_size % parts:
        raise ValueError(
            f"trainer.batch_size must be a multiple of devices x accumulate = {trainer.world_size} x "
            f"{config.trainer.accumulate}, got {config.trainer.batch_size}; change one of the three"
        )
    return config.trainer.batch_size // parts


def _checkpoint_to_resume(config: Config, output: Path) -> Path | None:
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


def _check_resumed(checkpoint: Path | None, module: TrainingModule, config: Config) -> int:
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
    _check_tensors(checkpoint, stored["state_dict"], module)
    step: int = stored["global_step"]
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
    optimizers = stored["optimizer_states"]
    if not optimizers or not all(isinstance(each, dict) and "param_groups" in each for each in optimizers):
        raise _not_ours(checkpoint, "it has no state of the optimizer")
    if not 0 <= stored["global_step"] < 2**31:
        raise _not_ours(checkpoint, f"its global_step is {stored['global_step']}")
    run: dict[str, Any] = stored["axial_deeplab"]
    if not isinstance(run.get("config"), dict) or "categories" not in run:
        raise _not_ours(checkpoint, "it has no settings and categories")
    return run


def _check_tensors(checkpoint: Path, stored: Mapping[str, Any], module: TrainingModule) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    found = {name: tuple(getattr(tensor, "shape", ())) for name, tensor in stored.items()}
    differing = [name for name in {**shapes, **found} if shapes.get(name) != found.get(name)]
    if differing:
        raise _not_ours(checkpoint, f"{len(differing)} tensors are others, such as {differing[0]}")


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _summary(config: Config, trainer: lightning.Trainer, task: Task, batch_size: int) -> str:
    settings, optim = config.trainer, config.optim
    num_classes = len(task.module.categories)
    assert isinstance(task.train, Sized)
    num_images = len(task.train)
    parameters = sum(p.numel() for p in task.module.model.parameters())
    epochs = optim.max_steps * settings.batch_size / num_images
    sets = f"learns from {config.data.train.place}, {num_images} images"
    if isinstance(task.val, Sized):
        sets += f"; is validated on {config.data.val.place}, {len(task.val)} images"
    return (
        f"{config.model.name}: {parameters / 1e6:.2f} M parameters, {num_classes} categories\n"
        f"batch size {settings.batch_size} images in total = {trainer.world_size} devices x "
        f"{settings.accumulate} accumulated x {batch_size}; learning rate {optim.lr:g}; "
        f"precision {trainer.precision}; device {trainer.strategy.root_device}\n"
        f"{sets}\n"
        f"{optim.max_steps} steps = {epochs:.1f} epochs; output {settings.output}"
    )


def _write_config(config: Config, path: Path) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(yaml.safe_dump(config_to_dict(config), sort_keys=False))


def _quieten() -> None:
    """Keep Lightning's tips and device lists out of the output: the summary says what matters."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for message in (
        # True, and handled: the sample stream starts where the checkpoint ended.
        ".*resuming from a checkpoint that ended before the epoch ended.*",
        ".*does not have many workers.*",
        ".*is smaller than the logging interval.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*litlogger.*",
        ".*LeafSpec.*",
        # What the network returns is cropped, and nothing writes into it.
        ".*FSDP2-wrapped module .* returned a view tensor.*",
        # Scores are gathered from all processes before they are logged.
        ".*It is recommended to use `self.log.*sync_dist=True.*",
    ):
        warnings.filterwarnings("ignore", message)
    # What is odd in the images was told before.
    warnings.simplefilter("ignore", ImageWarning)
