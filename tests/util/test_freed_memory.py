"""Giving freed memory back to the system."""

import ctypes

import pytest
import torch

from axial_deeplab import create_model
from axial_deeplab.models import panoptic as axial_deeplab
from axial_deeplab.util import freed_memory


def test_without_the_function_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    freed_memory.return_freed_memory()

    def refuse(name: object) -> None:
        raise TypeError("no such handle")

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    assert freed_memory._malloc_trim.__wrapped__() is None
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert freed_memory._malloc_trim.__wrapped__() is None


@torch.no_grad()
def test_only_networks_for_inference_give_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[None] = []
    monkeypatch.setattr(axial_deeplab, "return_freed_memory", lambda: calls.append(None))
    model = create_model("axial_deeplab_nano", depths=(1, 1, 1, 1)).eval()
    images = torch.rand(1, 3, 33, 33)
    model(images)
    assert not calls
    model.fuse()(images)
    assert len(calls) == 1
