"""Modules that version 0.1 had elsewhere: their old names import the new ones, with a warning."""

import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

PACKAGE = "axial_deeplab"

MOVED = {
    "app_commands": "cli.app",
    "command_line": "cli.command_line",
    "command_options": "cli.options",
    "config_files": "config.files",
    "conversion": "weights.convert",
    "counting": "accounting.counting",
    "data.categories": "panoptic.categories",
    "data.check_report": "data.check.report",
    "data.coco_instances": "data.convert.coco_instances",
    "data.id_maps": "data.convert.id_maps",
    "data.panoptic_from": "data.convert.panoptic_from",
    "dataset_commands": "cli.dataset",
    "demo": "experiments.demo",
    "experiment_commands": "cli.experiment",
    "files": "util.files",
    "freed_memory": "util.freed_memory",
    "hub": "weights.hub",
    "image_files": "data.image_files",
    "inference": "prediction.predictor",
    "models.attention_resnet": "models.backbones.attention_resnet",
    "models.axial_attention": "models.attention.axial",
    "models.axial_deeplab": "models.panoptic",
    "models.axial_resnet": "models.backbones.axial_resnet",
    "models.backbone": "models.backbones.base",
    "models.convolutions": "models.blocks.convolutions",
    "models.decoder": "models.decoders",
    "models.folding.packed_pointwise": "models.pointwise",
    "models.fuse": "models.folding.fold",
    "models.fused_axial_block": "models.folding.packed_axial_block",
    "models.heads": "models.decoders",
    "models.hybrid_resnet": "models.backbones.hybrid_resnet",
    "models.local_attention": "models.attention.window",
    "models.resnet": "models.backbones.resnet",
    "models.squeeze_excite": "models.blocks.squeeze_excite",
    "models.stacked_decoder": "models.backbones.stacked_decoder",
    "models.switchable_convolution": "models.blocks.switchable_convolution",
    "models.xception": "models.backbones.xception",
    "multi_scale": "prediction.multi_scale",
    "ops.axial_attention": "ops.axial.api",
    "ops.cpu_kernels": "ops.numba",
    "ops.cpu_kernels.squares": "ops.numba.window",
    "ops.cpu_kernels.squares_backward": "ops.numba.window_backward",
    "ops.cpu_kernels.squares_gradients": "ops.numba.window_gradients",
    "ops.cpu_kernels.squares_moments": "ops.numba.window_moments",
    "ops.exportable": "ops.axial.exportable",
    "ops.gpu_kernels": "ops.triton",
    "ops.implementations": "ops.dispatch",
    "ops.kernel_call": "ops.numba.call",
    "ops.local_attention": "ops.window.api",
    "ops.logit_statistics": "ops.axial.statistics",
    "ops.numba_cpu": "ops.axial.cpu",
    "ops.numba_inference": "ops.axial.prepared",
    "ops.numba_moments": "ops.axial.moments",
    "ops.numba_square_moments": "ops.window.moments",
    "ops.numba_squares": "ops.window.cpu",
    "ops.precision": "ops.operands",
    "ops.reference": "ops.axial.reference",
    "ops.registration": "ops.library",
    "ops.square_call": "ops.window.call",
    "ops.squares_reference": "ops.window.reference",
    "ops.squares_statistics": "ops.window.statistics",
    "ops.table_moments": "ops.axial.table_moments",
    "ops.triton_gpu": "ops.axial.gpu",
    "panoptic_format": "panoptic",
    "panoptic_json": "panoptic.coco_json",
    "predict_files": "prediction.files",
    "predict_video": "prediction.video",
    "published": "accounting.published",
    "submission": "prediction.submission",
    "tables": "accounting.tables",
    "targets": "data.targets",
    "video": "prediction.video_files",
    "weights_commands": "cli.weights",
    "zoo": "weights",
    "zoo.archives": "weights.archives",
    "zoo.public_weights": "weights.public",
    "zoo.table": "weights.table",
}
"""Old name -> new name, of a module or of a package with all that is in it."""


def _new_name(old_name: str) -> str | None:
    """Return where a module is now, None for one that never was."""
    parts = old_name.removeprefix(f"{PACKAGE}.").split(".")
    for length in range(len(parts), 0, -1):
        new = MOVED.get(".".join(parts[:length]))
        if new is not None:
            return ".".join([PACKAGE, new, *parts[length:]])
    return None


def _warn(old_name: str, new_name: str, stacklevel: int) -> None:
    warnings.warn(
        f"{old_name} is now {new_name}; the old name goes with the next version",
        DeprecationWarning,
        stacklevel=stacklevel,
    )


class _MovedModules(MetaPathFinder, Loader):
    """Finds modules by their old names."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith(f"{PACKAGE}.") or _new_name(name) is None:
            return None
        return ModuleSpec(name, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        new_name = _new_name(spec.name)
        assert new_name is not None  # find_spec has seen it
        _warn(spec.name, new_name, stacklevel=6)
        return import_module(new_name)

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its own name back: the import system has just put the old one into it."""
        assert module.__spec__ is not None
        old_name = module.__spec__.name
        new_name = _new_name(old_name) or old_name
        module.__spec__ = ModuleSpec(new_name, None, origin=module.__file__)
        module.__name__, module.__package__ = new_name, new_name.rpartition(".")[0]


def install() -> None:
    """Let the import system know the old names."""
    if not any(isinstance(finder, _MovedModules) for finder in sys.meta_path):
        sys.meta_path.insert(0, _MovedModules())  # before a moved package finds its modules as others


def contents_moved(package: str, *new_modules: str) -> Callable[[str], Any]:
    """Return a `__getattr__` for a package that was a module: its names are in `new_modules` now."""

    def __getattr__(name: str) -> Any:  # noqa: N807 (a module's hook)
        for new_module in () if name.startswith("__") else new_modules:
            module = import_module(new_module)
            if hasattr(module, name):
                _warn(f"{package}.{name}", f"{new_module}.{name}", stacklevel=3)
                return getattr(module, name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return __getattr__
