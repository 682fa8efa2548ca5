"""One training step of a small model in each of several processes, for the tests of synchronized norms."""

from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from axial_deeplab.models.blocks.axial_block import AxialBlock
from axial_deeplab.models.norm import BatchNorm2d, convert_sync_batchnorm

# Images of each process: unequal, so that a mean of means would be wrong.
SHARES = (3, 1)


def build_model() -> nn.Module:
    """Return a model with every kind of norm, PyTorch's own included."""
    torch.manual_seed(0)
    blocks = (AxialBlock(4, 8, 6, num_heads=2, max_span=4), AxialBlock(6, 8, 6, num_heads=2, span=3))
    sigmoid = AxialBlock(6, 8, 6, num_heads=2, max_span=4, activation="sigmoid")
    model = nn.Sequential(blocks[0], nn.BatchNorm2d(6, eps=1e-3), *blocks[1:], sigmoid, BatchNorm2d(6))
    for block in model:
        if isinstance(block, AxialBlock):
            # It starts at zero, where no gradient would reach the attention.
            nn.init.ones_(block.up.get_parameter("norm.weight"))
    return model.double()


def batch() -> tuple[Tensor, Tensor]:
    """Return images and the gradient of the output."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(sum(SHARES), 4, 5, 6, generator=generator, dtype=torch.float64)
    return images, torch.randn(sum(SHARES), 6, 5, 6, generator=generator, dtype=torch.float64)


def step(model: nn.Module, images: Tensor, gradient: Tensor) -> dict[str, Tensor]:
    """Return the output, the images' gradient, the parameters' gradients and the buffers after one step."""
    images = images.clone().requires_grad_()
    output = model.train()(images)
    (output * gradient).sum().backward()
    assert images.grad is not None
    result = {"output": output.detach(), "images": images.grad}
    result |= {f"gradient {name}": p.grad for name, p in model.named_parameters() if p.grad is not None}
    return result | {f"buffer {name}": buffer for name, buffer in model.named_buffers()}


def run(rank: int, folder: str) -> None:
    """Take this process's share of the batch, step, and write the results to the folder."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=len(SHARES)
    )
    try:
        start = sum(SHARES[:rank])
        images, gradient = (x[start : start + SHARES[rank]] for x in batch())
        result = step(convert_sync_batchnorm(build_model()), images, gradient)
        torch.save(result, Path(folder) / f"{rank}.pt")
    finally:
        dist.destroy_process_group()
