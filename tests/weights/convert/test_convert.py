"""Conversion: the network of the converted file gives what the original one gave, and every tensor is
accounted for."""

import argparse
import json
import re
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F

from axial_deeplab.cli.main import main
from axial_deeplab.data.labels import cityscapes
from axial_deeplab.models.registry import create_model
from axial_deeplab.prediction.predictor import Predictor
from axial_deeplab.weights.convert.convert import convert
from axial_deeplab.weights.convert.deeplab2_names import deeplab2_arguments, deeplab2_names
from axial_deeplab.weights.file import save_weights
from axial_deeplab.weights.loaded import load_weights
from reference_networks import channels_first, first_author_network, read_golden
from tensorflow_files import variables_of, write_checkpoint

TINY_DEPTHS = {"width_multiplier": 0.125, "stem_multiplier": 0.125, "depths": (1, 1, 1, 1)}
SMALL = {**TINY_DEPTHS, "max_span": 8}


def random_like(shapes, seed=0):
    """Return tensors that keep activations finite: positive variances, small weights."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(shape, generator=generator) * (0.4 if len(shape) > 1 else 1)
        - (0.2 if len(shape) > 1 else -0.1)
        for name, shape in shapes.items()
    }


# The author's code.


def first_author_shapes(width=8, num_classes=5, length=6):
    """Return the shapes of his network with a block in each stage."""
    norm = {"weight", "bias", "running_mean", "running_var"}
    shapes = {"conv1.weight": (width, 3, 7, 7), **{f"bn1.{name}": (width,) for name in norm}}
    channels = width
    for stage in range(4):
        inner, outer, prefix = 2 * width * 2**stage, 4 * width * 2**stage, f"layer{stage + 1}.0"
        modules = {
            "conv_down": (inner, channels),
            "conv_up": (outer, inner),
            "downsample.0": (outer, channels),
        }
        shapes |= {f"{prefix}.{name}.weight": (*shape, 1, 1) for name, shape in modules.items()}
        norms = {"bn1": inner, "bn2": outer, "downsample.1": outer}
        for axis in ("hight_block", "width_block"):
            layer = f"{prefix}.{axis}"
            shapes |= {
                f"{layer}.relative": (2 * inner // 8, 2 * length - 1),
                f"{layer}.flatten_index": (length,),
            }
            shapes |= {f"{layer}.qkv_transform.weight": (2 * inner, inner, 1)}
            names = {"bn_qkv": 2 * inner, "bn_similarity": 24, "bn_output": 2 * inner}
            norms |= {f"{axis}.{name}": size for name, size in names.items()}
        shapes |= {f"{prefix}.{name}.{kind}": (size,) for name, size in norms.items() for kind in norm}
        channels = outer
    return shapes | {"fc.weight": (num_classes, channels), "fc.bias": (num_classes,)}


@pytest.fixture(scope="module")
def first_author_state():
    return random_like(first_author_shapes())


@pytest.fixture
def pth(tmp_path, first_author_state):
    torch.save(first_author_state, tmp_path / "axial.pth")
    return tmp_path / "axial.pth"


def test_first_author(tmp_path, first_author_state, pth):
    report = convert(pth, tmp_path / "w.safetensors")
    assert report.missing == report.unused == report.bookkeeping == ()
    assert {name.rsplit(".", 1)[-1] for name in report.without_influence} == {"flatten_index", "bias"}
    loaded = load_weights(tmp_path / "w.safetensors")
    assert loaded.metadata["model"]["max_span"] == 6
    assert loaded.metadata["converted_from"] == "first_author: axial.pth"
    assert loaded.categories.names == tuple(f"class {number}" for number in range(5))
    arrays = {name: tensor.numpy() for name, tensor in first_author_state.items()}
    expected = first_author_network(arrays, max_span=6)
    state = loaded.model.state_dict()
    assert expected.keys() == {name for name in state if not name.endswith("num_batches_tracked")}
    for name, tensor in expected.items():
        assert torch.equal(state[name], tensor), name


@pytest.mark.parametrize("zipped", [True, False])
def test_checkpoint_of_his_training(tmp_path, first_author_state, zipped):
    state = {f"module.{name}": tensor for name, tensor in first_author_state.items()}
    content = {"net": state, "optim": {"state": {}}, "epoch": 3}
    torch.save(content, tmp_path / "3.pth", _use_new_zipfile_serialization=zipped)
    convert(tmp_path / "3.pth", tmp_path / "w.safetensors")
    kernel = load_weights(tmp_path / "w.safetensors").model.state_dict()["stem.conv1.conv.weight"]
    assert torch.equal(kernel, first_author_state["conv1.weight"])


# torchvision's ResNets.


def resnet_shapes(depths, width=4, num_classes=3):
    norm = ("weight", "bias", "running_mean", "running_var")
    shapes = {"conv1.weight": (width, 3, 7, 7)}
    norms = {"bn1": width}
    channels = width
    for stage, depth in enumerate(depths):
        inner = width * 2**stage
        for index in range(depth):
            prefix = f"layer{stage + 1}.{index}"
            shapes |= {
                f"{prefix}.conv1.weight": (inner, channels, 1, 1),
                f"{prefix}.conv2.weight": (inner, inner, 3, 3),
                f"{prefix}.conv3.weight": (4 * inner, inner, 1, 1),
            }
            norms |= {f"{prefix}.bn1": inner, f"{prefix}.bn2": inner, f"{prefix}.bn3": 4 * inner}
            if index == 0:
                shapes[f"{prefix}.downsample.0.weight"] = (4 * inner, channels, 1, 1)
                norms[f"{prefix}.downsample.1"] = 4 * inner
            channels = 4 * inner
    shapes |= {f"{name}.{kind}": (size,) for name, size in norms.items() for kind in norm}
    shapes |= {f"{name}.num_batches_tracked": () for name in norms}
    return shapes | {"fc.weight": (num_classes, channels), "fc.bias": (num_classes,)}


def resnet(state, images, depths):
    """He et al. 2016 with the stride in the 3x3 convolution, as torchvision has it."""

    def conv_norm(x, conv, norm, stride=1):
        kernel = state[f"{conv}.weight"]
        x = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)
        statistics = (state[f"{norm}.{name}"] for name in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *statistics)

    x = F.max_pool2d(F.relu(conv_norm(images, "conv1", "bn1", 2)), 3, 2, 1)
    for stage, depth in enumerate(depths):
        for index in range(depth):
            prefix = f"layer{stage + 1}.{index}"
            stride = 2 if index == 0 and stage > 0 else 1
            y = F.relu(conv_norm(x, f"{prefix}.conv1", f"{prefix}.bn1"))
            y = F.relu(conv_norm(y, f"{prefix}.conv2", f"{prefix}.bn2", stride))
            y = conv_norm(y, f"{prefix}.conv3", f"{prefix}.bn3")
            if index == 0:
                x = conv_norm(x, f"{prefix}.downsample.0", f"{prefix}.downsample.1", stride)
            x = F.relu(x + y)
    return F.linear(x.mean(dim=(2, 3)), state["fc.weight"], state["fc.bias"])


@pytest.mark.parametrize(("depths", "name"), [((3, 4, 6, 3), "resnet50"), ((3, 4, 23, 3), "resnet101")])
def test_torchvision(tmp_path, depths, name):
    state = random_like(resnet_shapes(depths))
    safetensors.torch.save_file(state, tmp_path / "resnet.safetensors")
    images = torch.randn(2, 3, 45, 38, generator=torch.Generator().manual_seed(1))
    expected = resnet(state, images, depths)
    np.savez(tmp_path / "check.npz", input=images.numpy(), output=expected.numpy())
    report = convert(
        tmp_path / "resnet.safetensors",
        tmp_path / "w.safetensors",
        check=tmp_path / "check.npz",
        tolerance=1e-4,
    )
    assert all(name.endswith("num_batches_tracked") for name in report.without_influence)
    loaded = load_weights(tmp_path / "w.safetensors")
    assert loaded.metadata["model"]["name"] == name
    assert tuple(loaded.metadata["model"]["depths"]) == depths


# Where scripts put them.

BLOCKS = ((1, 1, 1, 1), "resnet50")


@pytest.fixture(scope="module")
def resnet_state():
    return random_like(resnet_shapes(BLOCKS[0]))


def stem_of(path):
    return load_weights(path).model.state_dict()["stem.conv1.conv.weight"]


@pytest.mark.parametrize("prefix", ["module.", "backbone.", "_orig_mod.", "model.", "module.encoder_q."])
@pytest.mark.parametrize("key", ["", "state_dict", "teacher"])
def test_networks_behind_a_prefix(tmp_path, resnet_state, prefix, key):
    state = {f"{prefix}{name}": tensor for name, tensor in resnet_state.items()}
    torch.save({key: state, "epoch": 3} if key else state, tmp_path / "a.pth")
    report = convert(tmp_path / "a.pth", tmp_path / "w.safetensors")
    assert report.missing == report.unused == report.others == ()
    assert f"tensors converted from {key}.{prefix}".replace("from .", "from ").rstrip(".") in str(report)
    assert torch.equal(stem_of(tmp_path / "w.safetensors"), resnet_state["conv1.weight"])


def test_what_lies_beside_a_prefix_is_told(tmp_path, resnet_state):
    state = {f"backbone.{name}": tensor for name, tensor in resnet_state.items()}
    torch.save({**state, "decode_head.conv.weight": torch.ones(3)}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"1 unused \(decode_head.conv.weight\); .* give --allow-unused"):
        convert(tmp_path / "a.pth", tmp_path / "w.safetensors")


def test_several_sets_of_weights(tmp_path, capsys, resnet_state):
    averaged = {name: tensor + 1 for name, tensor in resnet_state.items()}
    torch.save({"model_ema": averaged, "model": resnet_state}, tmp_path / "both.pth")
    words = ["convert", str(tmp_path / "both.pth"), str(tmp_path / "w.safetensors")]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "tensors converted from model\n" in out
    assert "further weights, left out: model_ema; take them with --entry NAME" in out
    assert torch.equal(stem_of(tmp_path / "w.safetensors"), resnet_state["conv1.weight"])
    assert main([*words, "--entry", "model_ema"]) == 0
    assert torch.equal(stem_of(tmp_path / "w.safetensors"), averaged["conv1.weight"])
    assert main([*words, "--entry", "ema"]) == 2
    assert "entry must be one of model_ema, model in" in capsys.readouterr().err
    pair = {f"encoder_{which}.{name}": t for which in "qk" for name, t in resnet_state.items()}
    torch.save(pair, tmp_path / "pair.pth")
    report = convert(tmp_path / "pair.pth", tmp_path / "w.safetensors")
    assert (report.entry, report.others) == ("encoder_q", ("encoder_k",))


@pytest.mark.parametrize("zipped", [True, False])
def test_numbers_of_numpy_are_plain_values(tmp_path, resnet_state, zipped):
    numbers = [np.float64(75), np.float32(1), np.int64(3), np.bool_(True)]
    torch.save(
        {"state_dict": resnet_state, "best": numbers},
        tmp_path / "a.pth",
        _use_new_zipfile_serialization=zipped,
    )
    convert(tmp_path / "a.pth", tmp_path / "w.safetensors")


def test_parameters_are_tensors(tmp_path, resnet_state):
    torch.save(
        {name: torch.nn.Parameter(tensor) for name, tensor in resnet_state.items()}, tmp_path / "a.pth"
    )
    convert(tmp_path / "a.pth", tmp_path / "a.safetensors")
    torch.save(resnet_state, tmp_path / "b.pth")
    convert(tmp_path / "b.pth", tmp_path / "b.safetensors")
    parameters, plain = (safetensors.torch.load_file(tmp_path / f"{name}.safetensors") for name in "ab")
    assert all(torch.equal(parameters[name], plain[name]) for name in plain)


def test_other_objects_are_named(tmp_path, resnet_state):
    torch.save({"model": resnet_state, "args": argparse.Namespace(lr=1)}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"got argparse.Namespace; .* torch.save\(torch.load\('a.pth'"):
        convert(tmp_path / "a.pth", tmp_path / "w.safetensors")


# deeplab2.


@pytest.fixture(scope="module")
def deeplab2(tmp_path_factory):
    """Return the prefix of a checkpoint of a small Axial-ResNet, and its variables."""
    model = create_model("axial_resnet_s", features_only=True, **deeplab2_arguments("axial_resnet_s") | SMALL)
    arrays = variables_of(model, deeplab2_names(model))
    others = {
        "global_step": np.array(7.0),
        "encoder/_stem/_conv/kernel/.OPTIMIZER_SLOT/optimizer/m": np.zeros(3),
        "optimizer/learning_rate": np.array(0.1),
    }
    others |= {
        f"{name[:-5]}beta": array for name, array in arrays.items() if name.endswith("similarity/gamma")
    }
    prefix = tmp_path_factory.mktemp("deeplab2") / "ckpt-7"
    write_checkpoint(prefix, {**arrays, **others})
    return prefix, arrays


def convert_small(prefix, output, **options):
    return convert(
        prefix, output, model="axial_resnet_s", overrides={"features_only": True, **SMALL}, **options
    )


def test_deeplab2(tmp_path, deeplab2):
    prefix, arrays = deeplab2
    report = convert_small(prefix, tmp_path / "w.safetensors")
    assert report.missing == report.unused == ()
    assert len(report.bookkeeping) == 3
    assert all(name.endswith("similarity/beta") for name in report.without_influence)
    assert len(report.without_influence) == 8
    loaded = load_weights(tmp_path / "w.safetensors")
    assert loaded.metadata["model"]["norm_eps"] == 1e-3
    state = loaded.model.state_dict()
    kernel = arrays["encoder/_stage2/_block1/_conv1_bn_act/_conv/kernel"]
    expected = channels_first(kernel.astype(np.float32).transpose(3, 0, 1, 2))
    assert torch.equal(state["res2.0.down.conv.weight"], expected)


def test_checkpoint_of_tensorflow(golden, tmp_path):
    _, arrays = read_golden(golden("deeplab_e2e_max_deeplab_s_backbone.npz"))
    outputs = {
        "semantic_logits": channels_first(arrays["output/semantic_logits"]),
        "center_heatmap": torch.from_numpy(arrays["output/center_heatmap"][:, None]),
        "offsets": channels_first(arrays["output/offset_map"]),
    }
    expected = {f"output/{name}": output.numpy() for name, output in outputs.items()}
    np.savez(tmp_path / "check.npz", input=channels_first(arrays["input"]).numpy(), **expected)
    report = convert(
        golden("tf_checkpoint_max_deeplab_s_backbone"),
        tmp_path / "w.safetensors",
        model="panoptic_deeplab_max_deeplab_s_backbone",
        overrides={
            "width_multiplier": 0.125,
            "stem_multiplier": 0.25,
            "num_classes": 19,
            "semantic_channels": 32,
            "semantic_head_channels": 16,
            "instance_channels": 16,
            "instance_head_channels": 8,
            "semantic_low_level_channels": (16, 8),
            "instance_low_level_channels": (8, 4),
            "aspp_channels": (32, 16),
            "impl": "reference",
        },
        categories=cityscapes.CATEGORIES,
        check=tmp_path / "check.npz",
    )
    assert {check.name for check in report.checks} == set(outputs)
    assert report.missing == report.unused == ()
    assert set(report.bookkeeping) == {
        "_CHECKPOINTABLE_OBJECT_GRAPH",
        "global_step",
        "save_counter",
        "optimizer/learning_rate",
        "encoder/_stage2/_block1/_conv1_bn_act/_batch_norm/beta/.OPTIMIZER_SLOT/optimizer/m",
    }
    # All else has its place.
    assert all(name.endswith("_batch_norm_similarity/beta") for name in report.without_influence)


TINY = {
    **TINY_DEPTHS,
    "semantic_channels": 8,
    "instance_channels": 8,
    "instance_head_channels": 4,
    "aspp_channels": 4,
}


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    """Return the prefix of a checkpoint as deeplab2 has them for COCO, its first channel meaning void."""
    name = "panoptic_deeplab_resnet50"
    model = create_model(name, num_classes=134, **{**deeplab2_arguments(name), **TINY})
    arrays = variables_of(model, deeplab2_names(model))
    prefix = tmp_path_factory.mktemp("coco") / "ckpt-200000"
    write_checkpoint(prefix, arrays)
    return prefix, arrays


def test_settings_of_a_data_set_travel_with_the_weights(tmp_path, coco):
    prefix, arrays = coco
    path = tmp_path / "w.safetensors"
    convert(prefix, path, model="panoptic_deeplab_resnet50", overrides=TINY, data_set="coco")
    loaded = load_weights(path)
    expected = {"norm_eps": 1e-3, "pixel_mean": 127.5, "max_pool": False, "aspp_separable": False}
    expected |= {"aspp_pool_size": [41, 41], "num_classes": 133}
    assert expected.items() <= loaded.metadata["model"].items()
    assert loaded.metadata["view"] == {"long_side": 641}
    predictor = Predictor(loaded, device="cpu")
    assert predictor.post_processing.nms_kernel == 41
    assert predictor.post_processing.stuff_area == 4096
    assert predictor.view.long_side == 641
    assert loaded.categories.names[0] == "person"
    bias = loaded.model.semantic_head.final.bias
    np.testing.assert_array_equal(bias.detach(), arrays["semantic_last_layer/bias"][1:].astype(np.float32))


@pytest.mark.parametrize("features_only", [False, True])
def test_widths_are_inferred(tmp_path, coco, features_only):
    name = "resnet50" if features_only else "panoptic_deeplab_resnet50"
    overrides = {"features_only": True, "stem": "three_conv"} if features_only else {}
    data_set = None if features_only else "coco"
    convert(coco[0], tmp_path / "w.safetensors", model=name, overrides=overrides, data_set=data_set)
    config = load_weights(tmp_path / "w.safetensors").metadata["model"]
    expected = TINY_DEPTHS if features_only else {**TINY, "aspp_channels": (4, 4)}
    inferred = {key: tuple(v) if isinstance(v, list) else v for key, v in config.items() if key in expected}
    # What is as in the usual network is not written.
    assert inferred == expected


def test_lengths_of_tables_are_inferred(tmp_path, deeplab2):
    convert(deeplab2[0], tmp_path / "w", model="axial_resnet_s", overrides={"features_only": True})
    config = load_weights(tmp_path / "w").metadata["model"]
    assert {key: config[key] for key in SMALL} == {**SMALL, "depths": [1, 1, 1, 1]}


def theirs(arrays, x, path, *, act=True):
    """Return what a convolution of deeplab2 makes of a map, written out from its variables."""
    kernel = torch.tensor(arrays[f"{path}/_conv/kernel"], dtype=torch.float32).permute(3, 2, 0, 1)
    y = F.conv2d(x, kernel, padding=kernel.shape[-1] // 2)
    norm = (
        torch.tensor(arrays[f"{path}/_batch_norm/{name}"], dtype=torch.float32)
        for name in ("moving_mean", "moving_variance", "gamma", "beta")
    )
    y = F.batch_norm(y, *norm, eps=1e-3)
    return y.relu() if act else y


@torch.no_grad()
def test_plain_convolutions_of_decoders_and_heads(tmp_path):
    """What they are is read from the checkpoint, and so are their widths; the maps are the formula's."""
    name = "panoptic_deeplab_resnet50"
    plain = {"decoder_separable": False, "head_separable": False}
    arguments = {**deeplab2_arguments(name), **TINY, "aspp": False, **plain, "num_classes": 134}
    model = create_model(name, **arguments)
    arrays = variables_of(model, deeplab2_names(model))
    arrays = {path: array + path.endswith("gamma") for path, array in arrays.items()}
    write_checkpoint(tmp_path / "ckpt", arrays)
    words = ["convert", str(tmp_path / "ckpt"), str(tmp_path / "w.safetensors"), "--categories", "coco"]
    assert main([*words, "--model", name, "--set", "aspp=false"]) == 0
    loaded = load_weights(tmp_path / "w.safetensors")
    assert {key: loaded.metadata["model"][key] for key in plain} == plain
    sizes, channels = {"res2": (17, 25), "res3": (9, 13), "res5": (5, 7)}, model.backbone.feature_channels
    features = {level: torch.randn(1, channels[level], *size) for level, size in sizes.items()}

    def decoded(path):
        x = theirs(arrays, features["res5"], f"{path}/_aspp/_proj_conv_bn_act")
        for step, level in ((1, "res3"), (2, "res2")):
            low = theirs(arrays, features[level], f"{path}/_low_level_conv{step}")
            x = F.interpolate(x, low.shape[2:], mode="bilinear", align_corners=True)
            x = theirs(arrays, torch.cat((x, low), 1), f"{path}/_fusion_conv{step}/_conv1_bn_act")
        return x

    for key, head, decoder in (
        ("semantic_logits", "semantic", "semantic_decoder"),
        ("center_heatmap", "instance_center", "instance_decoder"),
        ("offsets", "instance_regression", "instance_decoder"),
    ):
        last = "semantic_last_layer" if head == "semantic" else f"{head}_head_last_layer"
        x = theirs(arrays, decoded(decoder), f"{head}_head_without_last_layer/_conv1_bn_act")
        kernel = torch.tensor(arrays[f"{last}/kernel"], dtype=torch.float32).permute(3, 2, 0, 1)
        expected = F.conv2d(x, kernel, torch.tensor(arrays[f"{last}/bias"], dtype=torch.float32))
        expected = expected[:, -133:]  # the first class of the checkpoint is void
        y = loaded.model.decode(features)[key]
        assert expected.std() > 1e-2
        torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("inferred", [True, False])
def test_networks_without_content(tmp_path, deeplab2, inferred):
    """The converted network is the one with content whose content has the factor 0."""
    switches = {"content_logits": False, "content_output": False}
    overrides = {"features_only": True, **({} if inferred else {**SMALL, **switches})}
    bare, silent = {}, {}
    for name, array in deeplab2[1].items():
        of_logits, of_output = "_batch_norm_similarity/" in name, "_batch_norm_retrieved_output/" in name
        bare[name] = array[1:] if of_logits or of_output else array
        silent[name] = array.copy()
        if name.endswith("gamma") and (of_logits or of_output):
            silent[name][0] = 0.0
        if of_output and name.endswith("beta"):
            silent[name][0] = 0.0
    paths = [tmp_path / "bare.safetensors", tmp_path / "silent.safetensors"]
    write_checkpoint(tmp_path / "bare", bare)
    write_checkpoint(tmp_path / "silent", silent)
    convert(tmp_path / "bare", paths[0], model="axial_resnet_s", overrides=overrides)
    convert_small(tmp_path / "silent", paths[1])
    networks = [load_weights(path).model for path in paths]
    assert {key: networks[0].config[key] for key in switches} == switches
    x = torch.randn(1, 3, 65, 49)
    ours, expected = (network(x)["res5"] for network in networks)
    assert ours.std() > 1e-4
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
    # Back into a file and out of it again.
    save_weights(tmp_path / "again", networks[0], load_weights(paths[0]).categories)
    again = load_weights(tmp_path / "again").model.state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in networks[0].state_dict().items())


def test_refuses_switches_that_the_checkpoint_does_not_have(tmp_path, deeplab2):
    overrides = {"features_only": True, **SMALL, "content_output": False}
    with pytest.raises(
        ValueError, match=r"retrieved_output/\w+ must make .*positional_norm.* choose the network"
    ):
        convert(deeplab2[0], tmp_path / "w", model="axial_resnet_s", overrides=overrides)
    assert not (tmp_path / "w").exists()


def test_settings_in_the_place_of_those_of_a_data_set(tmp_path, coco):
    words = ["convert", str(coco[0]), str(tmp_path / "w.safetensors"), "--model", "panoptic_deeplab_resnet50"]
    words += ["--categories", "coco", "--crop-size", "513x1025", "--post-processing", "nms_kernel=7", "--set"]
    words += [f"{key}={json.dumps(value)}" for key, value in {**TINY, "output_stride": 32}.items()]
    assert main(words) == 0
    metadata = load_weights(tmp_path / "w.safetensors").metadata
    assert metadata["model"]["aspp_pool_size"] == [17, 33]
    settings = {"center_threshold": 0.1, "top_k": 400, "strict_top_k": True, "stuff_area": 4096}
    assert metadata["post_processing"] == {**settings, "nms_kernel": 7}


def test_refuses_settings(tmp_path, coco):
    options = {"model": "panoptic_deeplab_resnet50", "overrides": TINY, "data_set": "coco"}
    with pytest.raises(
        ValueError, match="post_processing must have known settings, got kernel in the weights"
    ):
        convert(coco[0], tmp_path / "w", **options, post_processing={"kernel": 7})
    with pytest.raises(
        ValueError, match="categories must be those of the data set coco, got others; give one"
    ):
        convert(coco[0], tmp_path / "w", **options, categories=cityscapes.CATEGORIES)
    with pytest.raises(ValueError, match=r"semantic_last_layer/kernel must make .* \(19, 8, 1, 1\), got"):
        convert(coco[0], tmp_path / "w", **{**options, "data_set": "cityscapes"})
    assert not (tmp_path / "w").exists()


def test_encoder_of_a_panoptic_network(tmp_path, coco):
    overrides = {key: TINY[key] for key in ("width_multiplier", "stem_multiplier", "depths")}
    overrides |= {"features_only": True, "stem": "three_conv"}
    report = convert(coco[0], tmp_path / "w.safetensors", model="resnet50", overrides=overrides)
    assert report.missing == report.unused == ()
    assert {name.split("/")[0] for name in report.without_influence} == {
        name.split("/")[0] for name in coco[1] if not name.startswith("encoder/")
    }
    assert "post_processing" not in load_weights(tmp_path / "w.safetensors").metadata


def test_encoders_of_the_model_garden(tmp_path, deeplab2):
    _, arrays = deeplab2
    inside = {re.sub("^encoder/", "backbone/_encoder/", name): array for name, array in arrays.items()}
    write_checkpoint(tmp_path / "ckpt", inside)
    assert convert_small(tmp_path / "ckpt", tmp_path / "w.safetensors").missing == ()


def test_missing_and_unused(tmp_path, deeplab2):
    _, arrays = deeplab2
    arrays = dict(arrays)
    kernel = arrays.pop("encoder/_stem/_conv/kernel")
    arrays["encoder/_stem/_convolution/kernel"] = kernel
    write_checkpoint(tmp_path / "ckpt", arrays)
    output = tmp_path / "w.safetensors"
    message = (
        r"ckpt must hold the tensors of axial_resnet_s, got 1 missing \(stem.conv1.conv.weight\); 1 unused "
        r"\(encoder/_stem/_convolution/kernel\); choose .* or give --allow-missing and --allow-unused"
    )
    with pytest.raises(ValueError, match=message):
        convert_small(tmp_path / "ckpt", output)
    with pytest.raises(
        ValueError, match=r"got 1 missing \(stem.conv1.conv.weight\); choose .* --allow-missing$"
    ):
        convert_small(tmp_path / "ckpt", output, allow_unused=True)
    assert not output.exists()
    report = convert_small(tmp_path / "ckpt", output, allow_unused=True, allow_missing=True)
    assert report.missing == ("stem.conv1.conv.weight",)
    assert report.unused == ("encoder/_stem/_convolution/kernel",)
    assert "1 missing, left at their initial values: stem.conv1.conv.weight" in str(report)
    first, name = load_weights(output).model, "stem.conv1.conv.weight"
    convert_small(tmp_path / "ckpt", output, allow_unused=True, allow_missing=True)
    assert torch.equal(load_weights(output).model.get_parameter(name), first.get_parameter(name))


# Refusals.


def test_refuses_tensors_of_another_shape(tmp_path, pth, deeplab2):
    with pytest.raises(
        ValueError, match=r"axial.pth: fc.weight must make classifier.weight of shape \(9, 256\)"
    ):
        convert(pth, tmp_path / "w", overrides={"num_classes": 9})
    with pytest.raises(ValueError, match="choose the network that the weights were trained with"):
        convert(pth, tmp_path / "w", overrides={"num_heads": 4})
    with pytest.raises(ValueError, match=r"must hold the tensors of axial_resnet_l, got .* missing"):
        convert(
            deeplab2[0], tmp_path / "w", model="axial_resnet_l", overrides={**SMALL, "depths": (1, 1, 1, 2)}
        )
    assert not (tmp_path / "w").exists()


def test_refuses_integers(tmp_path, first_author_state):
    torch.save({**first_author_state, "fc.bias": torch.zeros(5, dtype=torch.int64)}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"fc.bias must make .* got \(5,\) of type torch.int64"):
        convert(tmp_path / "a.pth", tmp_path / "w")


def test_needs_a_model_and_categories(tmp_path, deeplab2):
    with pytest.raises(ValueError, match=r"model must be named for .*ckpt-7, got none; give --model"):
        convert(deeplab2[0], tmp_path / "w")
    with pytest.raises(ValueError, match="categories must be given for the segmentation network"):
        convert(deeplab2[0], tmp_path / "w", model="panoptic_deeplab_resnet50", overrides={"num_classes": 19})


def test_checks(tmp_path, pth):
    check = {"check": tmp_path / "check.npz", "overrides": {"impl": "reference"}}
    images = np.random.default_rng(0).normal(size=(1, 3, 33, 40)).astype(np.float32)
    convert(pth, tmp_path / "w.safetensors", overrides={"impl": "reference"})
    with torch.no_grad():
        output = load_weights(tmp_path / "w.safetensors").model(torch.from_numpy(images)).numpy()
    np.savez(tmp_path / "check.npz", input=images, output=output)
    report = convert(pth, tmp_path / "again", **check)
    assert report.checks[0].difference < 1e-6
    assert "output: largest difference" in str(report)
    np.savez(tmp_path / "check.npz", input=images, output=output + 0.01 * output.std())
    with pytest.raises(
        ValueError,
        match=r"output must be within 0.001 standard deviations .* got 1.0e-02; give --tolerance [12]e-02 if",
    ):
        convert(pth, tmp_path / "other", **check)
    np.savez(tmp_path / "check.npz", input=images, output=np.full_like(output, np.nan))
    with pytest.raises(ValueError, match="got nan; choose the network that the weights were trained with"):
        convert(pth, tmp_path / "other", **check)
    np.savez(tmp_path / "check.npz", input=images, **{"output/logits": output})
    with pytest.raises(ValueError, match=r"output/logits must be one of \{'output': \(1, 5\)\}, got shape"):
        convert(pth, tmp_path / "other", **check)
    np.savez(tmp_path / "check.npz", image=images)
    with pytest.raises(ValueError, match="must hold input and output, or output/NAME, got image"):
        convert(pth, tmp_path / "other", **check)
    (tmp_path / "check.npz").write_bytes(b"hello")
    with pytest.raises(ValueError, match=r"check.npz must be an NPZ file of arrays"):
        convert(pth, tmp_path / "other", **check)
    assert not (tmp_path / "other").exists()


class Evil:
    """Leaves a trace when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("zipped", [True, False])
def test_malicious_pickle(tmp_path, first_author_state, zipped):
    content = {**first_author_state, "extra": Evil(tmp_path / "trace")}
    torch.save(content, tmp_path / "evil.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        ValueError,
        match=r"evil.pth must hold tensors and plain values only, .* if you trust it, save its tensors alone",
    ):
        convert(tmp_path / "evil.pth", tmp_path / "w.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["evil.pth"]
    torch.load(tmp_path / "evil.pth", weights_only=False)
    assert (tmp_path / "trace").exists()  # the pickle really was one that runs something


def safetensors_file(header, *, length=None, size=16):
    """Return a file of zeros with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + bytes(size)


def entry(start, end, shape=(2,)):
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(
    "content",
    [
        safetensors_file(b"{}", length=2**63 - 1),
        safetensors_file(b"{}", length=10**8),
        safetensors_file(b"hello"),
        safetensors_file(b"[" * 10_000),
        safetensors_file({"a": entry(0, 8), "b": entry(4, 12)}),
        safetensors_file({"a": entry(0, 8), "b": entry(0, 8)}),
        safetensors_file({"a": entry(0, 8), "b": entry(8, 2**60)}),
        safetensors_file({"a": entry(0, 16, (2**40, 2**40))}),
        safetensors_file({"a": entry(8, 16)}),
        safetensors_file({"a": {**entry(0, 16), "dtype": "OBJECT"}}),
    ],
    ids=["length", "beyond", "text", "deep", "overlap", "same", "outside", "shape", "hole", "type"],
)
def test_wrong_headers_of_safetensors(tmp_path, capsys, content):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    tracemalloc.start()
    assert main(["convert", str(path), str(tmp_path / "w.safetensors")]) == 2
    with pytest.raises(ValueError, match=r"a.safetensors must be a safetensors file or a checkpoint of our"):
        load_weights(path)
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()
    error = capsys.readouterr().err
    assert re.search(
        "a.safetensors must be a TensorFlow checkpoint, a file of PyTorch or of safetensors, got", error
    )
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("evil", ["../evil", "/tmp/evil", "model/../../evil"])
def test_archives_that_would_write_elsewhere(tmp_path, capsys, monkeypatch, evil):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("model/ckpt.index", b"")
        archive.writestr(evil, b"evil")
    before = sorted(tmp_path.rglob("*"))
    assert main(["convert", str(tmp_path / "a.zip"), str(tmp_path / "w.safetensors")]) == 2
    assert re.search(
        r"a.zip must hold paths inside its folder, got .*evil; do not use it", capsys.readouterr().err
    )
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/tmp/evil").exists()


def test_checkpoints_of_other_architectures(tmp_path, deeplab2, pth):
    """Of the same projects, named wrongly."""
    for source, model, overrides, message in (
        (deeplab2[0], "max_deeplab_s_backbone", {"features_only": True}, "choose the network that the wei"),
        (deeplab2[0], "resnet50", {"features_only": True}, "choose the network that the weights were train"),
        (deeplab2[0], "xception71", {}, "model must be a network that deeplab2 has, got xception71"),
        (pth, "axial_resnet_l", {"width_multiplier": 1.0}, "fc.weight must make classifier.weight"),
        (pth, "resnet50", {}, "model must be one like axial_resnet_s for .*, got resnet50; leave it out"),
        (pth, "axial_deeplab_s", {}, "model must be one like axial_resnet_s for .*, got axial_deeplab_s"),
    ):
        with pytest.raises(ValueError, match=message):
            convert(source, tmp_path / "w", model=model, overrides={**TINY_DEPTHS, **overrides})
    assert not (tmp_path / "w").exists()


def test_foreign_files(tmp_path, capsys):
    safetensors.torch.save_file({"a": torch.ones(2)}, tmp_path / "other.safetensors")
    torch.save({"conv1.weight": torch.ones(2)}, tmp_path / "other.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"a": torch.ones(2, device="meta"), "b": torch.eye(2).to_sparse()}, tmp_path / "meta.pth")
    torch.save({"state_dict": {"a": 1}}, tmp_path / "numbers.pth")
    (tmp_path / "header.safetensors").write_bytes(b"\xff" * 7 + b"\x7f" + b"{}" * 50)
    (tmp_path / "cut.pth").write_bytes((tmp_path / "other.pth").read_bytes()[:300])
    (tmp_path / "text.pth").write_text("hello")
    write_checkpoint(tmp_path / "ckpt", {"dense/kernel": np.ones(3)})
    before = sorted(tmp_path.iterdir())
    for name, message in {
        "other.safetensors": "must hold an Axial-ResNet of csrhddlam/axial-deeplab or a ResNet .* such as a;",
        "other.pth": "other architectures cannot be converted",
        "list.pth": "must hold tensors by their names, got other values",
        "meta.pth": "must hold tensors by their names, got other values",
        "numbers.pth": "must hold tensors by their names, got other values",
        "header.safetensors": "header.safetensors must be a TensorFlow checkpoint, a file of PyTorch or of",
        "cut.pth": "cut.pth must be a complete checkpoint, got",
        "text.pth": "text.pth must be a TensorFlow checkpoint, a file of PyTorch or of safetensors",
        "ckpt": "must be a checkpoint of deeplab2, got variables such as dense/kernel; other architectures",
        "nowhere.pth": "source must be a file or the prefix of a TensorFlow checkpoint",
    }.items():
        assert main(["convert", str(tmp_path / name), str(tmp_path / "w.safetensors")]) == 2
        error = capsys.readouterr().err
        assert re.search(message, error), error
        assert error.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_command(tmp_path, deeplab2, capsys):
    output = tmp_path / "w.safetensors"
    settings = ["width_multiplier=0.125", "stem_multiplier=0.125", "depths=[1,1,1,1]", "max_span=8"]
    words = ["convert", str(deeplab2[0]), str(output), "--model", "axial_resnet_s"]
    words += ["--set", "features_only=true", *settings, "--half"]
    assert main(words) == 0
    assert "tensors converted" in capsys.readouterr().out
    assert load_weights(output).model.config["max_span"] == 8
    (tmp_path / "c.json").write_text(json.dumps({"categories": [{"id": 1, "name": "sky", "isthing": 0}]}))
    named = ["--categories", str(tmp_path / "c.json")]
    assert main([*words, *named]) == 2  # nothing could load it
    assert "one for each of the 1000 classes of the model, got 1" in capsys.readouterr().err
    assert main([*words[:-1], "num_classes=1", "--half", *named]) == 0
    assert load_weights(output).categories.names == ("sky",)
    with safetensors.safe_open(output, framework="pt") as file:
        assert json.loads(file.metadata()["categories"])[0]["name"] == "sky"
    assert cityscapes.CATEGORIES.names[0] == "road"
