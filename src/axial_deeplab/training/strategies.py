"""How several devices share a training: Lightning's strategies by name, and the sharding of our networks."""

import torch.distributed
from lightning.pytorch.strategies import ModelParallelStrategy, Strategy
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from axial_deeplab.models.backbones.base import FEATURE_NAMES, Backbone


class ShardedStrategy(ModelParallelStrategy):
    """Parameters, gradients and the optimizer's state are spread over all devices (PyTorch's FSDP2).

    Checkpoints hold whole tensors, as those of the other strategies do.
    """

    def __init__(self) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        """Let all devices of all machines be one group."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()


def make_strategy(name: str) -> str | Strategy:
    """Return what Lightning's `Trainer` takes as strategy.

    Args:
        name: `fsdp` for `ShardedStrategy`, else as Lightning knows it.
    """
    return ShardedStrategy() if name == "fsdp" else name


def shard(model: nn.Module, mesh: DeviceMesh) -> None:
    """Spread the parameters of a network over the devices of a mesh, in place.

    Each residual block is gathered for its computation and freed again; the rest (stem, decoders, heads)
    stays from the forward to the backward pass. Parameters stay in float32: half precision comes from
    autocast, which leaves norms and logits alone.

    Args:
        model: the network.
        mesh: mesh of one dimension.
    """
    for backbone in [module for module in model.modules() if isinstance(module, Backbone)]:
        for name in FEATURE_NAMES:
            for block in backbone.get_submodule(name).children():
                fully_shard(block, mesh=mesh, reshard_after_forward=True)
    fully_shard(model, mesh=mesh, reshard_after_forward=False)


def gather(model: nn.Module) -> None:
    """Make a sharded network whole on each device, so that processes need not run it equally often.

    Does nothing to a network that is not sharded.
    """
    for module in _sharded_parts(model):
        module.set_reshard_after_forward(False, recurse=False)
        module.unshard()


def scatter(model: nn.Module) -> None:
    """Undo `gather`."""
    for module in _sharded_parts(model):
        module.set_reshard_after_forward(module is not model, recurse=False)
        module.reshard()


def _sharded_parts(model: nn.Module) -> list[FSDPModule]:
    return [module for module in model.modules() if isinstance(module, FSDPModule)]


def is_lost_connection(error: RuntimeError) -> bool:
    """Return whether an error tells that another process of the training is gone."""
    if isinstance(error, torch.distributed.DistError):
        return True
    # Gloo, which connects CPUs, raises plain errors.
    return any(word in str(error) for word in ("gloo", "Connection closed by peer", "Connection reset"))
