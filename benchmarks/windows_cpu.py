"""Time attention over windows on the CPU: the compiled implementation against the eager reference.

A layer of position-sensitive attention, alone and in the smallest of our networks of such layers; time in
turns, peak memory in processes of their own.

    OMP_NUM_THREADS=1 python benchmarks/windows_cpu.py --cpu-time      (where others keep the cores busy)
"""

import argparse
from dataclasses import dataclass

import torch

from axial_deeplab.benchmark.measure import Step, measure
from axial_deeplab.models.attention.window import LocalAttention2d
from axial_deeplab.models.registry import create_model
from axial_deeplab.ops.window import api as local_attention

IMPLEMENTATIONS = {implementation.name: implementation for implementation in local_attention.IMPLEMENTATIONS}


@dataclass(frozen=True)
class Candidate:
    """One implementation in one setting: a name of `prepare` and whether it is a step of training."""

    setting: str
    training: bool
    label: str
    device: str = "cpu"

    def prepare(self) -> Step:
        """Return an inference, folded, or a forward and backward pass."""
        torch.manual_seed(0)
        if self.setting == "layer":
            model: torch.nn.Module = LocalAttention2d(64, 64, num_heads=8, kernel_size=7)
            x = torch.randn(1, 64, 56, 56)
        else:
            model = create_model(self.setting)
            x = torch.randn(1, 3, 224, 224)
        x = x.to(memory_format=torch.channels_last)
        model = (
            model.train()
            if self.training
            else model.eval().fuse()
            if hasattr(model, "fuse")
            else model.eval().fused()
        )

        def step() -> None:
            local_attention.IMPLEMENTATIONS = (IMPLEMENTATIONS[self.label],)
            with torch.set_grad_enabled(self.training):
                y = model(x)
                if self.training:
                    y.sum().backward()

        return step


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9, help="interleaved runs of each implementation")
    parser.add_argument(
        "--cpu-time", action="store_true", help="processor time of all threads, not wall time"
    )
    options = parser.parse_args()
    print(f"{torch.get_num_threads()} threads; median ms (fastest), peak MB; the reference over the other")
    for setting in ("layer", "ps_attention_resnet50_x0_5"):
        for training in (False, True):
            candidates = [Candidate(setting, training, label) for label in ("reference", "numba")]
            results = measure(candidates, rounds=options.rounds, cpu_time=options.cpu_time)
            cells = [
                f"{r.label} {r.median_ms:.1f} ({min(r.times_ms):.1f}) ms {r.peak_mb:.0f} MB" for r in results
            ]
            print(
                setting,
                "training" if training else "inference",
                *cells,
                f"{results[1].ratio:.1f}",
                sep=" | ",
                flush=True,
            )


if __name__ == "__main__":
    main()
