"""Every setting of a run: the dataclasses, the YAML files and the recipes that ship."""

from axial_deeplab._moved import contents_moved
from axial_deeplab.config.parse import read_config
from axial_deeplab.config.schema import (
    AugmentationConfig,
    ClassificationConfig,
    Config,
    DataConfig,
    LossConfig,
    ModelConfig,
    OptimConfig,
    PostProcessingConfig,
    SplitConfig,
    TargetConfig,
    TrainerConfig,
    config_from_dict,
    config_to_dict,
)

__all__ = [
    "AugmentationConfig",
    "ClassificationConfig",
    "Config",
    "DataConfig",
    "LossConfig",
    "ModelConfig",
    "OptimConfig",
    "PostProcessingConfig",
    "SplitConfig",
    "TargetConfig",
    "TrainerConfig",
    "config_from_dict",
    "config_to_dict",
    "read_config",
]

# Here parse_config was until version 0.1; nothing but the command line parses words now.
__getattr__ = contents_moved(__name__, "axial_deeplab.cli.training")
