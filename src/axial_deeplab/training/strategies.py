"""How several devices share a training: Lightning's strategies by name, and the sharding of our networks."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch.distributed
from lightning.fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from lightning.pytorch.strategies import ModelParallelStrategy, Strategy
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from axial_deeplab.evaluation.processes import Processes, connect
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
    """Return what Lightning's `Trainer` takes as strategy: for `fsdp` ours, else the name itself."""
    return ShardedStrategy() if name == "fsdp" else name


@contextmanager
def joined_machines(num_nodes: int, accelerator: str) -> Iterator[Processes]:
    """Join the processes of all machines, before anything else can go wrong on one of them.

    Lightning takes the group that is there. On one machine it makes one itself, later. Either is left at
    the end, also after an error: a group that is still there when Python ends may abort the process, whose
    exit status then says nothing of what went wrong (gloo in PyTorch 2.13). The caller's own group stays.

    Args:
        num_nodes: machines on which torchrun or SLURM started processes.
        accelerator: cpu, gpu or auto.

    Raises:
        ConnectionError: not all of them can be reached.
    """
    if _group_is_there():
        yield Processes(torch.distributed.get_rank(), torch.distributed.get_world_size())
        return
    processes = _connected_machines(num_nodes, accelerator)
    try:
        yield processes
    except BaseException:
        # NCCL would wait for the others, which may be gone.
        _leave_group(but="nccl")
        raise
    _leave_group()


def _connected_machines(num_nodes: int, accelerator: str) -> Processes:
    kinds = (TorchElasticEnvironment, SLURMEnvironment)
    launcher = next((kind() for kind in kinds if num_nodes > 1 and kind.detect()), None)
    if launcher is None:
        return Processes()
    os.environ |= {"MASTER_ADDR": launcher.main_address, "MASTER_PORT": str(launcher.main_port)}
    processes = Processes(launcher.global_rank(), launcher.world_size())
    backend, device = "gloo", None
    if accelerator != "cpu" and torch.cuda.is_available():
        backend, device = "nccl", torch.device("cuda", launcher.local_rank())
        torch.cuda.set_device(device)
    connect(backend, rank=processes.rank, world_size=processes.count, device_id=device)
    return processes


def _leave_group(but: str | None = None) -> None:
    if _group_is_there() and torch.distributed.get_backend() != but:
        torch.distributed.destroy_process_group()


def _group_is_there() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def shard(model: nn.Module, mesh: DeviceMesh) -> None:
    """Spread the parameters of a network over the devices of a mesh of one dimension, in place.

    Each residual block is gathered for its computation and freed again; the rest (stem, decoders, heads)
    stays from the forward to the backward pass. Parameters stay in float32: half precision comes from
    autocast, which leaves norms and logits alone.
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
