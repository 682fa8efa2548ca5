"""Prediction: every kind of image, always its own size and the same keys, files in the COCO format."""

import dataclasses
import json
import os
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from axial_deeplab.app.results import _doubts
from axial_deeplab.data.coco import CocoPanopticDataset
from axial_deeplab.data.image_files import find_images
from axial_deeplab.data.panoptic_dataset import Sample
from axial_deeplab.evaluation.evaluate import PanopticEvaluator
from axial_deeplab.evaluation.panoptic_quality import PanopticQuality
from axial_deeplab.export.post_processing_graph import PostProcessingGraph
from axial_deeplab.models.registry import create_model
from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.panoptic.png import read_panoptic_png
from axial_deeplab.post_processing import CentersLeftOutWarning, PostProcessing
from axial_deeplab.prediction.batch import View, predict_panoptic, predict_panoptic_batch
from axial_deeplab.prediction.files import predict_files
from axial_deeplab.prediction.predictor import Predictor, choose_device
from axial_deeplab.weights.file import save_weights
from axial_deeplab.weights.loaded import LoadedWeights, load_weights

CATEGORIES = Categories(
    [Category(11, "sky", False, (90, 160, 230)), Category(5, "car", True), Category(200, "person", True)]
)
SKY = CATEGORIES.train_id(11)
CAR = CATEGORIES.train_id(5)
KEYS = {"id", "category_id", "name", "isthing", "score", "area", "bbox"}


class ByColor(torch.nn.Module):
    """A network that sees a car in every red pixel, one center at each white one, and sky elsewhere."""

    def __init__(self):
        super().__init__()
        self.semantic_head = torch.nn.Linear(1, 1)
        self.config = {"name": "by_color", "num_classes": 3}
        self.sizes = []

    def forward(self, images):
        self.sizes.append(tuple(images.shape))
        assert not self.training
        images = images.float() / 255
        red, green, blue = images.unbind(1)
        white = (green + blue + red > 1.7).float()
        car = (red > 0.5).float()
        logits = torch.full((len(images), 3, *images.shape[2:]), -8.0)
        logits[:, CAR], logits[:, SKY] = 8 * car, 8 * (1 - car)
        return {
            "semantic_logits": logits,
            "center_heatmap": white[:, None],
            "offsets": torch.zeros(len(images), 2, *images.shape[2:]),
        }


@pytest.fixture
def predictor():
    loaded = LoadedWeights(
        ByColor(),
        CATEGORIES,
        {"model": {"name": "by_color"}, "post_processing": {"stuff_area": 1, "nms_kernel": 3}},
    )
    return Predictor(loaded, "cpu")


def picture(height=12, width=20):
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[height // 3 :, : width // 2] = (255, 0, 0)
    image[2 * height // 3, width // 4] = 255
    return image


class TestPredictor:
    def test_segments(self, predictor):
        prediction = predictor(picture())
        sky, car = sorted(prediction.segments_info, key=lambda segment: segment["isthing"])
        assert set(sky) == set(car) == KEYS
        assert (sky["name"], sky["category_id"], sky["isthing"]) == ("sky", 11, False)
        assert (car["name"], car["category_id"], car["isthing"]) == ("car", 5, True)
        assert (sky["area"], car["area"]) == (160, 80)
        assert car["bbox"] == [0, 4, 10, 8]
        assert 0.99 < car["score"] <= 1
        assert prediction.segmentation.dtype == np.int32
        assert (prediction.segmentation == car["id"])[4:, :10].all()
        assert min(sky["id"], car["id"]) >= 1
        assert (prediction.semantic[4:, :10] == 5).all()
        assert (prediction.semantic[:4] == 11).all()
        assert prediction.network_ms > 0
        assert prediction.post_processing_ms > 0
        json.dumps(prediction.segments_info)

    def test_all_kinds_of_images_agree(self, predictor, tmp_path):
        pixels = picture()
        Image.fromarray(pixels).save(tmp_path / "image.png")
        expected = predictor(pixels).segmentation
        tensor = torch.from_numpy(pixels).permute(2, 0, 1)
        frozen = pixels.copy()
        frozen.flags.writeable = False
        for image in (
            tmp_path / "image.png",
            str(tmp_path / "image.png"),
            Image.fromarray(pixels),
            tensor,
            frozen,
        ):
            np.testing.assert_array_equal(predictor(image).segmentation, expected)

    def test_a_list_gives_a_list(self, predictor):
        images = [picture(), picture(6, 8)]
        for given in (images, tuple(images)):
            predictions = predictor(given)
            assert [each.segmentation.shape for each in predictions] == [(12, 20), (6, 8)]
        assert predictor([]) == []

    def test_more_objects_than_top_k_are_told(self, predictor, tmp_path):
        pixels = np.zeros((24, 60, 3), np.uint8)
        pixels[..., 0] = 255
        pixels[2::4, 2::4] = 255  # 6 x 15 white centers
        few = Predictor(
            LoadedWeights(ByColor(), CATEGORIES, {"model": {"name": "x"}}), "cpu", top_k=40, nms_kernel=3
        )
        message = "an image has 90 centers of objects: 40 are kept, .* such as 90, or --top-k all"
        with pytest.warns(CentersLeftOutWarning, match=message):
            prediction = few(pixels)
        assert (len(prediction.segments), prediction.num_left_out) == (40, 50)
        for number, name in enumerate(("a.png", "b.png")):
            Image.fromarray(pixels[number:]).save(tmp_path / name)
        with pytest.warns(CentersLeftOutWarning, match="^2 images have up to 90 centers") as told:
            predict_files(few, [tmp_path], tmp_path / "out")
        assert len(told) == 1
        for top_k in (90, None):
            knobs = {"top_k": top_k, "nms_kernel": 3}
            everything = Predictor(
                LoadedWeights(ByColor(), CATEGORIES, {"model": {"name": "x"}}), "cpu", **knobs
            )
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                prediction = everything(pixels)
            assert (len(prediction.segments), prediction.num_left_out) == (90, 0)

    def test_a_mosaic_has_more_objects_than_a_picture(self, tmp_path):
        tile = np.zeros((24, 60, 3), np.uint8)
        tile[..., 0] = 255
        tile[2::4, 2::4] = 255  # 6 x 15 white centers
        mosaic = np.tile(tile, (3, 3, 1))  # 810 centers
        Image.fromarray(mosaic).save(tmp_path / "a.png")

        def of(**knobs):
            loaded = LoadedWeights(ByColor(), CATEGORIES, {"model": {"name": "x"}})
            return Predictor(loaded, "cpu", nms_kernel=3, **knobs)

        def quality(prediction):
            score = PanopticQuality(CATEGORIES)
            score.update(everything.result, prediction.result)
            return score.compute().all.pq

        everything = of(top_k=None)(mosaic)
        message = "810 centers of objects: 100 are kept, .* such as 810, or --top-k all"
        few = of(top_k=100)
        assert few(tile).num_left_out == 0
        with pytest.warns(CentersLeftOutWarning, match=message):
            prediction = few(mosaic)
        assert quality(prediction) < 15
        assert "710 more objects than top_k" in _doubts(prediction, few.low_scores)[0]
        with pytest.warns(CentersLeftOutWarning, match=message):
            predict_files(few, [tmp_path / "a.png"], tmp_path / "out")
        evaluator = PanopticEvaluator(CATEGORIES, few.post_processing)
        evaluator.update(few.model, Sample(mosaic, everything.result, 1, "a.png", mosaic.shape[:2]))
        with pytest.warns(CentersLeftOutWarning, match=message):
            evaluator.compute()
        outputs = few.model(torch.from_numpy(mosaic).permute(2, 0, 1)[None])
        assert PostProcessingGraph(few.post_processing, 3)(**outputs)[2].tolist() == [810]
        by_area = {"top_k": 100, "top_k_area": 24 * 60}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert quality(of(**by_area)(mosaic)) == 100
            large = mosaic.repeat(2, axis=0).repeat(2, axis=1)
            reduced = of(top_k=100, top_k_area=48 * 120, max_size=180)(large)
            assert (len(reduced.segments), reduced.num_left_out) == (810, 0)
        message = "27 centers of objects more than are kept: 87 for each 1440 pixels .*--top-k all"
        with pytest.warns(CentersLeftOutWarning, match=message):
            assert of(top_k=87, top_k_area=24 * 60)(mosaic).num_left_out == 27

    def test_a_page_of_a_file(self, predictor, tmp_path):
        pages = [Image.fromarray(each) for each in (picture(), picture()[::-1])]
        pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
        second = Predictor(LoadedWeights(ByColor(), CATEGORIES, {"model": {"name": "x"}}), "cpu", page=2)
        np.testing.assert_array_equal(second(tmp_path / "a.tif").image, picture()[::-1])
        assert second.settings != predictor.settings

    def test_the_image_is_a_copy(self, predictor):
        frame = picture()
        tensor = torch.from_numpy(picture()).permute(2, 0, 1)
        for image, change in ((frame, frame.fill), (tensor, tensor.fill_)):
            prediction = predictor(image)
            change(7)
            np.testing.assert_array_equal(prediction.image, picture())

    def test_greyscale(self, predictor):
        grey = picture()[..., 0]
        expected = predictor(np.repeat(grey[..., None], 3, axis=2)).segmentation
        for image in (grey, grey[..., None], Image.fromarray(grey), torch.from_numpy(grey)):
            np.testing.assert_array_equal(predictor(image).segmentation, expected)

    def test_exif_rotation(self, predictor, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(picture(12, 20)).save(tmp_path / "turned.png", exif=exif)
        assert predictor(tmp_path / "turned.png").segmentation.shape == (20, 12)
        with Image.open(tmp_path / "turned.png") as image:
            assert predictor(image).segmentation.shape == (20, 12)

    @pytest.mark.parametrize("size", [(1, 1), (2, 3000), (3000, 2)])
    def test_extreme_sizes(self, predictor, size):
        prediction = predictor(np.zeros((*size, 3), dtype=np.uint8))
        assert prediction.segmentation.shape == size
        assert [segment["area"] for segment in prediction.segments_info] == [size[0] * size[1]]
        assert prediction.draw().size == size[::-1]

    def test_nothing_found_has_the_same_keys(self, predictor):
        loaded = LoadedWeights(predictor.model, CATEGORIES, {"model": {"name": "by_color"}})
        prediction = Predictor(loaded, "cpu")(picture())  # stuff of fewer than 4096 pixels is void
        assert len(prediction.segments_info) == 1
        prediction = Predictor(loaded, "cpu", center_threshold=2.0)(picture())
        assert prediction.segments_info == []
        assert not prediction.segmentation.any()
        assert prediction.draw().size == (20, 12)

    def test_max_size_reduces_for_the_network_only(self, predictor):
        pixels = np.kron(picture(), np.ones((10, 10, 1), dtype=np.uint8))
        reducing = Predictor(
            LoadedWeights(ByColor(), CATEGORIES, {"model": {"name": "by_color"}}),
            "cpu",
            max_size=20,
            stuff_area=16_000,
        )
        prediction = reducing(pixels)
        assert reducing.model.sizes == [(1, 3, 12, 20)]
        assert prediction.segmentation.shape == (120, 200)
        sky, car = sorted(prediction.segments_info, key=lambda segment: segment["isthing"])
        assert (sky["area"], car["area"]) == (16_000, 8_000)
        assert car["bbox"] == [0, 40, 100, 80]
        np.testing.assert_array_equal(prediction.image, pixels)
        stricter = Predictor(
            LoadedWeights(ByColor(), CATEGORIES, {"model": {"name": "by_color"}}),
            "cpu",
            max_size=20,
            stuff_area=16_100,
        )
        assert [segment["name"] for segment in stricter(pixels).segments_info] == ["car"]

    def test_long_side_resizes_for_the_network_only(self):
        def with_long_side(long_side, **options):
            metadata = {"model": {"name": "by_color"}, "view": {"long_side": 40}}
            loaded = LoadedWeights(ByColor(), CATEGORIES, metadata)
            return Predictor(loaded, "cpu", long_side=long_side, nms_kernel=3, **options)

        for long_side, options, size in (
            (None, {}, (24, 40)),  # as stored with the weights
            (60, {}, (36, 60)),
            (10, {}, (6, 10)),
            (0, {}, (12, 20)),  # as the image
            (None, {"max_size": 10}, (6, 10)),
        ):
            predictor = with_long_side(long_side, stuff_area=1, **options)
            prediction = predictor(picture())
            assert predictor.model.sizes == [(1, 3, *size)]
            assert prediction.segmentation.shape == prediction.semantic.shape == (12, 20)
            assert prediction.segments_info[-1]["name"] == "sky"
            area = sum(segment["area"] for segment in prediction.segments_info)
            assert area == np.count_nonzero(prediction.segmentation)
        # Sky has 160 pixels, and 640 at the long side: there they count, whatever max_size leaves of it.
        for options in ({}, {"max_size": 20}):
            for stuff_area, names in ((640, {"car", "sky"}), (644, {"car"})):
                predictor = with_long_side(None, stuff_area=stuff_area, **options)
                assert {segment["name"] for segment in predictor(picture()).segments_info} == names

    def test_segments_that_vanish_in_a_smaller_image_are_gone(self):
        class Dots(ByColor):
            """Calls single pixels cars."""

            def forward(self, images):
                outputs = super().forward(images)
                cars = torch.zeros(images.shape[2:], dtype=torch.bool)
                cars[::4, ::4] = True
                outputs["semantic_logits"] = torch.stack([~cars, cars, cars & False])[None].float()
                outputs["center_heatmap"] = cars[None, None].float()
                outputs["offsets"] = torch.zeros(1, 2, *images.shape[2:])
                return outputs

        loaded = LoadedWeights(Dots(), CATEGORIES, {"model": {"name": "dots"}})
        predictor = Predictor(loaded, "cpu", long_side=40, stuff_area=1, nms_kernel=1)
        prediction = predictor(picture())
        values, areas = np.unique(prediction.segmentation, return_counts=True)
        assert {s["id"]: s["area"] for s in prediction.segments_info} == dict(zip(values, areas, strict=True))
        assert len(values) < 1 + 6 * 10

    def test_uneven_reduction(self, predictor):
        image = np.zeros((37, 101, 3), dtype=np.uint8)
        prediction = predict_panoptic(predictor.model, image, predictor.post_processing, View(max_size=13))
        assert prediction.result.size == prediction.semantic.shape == (37, 101)
        assert prediction.result.segments[0].area == 37 * 101

    def test_images_of_different_sizes_together_are_as_alone(self, predictor):
        pictures = [picture(12, 20), picture(9, 31), picture(12, 20)[:, ::-1], picture(12, 20)]
        predictor.model.sizes.clear()
        together = predictor.predict_batch(pictures)
        assert predictor.model.sizes == [(3, 3, 12, 20), (1, 3, 9, 31)]
        for image, prediction in zip(pictures, together, strict=True):
            alone = predictor(image)
            np.testing.assert_array_equal(prediction.segmentation, alone.segmentation)
            np.testing.assert_array_equal(prediction.semantic, alone.semantic)
            np.testing.assert_array_equal(prediction.image, image)
            assert prediction.segments_info == alone.segments_info
        assert predictor.predict_batch([]) == []

    @pytest.mark.parametrize("span", [None, 5])
    def test_real_network_sees_each_image_of_a_batch_as_alone(self, span):
        torch.manual_seed(0)
        model = create_model("axial_deeplab_nano", num_classes=3, span=span, impl="reference").eval()
        random = np.random.default_rng(0)
        images = [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((33, 49), (40, 31)) * 2]
        outputs = []

        class Keeping(PostProcessing):
            """Keeps the maps that it is given."""

            def __call__(self, maps):
                outputs.append(maps)
                return super().__call__(maps)

        keeping = Keeping(CATEGORIES.thing_ids, stuff_area=0)
        together = predict_panoptic_batch(model, images, keeping, View(flip=True))
        # The order of the post-processing is that of the sizes: 0, 2, then 1, 3.
        for call, index in enumerate((0, 2, 1, 3)):
            alone = predict_panoptic(model, images[index], keeping, View(flip=True))
            for name, values in outputs[4 + call].items():
                torch.testing.assert_close(outputs[call][name], values, rtol=1e-5, atol=1e-5)
            assert together[index].result.size == alone.result.size == images[index].shape[:2]

    def test_scales_and_mirror_images(self, predictor):
        predictor.model.sizes.clear()
        several = Predictor(
            LoadedWeights(predictor.model, CATEGORIES, {"model": {"name": "by_color"}}),
            "cpu",
            scales=(0.5, 1),
            flip=True,
            stuff_area=1,
            nms_kernel=3,
        )
        segments = several(picture()).segments_info
        assert several.model.sizes == [(1, 3, 6, 10)] * 2 + [(1, 3, 12, 20)] * 2
        assert [segment["name"] for segment in segments] == ["car", "sky"]
        assert several.view.scales == (0.5, 1)
        stored = LoadedWeights(
            several.model, CATEGORIES, {"model": {"name": "x"}, "view": {"scales": [1.0, 2.0]}}
        )
        assert Predictor(stored, "cpu").view.scales == (1, 2)
        assert Predictor(stored, "cpu", scales=(1,)).view.scales == (1,)
        loaded = LoadedWeights(predictor.model, CATEGORIES, {"model": {"name": "by_color"}})
        assert Predictor(loaded, "cpu", scales="coco").view.scales == (0.5, 0.75, 1, 1.25, 1.5)
        with pytest.raises(ValueError, match=r"scales must be positive numbers .*, got 0"):
            Predictor(loaded, "cpu", scales=(0,))

    def test_knobs(self, predictor):
        assert predictor.post_processing == PostProcessing(CATEGORIES.thing_ids, stuff_area=1, nms_kernel=3)
        loaded = LoadedWeights(
            predictor.model, CATEGORIES, {"model": {"name": "x"}, "post_processing": {"top_k": 3}}
        )
        changed = Predictor(loaded, "cpu", top_k=None, center_threshold=0.3)
        assert changed.post_processing == PostProcessing(
            CATEGORIES.thing_ids, top_k=None, center_threshold=0.3
        )

    def test_real_network_from_a_file(self, tmp_path):
        torch.manual_seed(0)
        model = create_model("axial_deeplab_nano", num_classes=3, depths=(1, 1, 1, 1), max_span=9)
        save_weights(
            tmp_path / "w.safetensors", model, CATEGORIES, extra={"post_processing": {"stuff_area": 0}}
        )
        image = np.random.default_rng(0).integers(0, 256, (33, 47, 3), dtype=np.uint8)
        first, second = (Predictor(tmp_path / "w.safetensors")(image) for _ in range(2))
        assert first.segmentation.shape == (33, 47)
        assert first.segments_info
        np.testing.assert_array_equal(first.segmentation, second.segmentation)
        assert first.segments_info == second.segments_info

    def test_greyscale_network(self, tmp_path):
        model = create_model(
            "axial_deeplab_nano", num_classes=3, in_channels=1, depths=(1, 1, 1, 1), max_span=9
        )
        save_weights(tmp_path / "w.safetensors", model, CATEGORIES)
        assert Predictor(tmp_path / "w.safetensors", "cpu")(picture()).segmentation.shape == (12, 20)


class TestRefuses:
    @pytest.mark.parametrize(
        "image",
        [
            np.zeros((3, 4, 5), np.uint8),
            np.zeros((2, 4, 4, 3), np.uint8),
            np.zeros((0, 4, 3), np.uint8),
            np.zeros(7, np.uint8),
            torch.zeros(4, 4, 3, dtype=torch.uint8),
            17,
        ],
    )
    def test_shapes(self, predictor, image):
        with pytest.raises(ValueError, match=r"image must be a path, a PIL image, an array .*, got shape \("):
            predictor(image)

    def test_types(self, predictor):
        with pytest.raises(
            ValueError, match="image must be uint8 with values 0 to 255, got float64; convert it"
        ):
            predictor(np.zeros((4, 4, 3)))
        for odd, kind in (
            (torch.zeros(3, 4, 4, dtype=torch.bfloat16), "bfloat16"),
            (torch.zeros(3, 4, 4, dtype=torch.uint8).to_sparse(), "uint8 and sparse"),
        ):
            with pytest.raises(ValueError, match=f"image must be uint8 .*, got {kind}; convert it"):
                predictor(odd)
        with pytest.raises(ValueError, match="floating point"):
            predictor(Image.new("F", (4, 4)))

    def test_files(self, predictor, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"none\.jpg"):
            predictor(tmp_path / "none.jpg")
        (tmp_path / "text.jpg").write_text("hello")
        with pytest.raises(ValueError, match=r"text\.jpg must be a complete image"):
            predictor(tmp_path / "text.jpg")

    def test_arguments(self, predictor, tmp_path):
        loaded = LoadedWeights(predictor.model, CATEGORIES, {"model": {"name": "x"}})
        with pytest.raises(ValueError, match="max_size must be at least 1 pixel, got 0"):
            Predictor(loaded, max_size=0)
        with pytest.raises(
            ValueError, match="known settings, got threshold in the arguments; remove it or choose from"
        ):
            Predictor(loaded, threshold=0.5)
        with pytest.raises(ValueError, match="nms_kernel must be 1 pixel"):
            Predictor(loaded, nms_kernel=0)
        stale = dataclasses.replace(loaded, metadata={"model": {"name": "x"}, "post_processing": {"old": 1}})
        with pytest.raises(ValueError, match="known settings, got old in the weights"):
            Predictor(stale)
        stale = dataclasses.replace(loaded, metadata={"model": {"name": "x"}, "view": {"short_side": 1}})
        with pytest.raises(ValueError, match="view must have known settings, got short_side in the weights"):
            Predictor(stale)
        for given, told in (
            ({"long_side": "700"}, "long_side must be at least 1 pixel, got '700'"),
            ({"page": 1.5}, "page must be at least 1, got 1.5"),
            ({"channels": "rgb"}, r"channels must be numbers from 1 on, got \['r', 'g', 'b'\]"),
        ):
            with pytest.raises(ValueError, match=told):
                Predictor(loaded, **given)
        with pytest.raises(ValueError, match=r"got the address https://a.example/b.jpg; download it first"):
            predictor("https://a.example/b.jpg")
        with pytest.raises(ValueError, match="long_side must be at least 1 pixel, got -1"):
            Predictor(loaded, long_side=-1)
        classifier = create_model("axial_resnet_s", num_classes=3, width_multiplier=0.25, depths=(1, 1, 1, 1))
        save_weights(tmp_path / "c.safetensors", classifier, CATEGORIES)
        with pytest.raises(
            ValueError, match="weights must be those of a segmentation network, got axial_resnet_s"
        ):
            Predictor(tmp_path / "c.safetensors")

    @pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta:x"])
    def test_device(self, device):
        with pytest.raises(
            ValueError, match=f"device must be auto, cpu or a GPU of this machine, got {device}: "
        ):
            choose_device(device)

    def test_memory(self, predictor, monkeypatch):
        message = r"image must fit into memory, got 12 x 20 pixels .*; give max_size, such as 64"

        def full(_images):
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 5 bytes")

        monkeypatch.setattr(predictor.model, "forward", full)
        with pytest.raises(ValueError, match=message):
            predictor(picture())

        def broken(_images):
            raise RuntimeError("shapes differ")

        monkeypatch.setattr(predictor.model, "forward", broken)
        with pytest.raises(RuntimeError, match="shapes differ"):
            predictor(picture())
        monkeypatch.setattr("os.sysconf", lambda _name: 64)
        with pytest.raises(ValueError, match=message):
            predictor(picture())


class TestPredictFiles:
    @pytest.fixture
    def folder(self, tmp_path):
        for name in ("photos/1.png", "photos/2.jpg", "photos/sub/1.png"):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture()).save(path, quality=100)
        return tmp_path

    def test_writes_a_data_set(self, predictor, folder):
        report = predict_files(predictor, [folder / "photos"], folder / "out")
        written = sorted(p.relative_to(folder / "out").as_posix() for p in (folder / "out").rglob("*.*"))
        assert written == [
            *("overlay/1.jpg", "overlay/2.jpg", "overlay/sub/1.jpg", "panoptic.json"),
            *("panoptic/1.png", "panoptic/2.png", "panoptic/sub/1.png"),
        ]
        assert report.num_images == 3
        assert str(report).startswith("3 images, predictions in ")
        dataset = CocoPanopticDataset(
            folder / "photos", folder / "out/panoptic", folder / "out/panoptic.json"
        )
        assert dataset.categories == CATEGORIES
        expected = predictor(folder / "photos" / "1.png")
        np.testing.assert_array_equal(dataset[0].panoptic, expected.panoptic)
        np.testing.assert_array_equal(read_panoptic_png(folder / "out/panoptic/1.png"), expected.segmentation)
        with Image.open(folder / "out/overlay/1.jpg") as overlay:
            assert overlay.size == (20, 12)

    def test_same_names_in_two_folders(self, predictor, folder):
        (folder / "other").mkdir()
        Image.fromarray(picture(6, 8)).save(folder / "other/1.png")
        inputs = [
            folder / "photos/1.png",
            folder / "other/1.png",
            folder / "photos/sub",
            folder / "photos/sub/1.png",
        ]
        predict_files(predictor, inputs, folder / "out", overlay=False)
        document = json.loads((folder / "out/panoptic.json").read_text())
        assert [image["file_name"] for image in document["images"]] == ["1.png", "other/1.png", "sub/1.png"]
        assert [image["id"] for image in document["images"]] == [1, 2, 3]
        assert read_panoptic_png(folder / "out/panoptic/other/1.png").shape == (6, 8)
        assert not (folder / "out/overlay").exists()

    def test_numbers_as_ids(self, predictor, folder):
        (folder / "photos/1.png").rename(folder / "photos/000000000139.png")
        (folder / "photos/sub/1.png").unlink()
        predict_files(predictor, [folder / "photos"], folder / "out")
        document = json.loads((folder / "out/panoptic.json").read_text())
        assert [image["id"] for image in document["images"]] == [139, 2]

    def test_unreadable_images_do_not_stop_the_others(self, predictor, folder):
        whole = (folder / "photos/2.jpg").read_bytes()
        (folder / "photos/2.jpg").write_bytes(whole[: len(whole) // 2])
        (folder / "photos/3.jpg").write_bytes(b"")
        message = (
            r"inputs must be readable images, got 2 of 4 that are not .*2\.jpg must be .*; .*3\.jpg must be"
        )
        with pytest.raises(ValueError, match=message):
            predict_files(predictor, [folder / "photos"], folder / "out")
        document = json.loads((folder / "out/panoptic.json").read_text())
        assert [image["file_name"] for image in document["images"]] == ["1.png", "sub/1.png"]

    def test_output_inside_the_input(self, predictor, folder):
        for _ in range(2):
            assert predict_files(predictor, [folder], folder / "out", legend=True).num_images == 3

    def test_refuses(self, predictor, folder):
        (folder / "empty").mkdir()
        (folder / "file").write_text("")
        with pytest.raises(
            FileNotFoundError, match=r"inputs must be files or folders that exist, got .*nowhere"
        ):
            predict_files(predictor, [folder / "nowhere"], folder / "out")
        with pytest.raises(ValueError, match=r"inputs must have images, got the folder .*empty without any"):
            predict_files(predictor, [folder / "empty"], folder / "out")
        with pytest.raises(
            ValueError, match="inputs must be at least one image or folder of images, got none"
        ):
            predict_files(predictor, [], folder / "out")
        with pytest.raises(NotADirectoryError, match=r"output must be a folder, got the file .*file"):
            predict_files(predictor, [folder / "photos"], folder / "file")

    def test_names_are_numbered_if_need_be(self, folder, monkeypatch):
        monkeypatch.chdir(folder)
        paths = ["photos/1.png", "a/photos/1.png", "b/photos/1.png"]
        for path in paths[1:]:
            os.makedirs(os.path.dirname(path))
            Image.fromarray(picture()).save(path)
        assert list(find_images(paths)) == ["1.png", "photos/1.png", "photos/1_2.png"]


def test_value_range_of_the_weights_and_another(tmp_path) -> None:
    """A 12-bit picture in a 16-bit file is seen as its 8-bit twin."""
    grey = np.minimum(255, np.add.outer(np.arange(48) * 4, np.arange(40) * 2)).astype(np.uint8)
    Image.fromarray(grey.astype(np.uint16) * 16).save(tmp_path / "twelve.png")
    weights = load_weights("axial_deeplab_nano_nuclei")
    told = Predictor(weights, device="cpu", value_range="bits 12")
    np.testing.assert_array_equal(told(tmp_path / "twelve.png").image[..., 0], grey)
    weights.metadata["view"] = {"value_range": "0 4095"}
    stored = Predictor(weights, device="cpu")
    assert stored.view.value_range == "0 4095"
    assert Predictor(weights, device="cpu", value_range="full").view.value_range == "full"
    with pytest.raises(ValueError, match="value_range must be full"):
        Predictor(weights, device="cpu", value_range="dark")
