"""Weights: what is written is read again, whatever fits is copied, and bad files are refused in one line."""

import json
import os
import re
import subprocess
import sys
import tracemalloc

import pytest
import safetensors
import safetensors.torch
import torch
from torch.nn.utils import parametrizations, prune
from torch.optim.swa_utils import AveragedModel

from axial_deeplab.models.norm import BatchNorm2d
from axial_deeplab.models.registry import create_model
from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.weights.file import save_weights
from axial_deeplab.weights.loaded import load_weights
from axial_deeplab.weights.matching import load_matching
from axial_deeplab.weights.names import pretrained_names

TINY = {
    "depths": (1, 1, 1, 1),
    "max_span": 9,
    "semantic_channels": 16,
    "instance_channels": 8,
    "instance_head_channels": 8,
}
CATEGORIES = Categories([Category(7, "sky", False), Category(3, "car", True), Category(90, "person", True)])
KNOBS = {"center_threshold": 0.2, "nms_kernel": 5, "top_k": 50, "stuff_area": 32}


def tiny(num_classes=3, **overrides):
    return create_model("axial_deeplab_nano", num_classes=num_classes, **{**TINY, **overrides})


def outputs(model, seed=0, channels=3):
    images = torch.rand(1, channels, 21, 30, generator=torch.Generator().manual_seed(seed)) * 255
    with torch.no_grad():
        return model.eval()(images)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    network = tiny()
    for module in network.modules():
        # Residual branches start at zero, which would hide what is in them.
        if isinstance(module, BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    network.train()(torch.rand(2, 3, 33, 33) * 255)  # running statistics that are not the initial ones
    return network.eval()


@pytest.fixture
def path(tmp_path, model):
    file = tmp_path / "weights.safetensors"
    save_weights(file, model, CATEGORIES, extra={"post_processing": KNOBS})
    return file


def test_round_trip(path, model):
    random_state = torch.get_rng_state()
    loaded = load_weights(path)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert loaded.categories == CATEGORIES
    assert loaded.metadata["post_processing"] == KNOBS
    assert loaded.model.config == model.config
    assert not loaded.model.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], tensor), name
    for name, expected in outputs(model).items():
        assert torch.equal(outputs(loaded.model)[name], expected)


def test_metadata_is_readable_json(path):
    with safetensors.safe_open(path, framework="pt") as file:
        texts = file.metadata()
    assert texts["format"] == "axial-deeplab"
    assert json.loads(texts["categories"])[0] == {
        **CATEGORIES.to_json()[0],
        "id": 3,
        "name": "car",
        "isthing": 1,
    }
    assert json.loads(texts["model"])["name"] == "axial_deeplab_nano"


PROGRAM = """
import sys
import torch
from axial_deeplab import create_model, save_weights
from axial_deeplab.panoptic.categories import Categories, Category

torch.manual_seed(0)
model = create_model("axial_resnet26_s", num_classes=1, width_multiplier=0.0625, num_heads=2, max_span=9)
extra = {name: 1 for name in "notes \\u00e4 \\x01 license source training_data published".split()}
save_weights(sys.argv[1], model, Categories([Category(1, "sky", False)]), extra=extra)
"""


def test_same_weights_same_bytes(tmp_path):
    paths = [tmp_path / f"{seed}.safetensors" for seed in ("1", "2", "3")]
    for path in paths:
        environment = {**os.environ, "PYTHONHASHSEED": path.stem}
        subprocess.run([sys.executable, "-c", PROGRAM, path], check=True, env=environment)
    assert len({path.read_bytes() for path in paths}) == 1
    assert load_weights(paths[0]).metadata["\u00e4"] == 1


def test_half_precision_storage(tmp_path, path, model):
    half = tmp_path / "half.safetensors"
    save_weights(half, model, CATEGORIES, half=True)
    assert half.stat().st_size < 0.65 * path.stat().st_size
    loaded = load_weights(half).model.state_dict()
    for name, tensor in model.state_dict().items():
        assert loaded[name].dtype == tensor.dtype
        if tensor.ndim < 2:
            assert torch.equal(loaded[name], tensor), name
        else:
            # Half of the spacing of half precision numbers, and of its subnormal ones.
            torch.testing.assert_close(loaded[name], tensor, rtol=2**-11, atol=2**-25)


def test_half_precision_leaves_large_values_alone(tmp_path, model):
    large = tiny()
    large.load_state_dict(model.state_dict())
    with torch.no_grad():
        large.semantic_head.final.weight.fill_(70_000.0)
    save_weights(tmp_path / "w.safetensors", large, CATEGORIES, half=True)
    assert load_weights(tmp_path / "w.safetensors").model.semantic_head.final.weight.unique().tolist() == [
        70_000.0
    ]


def test_channels_last_weights(tmp_path, model):
    save_weights(tmp_path / "w.safetensors", tiny().to(memory_format=torch.channels_last), CATEGORIES)
    assert load_weights(tmp_path / "w.safetensors").model.config == model.config


def test_shipped_weights(tmp_path, model, monkeypatch):
    monkeypatch.setattr("axial_deeplab.weights.names.PRETRAINED_FOLDER", tmp_path)
    assert pretrained_names() == []
    for name in ("b", "a"):
        save_weights(tmp_path / f"{name}.safetensors", model, CATEGORIES)
    assert pretrained_names() == ["a", "b"]
    assert load_weights("a").categories == CATEGORIES
    with pytest.raises(FileNotFoundError, match=r"file or a name of `axial-deeplab weights list`, got c; "):
        load_weights("c")


def test_all_shipped_weights_load():
    for name in pretrained_names():
        assert len(load_weights(name).categories) > 1


class TestCheckpoint:
    def checkpoint(self, model, **changes):
        return {
            "state_dict": {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
            | {"loss.weight": torch.zeros(3)},
            "axial_deeplab": {
                "model": dict(model.config),
                "categories": CATEGORIES.to_json(),
                "post_processing": KNOBS,
            },
            **changes,
        }

    def test_loads(self, tmp_path, model):
        torch.save(self.checkpoint(model), tmp_path / "last.ckpt")
        loaded = load_weights(tmp_path / "last.ckpt")
        assert loaded.metadata["post_processing"] == KNOBS
        for name, tensor in model.state_dict().items():
            assert torch.equal(loaded.model.state_dict()[name], tensor)

    def test_refuses_python_objects(self, tmp_path, model):
        class Evil:
            def __reduce__(self):
                return (print, ("this must never run",))

        torch.save(self.checkpoint(model, extra=Evil()), tmp_path / "evil.ckpt")
        with pytest.raises(ValueError, match=r"evil\.ckpt must hold tensors and plain values only"):
            load_weights(tmp_path / "evil.ckpt")

    def test_refuses_programs(self, tmp_path):
        layer = torch.nn.Linear(2, 3)
        torch.jit.trace(layer, torch.zeros(1, 2)).save(tmp_path / "traced.pt")
        torch.export.save(torch.export.export(layer, (torch.zeros(1, 2),)), tmp_path / "exported.pt2")
        for name, kind in (("traced.pt", "torch.jit"), ("exported.pt2", "torch.export")):
            with pytest.raises(ValueError, match=rf"plain values only, got a program of {kind};") as refused:
                load_weights(tmp_path / name)
            # The remedy is one that works.
            remedy = re.search(r"torch\.save\(.*'\)", str(refused.value))[0].replace(
                name, str(tmp_path / name)
            )
            exec(remedy.replace("tensors.pth", str(tmp_path / "tensors.pth")), {"torch": torch})
            saved = torch.load(tmp_path / "tensors.pth", weights_only=True)
            assert torch.equal(saved["weight"], layer.weight)

    def test_refuses_truncated(self, tmp_path, model):
        torch.save(self.checkpoint(model), tmp_path / "last.ckpt")
        content = (tmp_path / "last.ckpt").read_bytes()
        (tmp_path / "last.ckpt").write_bytes(content[: len(content) // 2])
        with pytest.raises(ValueError, match=r"last\.ckpt must be a complete checkpoint, got: "):
            load_weights(tmp_path / "last.ckpt")

    @pytest.mark.parametrize("content", [{"state_dict": {}}, [1, 2], {"axial_deeplab": {}, "state_dict": 3}])
    def test_refuses_checkpoints_of_others(self, tmp_path, content):
        torch.save(content, tmp_path / "other.ckpt")
        with pytest.raises(ValueError, match="must have the entries state_dict and axial_deeplab"):
            load_weights(tmp_path / "other.ckpt")


class TestBadFiles:
    def rewritten(self, path, change_state=lambda state: state, **texts):
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = {**file.metadata(), **texts}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = {name: text for name, text in metadata.items() if text is not None}
        safetensors.torch.save_file(change_state(state), path, metadata=metadata)
        return path

    def test_missing(self, tmp_path):
        for missing in (tmp_path / "none.safetensors", tmp_path):
            with pytest.raises(FileNotFoundError, match="weights must be a file or a name of"):
                load_weights(missing)

    @pytest.mark.parametrize(
        "content", [b"", b"hello", b"\x80\x04K\x01.", b"\x08\0\0\0\0\0\0\0{oh no!}", b"P" * 99]
    )
    def test_not_safetensors(self, tmp_path, content):
        (tmp_path / "w").write_bytes(content)
        with pytest.raises(
            ValueError, match="w must be a safetensors file or a checkpoint of our training, got: "
        ):
            load_weights(tmp_path / "w")

    def test_truncated(self, path):
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(ValueError, match="must be a safetensors file"):
            load_weights(path)

    @pytest.mark.parametrize(
        ("texts", "message"),
        [
            ({"format": None}, "must have the format axial-deeplab in its metadata, got None"),
            ({"format": "pt"}, "must have the format axial-deeplab in its metadata, got 'pt'"),
            ({"model": None}, "model must name a network and its arguments, got None"),
            ({"model": "[1]"}, r"model must name a network and its arguments, got \[1\]"),
            ({"model": "{not json"}, "model must be JSON, got '{not json'"),
            (
                {"model": '{"name": "nope"}'},
                "model must be arguments of create_model, got an error: name must be",
            ),
            (
                {"model": '{"name": "axial_deeplab_s", "depths": "x"}'},
                "model must be arguments of create_model",
            ),
            ({"categories": None}, r"weights\.safetensors: categories must be a list of"),
            ({"categories": '[{"id": 1}]'}, r"weights\.safetensors: categories.*name must be"),
            (
                {"categories": '[{"id": 1, "name": "sky", "isthing": 0}]'},
                "must have one category for each of its 3 classes, got 1",
            ),
        ],
    )
    def test_metadata(self, path, texts, message):
        with pytest.raises(ValueError, match=message):
            load_weights(self.rewritten(path, **texts))

    @pytest.mark.parametrize(
        ("section", "settings", "message"),
        [
            ("model", {"norm_eps": None}, "model.norm_eps must be of type int or float, got None"),
            ("model", {"impl": {}}, "model.impl must be of type str"),
            ("model", {"span": 10**30 + 1}, "model.span must be numbers up to 2147483647, no more than 6"),
            ("model", {"norm_eps": float("nan")}, "model.norm_eps must be numbers up to 2147483647"),
            ("model", {"depths": [[[[[[[[1]]]]]]]]}, "model.depths must be numbers .* than 6 deep"),
            ("model", {"depths": [10**9, 1, 1, 1]}, "network must have at most .* tensors, got more at"),
            ("model", {"width_multiplier": 100}, "network must have at most .* numbers in .* got more at"),
            ("model", {"max_span": 10**6}, "network must have at most .* got more at rel_. of shape"),
            ("model", {"num_classes": 2**31 - 1}, "model must be arguments of create_model, got an error"),
            ("model", {"in_channels": 2**31 - 1}, "model must be arguments of create_model, got an"),
            ("model", {"width_multiplier": 0}, "model must be arguments of create_model, got an error"),
            ("post_processing", [1], r"post_processing must be settings by their names, got \[1\]"),
            ("post_processing", {"top_k": "many"}, "post_processing.top_k must be of type int or null"),
            ("post_processing", {"nms_kernel": None}, "post_processing.nms_kernel must be of type int, got"),
            ("post_processing", {"nms_kernel": 0}, "weights.safetensors: nms_kernel must be 1 pixel"),
            ("post_processing", {"void_ids": ["a"]}, "post_processing.void_ids must be a list of numbers"),
            ("view", 3, "view must be settings by their names, got 3"),
            ("view", {"scales": 1}, "view.scales must be of type list or tuple or null, got 1"),
            ("view", {"long_side": 10**20}, "view.long_side must be numbers up to 2147483647"),
            ("classification", {"crop_size": [1]}, "classification.crop_size must be a height and a width"),
        ],
    )
    def test_values_of_metadata(self, path, section, settings, message):
        with safetensors.safe_open(path, framework="pt") as file:
            stored = json.loads(file.metadata().get(section, "{}"))
        changed = {**stored, **settings} if isinstance(settings, dict) else settings
        self.rewritten(path, **{section: json.dumps(changed)})
        tracemalloc.start()
        with pytest.raises(ValueError, match=message):
            load_weights(path)
        assert tracemalloc.get_traced_memory()[1] < 100e6
        tracemalloc.stop()

    def test_deep_json(self, path):
        with pytest.raises(ValueError, match="view must be JSON"):
            load_weights(self.rewritten(path, view="[" * 100_000))

    def test_weights_of_another_model(self, path):
        def change(state):
            state["renamed"] = state.pop("offset_head.final.bias")
            state["center_head.final.bias"] = torch.zeros(5)
            return state

        message = (
            r"must hold the tensors of axial_deeplab_nano, got 1 missing: offset_head.final.bias; "
            "1 unexpected: renamed; 1 of another shape: center_head.final.bias; are these weights of another"
        )
        with pytest.raises(ValueError, match=message):
            load_weights(self.rewritten(path, change))

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_not_finite(self, path, value):
        def change(state):
            state["center_head.final.bias"][0] = value
            return state

        with pytest.raises(
            ValueError, match=r"finite weights, got NaN or infinity in center_head\.final\.bias"
        ):
            load_weights(self.rewritten(path, change))

    def test_save_refuses(self, tmp_path, model):
        with pytest.raises(ValueError, match="model must be made by create_model, got Linear"):
            save_weights(tmp_path / "w.safetensors", torch.nn.Linear(1, 1), CATEGORIES)
        with pytest.raises(ValueError, match=r"got AveragedModel without config; give .* its \.module"):
            save_weights(tmp_path / "w.safetensors", AveragedModel(model), CATEGORIES)
        broken = tiny()
        with torch.no_grad():
            broken.center_head.final.bias.fill_(float("nan"))
        with pytest.raises(ValueError, match="model must have finite weights"):
            save_weights(tmp_path / "w.safetensors", broken, CATEGORIES)
        with torch.device("meta"):
            empty = tiny()
        with pytest.raises(ValueError, match="got tensors on the device meta"):
            save_weights(tmp_path / "w.safetensors", empty, CATEGORIES)
        assert list(tmp_path.iterdir()) == []


class TestLoadMatching:
    def test_same_network(self, path, model):
        target = tiny()
        report = load_matching(target, path)
        assert set(report.loaded) == set(model.state_dict())
        assert (report.resized, report.reinitialized, report.unused) == ((), (), ())
        assert torch.equal(outputs(target)["offsets"], outputs(model)["offsets"])

    def test_other_classes(self, model):
        target = tiny(num_classes=5)
        bias = target.semantic_head.final.bias.clone()
        report = load_matching(target, model.state_dict())
        head = ("semantic_head.final.weight", "semantic_head.final.bias")
        assert report.reinitialized == head
        assert report.unused == head
        assert torch.equal(target.semantic_head.final.bias, bias)
        assert torch.equal(outputs(target)["center_heatmap"], outputs(model)["center_heatmap"])
        assert report.shapes["semantic_head.final.bias"] == ((3,), (5,))
        assert str(report).splitlines()[1:] == [
            "2 reinitialized: semantic_head.final.weight 3x16x1x1 -> 5x16x1x1, "
            "semantic_head.final.bias 3 -> 5"
        ]

    def test_other_classes_of_a_classifier(self):
        source, target = (
            create_model("axial_resnet_s", num_classes=n, width_multiplier=0.125, depths=(1, 1, 1, 1))
            for n in (4, 7)
        )
        report = load_matching(target, source.state_dict())
        assert report.reinitialized == report.unused == ("classifier.weight", "classifier.bias")
        assert len(report.loaded) == len(source.state_dict()) - 2

    def test_greyscale_input(self, model):
        target = tiny(in_channels=1, pixel_mean=[100.0], pixel_std=[50.0])
        report = load_matching(target, model.state_dict())
        assert report.resized == ("backbone.stem.conv1.conv.weight",)
        assert "1 resized: backbone.stem.conv1.conv.weight 16x3x3x3 -> 16x1x3x3" in str(report)
        in_color = tiny(pixel_mean=[100.0] * 3, pixel_std=[50.0] * 3)
        in_color.load_state_dict(model.state_dict())
        grey = torch.rand(1, 1, 33, 33) * 255
        with torch.no_grad():
            ours = target.eval()(grey)["offsets"]
            theirs = in_color.eval()(grey.expand(1, 3, 33, 33))["offsets"]
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * theirs.std().item())

    def test_more_channels(self, model):
        target = tiny(in_channels=6)
        load_matching(target, model.state_dict())
        kernel, old = (m.backbone.stem.conv1.conv.weight for m in (target, model))
        assert torch.equal(kernel[:, :3], old / 2)
        assert torch.equal(kernel[:, 3:], old / 2)

    @pytest.mark.parametrize(
        ("name", "kernels"),
        [
            ("resnet50", ["stem.conv1.conv.weight"]),
            ("xception71", ["stem.conv1.conv.weight"]),
            ("full_sasa_resnet50", ["stem.qkv.weight"]),
            (
                "full_axial_resnet_s",
                ["stem.block1.down.conv.weight", "stem.block1.shortcut.conv.weight"],
            ),
        ],
    )
    def test_other_channels_in_every_stem(self, name, kernels):
        source, target = (
            create_model(name, num_classes=2, in_channels=n, width_multiplier=0.25) for n in (3, 4)
        )
        # Files of weights have no order.
        state = dict(sorted(source.state_dict().items(), reverse=True))
        report = load_matching(target, state)
        assert set(report.resized) == set(kernels)
        assert report.reinitialized == ()
        for kernel in kernels:
            old, new = source.state_dict()[kernel], target.state_dict()[kernel]
            torch.testing.assert_close(new, old[:, [0, 1, 2, 0]] * 3 / 4)

    def test_other_span_of_the_axes(self, model):
        target = tiny(span=5)
        report = load_matching(target, model.state_dict())
        assert str(report) == f"{len(model.state_dict())} tensors loaded"
        assert not torch.equal(outputs(target)["offsets"], outputs(model)["offsets"])

    @pytest.mark.parametrize("span", [3, 9])
    def test_other_span_of_the_squares(self, span):
        options = {"num_classes": 2, "width_multiplier": 0.25, "depths": (1, 1, 1, 1)}
        source = create_model("ps_attention_resnet50", **options)
        target = create_model("ps_attention_resnet50", span=span, **options)
        report = load_matching(target, source.state_dict())
        assert report.reinitialized == ()
        assert len(report.resized) == 4 * 3 * 2
        assert "24 resized: 6 of res2, 6 of res3, 6 of res4, 6 of res5" in str(report)
        for name in report.resized:
            old, new = source.state_dict()[name], target.state_dict()[name]
            for distance in range(-(span // 2), span // 2 + 1):
                row = min(max(distance, -3), 3) + 3
                assert torch.equal(new[:, distance + span // 2], old[:, row])

    def test_everything_differs(self, model):
        target = tiny(num_classes=5, in_channels=4, max_span=20, span=7)
        report = load_matching(target, model.state_dict())
        assert [line.split(":")[0] for line in str(report).splitlines()] == [
            f"{len(report.loaded)} tensors loaded",
            "25 resized",
            "2 reinitialized",
        ]
        assert set(report.loaded) | set(report.resized) | set(report.reinitialized) == set(model.state_dict())
        assert outputs(target, channels=4)["semantic_logits"].shape[1] == 5

    def test_other_widths_keep_their_values(self, model):
        target = tiny(semantic_channels=24)
        before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
        report = load_matching(target, model.state_dict())
        assert report.resized == ()
        assert all(name.startswith("semantic_") for name in report.reinitialized)
        assert all(torch.equal(target.state_dict()[name], before[name]) for name in report.reinitialized)

    @pytest.mark.parametrize("max_span", [3, 20])
    def test_other_relative_tables(self, model, max_span):
        target = tiny(max_span=max_span)
        report = load_matching(target, model.state_dict())
        assert report.resized
        assert {name.rsplit(".", 1)[-1] for name in report.resized} == {"rel_q", "rel_k", "rel_v"}
        name = "backbone.res3.0.height_attention.rel_v"
        old, new = model.state_dict()[name], target.state_dict()[name]
        for distance in range(-max_span + 1, max_span):
            row = min(max(distance, -8), 8) + 8
            assert torch.equal(new[distance + max_span - 1], old[row])

    def test_longer_tables_change_nothing(self, model):
        target = tiny(max_span=40)
        load_matching(target, model.state_dict())
        expected = outputs(model)["semantic_logits"]
        torch.testing.assert_close(outputs(target)["semantic_logits"], expected, rtol=1e-5, atol=1e-5)

    def test_backbone_of_a_classifier(self):
        classifier = create_model(
            "axial_resnet_s", num_classes=4, width_multiplier=0.25, depths=(1, 1, 1, 1), max_span=9
        )
        target = create_model(
            "axial_deeplab_s", num_classes=3, width_multiplier=0.25, depths=(1, 1, 1, 1), max_span=9
        )
        report = load_matching(target, classifier.state_dict())
        assert torch.equal(
            target.backbone.res5[0].height_attention.rel_q, classifier.res5[0].height_attention.rel_q
        )
        assert "classifier.weight" in report.unused
        assert "semantic_head.final.weight" in report.reinitialized
        assert len(str(report).splitlines()) == 3

    def test_refuses(self, model):
        with pytest.raises(
            ValueError, match="state_dict must have tensors that fit the model, got none among 1"
        ):
            load_matching(tiny(), {"weight": torch.zeros(3, 3)})
        with pytest.raises(ValueError, match="state_dict must have finite weights"):
            load_matching(tiny(), {"center_head.final.bias": torch.tensor([float("nan")])})
        with pytest.raises(FileNotFoundError, match="weights must be a file"):
            load_matching(tiny(), "nowhere.safetensors")


def test_compiled_network_is_saved_as_what_it_was(tmp_path, model):
    compiled = torch.compile(tiny(), backend="eager")
    compiled.load_state_dict({f"_orig_mod.{name}": x for name, x in model.state_dict().items()})
    compiled.backbone = torch.compile(compiled.backbone, backend="eager")
    save_weights(tmp_path / "w.safetensors", compiled, CATEGORIES)
    state = load_weights(tmp_path / "w.safetensors").model.state_dict()
    assert all(torch.equal(state[name], x) for name, x in model.state_dict().items())


def parametrized(model):
    parametrizations.weight_norm(model.semantic_head.final)


def pruned(model):
    prune.l1_unstructured(model.semantic_head.final, "weight", 0.5)


def with_another_head(model):
    model.semantic_head.final = torch.nn.Conv2d(model.semantic_head.final.in_channels, 7, 1)


def with_another_norm(model):
    model.backbone.stem.conv1.norm = torch.nn.GroupNorm(2, model.backbone.stem.conv1.norm.num_features)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (parametrized, "got 1 missing: semantic_head.final.weight; 2 unexpected"),
        (pruned, "got 1 missing: semantic_head.final.weight; 2 unexpected"),
        (with_another_head, "got 2 of another shape: semantic_head.final.weight"),
        (with_another_norm, "got 3 missing: backbone.stem.conv1.norm.running_mean"),
    ],
)
def test_what_could_not_be_loaded_is_not_saved(tmp_path, change, message):
    model = tiny()
    change(model)
    with pytest.raises(ValueError, match=f"model must have the tensors of axial_deeplab_nano, {message}"):
        save_weights(tmp_path / "w.safetensors", model, CATEGORIES)
    assert not list(tmp_path.iterdir())


def test_categories_of_another_number_are_not_saved(tmp_path, model):
    with pytest.raises(
        ValueError, match="categories must be one for each of the 3 classes of the model, got 2"
    ):
        save_weights(tmp_path / "w.safetensors", model, Categories(list(CATEGORIES)[:2]))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.net.", "module.backbone."])
def test_weights_behind_the_prefix_of_a_wrapper_fit(prefix: str) -> None:
    model = create_model("axial_resnet_nano", num_classes=3)
    others = create_model("axial_resnet_nano", num_classes=3)
    state = {f"{prefix}{name}": tensor for name, tensor in model.state_dict().items()}
    report = load_matching(others, {"loss.weight": torch.ones(3)} | state)
    assert report.unused == ("loss.weight",)
    torch.testing.assert_close(others.state_dict(), model.state_dict())


def test_two_networks_behind_prefixes_are_refused() -> None:
    model = create_model("axial_resnet_nano", num_classes=3)
    state = {f"{each}.{name}": x for each in ("student", "teacher") for name, x in model.state_dict().items()}
    with pytest.raises(
        ValueError, match=r"got none among \d+, such as student\.\S+, student\..* more; choose"
    ):
        load_matching(model, state)
