"""The panoptic network: normalization, padding, resizing, decoders."""

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn, get_ema_multi_avg_fn

from axial_deeplab import create_model
from axial_deeplab.models.folding.fold import fuse
from axial_deeplab.models.panoptic import IMAGENET_MEAN, IMAGENET_STD, PanopticDeepLab


def nano(**overrides: object) -> PanopticDeepLab:
    torch.manual_seed(0)
    overrides = {"depths": (1, 1, 1, 1), "impl": "reference", **overrides}
    model = create_model("axial_deeplab_nano", num_classes=5, **overrides)
    assert isinstance(model, PanopticDeepLab)
    return model.eval()


def images(height: int, width: int, batch: int = 1, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (batch, channels, height, width), dtype=torch.uint8, generator=generator)


@torch.no_grad()
def test_outputs_have_the_size_of_the_images() -> None:
    model = nano()
    for size in ((1, 1), (1, 40), (17, 17), (33, 47), (34, 48), (64, 50)):
        outputs = model(images(*size, batch=2))
        assert {name: tuple(x.shape) for name, x in outputs.items()} == {
            "semantic_logits": (2, 5, *size),
            "center_heatmap": (2, 1, *size),
            "offsets": (2, 2, *size),
        }
        assert all(x.dtype == torch.float32 and x.isfinite().all() for x in outputs.values())


@torch.no_grad()
def test_uint8_and_float_images_give_the_same() -> None:
    model = nano()
    x = images(33, 47)
    for ours, theirs in zip(model(x).values(), model(x.float()).values(), strict=True):
        assert torch.equal(ours, theirs)


@torch.no_grad()
def test_padding_is_the_mean_color() -> None:
    model = nano()
    x = images(33, 49).float()
    x[:, :, 30:] = torch.tensor(IMAGENET_MEAN).reshape(1, 3, 1, 1)
    x[:, :, :, 46:] = torch.tensor(IMAGENET_MEAN).reshape(1, 3, 1, 1)
    cropped, whole = model(x[:, :, :30, :46]), model(x)
    for name, output in cropped.items():
        torch.testing.assert_close(output, whole[name][..., :30, :46], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_images_without_padding() -> None:
    model, padding = nano(pad_images=False), nano()
    x = images(33, 49)  # needs no padding
    for ours, theirs in zip(model(x).values(), padding(x).values(), strict=True):
        assert torch.equal(ours, theirs)
    x = images(34, 47)
    assert model.encode(x)["res5"].shape[-2:] == (3, 3)
    assert padding.encode(x)["res5"].shape[-2:] == (4, 4)
    assert {tuple(y.shape[-2:]) for y in model(x).values()} == {(34, 47)}


@torch.no_grad()
def test_encode_normalizes_and_aligns_the_grids() -> None:
    model = nano()
    maps = model.encode(images(34, 47))
    assert {name: tuple(x.shape[-2:]) for name, x in maps.items()} == {
        "res2": (13, 13),
        "res3": (7, 7),
        "res4": (4, 4),
        "res5": (4, 4),
    }
    x = images(33, 33).float()
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    expected = model.backbone.forward_features((x - mean) / std)["res5"]
    torch.testing.assert_close(model.encode(x)["res5"], expected)


@torch.no_grad()
def test_decode_gives_offsets_of_the_stride_4_grid() -> None:
    model = nano()
    x = images(33, 49)
    small, full = model.decode(model.encode(x)), model(x)
    for name, factor in (("semantic_logits", 1), ("center_heatmap", 1), ("offsets", 4)):
        assert small[name].shape[-2:] == (9, 13)
        torch.testing.assert_close(full[name][..., ::4, ::4], factor * small[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (20, 31)])
def test_trains_on_a_single_image(size: tuple[int, int]) -> None:
    for model in (
        nano(),
        create_model("panoptic_deeplab_resnet50", num_classes=5, width_multiplier=0.125, depths=(1, 1, 1, 1)),
    ):
        outputs = model.train()(images(*size))
        sum(x.square().mean() for x in outputs.values()).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_autocast_gives_float32_maps() -> None:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        outputs = nano()(images(33, 33))
    assert all(x.dtype == torch.float32 for x in outputs.values())


@torch.no_grad()
def test_double_precision_reaches_the_outputs() -> None:
    single, double = nano(), nano().double()
    for ours, exact in zip(single(images(33, 33)).values(), double(images(33, 33)).values(), strict=True):
        assert exact.dtype == torch.float64
        torch.testing.assert_close(ours.double(), exact, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_other_channels_and_other_normalization() -> None:
    assert nano(in_channels=4)(images(20, 20, channels=4))["offsets"].shape == (1, 2, 20, 20)
    model = nano(pixel_mean=[127.5] * 3, pixel_std=[127.5] * 3)
    assert model.pixel_mean.flatten().tolist() == [127.5] * 3
    assert nano(pixel_mean=127.5, pixel_std=127.5).pixel_mean.flatten().tolist() == [127.5] * 3
    with pytest.raises(
        ValueError, match=r"pixel_std must be one value for each of the 3 image channels, got 2"
    ):
        nano(pixel_std=[1.0, 2.0])


def test_refuses_other_shapes_of_images() -> None:
    with pytest.raises(ValueError, match=r"images must be \(B, 3, H, W\), got \(3, 20, 20\)"):
        nano()(images(20, 20)[0])
    with pytest.raises(ValueError, match=r"images must be \(B, 3, H, W\), got \(1, 4, 20, 20\)"):
        nano()(images(20, 20, channels=4))
    with pytest.raises(ValueError, match=r"images must have a pixel at least, got \(1, 3, 0, 20\)"):
        nano()(images(20, 20)[:, :, :0])
    with pytest.raises(
        TypeError, match=r"images must be a tensor \(B, 3, H, W\), got ndarray; torch.from_numpy"
    ):
        nano()(images(20, 20).numpy())


@torch.no_grad()
def test_axial_decoder_is_shared_by_the_heads() -> None:
    model = nano(decoder="axial", span=65)
    assert model.instance_decoder is None
    assert all(len(head) == 1 for head in (model.semantic_head, model.center_head, model.offset_head))
    assert model(images(33, 47))["semantic_logits"].shape == (1, 5, 33, 47)
    assert model.semantic_decoder.fuse_res2.height_attention.span == 65
    with pytest.raises(ValueError, match="aspp must be False with the axial decoder"):
        nano(decoder="axial", aspp=True)
    with pytest.raises(ValueError, match="decoder must be dual or axial, got 'unet'"):
        nano(decoder="unet")


def with_silent_content(bare: PanopticDeepLab, whole: PanopticDeepLab) -> PanopticDeepLab:
    """Give a network the tensors of one without content terms, and its own content the factor 0."""
    state = bare.state_dict()
    for name, own in whole.state_dict().items():
        if name.endswith(".content_norm.weight"):
            state[name] = torch.zeros_like(own)
        elif name.endswith("logit_norm.weight"):
            state[name] = torch.cat((torch.zeros_like(own[:1]), state[name]))
        elif ".logit_norm." in name and own.ndim:
            state[name] = torch.cat((own[:1], state[name]))
        else:
            state.setdefault(name, own)
    whole.load_state_dict(state)
    return whole


@pytest.mark.parametrize("name", ["axial_deeplab_nano", "panoptic_deeplab_ps_attention_resnet50"])
@torch.no_grad()
def test_content_can_be_left_out_everywhere(name: str) -> None:
    """In backbone and axial decoder; as a file and folded for inference, too."""
    torch.manual_seed(0)
    small = {"depths": (1, 1, 1, 1), "width_multiplier": 0.25, "num_heads": 2, "aspp": False}
    arguments = {**small, "decoder": "axial", "max_span": 9, "num_classes": 5}
    bare = create_model(name, content_logits=False, content_output=False, **arguments).eval()
    assert isinstance(bare, PanopticDeepLab)
    assert not [key for key in bare.state_dict() if ".content_norm." in key]
    # Blocks start as their shortcuts, where no attention is seen.
    for key, x in bare.named_parameters():
        if key.endswith("up.norm.weight"):
            x.fill_(0.5)
    x = images(33, 47)
    expected = bare(x)
    whole = with_silent_content(bare, create_model(name, **arguments).eval())
    for network in (whole, fuse(bare), fuse(whole)):
        for key, y in network(x).items():
            torch.testing.assert_close(y, expected[key], rtol=1e-3, atol=1e-5)


def test_channels_of_contexts_and_heads() -> None:
    def channels(**overrides: object) -> list[int]:
        model = nano(semantic_channels=32, instance_channels=16, **overrides)
        contexts = (model.semantic_decoder.context, model.instance_decoder.context)
        last = [
            context.get_submodule("project") if overrides.get("aspp") else context for context in contexts
        ]
        return [layer.conv.out_channels for layer in (*last, model.semantic_head.hidden.pointwise)]

    assert channels() == [32, 16, 32]
    assert channels(aspp=True) == [256, 256, 32]
    assert channels(aspp_channels=24) == [24, 24, 32]
    assert channels(aspp=True, aspp_channels=[24, 8], semantic_head_channels=12) == [24, 8, 12]


def test_atrous_rates_follow_the_output_stride() -> None:
    def rates(**overrides: object) -> list[int]:
        with torch.device("meta"):
            model = create_model("panoptic_deeplab_resnet50", **overrides)
        return [branch.depthwise.conv.dilation[0] for branch in model.semantic_decoder.context.branches[1:]]

    assert rates() == [6, 12, 18]
    assert rates(output_stride=8) == [12, 24, 36]
    assert rates(atrous_rates=[1, 2]) == [1, 2]


@pytest.mark.parametrize(
    "average",
    [{"multi_avg_fn": get_ema_multi_avg_fn(0.9999)}, {"avg_fn": get_ema_avg_fn(0.9999)}],
    ids=["torch", "Lightning's EMAWeightAveraging"],
)
@torch.no_grad()
def test_an_average_of_a_network_that_does_not_change_is_that_network(average: dict[str, object]) -> None:
    # Its decay is applied to buffers, too, and lowers whole numbers by one: tables of places must be none.
    network = nano()
    for name, buffer in network.named_buffers():
        if name.endswith("num_batches_tracked"):
            buffer.fill_(5)
    averaged = AveragedModel(network, use_buffers=True, **average)  # type: ignore[arg-type]
    for _ in range(20):
        averaged.update_parameters(network)
    found = averaged.eval()(images(40, 50))
    for name, values in network(images(40, 50)).items():
        torch.testing.assert_close(found[name], values, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_networks_are_made_and_run_in_the_default_type(dtype: torch.dtype) -> None:
    torch.set_default_dtype(dtype)
    try:
        model = create_model("axial_deeplab_nano", num_classes=2).eval()
        with torch.no_grad():
            outputs = model(torch.full((1, 3, 33, 33), 7, dtype=torch.uint8))
    finally:
        torch.set_default_dtype(torch.float32)
    assert {x.dtype for x in model.state_dict().values() if x.is_floating_point()} == {dtype}
    assert {x.dtype for x in outputs.values()} == {torch.promote_types(dtype, torch.float32)}
