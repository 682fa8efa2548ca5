"""The post-processing as a graph gives the maps of `PostProcessing`, in other runtimes, too."""

import numpy as np
import onnx
import pytest
import torch

from axial_deeplab.export.post_processing_graph import PostProcessingGraph
from axial_deeplab.post_processing import PostProcessing
from onnx_runtimes import OPTIMIZERS, in_onnxruntime, in_openvino, in_the_reference, optimized


def outputs(batch, height, width, seed, num_classes=5):
    """Return smooth random outputs with several instances."""
    generator = torch.Generator().manual_seed(seed)

    def smooth(channels, scale):
        coarse = torch.randn(batch, channels, 4, 5, generator=generator) * scale
        return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)

    noise = 0.01 * torch.rand(batch, 1, height, width, generator=generator)
    return {
        "semantic_logits": smooth(num_classes, 2.0),
        "center_heatmap": smooth(1, 0.4) + noise,
        "offsets": smooth(2, 6.0),
    }


def assert_equal(settings, maps, num_classes):
    panoptic, semantic, num_centers = PostProcessingGraph(settings, num_classes)(**maps)
    assert panoptic.dtype == semantic.dtype == torch.int32
    for index, expected in enumerate(settings(maps)):
        assert torch.equal(panoptic[index], expected.panoptic)
        assert max(int(num_centers[index]) - settings.top_k, 0) == expected.num_left_out
        assert torch.equal(semantic[index].long(), expected.semantic)
    return panoptic


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"top_k": 3},
        {"top_k": 3, "strict_top_k": True},
        {"nms_kernel": 4, "stuff_area": 150},
        {"void_ids": (4,), "stuff_area": 0, "label_divisor": 1000},
        {"center_threshold": 9.0},
        {"center_threshold": 9.0, "without_centers": "one_instance"},
    ],
)
def test_equals_the_post_processing(knobs):
    settings = PostProcessing((0, 2), **{"top_k": 20, "nms_kernel": 5, "stuff_area": 10, **knobs})
    panoptic = assert_equal(settings, outputs(3, 21, 34, seed=1), 5)
    assert len(panoptic.unique()) > (5 if "center_threshold" not in knobs else 2)


def test_image_of_fewer_pixels_than_centers():
    assert_equal(PostProcessing((0, 1), stuff_area=1), outputs(2, 3, 4, seed=2), 5)


@pytest.mark.parametrize("file", ["postprocess_exact_ties", "postprocess_area0_nokernel"])
def test_golden_scenes(golden, file):
    with np.load(golden(f"{file}.npz")) as archive:
        arrays = {name.removeprefix("input/"): archive[name] for name in archive.files if "input/" in name}
    maps = {
        name: torch.from_numpy(np.moveaxis(arrays[key], -1, 1).copy())
        for name, key in (
            ("semantic_logits", "semantic_probs"),
            ("center_heatmap", "center_heatmap"),
            ("offsets", "offset_map"),
        )
    }
    num_classes = maps["semantic_logits"].shape[1]
    settings = PostProcessing(range(num_classes // 2, num_classes), top_k=400, nms_kernel=7, stuff_area=20)
    assert_equal(settings, maps, num_classes)


@pytest.mark.parametrize("knobs", [{"grouping": "watershed"}, {"thing_threshold": 0.6}, {"thing_area": 3}])
def test_refuses_what_it_does_not_have(knobs):
    with pytest.raises(
        ValueError, match="must have the grouping offsets, no thing_threshold and no thing_area"
    ):
        PostProcessingGraph(PostProcessing((0,), **knobs), 3)


def test_refuses():
    for knobs in ({"top_k": None}, {"fill_void": True}):
        with pytest.raises(ValueError, match="must have a top_k and no fill_void to be part of an exported"):
            PostProcessingGraph(PostProcessing((0,), **knobs), 3)
    with pytest.raises(
        ValueError, match=r"any size, got 200 for each 9 pixels; export for one size \(--size\)"
    ):
        PostProcessingGraph(PostProcessing((0,), top_k_area=9), 3)
    for knobs in ({"top_k": 10**9}, {"nms_kernel": 10**9}):
        with pytest.raises(ValueError, match="a top_k and an nms_kernel of at most 4096 to be part"):
            PostProcessingGraph(PostProcessing((0,), label_divisor=2**30, **knobs), 1)
    for divisor, num_classes in ((200, 3), (2**24, 200)):
        with pytest.raises(
            ValueError, match="label_divisor must be above top_k, and its product with the cl"
        ):
            PostProcessingGraph(PostProcessing((0,), label_divisor=divisor), num_classes)


# Numbers above 2^24, more than 255 classes, void.
FAR_IDS = PostProcessing(
    range(0, 300, 2), top_k=20, nms_kernel=4, stuff_area=3, label_divisor=2**22, void_ids=(299, 7)
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Return the graph as an ONNX model."""
    names = ["semantic_logits", "center_heatmap", "offsets"]
    free = {0: torch.export.Dim("b"), 2: torch.export.Dim("h"), 3: torch.export.Dim("w")}
    example = outputs(2, 9, 13, seed=1, num_classes=300)
    program = torch.export.export(
        PostProcessingGraph(FAR_IDS, 300),
        tuple(example[name] for name in names),
        dynamic_shapes=(free,) * 3,
        prefer_deferred_runtime_asserts_over_guards=True,
    )
    results = ["panoptic", "semantic", "num_centers"]
    model = torch.onnx.export(
        program, input_names=names, output_names=results, opset_version=18, dynamo=True, verbose=False
    )
    return model.model_proto


def test_no_constant_of_64_bits_is_above_2_30(exported):
    # MNN cuts them there.
    tensors = list(exported.graph.initializer)
    tensors += [each.t for node in exported.graph.node for each in node.attribute if each.HasField("t")]
    constants = [onnx.numpy_helper.to_array(tensor) for tensor in tensors]
    assert max(x.max() for x in constants if x.dtype == np.int32) > 2**30
    assert all(abs(x).max() <= 2**30 for x in constants if x.dtype == np.int64 and x.size)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("runtime", [in_onnxruntime, in_the_reference, in_openvino])
def test_in_other_runtimes(exported, runtime, optimizer):
    if optimizer and runtime is in_the_reference:
        pytest.skip("one runtime less")
    run = runtime(optimized(optimizer, exported))
    pictures = [outputs(2, 9, 13, seed=3, num_classes=300), outputs(3, 1, 1, seed=4, num_classes=300)]
    # OpenVINO does not truncate every quotient of integers: at this width it shows.
    pictures.append(outputs(2, 40, 61, seed=0, num_classes=300))
    # Everything is equal somewhere: classes, heights of centers, distances.
    pictures.append({name: x.mul(2).round() for name, x in outputs(2, 30, 24, 5, num_classes=300).items()})
    pictures[-1]["semantic_logits"][:, 250:] += 1
    pictures[-1]["center_heatmap"] = pictures[-1]["center_heatmap"].clamp(0, 1)
    for maps in pictures:
        panoptic, semantic, _ = run({name: x.numpy() for name, x in maps.items()})
        for index, expected in enumerate(FAR_IDS(maps)):
            assert np.array_equal(semantic[index], expected.semantic.numpy())
            assert np.array_equal(panoptic[index], expected.panoptic.numpy())
    assert panoptic.max() > 2**24
