"""Prepared attention with constant tables: equal to the reference in float64, whatever the layer."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from axial_deeplab.ops import axial_attention as public
from axial_deeplab.ops.axial.prepared import PreparedAttention, heads_last

THREADS = torch.get_num_threads()


@dataclass(frozen=True)
class Layer:
    """A layer of inference with random constants, on a random map.

    The tables have so many rows; without terms there are neither scales nor tables. Every second scale is
    multiplied by the factor.
    """

    size: tuple[int, int, int] = (2, 7, 5)
    heads: int = 8
    D: int = 4
    V: int = 8
    axis: str = "height"
    span: int | None = None
    stride: int = 1
    relu: bool = False
    rows: int = 25
    terms: bool = True
    factor: float = 1

    def constants(self) -> tuple[Tensor | None, ...]:
        generator = torch.Generator().manual_seed(0)
        tables = [torch.randn(self.rows, c, generator=generator) for c in (self.D, self.D, self.V)]
        scale = torch.rand(3, self.heads, generator=generator) - 0.2
        positional_scale = torch.randn(self.heads, self.V, generator=generator)
        for numbers in (scale, positional_scale):
            numbers.view(-1)[::2] *= self.factor
        if not self.terms:
            return None, None, None, None, positional_scale
        return *tables, scale, positional_scale

    def projection(self) -> Tensor:
        """The usual one: the channels of a head side by side."""
        channels = self.heads * (2 * self.D + self.V)
        return torch.randn(*self.size, channels, generator=torch.Generator().manual_seed(1))

    def prepare(self) -> PreparedAttention:
        return PreparedAttention(
            *self.constants(),  # type: ignore[arg-type]
            axis=self.axis,
            head_dim=self.D,
            span=self.span,
            stride=self.stride,
            relu=self.relu,
        )

    def run(self, qkv: Tensor) -> Tensor:
        return self.prepare()(qkv[..., heads_last(self.heads, self.D, self.D, self.V)])

    def expected(self, qkv: Tensor) -> Tensor:
        """The same by the reference in float64."""
        widths = [self.heads * width for width in (self.D, self.D, self.V)]
        q, k, v = (x.unflatten(-1, (self.heads, -1)) for x in qkv.double().split(widths, -1))
        if self.axis == "width":
            q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        constants = [None if x is None else x.double() for x in self.constants()]
        assert constants[-1] is not None
        y = public.axial_attention_sum(
            q, k, v, *constants[:-1], constants[-1], span=self.span, impl="reference"
        )
        y = y[:, :: self.stride]
        y = y.transpose(1, 2) if self.axis == "width" else y
        y = y.relu() if self.relu else y
        return y.flatten(3)[..., heads_last(self.heads, self.V)]


LAYERS = [
    Layer(),
    Layer(axis="width"),
    Layer(size=(1, 56, 3)),
    Layer(size=(1, 3, 17), heads=16, D=3, V=5, axis="width", stride=2, relu=True),
    Layer(size=(2, 9, 4), D=1, V=1, stride=3),
    Layer(size=(1, 20, 2), span=5),
    Layer(size=(1, 2, 21), axis="width", span=7, stride=2, V=7, relu=True),
    Layer(size=(1, 33, 2), D=16, V=32, span=1, rows=1),
    Layer(size=(1, 1, 1), rows=1),
    Layer(size=(1, 14, 14), D=32, V=64, rows=5, stride=2),
    Layer(size=(1, 6, 3), terms=False),
    Layer(size=(0, 6, 3)),
    Layer(factor=0),
    Layer(factor=1e-9, stride=2),
    Layer(factor=-1e-20),
    Layer(factor=3),
]


@pytest.mark.parametrize("layer", LAYERS)
def test_equals_the_reference(layer: Layer) -> None:
    qkv = layer.projection()
    torch.testing.assert_close(layer.run(qkv).double(), layer.expected(qkv), rtol=1e-5, atol=5e-6)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_same_bits_for_any_number_of_threads(threads: int) -> None:
    layer = Layer(size=(2, 40, 40), heads=16)
    qkv = layer.projection()
    prepared = layer.prepare()
    first = prepared(qkv)
    try:
        torch.set_num_threads(threads)
        assert torch.equal(prepared(qkv), first)
    finally:
        torch.set_num_threads(THREADS)


def test_one_prepared_layer_for_maps_of_any_size() -> None:
    layers = [Layer(size=size, span=9, stride=2) for size in ((1, 5, 9), (2, 17, 3), (1, 5, 9))]
    prepared = layers[0].prepare()
    for layer in layers:
        qkv = layer.projection()
        y = prepared(qkv[..., heads_last(8, 4, 4, 8)])
        torch.testing.assert_close(y.double(), layer.expected(qkv), rtol=1e-5, atol=5e-6)


def test_extreme_logits_stay_finite_and_nan_is_not_hidden() -> None:
    layer = Layer(size=(1, 12, 2), relu=True)
    qkv = 1e4 * layer.projection()
    assert layer.run(qkv).isfinite().all()
    qkv[0, 3, 1, 0] = torch.nan  # a query of the first head
    outside = layer.run(qkv).isnan()
    assert outside[0, 3, 1, ::8].all()
    assert outside.sum() == 8


def test_relative_tables_reach_from_the_query_to_the_key() -> None:
    # One channel; values are zero but for r^v, all logits are equal: the output is the mean of the rows seen.
    table = torch.tensor([[1.0], [2.0], [4.0], [8.0], [16.0]])
    none = torch.zeros(5, 1)
    prepared = PreparedAttention(
        none, none, table, None, torch.ones(8, 1), axis="height", head_dim=1, span=None, stride=1, relu=False
    )
    y = prepared(torch.zeros(1, 3, 1, 24))
    expected = torch.tensor([(4 + 8 + 16) / 3, (2 + 4 + 8) / 3, (1 + 2 + 4) / 3])
    torch.testing.assert_close(y, expected[:, None, None].expand(1, 3, 1, 8))


def test_order_of_the_channels() -> None:
    # Two heads of one and of two channels: a, b | c d, e f -> a, b | c e, d f.
    assert heads_last(2, 1, 2).tolist() == [0, 1, 2, 4, 3, 5]


def test_why_not() -> None:
    x = torch.zeros(1)
    assert PreparedAttention.why_not(8, x) is None
    assert PreparedAttention.why_not(8, x.double()) == "it computes in float32, not torch.float64"
    assert PreparedAttention.why_not(12, x) == "it computes 8 heads at once"
    assert PreparedAttention.why_not(8, x.to("meta")) == "it runs on the CPU, q is on meta"
