"""Derivatives of all orders and modes through the layers that compute with compiled code of ours."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call

from axial_deeplab.models.attention.axial import AxialAttention
from axial_deeplab.models.attention.global_ import GlobalAttention2d
from axial_deeplab.models.attention.window import LocalAttention2d
from axial_deeplab.models.blocks.axial_block import AxialBlock

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "axial": lambda: AxialAttention(4, 8, num_heads=2, max_span=4),
    "axial, span": lambda: AxialAttention(4, 8, num_heads=2, axis="width", span=3, max_span=4, stride=2),
    "window": lambda: LocalAttention2d(4, 8, num_heads=2, kernel_size=3),
    "window, rows": lambda: LocalAttention2d(4, 8, num_heads=2, kernel_size=3, rows_per_chunk=2),
    "global": lambda: GlobalAttention2d(4, 8, num_heads=2),
    "block": lambda: AxialBlock(4, 8, 8, num_heads=2, max_span=4),
}
every_layer = pytest.mark.parametrize("name", LAYERS)
way = pytest.mark.parametrize("way", ["trained", "folded"])


def make_layer(name: str, way: str = "trained") -> Any:
    torch.manual_seed(0)
    layer = LAYERS[name]().double().eval()
    for x in layer.parameters():
        x.data += 0.3 * torch.randn_like(x)
    if way == "folded":
        layer = layer.fused()  # type: ignore[operator]
    return layer


def make_maps(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(2, 4, 5, 3, dtype=torch.float64, generator=generator) for _ in range(count)]


def difference(function: Callable[[Tensor], Tensor], x: Tensor, tangent: Tensor) -> Tensor:
    step = 1e-6
    with torch.no_grad():
        return (function(x + step * tangent) - function(x - step * tangent)) / (2 * step)


def close(x: Tensor, expected: Tensor) -> None:
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(x, expected, rtol=1e-5, atol=1e-6)


@every_layer
@way
def test_forward_mode_is_the_derivative(name: str, way: str) -> None:
    layer = make_layer(name, way)
    x, tangent = make_maps(2)
    expected = difference(layer, x, tangent)
    close(torch.func.jvp(layer, (x,), (tangent,))[1], expected)
    for grad in (True, False):
        with torch.set_grad_enabled(grad), forward_ad.dual_level():
            y = layer(forward_ad.make_dual(x, tangent))
            close(forward_ad.unpack_dual(y).tangent, expected)


@every_layer
def test_forward_mode_with_regard_to_parameters(name: str) -> None:
    layer = make_layer(name)
    (x,) = make_maps(1)
    parameters = {key: p.detach() for key, p in layer.named_parameters()}
    tangents = {key: torch.randn_like(p) for key, p in parameters.items()}

    def output(step: float) -> Tensor:
        moved = {key: p + step * tangents[key] for key, p in parameters.items()}
        y: Tensor = functional_call(layer, moved, (x,))
        return y

    expected = (output(1e-6) - output(-1e-6)) / 2e-6
    _, tangent = torch.func.jvp(lambda p: functional_call(layer, p, (x,)), (parameters,), (tangents,))
    close(tangent, expected)
    with forward_ad.dual_level():
        duals = {key: forward_ad.make_dual(p, tangents[key]) for key, p in parameters.items()}
        close(forward_ad.unpack_dual(functional_call(layer, duals, (x,))).tangent, expected)


@every_layer
@way
def test_transforms_agree_with_autograd(name: str, way: str) -> None:
    layer = make_layer(name, way)
    (x,) = make_maps(1)
    leaf = x.clone().requires_grad_()
    y = layer(leaf)
    cotangent = torch.randn_like(y)
    (expected,) = torch.autograd.grad((y * cotangent).sum(), leaf)
    pulled = torch.func.grad(lambda z: (layer(z) * cotangent).sum())(x)
    close(pulled, expected)
    result, pull = torch.func.vjp(layer, x)
    torch.testing.assert_close(result, y.detach())
    close(pull(cotangent)[0], expected)


@every_layer
def test_gradients_of_each_image(name: str) -> None:
    """`vmap` over `grad`: the gradients of all parameters for each image alone."""
    layer = make_layer(name)
    (x,) = make_maps(1)
    parameters = {key: p.detach() for key, p in layer.named_parameters()}

    def loss(p: dict[str, Tensor], image: Tensor) -> Tensor:
        y: Tensor = functional_call(layer, p, (image[None],)).square().mean()
        return y

    grads = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x)
    for i, image in enumerate(x):
        layer.zero_grad()
        layer(image[None]).square().mean().backward()
        for key, p in layer.named_parameters():
            expected = torch.zeros_like(p) if p.grad is None else p.grad
            torch.testing.assert_close(grads[key][i], expected, rtol=1e-5, atol=1e-6)


@every_layer
@way
def test_vmap_is_a_loop(name: str, way: str) -> None:
    layer = make_layer(name, way)
    batches = torch.stack(make_maps(3))
    torch.testing.assert_close(torch.func.vmap(layer)(batches), torch.stack([layer(x) for x in batches]))


@every_layer
def test_jacobians(name: str) -> None:
    layer = make_layer(name)
    x = make_maps(1)[0][:1, :, :3, :2]
    forward, reverse = torch.func.jacfwd(layer)(x), torch.func.jacrev(layer)(x)
    close(forward, reverse)
    close((forward * x).sum((4, 5, 6, 7)), difference(layer, x, x))


@every_layer
def test_second_derivatives(name: str) -> None:
    layer = make_layer(name)
    x, tangent = (y[:1, :, :3, :2] for y in make_maps(2))

    def loss(z: Tensor) -> Tensor:
        y: Tensor = layer(z).square().sum()
        return y

    expected = difference(torch.func.grad(loss), x, tangent)
    _, product = torch.func.jvp(torch.func.grad(loss), (x,), (tangent,))
    close(product, expected)


@pytest.mark.parametrize("name", ["axial", "axial, span", "window"])
def test_a_named_implementation_says_which_to_choose(name: str) -> None:
    layer = make_layer(name)
    layer.impl = "numba"
    x, tangent = make_maps(2)
    with pytest.raises(ValueError, match=r"got 'numba': forward mode and the transforms .* 'reference'"):
        torch.func.jvp(layer, (x,), (tangent,))
    with forward_ad.dual_level(), pytest.raises(ValueError, match="'reference'"):
        layer(forward_ad.make_dual(x, tangent))
    with pytest.raises(ValueError, match="'reference'"):
        torch.func.vmap(layer)(x[:, None])


@pytest.mark.parametrize("name", ["axial", "axial, span", "window"])
def test_a_backward_pass_that_was_not_meant_to_be_transformed_says_what_to_choose(name: str) -> None:
    layer = make_layer(name)
    x = make_maps(1)[0].requires_grad_()
    y = layer(x)
    cotangents = torch.ones(2, *y.shape, dtype=y.dtype)
    with pytest.raises(RuntimeError, match=r"must not be transformed, .* choose impl='reference'"):
        torch.autograd.grad(y, x, cotangents, is_grads_batched=True, retain_graph=True)
    with forward_ad.dual_level(), pytest.raises(RuntimeError, match="choose impl='reference'"):
        torch.autograd.grad(y, x, forward_ad.make_dual(cotangents[0], cotangents[1]))


@every_layer
def test_jacobians_under_autocast(name: str) -> None:
    layer = make_layer(name).float()
    x = make_maps(1)[0].float()

    def total(x: Tensor) -> Tensor:
        y: Tensor = layer(x)
        return y.float().square().sum()

    expected = torch.func.grad(total)(x)
    with torch.autocast("cpu", torch.bfloat16):
        of_transform = torch.func.jacrev(total)(x)
        of_samples = torch.func.vmap(torch.func.grad(lambda one: total(one[None])))(x)
    for gradient in (of_transform, of_samples):
        assert (gradient - expected).norm() < 0.05 * expected.norm()
