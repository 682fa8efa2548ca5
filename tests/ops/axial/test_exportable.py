"""The attention of exported programs equals the specification."""

import pytest
import torch

from axial_deeplab.ops.axial import exportable, reference
from axial_deeplab.ops.operands import Operands


@pytest.mark.parametrize("length", [1, 5, 23])
@pytest.mark.parametrize("span", [None, 5])
@pytest.mark.parametrize("tables", ["", "q", "qkv"])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_equals_the_reference(length, span, tables, activation):
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    q, k = random(2, length, 3, 2, 4), random(2, length, 3, 2, 4)
    v = random(2, length, 3, 2, 6)
    rel_q, rel_k, rel_v = (
        random(2 * 9 - 1, width) if name in tables else None
        for name, width in zip("qkv", (4, 4, 6), strict=True)
    )
    options = {"span": span, "activation": activation}
    options["logit_bias"] = random(2) if activation == "sigmoid" else None
    arguments = (q, k, v, rel_q, rel_k, rel_v, random(3, 2).abs())
    operands = Operands(*arguments, **options)
    for ours, expected in zip(exportable.attend(operands), reference.attend(operands), strict=True):
        assert (ours is None) == (expected is None)
        if ours is not None:
            torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


def test_is_taken_by_exported_programs_alone():
    operands = Operands(*[torch.zeros(1, 1, 1, 1, 1)] * 3, None, None, None)
    assert exportable.why_not(operands) == "it is for exported programs"
