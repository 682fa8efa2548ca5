"""Training from the settings: data, network, Lightning's `Trainer`, and the weights at the end."""

import logging
import signal
import sys
import warnings
from collections.abc import Sized
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import lightning
import torch
import yaml
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from axial_deeplab.config.schema import Config, config_to_dict
from axial_deeplab.data.image_warnings import ImageWarning
from axial_deeplab.evaluation.processes import Processes, naming_lost_connection
from axial_deeplab.models.norm import convert_sync_batchnorm
from axial_deeplab.models.registry import is_classifier
from axial_deeplab.training.batches import TrainingBatches
from axial_deeplab.training.checkpoints import LAST, AtomicCheckpointIO, Checkpoints
from axial_deeplab.training.classification import classification_task
from axial_deeplab.training.interruption import Interruption
from axial_deeplab.training.metrics_file import MetricsFile
from axial_deeplab.training.module import TrainingModule
from axial_deeplab.training.panoptic import panoptic_task
from axial_deeplab.training.resume import check_resumed, checkpoint_to_resume
from axial_deeplab.training.strategies import ShardedStrategy, joined_machines, make_strategy
from axial_deeplab.training.task import Task
from axial_deeplab.util.files import naming_full_disk, write_text
from axial_deeplab.util.termination import Terminated, signal_handler
from axial_deeplab.util.text import one_line, shortened
from axial_deeplab.weights.file import save_weights
from axial_deeplab.weights.loaded import load_weights

WEIGHTS = "weights.safetensors"


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
        OSError: a file that cannot be read or written, or a machine that cannot be reached.
    """
    _quieten()
    with (
        joined_machines(config.trainer.num_nodes, config.trainer.accelerator) as machines,
        naming_lost_connection("training", "go on with --resume"),
    ):
        return _train(config, machines)


def _train(config: Config, machines: Processes) -> Path:
    output = Path(config.trainer.output)
    resume = checkpoint_to_resume(config, output)
    torch.manual_seed(config.trainer.seed)
    task = classification_task(config) if is_classifier(config.model.name) else panoptic_task(config)
    module = task.module
    report = None
    if config.model.weights is not None and resume is None:
        report = module.load_initial_weights(config.model.weights)
    step = check_resumed(resume, module, config)
    _require_same(machines, "step of the checkpoint", step, "give all the same trainer.output")
    assert isinstance(task.train, Sized)
    _require_same(machines, "number of images", len(task.train), "give all the same data.train")
    interruption = Interruption()
    trainer = _trainer(config, output, task, interruption, first_step=step)
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
        write_text(output / "config.yaml", yaml.safe_dump(config_to_dict(config), sort_keys=False))
    with naming_full_disk(output):
        _fit(trainer, module, TrainingBatches(task, config, batch_size), resume, interruption)
    weights = output / WEIGHTS
    if trainer.is_global_zero:
        # The parameters of a sharded network are in several processes; its last checkpoint is whole.
        sharded = isinstance(trainer.strategy, ShardedStrategy)
        model = load_weights(output / LAST).model if sharded else module.evaluated_model
        save_weights(weights, model, module.categories, extra=module.metadata())
        print(f"weights of step {trainer.global_step} written to {weights}")
    return weights


def _require_same(machines: Processes, what: str, value: int, remedy: str) -> None:
    values = machines.gather(value)
    if len(set(values)) > 1:
        raise ValueError(f"{what} must be the same on all machines, got {shortened(values)}; {remedy}")


def _fit(
    trainer: lightning.Trainer,
    module: TrainingModule,
    batches: TrainingBatches,
    checkpoint: Path | None,
    interruption: Interruption,
) -> None:
    try:
        # Lightning notes SIGTERM and ends after the step; a handler that raises would end it in the middle.
        with signal_handler(signal.SIGTERM, signal.SIG_DFL), _ctrl_c_handled(trainer, interruption):
            trainer.fit(module, datamodule=batches, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt(_stopped(trainer)) from None
        if trainer.received_sigterm:
            raise _terminated(trainer) from None
        raise
    except RuntimeError:
        # Where the whole group of processes is terminated, those that load images may be gone first.
        if trainer.received_sigterm:
            raise _terminated(trainer) from None
        raise
    except (ValueError, OSError) as error:
        if "in DataLoader worker process" not in str(error):
            raise
        # The worker's traceback ends with the line that tells what is wrong.
        message = str(error).strip().splitlines()[-1]
        raise type(error)(message.partition(": ")[2]) from None


def _ctrl_c_handled(trainer: lightning.Trainer, interruption: Interruption) -> AbstractContextManager[None]:
    # Several processes would end after different steps, and wait for each other. Where Ctrl-C is ignored, as
    # in the background, or handled by the program that trains, it stays so.
    if trainer.world_size == 1 and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        return interruption.handled()
    return nullcontext()


def _terminated(trainer: lightning.Trainer) -> Terminated:
    return Terminated(_stopped(trainer, by=" by SIGTERM"))


def _stopped(trainer: lightning.Trainer, by: str = "") -> str:
    last = Path(trainer.default_root_dir) / LAST
    how = "go on with --resume" if last.exists() else "there is no checkpoint yet"
    return f"stopped{by} at step {trainer.global_step}; {how}"


def _trainer(
    config: Config, output: Path, task: Task, interruption: Interruption, *, first_step: int
) -> lightning.Trainer:
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
        ),
        interruption,
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
        raise ValueError(
            f"trainer must be settings that this machine can run, got: {one_line(error)}"
        ) from None


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
