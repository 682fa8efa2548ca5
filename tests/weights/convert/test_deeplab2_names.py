"""Names and settings of deeplab2's networks; the values are compared where the networks are tested."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from axial_deeplab import create_model, list_models
from axial_deeplab.models.backbones.axial_resnet import AxialResNet
from axial_deeplab.models.backbones.hybrid_resnet import HybridResNet
from axial_deeplab.models.backbones.resnet import ResNet
from axial_deeplab.models.registry import ENTRIES
from axial_deeplab.post_processing import PostProcessing
from axial_deeplab.prediction.batch import View
from axial_deeplab.weights.convert.deeplab2_data_sets import DATA_SETS, DataSet, find_data_set
from axial_deeplab.weights.convert.deeplab2_names import (
    deeplab2_arguments,
    deeplab2_names,
    without_influence,
)


def on_meta(name: str, **options: Any) -> nn.Module:
    with torch.device("meta"):
        return create_model(name, **options)


def network_class(name: str) -> type:
    entry = ENTRIES[name]
    return getattr(entry, "backbone", entry).network


HAVE = [name for name in list_models() if network_class(name) in (AxialResNet, ResNet, HybridResNet)]
HAVE_NOT = [name for name in list_models() if name not in HAVE]


@pytest.mark.parametrize("name", HAVE)
def test_every_tensor_has_a_source(name: str) -> None:
    arguments = deeplab2_arguments(name, crop_size=(1025, 2049))
    json.dumps(arguments)  # they are stored with the weights
    model = on_meta(name, depths=(1, 1, 2, 1), **arguments)
    expected = {
        key
        for key in model.state_dict()
        if not key.endswith("num_batches_tracked") and not key.startswith("classifier.")
    }
    names = deeplab2_names(model)
    assert names.keys() == expected
    # No variable is used twice, but for the norm of an attention's two outputs.
    others = [source.name for source in names.values() if "_batch_norm_retrieved_output/" not in source.name]
    assert len(set(others)) == len(others)
    norms = {module.eps for module in model.modules() if isinstance(module, nn.BatchNorm2d)}
    assert norms == {1e-3}


def test_names_and_layouts() -> None:
    names = deeplab2_names(on_meta("panoptic_deeplab_max_deeplab_s_backbone"))
    assert {
        ours: names[ours].name
        for ours in (
            "backbone.stem.conv3.norm.running_var",
            "backbone.res4.1.height_attention.rel_q",
            "backbone.res4.1.width_attention.logit_norm.weight",
            "instance_decoder.context.conv.weight",
            "semantic_decoder.fuse_res2.depthwise.conv.weight",
            "center_head.final.bias",
        )
    } == {
        "backbone.stem.conv3.norm.running_var": "encoder/_stem/_conv3_bn/_batch_norm/moving_variance",
        "backbone.res4.1.height_attention.rel_q": (
            "encoder/_stage4/_block2/_attention/_height_axis/_query_rpe/embeddings"
        ),
        "backbone.res4.1.width_attention.logit_norm.weight": (
            "encoder/_stage4/_block2/_attention/_width_axis/_batch_norm_similarity/gamma"
        ),
        "instance_decoder.context.conv.weight": "instance_decoder/_aspp/_proj_conv_bn_act/_conv/kernel",
        "semantic_decoder.fuse_res2.depthwise.conv.weight": (
            "semantic_decoder/_fusion_conv2/_conv1_bn_act/_depthwise/_depthwise_conv/depthwise_kernel"
        ),
        "center_head.final.bias": "instance_center_head_last_layer/bias",
    }
    kernel = names["backbone.stem.conv1.conv.weight"].transform(np.zeros((3, 5, 7, 11)))
    assert kernel.shape == (11, 7, 3, 5)
    kernel = names["semantic_decoder.fuse_res2.depthwise.conv.weight"].transform(np.zeros((3, 5, 7, 1)))
    assert kernel.shape == (7, 1, 3, 5)


def test_standard_convolutions_of_decoders_and_heads() -> None:
    with torch.device("meta"):
        model = create_model(
            "panoptic_deeplab_max_deeplab_s_backbone", decoder_separable=False, head_separable=False
        )
    names = deeplab2_names(model)
    kernel = names["semantic_decoder.fuse_res2.conv.weight"]
    assert kernel.name == "semantic_decoder/_fusion_conv2/_conv1_bn_act/_conv/kernel"
    assert kernel.transform(np.zeros((5, 5, 7, 11))).shape == (11, 7, 5, 5)
    head = names["center_head.hidden.norm.running_var"]
    assert head.name == ("instance_center_head_without_last_layer/_conv1_bn_act/_batch_norm/moving_variance")


def test_what_has_no_influence() -> None:
    bias = "encoder/_stage4/_block2/_attention/_width_axis/_batch_norm_similarity/beta"
    decoder = "encoder/_decoder_stage1/_block1/_conv2_bn/_conv/kernel"
    whole = on_meta("max_deeplab_l_backbone")
    panoptic = on_meta("panoptic_deeplab_max_deeplab_l_backbone")
    assert without_influence(whole, bias)
    assert without_influence(panoptic, bias)
    assert not without_influence(whole, decoder)
    assert without_influence(panoptic, decoder)
    assert not without_influence(on_meta("resnet50"), decoder)
    head = "semantic_last_layer/kernel"
    assert without_influence(whole, head)
    assert not without_influence(panoptic, head)
    assert not without_influence(panoptic, bias.replace("beta", "gamma"))


def test_window_of_the_pooling() -> None:
    crop_size = (1025, 2049)
    window = deeplab2_arguments("panoptic_deeplab_wide_resnet41", crop_size)["aspp_pool_size"]
    assert window == (65, 129)
    assert "aspp_pool_size" not in deeplab2_arguments("panoptic_deeplab_axial_swidernet_1_1_1", crop_size)
    overrides = {"output_stride": 32, "aspp": True}
    assert deeplab2_arguments("axial_deeplab_s", crop_size, overrides)["aspp_pool_size"] == (33, 65)


@pytest.mark.parametrize("data_set", DATA_SETS.values(), ids=DATA_SETS)
def test_settings_of_data_sets_are_ours(data_set: DataSet) -> None:
    assert data_set.categories is not None
    assert PostProcessing(data_set.categories.thing_ids, **data_set.post_processing).strict_top_k
    assert View(**data_set.view).scales == (1.0,)
    assert data_set.crop_size is not None
    assert all(length % 32 == 1 for length in data_set.crop_size)


def test_refuses_unknown_data_sets() -> None:
    with pytest.raises(ValueError, match="data_set must be one of cityscapes, coco, got ade20k; give"):
        find_data_set("ade20k")


def test_classes_that_mean_void() -> None:
    name = "panoptic_deeplab_resnet50"
    model = on_meta(name, num_classes=2, **deeplab2_arguments(name))
    sources = deeplab2_names(model, num_void_classes=1)
    kernel = np.arange(12.0).reshape(1, 1, 4, 3)  # of 4 channels in and 3 classes
    weight = sources["semantic_head.final.weight"].transform(kernel)
    assert weight[:, :, 0, 0].tolist() == [[1, 4, 7, 10], [2, 5, 8, 11]]
    assert sources["semantic_head.final.bias"].transform(np.arange(3)).tolist() == [1, 2]
    assert sources["center_head.final.bias"].transform(np.arange(3)).tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", HAVE_NOT)
def test_refuses_other_networks(name: str) -> None:
    with pytest.raises(ValueError, match="model must be a network that deeplab2 has, got"):
        deeplab2_arguments(name)
    with pytest.raises(ValueError, match="model must be a network that deeplab2 has, got"):
        deeplab2_names(on_meta(name))


@pytest.mark.parametrize(
    ("name", "options", "what"),
    [
        ("resnet50", {}, "max_pool"),
        ("axial_deeplab_s", {"max_pool": False, "decoder": "axial"}, "AxialDecoder"),
        ("panoptic_deeplab_resnet50", {"max_pool": False}, "aspp_separable"),
        ("axial_resnet_s", {"max_pool": False, "stride_mode": "average_pool"}, "stride_mode"),
    ],
)
def test_refuses_what_deeplab2_does_differently(name: str, options: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=f"model must be a network that deeplab2 has, got .*{what}"):
        deeplab2_names(on_meta(name, **options))


def test_refuses_unknown_names_and_modules() -> None:
    with pytest.raises(ValueError, match="name must be a network of list_models"):
        deeplab2_arguments("max_deeplab_xl")
    with pytest.raises(ValueError, match="model must be a network that deeplab2 has, got Linear"):
        deeplab2_names(nn.Linear(1, 1))
