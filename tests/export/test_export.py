"""Exported programs compute what the network computes, at sizes that they have not seen."""

import json
import re

import numpy as np
import onnx
import pytest
import tifffile
import torch
from PIL import Image
from torch import nn

from axial_deeplab import Predictor, create_model
from axial_deeplab.cli.main import main
from axial_deeplab.export.export import _open_torch_export, _write_torch_export, export
from axial_deeplab.export.onnx_operations import OnnxAttention
from axial_deeplab.export.onnx_runtime import load_onnx
from axial_deeplab.export.program import Deployed, capture
from axial_deeplab.models.blocks.axial_block import AxialBlock
from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.weights.file import save_weights
from axial_deeplab.weights.loaded import LoadedWeights
from onnx_runtimes import OPTIMIZERS, in_onnxruntime, in_openvino, optimized

CATEGORIES = Categories([Category(7, "sky", False), Category(3, "car", True), Category(90, "person", True)])
SETTINGS = {"top_k": 10, "stuff_area": 5, "center_threshold": 0.0}
TINY = {"width_multiplier": 0.125, "stem_multiplier": 0.125, "depths": (1, 1, 1, 1), "max_span": 8}


def weights_of(name, **overrides):
    torch.manual_seed(0)
    model = create_model(name, num_classes=3, **overrides).eval()
    return LoadedWeights(model, CATEGORIES, {"model": dict(model.config), "post_processing": SETTINGS})


class StandIn(nn.Module):
    """Has what an exported network has, axial attention and three maps, but little of it: tracing is slow."""

    def __init__(self, in_channels=3):
        super().__init__()
        self.config = {"name": "axial_deeplab_nano", "num_classes": 3, "in_channels": in_channels}
        self.stem = nn.Conv2d(in_channels, 16, 3, padding=1)
        self.block = AxialBlock(16, 16, 16, num_heads=2, max_span=8)
        nn.init.ones_(self.block.up.get_parameter("norm.weight"))
        self.semantic_head = nn.Conv2d(16, 3, 1)
        self.center_head = nn.Conv2d(16, 1, 1)
        self.offset_head = nn.Conv2d(16, 2, 1)

    def forward(self, images):
        x = self.block(self.stem(images / 255))
        outputs = {"center_heatmap": self.center_head(x), "offsets": 5 * self.offset_head(x)}
        return {"semantic_logits": self.semantic_head(x), **outputs}


@pytest.fixture(scope="module", autouse=True)
def _traced_once():
    """Trace a network once for all formats: they are written from the same program."""
    programs = {}

    def capture_once(deployed, size):
        total = sum(float(parameter.double().sum()) for parameter in deployed.parameters())
        has_operations = any(isinstance(module, OnnxAttention) for module in deployed.modules())
        key = (
            type(deployed.network),
            deployed.output_names,
            deployed.side_multiple,
            total,
            has_operations,
            size,
        )
        if key not in programs:
            programs[key] = capture(deployed, size)
        return programs[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("axial_deeplab.export.export.capture", capture_once)
        yield


@pytest.fixture(scope="module")
def stand_in():
    torch.manual_seed(0)
    model = StandIn().eval()
    return LoadedWeights(model, CATEGORIES, {"model": model.config, "post_processing": SETTINGS})


@pytest.fixture(scope="module")
def weights():
    """Return a small network that has everything: convolutions, axial attention, decoders."""
    return weights_of(
        "panoptic_deeplab_max_deeplab_s_backbone", **TINY, semantic_channels=8, instance_channels=8
    )


@pytest.fixture(scope="module")
def backbone():
    return weights_of("max_deeplab_s_backbone", **TINY, features_only=True)


@pytest.fixture(scope="module")
def onnx_file(weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    comparisons = export(weights, path).comparisons
    assert len({comparison.size for comparison in comparisons}) == 3
    assert max(comparison.difference for comparison in comparisons) < 1e-4
    return path


def test_onnx_file_describes_itself(onnx_file):
    model = onnx.load(onnx_file)
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert [bool(dimension.dim_param) for dimension in shape] == [True, False, True, True]
    assert [output.name for output in model.graph.output] == ["semantic_logits", "center_heatmap", "offsets"]
    loaded = load_onnx(onnx_file)
    assert loaded.categories == CATEGORIES
    assert loaded.metadata["post_processing"] == SETTINGS
    assert loaded.metadata["model"]["name"] == "panoptic_deeplab_max_deeplab_s_backbone"


def test_onnx_file_has_no_paths_and_no_sizes_inside(onnx_file):
    model = onnx.load(onnx_file)
    assert b".py" not in onnx_file.read_bytes()
    assert not model.graph.value_info


def test_images_that_a_network_does_not_take(onnx_file):
    network = load_onnx(onnx_file)
    for shape in ((3, 40, 40), (1, 4, 40, 40)):
        with pytest.raises(
            ValueError, match=r"images must be \(B, 3, H, W\) with sides of at least 1 pixels, g"
        ):
            network.model(torch.zeros(shape))
    network.metadata["smallest_side"] = Deployed(weights_of("max_deeplab_s_backbone", **TINY)).smallest_side
    with pytest.raises(ValueError, match=r"sides of at least 33 pixels, got \(1, 3, 33, 32\); enlarge them"):
        network.model(torch.zeros(1, 3, 33, 32))


def test_crops_are_slices(onnx_file):
    graph = onnx.load(onnx_file).graph
    cuts = [node for node in graph.node if node.output[0] in {output.name for output in graph.output}]
    assert {node.op_type for node in cuts} <= {"Slice", "Concat", "Mul"}
    assert sum(node.op_type == "Pad" for node in graph.node) == 1  # of the images, by positive numbers


def test_one_size(stand_in, tmp_path):
    path = tmp_path / "fixed.onnx"
    exported = export(stand_in, path, size=(20, 30))
    assert [comparison.size for comparison in exported.comparisons] == [(1, 20, 30)]
    shape = onnx.load(path).graph.input[0].type.tensor_type.shape.dim
    assert [dimension.dim_value for dimension in shape] == [1, 3, 20, 30]
    predictor = Predictor(load_onnx(path))
    predictor.warm_up()
    assert predictor(np.zeros((20, 30, 3), np.uint8)).segmentation.shape == (20, 30)
    network = load_onnx(path).model
    assert network(torch.zeros(1, 3, 20, 30))["offsets"].shape == (1, 2, 20, 30)
    for size in ((2, 3, 20, 30), (1, 3, 30, 20)):
        with pytest.raises(
            ValueError, match=r"\(1, 3, 20, 30\), the size that the file was exported for, got"
        ):
            network(torch.zeros(size))
    with pytest.raises(
        ValueError, match=r"size must be at least 1 pixels high and wide .* got 0 x 30; enlarge"
    ):
        export(stand_in, path, size=(0, 30))
    with pytest.raises(
        ValueError, match="at most 16777216 pixels, which float32 can count, got 4096 x 4097;"
    ):
        export(stand_in, path, size=(4096, 4097))


@pytest.mark.parametrize("size", [(1, 1), (17, 40), (40, 17), (90, 33)])
def test_onnx_runtime_at_any_size(weights, onnx_file, size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    images = torch.from_numpy(image.transpose(2, 0, 1)[None].copy())
    with torch.no_grad():
        expected = weights.model(images)
    for name, output in load_onnx(onnx_file).model(images).items():
        difference = (output - expected[name]).abs().max()
        assert difference < 1e-4 * max(expected[name].std(correction=0), expected[name].abs().max())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("runtime", [in_onnxruntime, in_openvino])
def test_other_runtimes_and_optimizers(weights, onnx_file, runtime, optimizer):
    run = runtime(optimized(optimizer, onnx.load(onnx_file)))
    for batch, height, width in ((1, 75, 97), (2, 40, 61), (3, 1, 1)):
        images = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(width)) * 255
        expected = load_onnx(onnx_file).model(images)
        for found, (name, values) in zip(run({"images": images.numpy()}), expected.items(), strict=True):
            scale = max(float(values.std()), 1e-3)
            assert np.abs(found - values.numpy()).max() < 1e-4 * scale, (name, batch, height, width)


def test_prediction_with_onnx_runtime(weights, onnx_file, tmp_path, capsys, monkeypatch):
    rng = np.random.default_rng(1)
    picture = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).resize((96, 64))
    (tmp_path / "images").mkdir()
    picture.save(tmp_path / "images" / "1.png")
    save_weights(tmp_path / "w.safetensors", weights.model, CATEGORIES, extra={"post_processing": SETTINGS})
    words = ["predict", str(tmp_path / "images"), "--device", "cpu"]
    assert main([*words, "--weights", str(tmp_path / "w.safetensors"), "--output", str(tmp_path / "a")]) == 0
    # No network of PyTorch is built.
    monkeypatch.setattr("axial_deeplab.weights.file.create_model", None)
    onnx_words = ["--weights", str(onnx_file), "--runtime", "onnx", "--output", str(tmp_path / "b")]
    assert main([*words, *onnx_words]) == 0, capsys.readouterr().err
    first, second = (np.asarray(Image.open(tmp_path / folder / "panoptic" / "1.png")) for folder in "ab")
    assert np.array_equal(first, second)
    assert len(np.unique(first)) > 2
    descriptions = [json.loads((tmp_path / folder / "panoptic.json").read_text()) for folder in "ab"]
    assert len(descriptions[0]["annotations"][0]["segments_info"]) > 1
    batch = Predictor(load_onnx(onnx_file), flip=True).predict_batch([np.asarray(picture)] * 2)
    assert np.array_equal(batch[0].panoptic, batch[1].panoptic)


def test_channels_of_images_are_those_of_the_training(stand_in, tmp_path):
    network = StandIn(in_channels=4).eval()
    view = {"channels": [5, 1, 2, 3], "num_channels": 5}
    metadata = {**stand_in.metadata, "model": network.config, "view": view}
    export(LoadedWeights(network, CATEGORIES, metadata), tmp_path / "four.onnx")
    predictor = Predictor(load_onnx(tmp_path / "four.onnx"))
    values = np.random.default_rng(0).integers(0, 256, (40, 50, 5), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", values, planarconfig="contig", photometric="minisblack")
    np.testing.assert_array_equal(predictor(tmp_path / "a.tif").image, values[..., [4, 0, 1, 2]])
    tifffile.imwrite(tmp_path / "b.tif", values[..., :3], photometric="rgb")
    with pytest.raises(
        ValueError, match=r"b\.tif must have 5 channels as the pictures of the training, got 3"
    ):
        predictor(tmp_path / "b.tif")


def test_torch_export(weights, tmp_path):
    path = tmp_path / "tiny.pt2"
    assert max(each.difference for each in export(weights, path, format="torch-export").comparisons) < 1e-5
    extra = {"axial_deeplab.json": ""}
    torch.export.load(path, extra_files=extra)
    assert json.loads(extra["axial_deeplab.json"])["post_processing"] == SETTINGS
    assert list(json.loads(extra["axial_deeplab.json"])) == sorted(json.loads(extra["axial_deeplab.json"]))


def test_onnx_with_post_processing(stand_in, tmp_path):
    path = tmp_path / "maps.onnx"
    assert max(each.difference for each in export(stand_in, path, post_processing=True).comparisons) == 0
    maps = load_onnx(path).model(torch.arange(3 * 40 * 50.0).reshape(1, 3, 40, 50) % 256)
    assert maps.keys() == {"panoptic", "semantic", "num_centers"}
    assert len(maps["panoptic"].unique()) > 2
    # A batch of different pictures, whose float maps differ in the seventh digit between runtimes.
    images = np.stack([np.arange(3 * 40 * 50.0).reshape(3, 40, 50) % n for n in (256, 61)]).astype(np.float32)
    expected = load_onnx(path).model(torch.from_numpy(images)).values()
    for optimizer in OPTIMIZERS:
        found = in_openvino(optimized(optimizer, onnx.load(path)))({"images": images})
        for values, wanted in zip(found, expected, strict=True):
            assert (values != wanted.numpy()).sum() <= 2, optimizer
    with pytest.raises(ValueError, match="weights must be those of a segmentation network"):
        Predictor(load_onnx(path))


def test_torch_export_with_post_processing(stand_in, tmp_path):
    path = tmp_path / "maps.pt2"
    exported = export(stand_in, path, format="torch-export", post_processing=True)
    assert max(each.difference for each in exported.comparisons) == 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ahead_of_time_with_post_processing(stand_in, tmp_path):
    path = tmp_path / "maps.pt2"
    exported = export(stand_in, path, format="aoti", post_processing=True)
    assert (exported.smallest_side, exported.side_multiple) == (1, 1)
    assert max(each.difference for each in exported.comparisons) == 0
    package = torch._inductor.aoti_load_package(str(path))
    assert json.loads(package.get_metadata()["axial_deeplab"])["post_processing"] == SETTINGS


@pytest.mark.parametrize(
    "compiles", [False, pytest.param(True, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_ahead_of_time_takes_multiples(backbone, tmp_path, monkeypatch, capsys, compiles):
    if not compiles:  # the program as it is before the compiler gets it
        module = "axial_deeplab.export.export"
        monkeypatch.setattr(f"{module}._write_aoti", _write_torch_export)
        monkeypatch.setattr(f"{module}._open_aoti", _open_torch_export)
    weights, path = tmp_path / "w.safetensors", tmp_path / "network.pt2"
    save_weights(weights, backbone.model, CATEGORIES)
    words = ["--weights", str(weights), "--output", str(path), "--format", "aoti"]
    assert main(["export", *words]) == 0
    printed = capsys.readouterr().out
    checked = re.findall(r"^  (\d+) x (\d+) x (\d+): ", printed, re.M)
    assert checked == [("1", "64", "96"), ("2", "112", "80"), ("1", "144", "208")]
    assert "height and width of images must be multiples of 16 pixels, from 48 on" in printed
    extra = {"axial_deeplab.json": ""}
    if compiles:
        run = torch._inductor.aoti_load_package(str(path))
        extra["axial_deeplab.json"] = run.get_metadata()["axial_deeplab"]
    else:
        run = torch.export.load(path, extra_files=extra).module()
    metadata = json.loads(extra["axial_deeplab.json"])
    assert (metadata["smallest_side"], metadata["side_multiple"]) == (48, 16)
    assert run(torch.zeros(1, 3, 48, 64))[-1].shape == (1, 256, 3, 4)
    for size in ((48, 72), (72, 48)):
        with pytest.raises(RuntimeError, match=r"<= 16\*Max\(3, \("):
            run(torch.zeros(1, 3, *size))


def test_half(stand_in, tmp_path):
    path = tmp_path / "half.onnx"
    # The difference is from a network of the same rounded weights.
    assert max(each.difference for each in export(stand_in, path, half=True).comparisons) < 1e-4
    types = {tensor.name: tensor.data_type for tensor in onnx.load(path).graph.initializer}
    kernels = {name for name in types if "weight" in name}
    assert {types[name] for name in kernels} == {onnx.TensorProto.FLOAT16}
    assert list(types.values()).count(onnx.TensorProto.FLOAT16) >= 8  # the exporter renames some
    assert {kind for name, kind in types.items() if "bias" in name} == {onnx.TensorProto.FLOAT}
    images = 255 * torch.rand(1, 3, 33, 47, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = stand_in.model(images)
    for name, rounded in load_onnx(path).model(images).items():
        assert 1e-5 < (rounded - whole[name]).abs().max() / whole[name].std() < 1e-2


def test_compiler_that_fails(backbone, tmp_path, monkeypatch):
    def compile_and_package(*arguments, **options):
        raise RuntimeError("no compiler\nand much more")

    monkeypatch.setattr("axial_deeplab.export.export.capture", lambda deployed, size: None)
    monkeypatch.setattr("torch._inductor.aoti_compile_and_package", compile_and_package)
    with pytest.raises(
        ValueError, match="compiler can compile here, got: no compiler; see that there is a C"
    ):
        export(backbone, tmp_path / "x.pt2", format="aoti")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["axial_deeplab_nano_scenes", "axial_resnet_s"])
def test_shipped_weights_and_axial_resnet_s(tmp_path, capsys, name):
    weights = name
    if name == "axial_resnet_s":
        weights = str(tmp_path / "s.safetensors")
        classes = Categories(Category(index, f"class {index}", True) for index in range(1000))
        torch.manual_seed(0)
        save_weights(weights, create_model(name), classes)
    words = ["--weights", weights, "--output", str(tmp_path / "network.onnx"), "--format", "onnx"]
    assert main(["export", *words]) == 0
    lines = re.findall(r"^  \d+ x \d+ x \d+: (\S+)$", capsys.readouterr().out, re.M)
    assert len(lines) == 3
    assert max(map(float, lines)) < 1e-4


def test_outputs_have_names(backbone, weights):
    assert Deployed(backbone).output_names == ("res2", "res3", "res4", "res5")
    assert Deployed(weights).output_names == ("semantic_logits", "center_heatmap", "offsets")
    assert Deployed(weights, post_processing=True).output_names == ("panoptic", "semantic", "num_centers")
    assert Deployed(weights_of("max_deeplab_s_backbone", **TINY)).output_names == ("logits",)


def test_number_of_centers_by_area(stand_in, tmp_path):
    by_area = {**SETTINGS, "top_k": 10, "top_k_area": 100}
    weights = LoadedWeights(stand_in.model, CATEGORIES, {**stand_in.metadata, "post_processing": by_area})
    deployed = Deployed(weights, post_processing=True, size=(20, 30))
    assert deployed.post_processing.top_k == 60
    path = tmp_path / "network.onnx"
    exported = export(weights, path, post_processing=True, size=(20, 30))
    assert [each.size for each in exported.comparisons] == [(1, 20, 30)]
    path.unlink()
    with pytest.raises(ValueError, match="any size, got 10 for each 100 pixels; export for one size"):
        export(weights, path, post_processing=True)
    assert list(tmp_path.iterdir()) == []


def test_networks_that_the_compiler_takes_at_any_size(weights):
    deployed = Deployed(weights, for_compiler=True)
    assert (deployed.smallest_side, deployed.side_multiple) == (1, 1)
    without_attention = weights_of("resnet50", width_multiplier=0.125, depths=(1, 1, 1, 1))
    deployed = Deployed(without_attention, for_compiler=True)
    assert (deployed.smallest_side, deployed.side_multiple) == (33, 1)


def test_refuses(weights, backbone, tmp_path, monkeypatch, capsys):
    path = tmp_path / "x.onnx"
    with pytest.raises(ValueError, match="format must be one of onnx, torch-export, aoti, got tflite"):
        export(weights, path, format="tflite")
    with pytest.raises(
        ValueError, match="half must be False for torch-export, got True; choose the format onnx"
    ):
        export(weights, tmp_path / "x.pt2", format="torch-export", half=True)
    with pytest.raises(ValueError, match=r"output must end in .pt2 for aoti, got .*x.onnx; rename it"):
        export(weights, path, format="aoti")
    with pytest.raises(
        ValueError, match="post_processing must be that of a segmentation network, got max_deep"
    ):
        export(backbone, path, post_processing=True)
    without_limit = LoadedWeights(
        weights.model, CATEGORIES, {**weights.metadata, "post_processing": {"top_k": None}}
    )
    with pytest.raises(ValueError, match="must have a top_k and no fill_void"):
        export(without_limit, path, post_processing=True)
    monkeypatch.setattr("axial_deeplab.util.packages.find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"ONNX needs the package onnx, which is missing; pip install .*\[export\]"
    ):
        export(weights, path)
    assert main(["predict", "x.png", "--weights", str(path), "--runtime", "onnx", "--output", "o"]) == 2
    assert "ONNX needs the package onnxruntime" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_refuses_a_program_that_computes_something_else(backbone, tmp_path, monkeypatch):
    module = "axial_deeplab.export.export"
    monkeypatch.setattr(f"{module}.capture", lambda deployed, size: None)
    monkeypatch.setattr(f"{module}._write_torch_export", lambda *arguments: None)
    for change, found in (
        (lambda x: 1.01 * x, "e-0"),
        (lambda x: x[..., :-1], "inf"),
        (lambda x: x * torch.nan, "nan"),
    ):
        run = Deployed(backbone).eval()
        monkeypatch.setattr(
            f"{module}._open_torch_export",
            lambda path, run=run, change=change: lambda images: [change(output) for output in run(images)],
        )
        with (
            torch.no_grad(),
            pytest.raises(ValueError, match=rf"must be within 0.0001 .*{found}.*nothing was written"),
        ):
            export(backbone, tmp_path / "x.pt2", format="torch-export")

    def fail(images):
        raise RuntimeError("Expected Eq(s0, 7) to be True\nand much more")

    monkeypatch.setattr(f"{module}._open_torch_export", lambda path: fail)
    with pytest.raises(
        ValueError, match=r"must run at 1 x 64 x 96, got: Expected Eq\(s0, 7\) to be True; noth"
    ):
        export(backbone, tmp_path / "x.pt2", format="torch-export")
    assert list(tmp_path.iterdir()) == []


def test_refuses_foreign_onnx_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="weights must be an ONNX file, got"):
        load_onnx(tmp_path / "absent.onnx")
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(ValueError, match=r"text.onnx must be an ONNX file, got"):
        load_onnx(tmp_path / "text.onnx")
    tensor = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Abs", ["x"], ["y"])], "g", [tensor], [result])
    opset = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), tmp_path / "other.onnx")
    with pytest.raises(ValueError, match="must have axial_deeplab in its metadata, got none"):
        load_onnx(tmp_path / "other.onnx")
