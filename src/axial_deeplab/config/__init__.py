"""Every setting of a run: the dataclasses, the YAML files and the recipes that ship."""

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
    parse_config,
    read_config,
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
    "parse_config",
    "read_config",
]
