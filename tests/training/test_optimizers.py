"""The optimizers written out, the learning rate and the average of weights by hand."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from axial_deeplab.training.optimizers import (
    Lookahead,
    parameter_groups,
    radam_lookahead,
    sgd_nesterov,
    update_average,
    warmup_cosine,
    warmup_poly,
)


def make_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3), nn.Conv2d(3, 1, 1))


def step(model: nn.Module, optimizer: torch.optim.Optimizer, number: int) -> None:
    generator = torch.Generator().manual_seed(number)
    images = torch.randn(2, 2, 5, 5, generator=generator).to(next(model.parameters()).dtype)
    optimizer.zero_grad()
    model(images).square().sum().backward()
    optimizer.step()


def assert_equal(one: nn.Module, other: nn.Module) -> None:
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_equals_algorithm_1_written_out() -> None:
    model, plain = make_model().double(), make_model().double()
    optimizer = Lookahead(torch.optim.RAdam(model.parameters(), lr=0.1), num_steps=3, alpha=0.3)
    inner = torch.optim.RAdam(plain.parameters(), lr=0.1)
    slow = [p.detach().clone() for p in plain.parameters()]
    for number in range(1, 11):
        step(model, optimizer, number)
        step(plain, inner, number)
        if number % 3 == 0:
            with torch.no_grad():
                for s, fast in zip(slow, plain.parameters(), strict=True):
                    s.add_(0.3 * (fast - s))
                    fast.copy_(s)
        for p, q in zip(model.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-12)


def test_one_step_with_alpha_one_is_the_inner_optimizer() -> None:
    model, plain = make_model(), make_model()
    optimizer = Lookahead(torch.optim.RAdam(model.parameters(), lr=0.1), num_steps=1, alpha=1.0)
    inner = torch.optim.RAdam(plain.parameters(), lr=0.1)
    for number in range(8):
        step(model, optimizer, number)
        step(plain, inner, number)
    assert_equal(model, plain)


@pytest.mark.parametrize("stop", [1, 5, 7])
def test_state_dict_goes_on_exactly(stop: int) -> None:
    straight = make_model()
    optimizer = radam_lookahead(straight, lr=0.05, weight_decay=0.1)
    for number in range(stop):
        step(straight, optimizer, number)
    resumed, state = copy.deepcopy(straight), copy.deepcopy(optimizer.state_dict())
    other = radam_lookahead(resumed, lr=0.05, weight_decay=0.1)
    other.load_state_dict(state)
    for number in range(stop, 13):
        step(straight, optimizer, number)
        step(resumed, other, number)
    assert_equal(straight, resumed)


def test_weights_without_gradient_stay_and_are_no_hindrance_later() -> None:
    model = make_model()
    optimizer = radam_lookahead(model, lr=0.05)
    frozen = model[0].weight
    before = frozen.detach().clone()
    frozen.requires_grad_(False)
    for number in range(6):
        step(model, optimizer, number)
    assert torch.equal(frozen, before)
    frozen.requires_grad_(True)
    for number in range(6):
        step(model, optimizer, number)
    assert not torch.equal(frozen, before)


def test_closure_is_run_with_gradients_and_its_loss_returned() -> None:
    weight = nn.Parameter(torch.ones(1))
    optimizer = Lookahead(torch.optim.SGD([weight], lr=0.1))

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (weight**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 1.0
    assert weight.item() == pytest.approx(0.8)


def test_added_group_gets_the_inner_settings() -> None:
    first, second = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optimizer = Lookahead(torch.optim.SGD([first], lr=0.1, momentum=0.5), num_steps=2)
    optimizer.add_param_group({"params": [second], "lr": 0.2})
    for _ in range(2):
        optimizer.zero_grad()
        (first + second).sum().backward()
        optimizer.step()
    # Two steps of 1 and 1.5 learning rates, then half the way back.
    assert first.item() == pytest.approx(1 - 0.1 * 2.5 / 2)
    assert second.item() == pytest.approx(1 - 0.2 * 2.5 / 2)


def test_only_kernels_decay() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project = nn.Conv2d(2, 2, 1)
            self.norm = nn.BatchNorm2d(2)
            self.rel_q = nn.Parameter(torch.zeros(9, 4))

    model = Attention()
    decaying, others = parameter_groups(model, 0.1)
    assert [id(p) for p in decaying["params"]] == [id(model.project.weight)]
    assert decaying["weight_decay"] == 0.1
    assert others["weight_decay"] == 0.0
    assert {id(p) for p in others["params"]} == {
        id(p) for p in (model.project.bias, model.norm.weight, model.norm.bias, model.rel_q)
    }


def factors(warmup: Callable[..., LambdaLR], **steps: Any) -> list[float]:
    scheduler = warmup(torch.optim.SGD(make_model().parameters(), lr=1.0), **steps)
    return [scheduler.lr_lambdas[0](step) for step in range(11)]


def test_learning_rate_by_hand() -> None:
    poly = factors(warmup_poly, warmup_steps=4, max_steps=10, power=1.0)
    assert poly == pytest.approx([0.2, 0.4 * 0.9, 0.6 * 0.8, 0.8 * 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0])
    assert factors(warmup_poly, warmup_steps=0, max_steps=10)[5] == pytest.approx(0.5**0.9)
    cosine = factors(warmup_cosine, warmup_steps=2, max_steps=10)
    assert cosine[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert cosine[4] == pytest.approx(0.5 + 0.5**1.5)  # a quarter of the decay
    assert cosine[6] == pytest.approx(0.5)
    assert cosine[10] == pytest.approx(0.0)


def test_sgd_decays_kernels_and_looks_ahead_as_nesterov() -> None:
    model, plain = make_model().double(), make_model().double()
    optimizer = sgd_nesterov(model, lr=0.1, momentum=0.5, weight_decay=0.2)
    velocity = [torch.zeros_like(p) for p in plain.parameters()]
    for number in range(3):
        step(model, optimizer, number)
        step(plain, torch.optim.SGD(plain.parameters(), lr=0.0), number)  # the gradients alone
        with torch.no_grad():
            for v, p in zip(velocity, plain.parameters(), strict=True):
                gradient = p.grad + (0.2 * p if p.ndim == 4 else 0)
                v.mul_(0.5).add_(gradient)
                p.sub_(0.1 * (gradient + 0.5 * v))
    for p, q in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(p, q)


def test_average_follows_the_weights_and_the_running_statistics() -> None:
    model = make_model()
    average = copy.deepcopy(model).requires_grad_(False)
    start = copy.deepcopy(model.state_dict())
    step(model, sgd_nesterov(model, lr=0.1), 0)
    update_average(average, model, decay=0.9, num_steps=1)  # so early only 2 / 11 of the old is kept
    for name, value in average.state_dict().items():
        now = model.state_dict()[name]
        expected = start[name] * 2 / 11 + now * 9 / 11 if value.is_floating_point() else now
        torch.testing.assert_close(value, expected)
    update_average(average, model, decay=0.0, num_steps=1000)
    assert_equal(average, model)


def test_scheduler_sets_the_learning_rate_of_each_step() -> None:
    model = make_model()
    optimizer = radam_lookahead(model, lr=0.1)
    scheduler = warmup_poly(optimizer, warmup_steps=1, max_steps=4, power=1.0)
    rates = []
    for number in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        step(model, optimizer, number)
        scheduler.step()
    assert rates == pytest.approx([0.05, 0.075, 0.05, 0.025])
    assert optimizer.optimizer.param_groups is optimizer.param_groups


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_steps": 0}, "num_steps must be at least 1, got 0"),
        ({"alpha": 0.0}, r"alpha must be in \(0, 1\], got 0.0"),
        ({"alpha": 1.5}, r"alpha must be in \(0, 1\], got 1.5"),
    ],
)
def test_refuses(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Lookahead(torch.optim.SGD(make_model().parameters(), lr=0.1), **arguments)
