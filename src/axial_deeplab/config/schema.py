"""Every setting of a training run and its default.

A `Config` travels in the checkpoint as plain types (`config_to_dict`, `config_from_dict`). The classes of
the library take plain arguments and never see it; only `training/` and `evaluation/evaluate.py` do.
"""

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from axial_deeplab.config.rules import require_rules


@dataclass(frozen=True)
class ModelConfig:
    """The network."""

    name: str = "axial_deeplab_s"
    """Name of a builder, one of `axial_deeplab.list_models()`."""
    span: int | None = None
    """Positions that attend to each other (the paper's m, odd), or null for the whole axis."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the builder, by name."""
    weights: str | None = None
    """Weights to start from (file, or name of shipped weights): whatever fits by name and shape is copied."""


@dataclass(frozen=True)
class SplitConfig:
    """One part of a data set. COCO panoptic format wants three paths, or a root that has them by their usual
    names; the other formats want the root, and the name of the split."""

    images: str | None = None
    """coco: folder of the photographs."""
    panoptic: str | None = None
    """coco: folder of the panoptic PNG files."""
    json: str | None = None
    """coco: the panoptic JSON file."""
    root: str | None = None
    """Folder of the whole data set, as its archives unpack."""
    split: str | None = None
    """Part of the data set: train, val, training, validation, train2017 ... as its folders are called."""
    annotations: str | None = None
    """cityscapes: gtFine (if null) or gtCoarse; mapillary: v1.2 (if null) or v2.0."""

    @property
    def place(self) -> str:
        """Where it lies, for people to see that it is the one they mean."""
        return " ".join(filter(None, (self.json or self.root or self.images, self.split)))


@dataclass(frozen=True)
class DataConfig:
    """The data sets."""

    format: Literal["coco", "cityscapes", "mapillary", "image_folder"] = "coco"
    """How the data sets are stored: coco (the panoptic format, for data of your own, too), cityscapes or
    mapillary (as downloaded), image_folder (a folder for each class, for classification)."""
    root: str | None = None
    """Folder of both parts instead of their own paths, as `dataset convert --hold-out` writes it: train/ and
    val/ in it, or the data set itself, without validation. cityscapes and mapillary want no more than it."""
    train: SplitConfig = SplitConfig()
    """What is learned."""
    val: SplitConfig = SplitConfig()
    """What PQ and mIoU are measured on during training; leave all null for no validation."""
    train_limit: int | None = None
    """Learn from this many images, the first ones, or null for all."""
    val_limit: int | None = None
    """Validate on this many images, the first ones, or null for all."""
    long_side: int | None = None
    """Pixels of the longer side of every image for the network, in training (before the random scale) and
    afterwards: images are enlarged or reduced for it, its predictions brought back. null for their own."""
    max_size: int | None = None
    """Most pixels of the longer side for the network: larger images are reduced for it, and its predictions
    enlarged again. Both are stored with the weights, for evaluate and predict. null for no limit."""
    scales: tuple[float, ...] = (1.0,)
    """Magnifications at which evaluate and predict, and the validation, see each image, whose outputs are
    averaged; stored with the weights. Training has `augmentation.scale_range` instead."""
    value_range: str = "full"
    """Which values are black and white in pictures of more than 8 bits: full (of the type), bits N (bits 12
    for 12-bit cameras), percentiles LOW HIGH (of each picture), or two numbers LOW HIGH. Stored with the
    weights."""
    channels: tuple[int, ...] | None = None
    """Numbers of the channels of the images that the network sees, from 1 on, as their files store them; null
    for RGB, as viewers show them. The network has as many inputs; the mean and the deviation of each are
    measured on the training images. All of it is stored with the weights."""
    page: int | None = None
    """Page of image files that have several, from 1 on; null for the first. Stored with the weights."""

    def __post_init__(self) -> None:
        if self.root is not None:
            for part, split in _parts_in(Path(self.root), self).items():
                object.__setattr__(self, part, split)
            # The parts say it now: what is stored means the same where the folder is gone.
            object.__setattr__(self, "root", None)


USUAL_SPLITS = {"cityscapes": ("train", "val"), "mapillary": ("training", "validation")}


def _parts_in(root: Path, data: DataConfig) -> dict[str, SplitConfig]:
    """Return the parts train and val in a folder; photographs may have a folder of their own."""
    parts = {}
    for place, part in enumerate(("train", "val")):
        own: SplitConfig = getattr(data, part)
        split, folder = own.split, root
        if data.format in USUAL_SPLITS:
            split = split or USUAL_SPLITS[data.format][place]
        elif split is None and (root / part).is_dir():
            folder = root / part
        elif split is None and part == "val":
            parts[part] = SplitConfig()
            continue
        images = None if own.json or own.root else own.images
        parts[part] = SplitConfig(images=images, root=str(folder), split=split, annotations=own.annotations)
    return parts


@dataclass(frozen=True)
class IntensityConfig:
    """Random changes of the values of the training images; 0 turns each off."""

    inversion: float = 0.0
    """Share of the images that become their negatives."""
    stretch: float = 0.0
    """Share of the images whose values are stretched from black to white."""
    brightness: float = 0.0
    """Values are multiplied by 1 / (1 + brightness) to 1 + brightness."""
    contrast: float = 0.0
    """Differences to the mean are multiplied by 1 / (1 + contrast) to 1 + contrast."""
    gamma: float = 0.0
    """Values get an exponent from 1 / (1 + gamma) to 1 + gamma."""
    stain: float = 0.0
    """Each color channel gets a further exponent of its own, from 1 / (1 + stain) to 1 + stain."""
    hue: float = 0.0
    """Largest turn of the hue, as a part of the circle, up to 0.5."""
    haze: float = 0.0
    """Largest value, of 255, that is added everywhere."""
    blur: float = 0.0
    """Largest standard deviation of a Gaussian blur, in pixels, of every second image."""
    noise: float = 0.0
    """Largest standard deviation of Gaussian noise, of 255."""


@dataclass(frozen=True)
class AugmentationConfig:
    """Random changes of the training images, drawn again for each visit of an image."""

    crop_size: tuple[int, int] = (1025, 1025)
    """Height and width of the crop in pixels; smaller images are padded, and the padding is ignored."""
    scale_range: tuple[float, float] = (0.5, 2.0)
    """Limits of the random magnification; [1, 1] keeps the size."""
    flip: bool = True
    """Mirror half of the images horizontally."""
    color_jitter: float = 0.0
    """Strength of the random change of brightness, contrast and saturation, 0 to 1."""
    scale_distribution: Literal["uniform", "log_uniform"] = "uniform"
    """How the magnification is drawn: evenly, or its logarithm."""
    right_angles: bool = False
    """Turn each image by 0, 90, 180 or 270 degrees; needs a square crop."""
    rotation: float = 0.0
    """Largest random angle in degrees, to either side."""
    elastic: float = 0.0
    """Standard deviation in pixels of the shifts of an elastic warp, or 0 for none."""
    elastic_spacing: int = 48
    """Pixels between the points that are shifted."""
    intensity: IntensityConfig = IntensityConfig()
    """Changes of the values: light, stain, focus, noise."""


@dataclass(frozen=True)
class ClassificationConfig:
    """Classification networks alone; they share the crop size, the flip and the colors of `augmentation`."""

    area_range: tuple[float, float] = (0.08, 1.0)
    """Limits of the part of an image's area that a random crop covers."""
    aspect_range: tuple[float, float] = (0.75, 1.3333333333333333)
    """Limits of the width of this part over its height."""
    label_smoothing: float = 0.0
    """Part of the probability that the loss spreads evenly over all classes."""
    val_size: int = 256
    """Shorter side in pixels of the validation images, of which the center is cut."""
    val_batch_size: int = 32
    """Images that the validation takes at a time, on each device."""


@dataclass(frozen=True)
class TargetConfig:
    """What the heads learn to predict."""

    sigma: int = 8
    """Standard deviation of the Gaussian around an instance center, in pixels."""
    small_instance_area: int = 4096
    """Instances below this number of pixels weigh more in the semantic loss."""
    small_instance_weight: float = 3.0
    """That weight."""
    neighbor_distance: int = 0
    """Pixels from which two instances lie within so many pixels along both axes weigh more, or 0 for none."""
    neighbor_semantic_weight: float = 1.0
    """Factor of their weight in the semantic loss."""
    neighbor_offset_weight: float = 1.0
    """Factor of their weight in the loss of the offsets."""


@dataclass(frozen=True)
class LossConfig:
    """Weights of the three losses."""

    semantic_weight: float = 1.0
    """Weight of the bootstrapped cross entropy."""
    center_weight: float = 200.0
    """Weight of the mean squared error of the center heatmap."""
    offset_weight: float = 0.01
    """Weight of the L1 error of the offsets (in pixels)."""
    top_k_fraction: float = 0.2
    """Part of the pixels, the hardest ones, that the cross entropy averages."""


@dataclass(frozen=True)
class OptimConfig:
    """The optimizer, and a learning rate that warms up linearly and then decays."""

    optimizer: Literal["radam_lookahead", "sgd"] = "radam_lookahead"
    """radam_lookahead (RAdam inside Lookahead) or sgd (with Nesterov's momentum)."""
    schedule: Literal["poly", "cosine"] = "poly"
    """Decay of the learning rate: poly (a power of the steps that are left) or cosine."""
    lr: float = 1e-3
    """Highest learning rate, for the batch size as it stands: it is not scaled for you."""
    warmup_steps: int = 2000
    """Steps over which the learning rate grows linearly from zero."""
    max_steps: int = 200_000
    """Optimizer steps of the whole training; the learning rate is zero after the last."""
    poly_power: float = 0.9
    """Exponent of the decay poly."""
    momentum: float = 0.9
    """Nesterov's momentum of sgd."""
    ema_decay: float | None = None
    """Decay of the moving average of the weights, which is then what is validated and left at the end, or
    null for the weights themselves."""
    lookahead_steps: int = 5
    """Steps between two updates of the slow weights (k); 1 turns Lookahead off if lookahead_alpha is 1."""
    lookahead_alpha: float = 0.5
    """Part of the way that the slow weights go towards the fast ones."""
    weight_decay: float = 0.0
    """Weight decay of kernels, decoupled but for sgd; norms, biases and relative tables never decay."""
    gradient_clip: float | None = None
    """Largest norm of the gradient, or null for no limit."""


@dataclass(frozen=True)
class TrainerConfig:
    """How the training runs; nothing here changes what is learned, but for the batch size and the seed."""

    batch_size: int = 32
    """Images of one optimizer step in total, over all devices and accumulated batches."""
    accumulate: int = 1
    """Forward passes of one optimizer step, each of batch_size / (devices x accumulate) images a device."""
    accelerator: str = "auto"
    """cpu, gpu, or auto."""
    devices: int | str = "auto"
    """Devices of this machine, or auto for all GPUs (one process on the CPU)."""
    num_nodes: int = 1
    """Machines."""
    strategy: str = "auto"
    """How several devices work together, a name that Lightning knows (ddp, fsdp ...)."""
    precision: str = "auto"
    """auto (bf16-mixed on GPUs that support it, else 32), or a precision that Lightning knows."""
    channels_last: bool = True
    """Keep activations in channels-last order, faster on most devices."""
    num_workers: int = 2
    """Processes that read and augment images, for each device."""
    val_interval: int = 5000
    """Optimizer steps between two validations; a multiple of optim.lookahead_steps. A shorter training is
    validated at its end."""
    checkpoint_interval: int = 1000
    """Optimizer steps between two writings of last.ckpt; a multiple of optim.lookahead_steps."""
    log_interval: int = 20
    """Optimizer steps between two lines of the logs."""
    seed: int = 0
    """Seed of the initial weights, of the order of the images and of their augmentation."""
    output: str = "runs/axial_deeplab"
    """Folder of checkpoints, weights and logs."""
    resume: str | None = None
    """Checkpoint to go on from, or `last` for last.ckpt of the output folder if there is one."""
    progress_bar: bool = True
    """Show a progress bar."""


@dataclass(frozen=True)
class PostProcessingConfig:
    """From the three maps of the network to segments."""

    center_threshold: float = 0.1
    """Lowest value of a center in the heatmap."""
    nms_kernel: int = 7
    """Side of the square, in pixels, in which a center must be the highest."""
    top_k: int | None = 200
    """Most centers of an image, or null for all."""
    top_k_area: int | None = None
    """Pixels of an image that `top_k` is for, so that larger images have more; null for any size."""
    stuff_area: int = 4096
    """Stuff segments of fewer pixels become void."""
    thing_area: int = 0
    """Instances of fewer pixels become void."""
    thing_threshold: float | None = None
    """Probability above which a pixel is a thing, or null for the most probable class."""
    grouping: Literal["offsets", "watershed"] = "offsets"
    """What gives a thing pixel to a center: its offset, or a watershed of the heatmap from the centers."""


@dataclass(frozen=True)
class Config:
    """All settings of a training run."""

    model: ModelConfig = ModelConfig()
    """The network."""
    data: DataConfig = DataConfig()
    """The data sets."""
    augmentation: AugmentationConfig = AugmentationConfig()
    """Random changes of the training images."""
    classification: ClassificationConfig = ClassificationConfig()
    """What classification networks alone need."""
    target: TargetConfig = TargetConfig()
    """What the heads learn."""
    loss: LossConfig = LossConfig()
    """Weights of the losses."""
    optim: OptimConfig = OptimConfig()
    """The optimizer and the learning rate."""
    trainer: TrainerConfig = TrainerConfig()
    """The run."""
    post_processing: PostProcessingConfig = PostProcessingConfig()
    """From the outputs of the network to segments."""

    def __post_init__(self) -> None:
        require_rules(self)


def config_to_dict(config: Config) -> dict[str, Any]:
    """Return the settings as nested dictionaries of plain types, for a checkpoint or a YAML file."""
    plain = _plain(dataclasses.asdict(config))
    assert isinstance(plain, dict)
    return plain


def config_from_dict(settings: Mapping[str, Any]) -> Config:
    """Return the settings that `config_to_dict` wrote.

    Args:
        settings: nested dictionaries; absent keys take their default.

    Raises:
        ValueError: an unknown key.
    """
    return _from_dict(Config, settings, "")


def section_to_dict(section: Any) -> dict[str, Any]:
    """Return the settings of one section by name, as they are."""
    return {field.name: getattr(section, field.name) for field in dataclasses.fields(section)}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


def _from_dict(cls: Any, settings: Mapping[str, Any], prefix: str) -> Any:
    hints = typing.get_type_hints(cls)
    arguments: dict[str, Any] = {}
    for key, value in settings.items():
        if key not in hints:
            raise ValueError(
                f"{prefix}{key} must be a known setting, got {value!r}; known here: {', '.join(hints)}"
            )
        hint = hints[key]
        if dataclasses.is_dataclass(hint):
            if not isinstance(value, Mapping):
                known = ", ".join(typing.get_type_hints(hint))
                raise ValueError(
                    f"{prefix}{key} must be a section with settings, got {value!r}; known there: {known}"
                )
            arguments[key] = _from_dict(hint, value, f"{prefix}{key}.")
        elif isinstance(value, list) and any(
            typing.get_origin(each) is tuple for each in (hint, *typing.get_args(hint))
        ):
            arguments[key] = tuple(value)
        else:
            arguments[key] = value
    return cls(**arguments)
