"""Recomputed maps: nothing but the memory differs from keeping them."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

from axial_deeplab import create_model
from axial_deeplab.models import recomputation
from axial_deeplab.models.backbones.axial_resnet import AxialResNet
from axial_deeplab.models.blocks.axial_block import AxialBlock
from axial_deeplab.models.blocks.convolutions import ConvNorm
from axial_deeplab.models.norm import BatchNorm2d, LogitNorm
from axial_deeplab.models.recomputation import Recipe, add, note_normalized, recompute_normalized, relu

WIDTH = 16


class LiveBytes(TorchDispatchMode):
    """Counts the bytes that operations allocated and nobody gave up yet.

    Attributes:
        peak: the most of them at any time.
    """

    def __init__(self) -> None:
        super().__init__()
        self._bytes: dict[StorageWeakRef, int] = {}
        self.peak = 0

    @property
    def now(self) -> int:
        self._bytes = {storage: size for storage, size in self._bytes.items() if not storage.expired()}
        return sum(self._bytes.values())

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        outputs = func(*args, **(kwargs or {}))
        # Views of what was there before are not allocated.
        given = {StorageWeakRef(x.untyped_storage()) for x in tree_leaves(args) if isinstance(x, Tensor)}
        for x in tree_leaves(outputs):
            if isinstance(x, Tensor) and StorageWeakRef(x.untyped_storage()) not in given:
                storage = x.untyped_storage()
                self._bytes[StorageWeakRef(storage)] = storage.nbytes()
        self.peak = max(self.peak, self.now)
        return outputs


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[Recipe]:
    """The recipes that are computed, in order."""
    recipes: list[Recipe] = []
    compute = Recipe._compute

    def noted(recipe: Recipe) -> Tensor:
        recipes.append(recipe)
        return compute(recipe)

    monkeypatch.setattr(Recipe, "_compute", noted)
    return recipes


def block(**options: Any) -> AxialBlock:
    torch.manual_seed(0)
    arguments: dict[str, Any] = {"num_heads": 2, "max_span": 4, "impl": "reference"} | options
    module = AxialBlock(WIDTH, WIDTH, arguments.pop("out_channels", WIDTH), **arguments)
    for norm in module.modules():
        if isinstance(norm, BatchNorm2d | LogitNorm):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2.0)
        if isinstance(norm, BatchNorm2d):
            nn.init.normal_(norm.bias)
    return module.double()


def image(batch: int = 2, height: int = 6, width: int = 7, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, WIDTH, height, width, generator=generator, dtype=torch.float64)
    return x.contiguous(memory_format=torch.channels_last)


def step(module: Callable[[Tensor], Tensor], x: Tensor) -> dict[str, Tensor]:
    """Return the output and all gradients of a sum with random weights."""
    x = x.clone().requires_grad_()
    y = module(x)
    generator = torch.Generator().manual_seed(2)
    (y * torch.randn(y.shape, generator=generator, dtype=torch.float64)).sum().backward()
    results = {"y": y.detach(), "x": x.grad}
    if isinstance(module, nn.Module):
        results |= {name: p.grad for name, p in module.named_parameters()}
        results |= dict(module.named_buffers())
    return {name: value for name, value in results.items() if value is not None}


def step_without(
    module: Callable[[Tensor], Tensor], x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Tensor]:
    with monkeypatch.context() as patch:
        patch.setattr(recomputation, "_may_hook", lambda: False)
        return step(module, x)


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)


def freeze_norms(module: AxialBlock) -> None:
    for norm in module.modules():
        if isinstance(norm, BatchNorm2d):
            norm.eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("options", "change"),
    [
        ({"impl": "numba"}, None),
        ({}, None),
        ({"span": 3}, None),
        ({"stride": 2, "out_channels": 24}, None),
        ({"stride": 2, "stride_mode": "average_pool", "squeeze_excite": True, "final_relu": False}, None),
        ({"rel_v": False, "qkv_norm": False}, None),
        ({"output_norm": False}, None),
        ({}, nn.Module.eval),
        ({}, freeze_norms),
    ],
)
def test_gradients_are_those_of_keeping_everything(
    options: dict[str, Any],
    change: Callable[[nn.Module], object] | None,
    monkeypatch: pytest.MonkeyPatch,
    computed: list[Recipe],
) -> None:
    module = block(**options)
    if change is not None:
        change(module)
    for batch in (1, 2):
        computed.clear()
        theirs = step_without(copy.deepcopy(module), image(batch), monkeypatch)
        assert not computed
        ours = step(copy.deepcopy(module), image(batch))
        assert computed
        assert_same(ours, theirs)


def test_memory_is_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept are 13 maps of the block's width (down, 2 x (qkv 2, outputs 2), up, output) instead of 18."""
    kept, peaks = [], []
    for may_hook in (True, False):
        monkeypatch.setattr(recomputation, "_may_hook", lambda answer=may_hook: answer)
        module = nn.Sequential(*(block(impl="numba") for _ in range(3)))
        x = image(height=40, width=40).requires_grad_()
        unit = x.nbytes
        with LiveBytes() as live:
            y = module(x).sum()
            kept.append(live.now / unit / 3)
            y.backward()
        peaks.append(live.peak / unit / 3)
    # And one number for each query and head, of 8 channels.
    assert kept[0] == pytest.approx(11.25, abs=0.5)
    assert kept[1] == pytest.approx(18.25, abs=0.5)
    assert peaks[0] < 0.75 * peaks[1]


@pytest.mark.parametrize("change", [nn.Module.train, nn.Module.eval])
@pytest.mark.parametrize("retained", [False, True], ids=["without backward", "retained graph"])
def test_a_graph_that_nobody_holds_is_freed(change: Callable[[nn.Module], object], retained: bool) -> None:
    module = block(impl="numba")
    change(module)
    with LiveBytes() as live:
        y = module(image().requires_grad_())
        if retained:
            y.sum().backward(retain_graph=True)
            module.zero_grad()
        del y
        assert live.now == 0


def scale_the_image(x: Tensor, module: nn.Module) -> None:
    x.mul_(2.0)


def scale_the_weights(x: Tensor, module: nn.Module) -> None:
    for parameter in module.parameters():
        parameter.mul_(2.0)


@pytest.mark.parametrize("change", [scale_the_image, scale_the_weights])
def test_what_is_changed_before_the_backward_pass_is_refused(
    change: Callable[[Tensor, nn.Module], None],
) -> None:
    module = block()
    x = image()
    y = module(x)
    with torch.no_grad():
        change(x, module)
    with pytest.raises(RuntimeError, match="must not be changed in place, got a change of one of shape"):
        y.sum().backward()


def test_each_map_is_computed_once_in_each_backward_pass(computed: list[Recipe]) -> None:
    module = block(impl="numba")
    y = module(image().requires_grad_()).sum()
    for passes in (1, 2):
        y.backward(retain_graph=True)
        # Down, the queries, keys and values of both layers, their sums.
        assert len(set(computed)) == 5
        assert len(computed) == 5 * passes
    assert all(recipe._result is None for recipe in computed)


def test_second_derivatives(monkeypatch: pytest.MonkeyPatch) -> None:
    def gradient_of_gradient(module: nn.Module) -> Tensor:
        x = image(1, 3, 3).requires_grad_()
        (gradient,) = torch.autograd.grad(module(x).square().sum(), x, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), x)[0]

    ours = gradient_of_gradient(block())
    monkeypatch.setattr(recomputation, "_may_hook", lambda: False)
    torch.testing.assert_close(ours, gradient_of_gradient(block()))


def test_a_map_that_changes_is_kept(monkeypatch: pytest.MonkeyPatch, computed: list[Recipe]) -> None:
    module = ConvNorm(WIDTH, WIDTH, activation=False).double()
    module.append(nn.Conv2d(WIDTH, 3, 1).double())
    module[1].register_forward_hook(lambda module, inputs, output: output.mul_(2))

    def run(x: Tensor) -> Tensor:
        with recompute_normalized():
            return module(x)

    ours = step(run, image())
    assert not computed
    assert_same(ours, step_without(run, image(), monkeypatch))


def test_a_new_map_in_the_memory_of_an_old_one_is_not_taken_for_it(computed: list[Recipe]) -> None:
    memory = image().contiguous().numpy()
    with recompute_normalized():
        old = torch.from_numpy(memory)
        note_normalized(old, torch.zeros_like(old), torch.zeros(WIDTH, dtype=old.dtype))
        recording = recomputation._recording()
        assert recording is not None
        assert recording.find(old) is not None
        del old
        new = torch.from_numpy(memory).requires_grad_()
        y = new.square()
    y.sum().backward()
    torch.testing.assert_close(new.grad, 2 * new.detach())
    assert not computed


def test_sums_and_relu_of_other_maps_are_what_they_are(computed: list[Recipe]) -> None:
    x = image().requires_grad_()
    with recompute_normalized():
        y = relu(add(x * 2, x))
    y.sum().backward()
    torch.testing.assert_close(x.grad, 3 * (x > 0).double())
    assert not computed


def test_other_hooks_have_their_way(monkeypatch: pytest.MonkeyPatch, computed: list[Recipe]) -> None:
    module = block(impl="numba")
    theirs = step_without(copy.deepcopy(module), image(), monkeypatch)

    def offloaded(x: Tensor) -> Tensor:
        with torch.autograd.graph.save_on_cpu():
            return module(x)

    assert_same(step(offloaded, image()), {name: theirs[name] for name in ("x", "y")})
    module.zero_grad()

    def recomputed(x: Tensor) -> Tensor:
        return checkpoint(module, x, use_reentrant=False)

    assert_same(step(recomputed, image()), {name: theirs[name] for name in ("x", "y")})
    assert not computed


def test_checkpointing_inside_has_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    module = nn.Sequential(block(impl="numba"), block(impl="numba", checkpoint=True))

    def run(x: Tensor) -> Tensor:
        with recompute_normalized():
            return module(x)

    theirs = step_without(copy.deepcopy(module), image(), monkeypatch)
    assert_same(step(run, image()), {name: theirs[name] for name in ("x", "y")})


def test_functional_transforms_work() -> None:
    # Norms in training change their buffers, which these transforms forbid.
    module = block().eval()
    x = image()
    gradient = torch.func.grad(lambda x: module(x).square().sum())(x)
    (expected,) = torch.autograd.grad(module(x.requires_grad_()).square().sum(), x)
    torch.testing.assert_close(gradient, expected)


def test_autocast(monkeypatch: pytest.MonkeyPatch, computed: list[Recipe]) -> None:
    module = block(impl="numba").float()

    def run(x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return module(x)

    theirs = step_without(run, image().float(), monkeypatch)
    ours = step(run, image().float())
    assert computed
    torch.testing.assert_close(ours["y"], theirs["y"], rtol=0, atol=0)
    greatest = float(theirs["x"].abs().max())
    torch.testing.assert_close(ours["x"], theirs["x"], rtol=0, atol=2**-8 * greatest)


def test_inference_and_compilers_are_left_alone(computed: list[Recipe]) -> None:
    module = block(impl="numba")
    with torch.no_grad(), recompute_normalized():
        assert recomputation._recording() is None
        module(image())
    torch._dynamo.reset()
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    step(compiled, image())
    assert not computed


def test_nothing_is_left_behind_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), recompute_normalized():
        raise ZeroDivisionError
    assert recomputation._recording() is None
    assert recomputation._may_hook()
    x = image().requires_grad_()
    assert x.exp().grad_fn is not None
    F.relu(x).sum().backward()


def test_network_recomputes_its_stem_too(monkeypatch: pytest.MonkeyPatch, computed: list[Recipe]) -> None:
    torch.manual_seed(0)
    model = AxialResNet(width_multiplier=0.125, depths=(1, 1, 1, 1), num_classes=3, impl="reference").double()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    theirs = step_without(copy.deepcopy(model), images, monkeypatch)
    ours = step(model, images)
    assert (2, 64, 16, 16) in {recipe._size for recipe in computed}
    assert_same(ours, theirs)


@pytest.mark.parametrize("name", ["axial_resnet_s", "axial_swidernet_1_1_1", "axial_deeplab_s"])
def test_recomputation_is_an_option(name: str, computed: list[Recipe]) -> None:
    small = {"width_multiplier": 0.125, "depths": (1, 1, 1, 1), "num_classes": 3, "impl": "reference"}
    if name == "axial_deeplab_s":
        small |= {"decoder": "axial", "semantic_channels": 32}
    results = []
    for recompute in (True, False):
        torch.manual_seed(0)
        model = create_model(name, recompute=recompute, **small).double()
        images = torch.rand(2, 3, 33, 33, generator=torch.Generator().manual_seed(1)).double()
        y = model(images)
        torch.stack(
            [x.square().mean() for x in (y.values() if isinstance(y, dict) else [y])]
        ).sum().backward()
        results.append({key: p.grad for key, p in model.named_parameters()} | dict(model.named_buffers()))
        assert bool(computed) == recompute
        computed.clear()
    assert_same(*results)


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_maps_without_memory_have_no_recipes(device: str, computed: list[Recipe]) -> None:
    norm = BatchNorm2d(3).to(device)
    x = torch.empty(2 if device == "meta" else 0, 3, 4, 5, device=device, requires_grad=True)
    with recompute_normalized():
        y = norm(x) * norm(x).square()
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.shape == x.shape
    assert not computed
