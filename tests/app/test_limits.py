"""A network stops between two layers once its time is over."""

import pytest
import torch
from torch import nn

from axial_deeplab.app.limits import Limits, time_limit


def test_time_over(monkeypatch):
    clock = iter([0.0, 1.0, 2.5])
    monkeypatch.setattr("axial_deeplab.app.limits.time.monotonic", lambda: next(clock))
    second = nn.Linear(2, 2)
    calls = []
    second.register_forward_hook(lambda *_: calls.append(1))
    with (
        pytest.raises(ValueError, match="time for a picture must be at most 2 s, got more"),
        time_limit(nn.ModuleList([nn.ReLU(), second]), 2),
    ):
        pytest.fail("the clock was not asked") if next(clock) != 1.0 else second(torch.ones(2))
    assert not calls


def test_hooks_go_with_the_block():
    model = nn.Sequential(nn.ReLU(), nn.ReLU())
    with time_limit(model, 60):
        assert model(torch.ones(1)) == 1
        assert model[0]._forward_pre_hooks
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_side": 15}, "max_side must be 16 pixels or more, got 15"),
        ({"seconds": 0}, "time_limit must be more than 0 seconds, got 0"),
        ({"seconds": float("inf")}, "time_limit must be more than 0 seconds, got inf"),
    ],
)
def test_limits_are_positive(limits, message):
    with pytest.raises(ValueError, match=message):
        Limits(**limits)
