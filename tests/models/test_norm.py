from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

import synchronized_step
from axial_deeplab.models.norm import BatchNorm2d, LogitNorm, convert_sync_batchnorm, keep_running_statistics
from axial_deeplab.models.recomputation import Recipe, recompute_normalized


def random_batch_norm(*, seed: int = 0) -> BatchNorm2d:
    torch.manual_seed(seed)
    norm = BatchNorm2d(3, eps=1e-3, momentum=0.2)
    for x in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        assert x is not None
        nn.init.uniform_(x, 0.5, 2.0)
    return norm


def plain(norm: BatchNorm2d) -> nn.BatchNorm2d:
    copy = nn.BatchNorm2d(norm.num_features, norm.eps, norm.momentum)
    copy.load_state_dict(norm.state_dict())
    return copy.train(norm.training)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 3, 1, 2), (2, 3, 1, 1)])
def test_batch_norm_is_pytorchs(shape: tuple[int, ...], train: bool) -> None:
    norm = random_batch_norm().train(train)
    theirs = plain(norm)
    x = torch.randn(shape)
    torch.testing.assert_close(norm(x), theirs(x))
    torch.testing.assert_close(norm.state_dict(), theirs.state_dict())


@pytest.mark.parametrize("images", [0, 1])
def test_batch_norm_of_a_single_value_or_none_uses_the_running_statistics(images: int) -> None:
    norm = random_batch_norm()
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    x = torch.randn(images, 3, 1, 1, requires_grad=True)
    y = norm(x)
    torch.testing.assert_close(y, norm.eval()(x))
    torch.testing.assert_close(norm.state_dict(), before)
    y.sum().backward()
    assert x.grad is not None
    assert images == 0 or x.grad.abs().min() > 0


def test_keeping_running_statistics_keeps_all_of_them() -> None:
    model = nn.Sequential(random_batch_norm(), nn.Sequential(random_batch_norm(seed=1)))
    logit_norm = LogitNorm(1, 2)
    model.add_module("logits", logit_norm)
    x = torch.randn(2, 3, 4, 5)
    moments = torch.tensor([[0.5, 1.0]]), torch.tensor([[2.0, 3.0]]), 10
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with keep_running_statistics(model):
        kept = model[:2](x), logit_norm(lambda: moments)
    torch.testing.assert_close(model.state_dict(), before)
    torch.testing.assert_close((model[:2](x), logit_norm(lambda: moments)), kept)
    after = model.state_dict()
    assert all(not torch.equal(after[name], before[name]) for name in before if "running" in name)


def test_traced_training_keeps_no_graph_in_the_statistics() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = LogitNorm(1, 2)

        def forward(self, x: Tensor) -> Tensor:
            scale: Tensor = self.norm(lambda: moments_of(x))[0]
            return scale * x.sum()

    x = torch.randn(1, 2, 10, requires_grad=True)
    with pytest.warns((DeprecationWarning, torch.jit.TracerWarning)):
        traced = torch.jit.trace(Scaled(), x)
    traced(x).sum().backward()
    assert x.grad is not None
    assert not traced.norm.running_var.requires_grad
    assert traced.norm.running_var.mean() != 1


def moments_of(logits: Tensor) -> tuple[Tensor, Tensor, int]:
    """Moments of (terms, heads, number)."""
    return logits.mean(-1), logits.square().mean(-1), logits.shape[-1]


@pytest.mark.parametrize("bias", [True, False])
def test_logit_norm_is_the_batch_norm_of_explicit_logits(bias: bool) -> None:
    torch.manual_seed(0)
    logits = (2 * torch.randn(3, 2, 50, dtype=torch.float64) + 0.7).requires_grad_()
    norm = LogitNorm(3, 2, bias=bias, eps=1e-3, momentum=0.2).double()
    theirs = nn.BatchNorm1d(6, eps=1e-3, momentum=0.2).double()
    nn.init.uniform_(norm.weight, -1.0, 1.0)
    theirs.weight.data.copy_(norm.weight.flatten())
    if norm.bias is not None:
        nn.init.uniform_(norm.bias, -1.0, 1.0)
        theirs.bias.data.copy_(norm.bias.flatten())

    def ours_and_theirs() -> tuple[Tensor, Tensor]:
        scale, shift = norm(lambda: moments_of(logits))
        assert (shift is not None) == bias
        expected = theirs(logits.permute(2, 0, 1).flatten(1)).unflatten(1, (3, 2)).sum(1)  # (number, heads)
        mixed = torch.einsum("thn,th->nh", logits, scale)
        if shift is None:
            return mixed.softmax(0), expected.softmax(0)
        return mixed + shift, expected

    for train in (True, False):
        norm.train(train)
        theirs.train(train)
        ours, expected = ours_and_theirs()
        torch.testing.assert_close(ours, expected)
        weights = torch.randn_like(ours)
        gradients = [torch.autograd.grad((y * weights).sum(), logits)[0] for y in (ours, expected)]
        torch.testing.assert_close(*gradients)
        torch.testing.assert_close(norm.running_mean.flatten(), theirs.running_mean)
        torch.testing.assert_close(norm.running_var.flatten(), theirs.running_var)
    assert norm.num_batches_tracked == 1


def test_logit_norm_does_not_ask_for_moments_in_inference() -> None:
    def refuse() -> tuple[Tensor, Tensor, int]:
        raise AssertionError("inference needs no moments")

    scale, shift = LogitNorm(3, 2, eps=0.0).eval()(refuse)
    assert shift is None
    torch.testing.assert_close(scale, torch.ones(3, 2))


def test_logit_norm_of_one_logit_uses_the_running_statistics() -> None:
    norm = LogitNorm(1, 2, eps=0.0)
    norm.running_var.fill_(4.0)
    scale, _ = norm(lambda: (torch.full((1, 2), 9.0), torch.full((1, 2), 81.0), 1))
    torch.testing.assert_close(scale, torch.full((1, 2), 0.5))
    assert norm.num_batches_tracked == 0


def test_logit_norm_survives_equal_logits() -> None:
    logits = torch.full((1, 1, 7), 0.25, requires_grad=True)
    scale, _ = LogitNorm(1, 1, eps=1e-4)(lambda: moments_of(logits))
    torch.testing.assert_close(scale, torch.full((1, 1), 100.0))
    scale.sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_logit_norm_stays_in_single_precision_when_its_model_does_not() -> None:
    norm = LogitNorm(1, 2, bias=True).bfloat16().eval()
    scale, shift = norm(lambda: (torch.zeros(1, 2), torch.ones(1, 2), 5))
    assert shift is not None
    assert scale.dtype == shift.dtype == torch.float32


def test_two_processes_equal_one(tmp_path: Path) -> None:
    processes = len(synchronized_step.SHARES)
    torch.multiprocessing.spawn(synchronized_step.run, args=(str(tmp_path),), nprocs=processes)
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(processes)]
    expected = synchronized_step.step(synchronized_step.build_model(), *synchronized_step.batch())
    assert any("logit_norm.running_var" in name for name in expected)
    assert all(value.any() for name, value in expected.items() if name.endswith("attention.rel_q"))
    for name, value in expected.items():
        values = [part[name] for part in parts]
        if name in ("output", "images"):
            torch.testing.assert_close(torch.cat(values), value, rtol=1e-7, atol=1e-7)
        elif name.startswith("gradient"):
            torch.testing.assert_close(sum(values), value, rtol=1e-7, atol=1e-7)
        else:
            for ours in values:
                torch.testing.assert_close(ours, value, rtol=1e-7, atol=1e-7)


def test_conversion_covers_all_norms_and_keeps_their_state() -> None:
    model = synchronized_step.build_model().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    parameters = list(model.parameters())
    assert convert_sync_batchnorm(model) is model
    norms = [m for m in model.modules() if isinstance(m, BatchNorm2d | LogitNorm)]
    assert all(norm.sync for norm in norms)
    assert all(isinstance(m, BatchNorm2d) for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    assert not any(m.training for m in model.modules())
    torch.testing.assert_close(model.state_dict(), before)
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(model.train()(x), synchronized_step.build_model()(x))


def test_conversion_of_a_single_norm() -> None:
    theirs = nn.BatchNorm2d(3)
    for norm in (
        theirs,
        nn.SyncBatchNorm(3),
        nn.BatchNorm2d(3, affine=False),
        nn.BatchNorm2d(3, momentum=None),
    ):
        ours = convert_sync_batchnorm(norm)
        assert isinstance(ours, BatchNorm2d)
        x = torch.randn(2, 3, 4, 5)
        torch.testing.assert_close(ours(x), F.batch_norm(x, None, None, training=True))


@pytest.fixture
def group_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process group whose only member takes itself for one of several."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    monkeypatch.setattr("axial_deeplab.models.norm._several_processes", lambda: True)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("group_of_one")
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"affine": False},
        {"momentum": None},
        {"momentum": 0.3, "eps": 0.1},
        {"track_running_stats": False},
    ],
)
def test_synchronized_norm_keeps_the_options_of_pytorchs(options: dict[str, Any]) -> None:
    theirs = nn.BatchNorm2d(3, **options)
    ours = convert_sync_batchnorm(nn.BatchNorm2d(3, **options))
    for _ in range(2):
        x = torch.randn(2, 3, 4, 5)
        torch.testing.assert_close(ours(x), theirs(x))
        torch.testing.assert_close(ours(x.bfloat16()), theirs(x.bfloat16()), rtol=2**-7, atol=1e-2)
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())


@pytest.mark.usefixtures("group_of_one")
def test_synchronized_norm_is_recomputed(monkeypatch: pytest.MonkeyPatch) -> None:
    norm = convert_sync_batchnorm(random_batch_norm()).double()
    weight = torch.randn(5, 3, 1, 1, dtype=torch.float64)

    def gradients() -> list[Tensor]:
        x = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        x.requires_grad_()
        kernel = weight.clone().requires_grad_()
        with recompute_normalized():
            y = F.conv2d(norm(x), kernel).square()
        assert isinstance(norm, BatchNorm2d)
        return list(torch.autograd.grad((y * y.detach().cos()).sum(), (x, kernel, norm.weight, norm.bias)))

    computed: list[Recipe] = []
    compute = Recipe._compute
    monkeypatch.setattr(Recipe, "_compute", lambda recipe: (computed.append(recipe), compute(recipe))[1])
    ours = gradients()
    # The output, and the map less its mean.
    assert len(set(computed)) == len(computed) == 2
    monkeypatch.setattr("axial_deeplab.models.recomputation._may_hook", lambda: False)
    torch.testing.assert_close(ours, gradients(), rtol=1e-11, atol=1e-11)


def test_moving_averages_in_bfloat16_stop_short() -> None:
    # Why training warns of it: a step below half of the last digit is none.
    norm, half = BatchNorm2d(3), BatchNorm2d(3).bfloat16()
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        x = 3 * torch.randn(4, 3, 16, 16, generator=generator)
        norm(x)
        half(x.bfloat16())
    assert norm.running_var is not None
    assert half.running_var is not None
    difference = (half.running_var.float() / norm.running_var - 1).abs().max()
    assert 0.005 < difference < 0.05
