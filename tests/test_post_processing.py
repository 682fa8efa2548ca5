"""Post-processing: maps drawn by hand, the golden scenes of the public implementations, and the edges."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from axial_deeplab.panoptic.map import measure_segments
from axial_deeplab.post_processing import (
    PostProcessing,
    classify_pixels,
    describe_segments,
    fill_void,
    find_centers,
    group_pixels,
    merge,
    number_instances,
    vote_classes,
)

SKY, ROAD, CAR, PERSON = range(4)
DIVISOR = 10_000


def value(train_id, instance_id=0):
    return (train_id + 1) * DIVISOR + instance_id


def one_hot_logits(semantic, num_classes=4, height=10.0):
    semantic = torch.as_tensor(semantic)
    return torch.nn.functional.one_hot(semantic, num_classes).permute(2, 0, 1).float() * height


def outputs_of(semantic, centers, offsets=None, num_classes=4):
    logits = one_hot_logits(semantic, num_classes)
    heatmap = torch.zeros(1, *logits.shape[1:])
    for y, x, confidence in centers:
        heatmap[0, y, x] = confidence
    offsets = torch.zeros(2, *logits.shape[1:]) if offsets is None else offsets
    return {"semantic_logits": logits[None], "center_heatmap": heatmap[None], "offsets": offsets[None]}


class TestFindCenters:
    def test_threshold_is_strict(self):
        heatmap = torch.tensor([[0.5, 0.0], [0.0, 0.25]])
        centers, confidences = find_centers(heatmap, threshold=0.25, nms_kernel=1)
        assert centers.tolist() == [[0, 0]]
        assert confidences.tolist() == [0.5]

    def test_neighborhood_keeps_the_highest(self):
        heatmap = torch.tensor(
            [[0.9, 0.0, 0.0, 0.5], [0.0, 0.8, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.7, 0.0, 0.0, 0.6]]
        )
        centers, confidences = find_centers(heatmap, nms_kernel=3)
        assert centers.tolist() == [[0, 0], [0, 3], [3, 0], [3, 3]]
        assert confidences.tolist() == pytest.approx([0.9, 0.5, 0.7, 0.6])

    def test_plateau_stays_whole(self):
        heatmap = torch.zeros(4, 4)
        heatmap[1:3, 1:3] = 0.5
        assert find_centers(heatmap, nms_kernel=3)[0].tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]

    def test_even_kernel_reaches_down_and_right(self):
        heatmap = torch.tensor([[0.0, 0.9, 0.0], [0.8, 0.0, 0.0], [0.0, 0.0, 0.7]])
        # The 2 x 2 square of (1, 0) has (1, 1), (2, 0) and (2, 1) in it, not (0, 1).
        assert find_centers(heatmap, nms_kernel=2)[0].tolist() == [[0, 1], [1, 0], [2, 2]]

    def test_kernel_larger_than_the_image(self):
        heatmap = torch.tensor([[0.2, 0.9], [0.8, 0.1]])
        assert find_centers(heatmap, nms_kernel=41)[0].tolist() == [[0, 1]]

    @pytest.mark.parametrize("nms_kernel", [12, 13, 10**9])
    def test_a_neighborhood_larger_than_the_map(self, nms_kernel):
        heatmap = torch.zeros(4, 6)
        heatmap[0, 0], heatmap[3, 5] = 0.5, 0.9
        centers, _ = find_centers(heatmap, nms_kernel=nms_kernel)
        assert centers.tolist() == [[3, 5]]

    def test_top_k_takes_exactly_k_and_the_first_of_equals(self):
        heatmap = torch.tensor([[0.5, 0.9, 0.5], [0.5, 0.7, 0.5]])
        centers, confidences = find_centers(heatmap, nms_kernel=1, top_k=4)
        assert centers.tolist() == [[0, 0], [0, 1], [0, 2], [1, 1]]
        assert confidences.tolist() == pytest.approx([0.5, 0.9, 0.5, 0.7])

    def test_strict_top_k_drops_the_kth_and_its_equals(self):
        heatmap = torch.tensor([[0.5, 0.9, 0.5], [0.5, 0.7, 0.5]])
        assert find_centers(heatmap, nms_kernel=1, top_k=4, strict_top_k=True)[0].tolist() == [[0, 1], [1, 1]]
        assert len(find_centers(heatmap, nms_kernel=1, top_k=7, strict_top_k=True)[0]) == 6

    @pytest.mark.parametrize("strict", [False, True])
    def test_image_of_fewer_pixels_than_k(self, strict):
        heatmap = torch.full((1, 1), 0.5)
        assert find_centers(heatmap, top_k=200, strict_top_k=strict)[0].tolist() == [[0, 0]]

    def test_all_centers(self):
        assert len(find_centers(torch.full((20, 20), 0.5), top_k=None)[0]) == 400

    def test_half_precision(self):
        heatmap = torch.tensor([[0.3, 0.9]], dtype=torch.bfloat16)
        assert find_centers(heatmap, nms_kernel=1)[0].tolist() == [[0, 0], [0, 1]]


class TestGroupPixels:
    def test_nearest_of_pixel_plus_offset(self):
        centers = torch.tensor([[0, 0], [3, 3]])
        offsets = torch.zeros(2, 4, 4)
        offsets[:, 0, 1] = torch.tensor([3.0, 2.0])  # leads from (0, 1) to (3, 3)
        assert group_pixels(centers, offsets).tolist() == [
            [1, 2, 1, 1],
            [1, 1, 1, 2],
            [1, 1, 2, 2],
            [1, 2, 2, 2],
        ]

    def test_mask_and_no_center(self):
        mask = torch.tensor([[True, False]])
        assert group_pixels(torch.tensor([[0, 1]]), torch.zeros(2, 1, 2), mask).tolist() == [[1, 0]]
        assert group_pixels(torch.empty(0, 2, dtype=torch.int64), torch.zeros(2, 1, 2)).tolist() == [[0, 0]]

    def test_empty_mask(self):
        mask = torch.zeros(1, 2, dtype=torch.bool)
        assert group_pixels(torch.tensor([[0, 1]]), torch.zeros(2, 1, 2), mask).tolist() == [[0, 0]]

    @settings(max_examples=25, deadline=None)
    @given(seed=st.integers(0, 10**6), num_centers=st.integers(1, 50))
    def test_equals_the_definition(self, seed, num_centers):
        generator = torch.Generator().manual_seed(seed)
        # Whole and half pixels: many exact ties.
        offsets = torch.randint(-9, 10, (2, 7, 9), generator=generator) / 2
        centers = torch.stack(
            [torch.randint(0, n, (num_centers,), generator=generator) for n in (7, 9)], dim=1
        )
        grouped = group_pixels(centers, offsets)
        for y in range(7):
            for x in range(9):
                ty, tx = y + offsets[0, y, x].item(), x + offsets[1, y, x].item()
                distances = [(cy - ty) ** 2 + (cx - tx) ** 2 for cy, cx in centers.tolist()]
                assert grouped[y, x] == 1 + distances.index(min(distances))

    def test_many_blocks_equal_one(self, monkeypatch):
        generator = torch.Generator().manual_seed(0)
        offsets = torch.randn(2, 33, 21, generator=generator) * 9
        centers = torch.randint(0, 21, (17, 2), generator=generator)
        whole = group_pixels(centers, offsets)
        monkeypatch.setattr("axial_deeplab.post_processing._CPU_BLOCK", 40)
        assert torch.equal(group_pixels(centers, offsets), whole)


class TestMerge:
    def test_drawn_by_hand(self):
        semantic = torch.tensor(
            [
                [SKY, SKY, SKY, SKY],
                [SKY, CAR, CAR, PERSON],
                [SKY, CAR, PERSON, PERSON],
                [ROAD, ROAD, CAR, CAR],
            ]
        )
        instances = torch.tensor([[0, 0, 0, 0], [0, 3, 3, 1], [0, 3, 1, 1], [0, 0, 1, 2]])
        panoptic, values = merge(
            semantic, instances, [CAR, PERSON], num_instances=4, num_classes=4, stuff_area=3
        )
        car, person, sky = value(CAR, 1), value(PERSON, 1), value(SKY)
        assert panoptic.tolist() == [
            [sky, sky, sky, sky],
            [sky, car, car, person],
            [sky, car, person, person],
            [0, 0, person, value(CAR, 2)],  # the road has 2 pixels; one pixel of car is outvoted
        ]
        assert values.tolist() == [0, person, value(CAR, 2), car, 0]
        assert panoptic.dtype == torch.int32

    def test_things_without_instance_are_void_and_stuff_ignores_instances(self):
        panoptic, _ = merge(
            torch.tensor([[CAR, SKY]]), torch.tensor([[0, 1]]), [CAR], num_instances=1, num_classes=4
        )
        assert panoptic.tolist() == [[0, value(SKY)]]

    def test_stuff_area_is_the_smallest_area_kept(self):
        semantic = torch.tensor([[SKY, SKY, ROAD, ROAD, ROAD]])
        panoptic, _ = merge(
            semantic, torch.zeros_like(semantic), [], num_instances=0, num_classes=4, stuff_area=3
        )
        assert panoptic.tolist() == [[0, 0, value(ROAD), value(ROAD), value(ROAD)]]

    def test_ignored_and_void_classes(self):
        semantic = torch.tensor([[255, SKY, ROAD, 4]])
        panoptic, _ = merge(
            semantic, torch.ones_like(semantic), [CAR], num_instances=1, num_classes=4, void_ids=[SKY]
        )
        assert panoptic.tolist() == [[0, 0, value(ROAD), 0]]

    def test_vote_takes_the_smaller_class_of_equals(self):
        semantic = torch.tensor([[PERSON, CAR, CAR, PERSON]])
        assert vote_classes(semantic, torch.tensor([[1, 1, 2, 0]]), 3, 4).tolist() == [CAR, CAR, -1]

    def test_numbers_follow_the_first_pixel(self):
        instances = torch.tensor([[4, 2, 0], [1, 3, 1]])
        classes = torch.tensor([CAR, PERSON, CAR, CAR, -1])
        expected = [0, value(CAR, 2), value(PERSON, 1), value(CAR, 3), value(CAR, 1), 0]
        assert number_instances(classes, instances, DIVISOR).tolist() == expected

    def test_more_instances_than_the_divisor(self):
        instances = torch.arange(1, 1501)[None]
        values = number_instances(torch.zeros(1500, dtype=torch.int64), instances, DIVISOR)
        assert values.tolist() == [0, *range(DIVISOR + 1, DIVISOR + 1501)]
        with pytest.raises(ValueError, match=r"label_divisor must be greater .* got 1500 for 1500"):
            number_instances(torch.zeros(1500, dtype=torch.int64), instances, 1500)


class TestFillVoid:
    def test_takes_the_best_kept_stuff(self):
        logits = torch.tensor([[1.0, 0.0, 3.0], [0.0, 2.0, 2.0], [9.0, 9.0, 9.0]])[:, None]
        panoptic = torch.tensor([[0, 0, value(2, 1)]], dtype=torch.int32)
        padded = torch.cat([panoptic, torch.tensor([[value(0), value(1), 0]], dtype=torch.int32)])
        logits = logits.expand(3, 2, 3)
        no_center = torch.empty(0, 2, dtype=torch.int64)
        filled = fill_void(padded, logits, no_center, torch.zeros(2, 2, 3), torch.zeros(1, dtype=torch.int32))
        assert filled.tolist() == [[value(0), value(1), value(2, 1)], [value(0), value(1), value(0)]]

    def test_takes_the_nearest_instance_without_stuff(self):
        panoptic = torch.tensor([[value(2, 1), 0, 0, value(2, 2)]], dtype=torch.int32)
        centers = torch.tensor([[0, 0], [0, 2], [0, 3]])
        values = torch.tensor([0, value(2, 1), 0, value(2, 2)], dtype=torch.int32)
        filled = fill_void(panoptic, torch.zeros(3, 1, 4), centers, torch.zeros(2, 1, 4), values)
        assert filled.tolist() == [[value(2, 1), value(2, 1), value(2, 2), value(2, 2)]]

    def test_stays_void_without_segments(self):
        process = PostProcessing([CAR], fill_void=True)
        panoptic, segments, _ = process(outputs_of([[CAR, SKY]], []))[0]
        assert panoptic.tolist() == [[0, 0]]
        assert segments == ()


class TestDescribeSegments:
    def test_area_box_and_score(self):
        panoptic = torch.tensor(
            [[0, value(SKY), value(SKY)], [value(CAR, 1), 0, value(SKY)]], dtype=torch.int32
        )
        probabilities = torch.tensor([[0.5, 0.8, 0.6], [0.1, 0.5, 0.7]])
        other = 1 - probabilities
        logits = torch.stack([probabilities, other * 0.25, other * 0.75])[:, :, :].log()
        _, log_partition = classify_pixels(logits)
        sky, car = describe_segments(panoptic, logits, log_partition, {value(CAR, 1): 0.5})
        assert (sky.id, sky.train_id, sky.area, sky.bbox) == (value(SKY), SKY, 3, (1, 0, 2, 2))
        assert (car.id, car.train_id, car.area, car.bbox) == (value(CAR, 1), CAR, 1, (0, 1, 1, 1))
        assert sky.score == pytest.approx(0.7, abs=1e-6)
        assert car.score == pytest.approx(0.5 * 0.675, abs=1e-6)

    def test_confidence_above_one_counts_as_one(self):
        panoptic = torch.tensor([[value(CAR, 1)]], dtype=torch.int32)
        logits = one_hot_logits([[CAR]], height=100.0)
        (segment,) = describe_segments(panoptic, logits, classify_pixels(logits)[1], {value(CAR, 1): 7.0})
        assert segment.score == 1.0

    def test_equals_the_counts_of_the_file_format(self):
        generator = torch.Generator().manual_seed(1)
        panoptic = torch.randint(0, 5, (13, 17), generator=generator).int() * DIVISOR
        logits = torch.randn(4, 13, 17, generator=generator)
        segments = describe_segments(panoptic, logits, classify_pixels(logits)[1], {})
        values, areas, boxes = measure_segments(panoptic.numpy())
        assert [(s.id, s.area, list(s.bbox)) for s in segments] == [
            (v, a, b) for v, a, b in zip(values.tolist(), areas.tolist(), boxes.tolist(), strict=True) if v
        ]


class TestPostProcessing:
    def test_two_cars_on_a_road(self):
        semantic = [[SKY] * 4, [CAR, CAR, CAR, CAR], [CAR, CAR, CAR, CAR], [ROAD] * 4]
        process = PostProcessing([CAR, PERSON], nms_kernel=3, stuff_area=4)
        ((panoptic, segments, _),) = process(outputs_of(semantic, [(1, 0, 0.5), (2, 3, 0.8)]))
        left, right = value(CAR, 1), value(CAR, 2)
        assert panoptic.tolist() == [
            [value(SKY)] * 4,
            [left, left, right, right],
            [left, left, right, right],
            [value(ROAD)] * 4,
        ]
        assert [(s.id, s.area, s.bbox) for s in segments] == [
            (value(SKY), 4, (0, 0, 4, 1)),
            (value(ROAD), 4, (0, 3, 4, 1)),
            (left, 4, (0, 1, 2, 2)),
            (right, 4, (2, 1, 2, 2)),
        ]
        certain = float(torch.tensor([10.0, 0, 0, 0]).softmax(0)[0])
        assert [s.score for s in segments] == pytest.approx([certain, certain, 0.5 * certain, 0.8 * certain])

    def test_no_center(self):
        outputs = outputs_of([[CAR, CAR, PERSON, SKY]], [])
        panoptic, segments, _ = PostProcessing([CAR, PERSON], stuff_area=0)(outputs)[0]
        assert panoptic.tolist() == [[0, 0, 0, value(SKY)]]
        assert [s.train_id for s in segments] == [SKY]
        panoptic, segments, _ = PostProcessing([CAR, PERSON], stuff_area=0, without_centers="one_instance")(
            outputs
        )[0]
        assert panoptic.tolist() == [[value(CAR, 1)] * 3 + [value(SKY)]]
        assert [s.train_id for s in segments] == [SKY, CAR]

    def test_all_stuff_and_all_void(self):
        stuff = outputs_of([[SKY, SKY], [SKY, SKY]], [(0, 0, 0.9)])
        panoptic, segments, _ = PostProcessing([CAR], stuff_area=4)(stuff)[0]
        assert panoptic.tolist() == [[value(SKY)] * 2] * 2
        assert len(segments) == 1
        panoptic, segments, _ = PostProcessing([CAR], stuff_area=5)(stuff)[0]
        assert panoptic.tolist() == [[0, 0], [0, 0]]
        assert segments == ()

    @pytest.mark.parametrize("train_id", [SKY, CAR])
    def test_one_pixel(self, train_id):
        panoptic, segments, _ = PostProcessing([CAR], stuff_area=1)(outputs_of([[train_id]], [(0, 0, 0.9)]))[
            0
        ]
        assert panoptic.tolist() == [[value(train_id, int(train_id == CAR))]]
        assert segments[0].bbox == (0, 0, 1, 1)

    def test_alone_equals_in_a_batch(self):
        generator = torch.Generator().manual_seed(3)
        outputs = {
            "semantic_logits": torch.randn(3, 6, 20, 30, generator=generator),
            "center_heatmap": torch.rand(3, 1, 20, 30, generator=generator),
            "offsets": torch.randn(3, 2, 20, 30, generator=generator) * 5,
        }
        outputs["center_heatmap"][1] = 0
        process = PostProcessing([2, 3, 4], stuff_area=10, top_k=9)
        together = process(outputs)
        for index, (panoptic, segments, semantic) in enumerate(together):
            alone = process({name: tensor[index : index + 1] for name, tensor in outputs.items()})[0]
            assert torch.equal(panoptic, alone[0])
            assert segments == alone[1]
            assert torch.equal(semantic, outputs["semantic_logits"][index].argmax(dim=0))
            assert sum(s.area for s in segments) == int((panoptic > 0).sum())

    def test_log_probabilities_serve_as_logits(self):
        outputs = outputs_of([[SKY, CAR], [CAR, CAR]], [(1, 1, 0.7)])
        process = PostProcessing([CAR], stuff_area=1)
        panoptic, segments, _ = process(outputs)[0]
        outputs["semantic_logits"] = outputs["semantic_logits"].log_softmax(dim=1)
        again, segments_again, _ = process(outputs)[0]
        assert torch.equal(panoptic, again)
        assert [s.score for s in segments] == pytest.approx([s.score for s in segments_again])

    @pytest.mark.parametrize(
        ("argument", "bad"),
        [
            ("thing_ids", [-1]),
            ("void_ids", [CAR]),
            ("label_divisor", 1),
            ("label_divisor", 1000.5),
            ("thing_ids", [0.5]),
            ("thing_ids", "12"),
            ("top_k", 2.5),
            ("nms_kernel", 7.0),
            ("center_threshold", -0.1),
            ("center_threshold", float("nan")),
            ("nms_kernel", 0),
            ("top_k", 0),
            ("stuff_area", -1),
            ("without_centers", "guess"),
        ],
    )
    def test_refuses_settings(self, argument, bad):
        with pytest.raises(ValueError, match=rf"{argument} must be .*, got .*; "):
            PostProcessing(**{"thing_ids": [CAR], argument: bad})

    def test_refuses_outputs(self):
        process = PostProcessing([CAR])
        good = outputs_of([[SKY, CAR]], [])
        for name in good:
            with pytest.raises(ValueError, match=f"outputs must have .* got no {name}"):
                process({key: tensor for key, tensor in good.items() if key != name})
            with pytest.raises(ValueError, match=f"{name} must be finite, got NaN"):
                process({**good, name: torch.full_like(good[name], float("nan"))})
        for name in ("center_heatmap", "offsets"):
            with pytest.raises(ValueError, match=rf"{name} must be \(1, \d, 1, 2\) beside these logits"):
                process({**good, name: good[name][..., :1]})
        with pytest.raises(ValueError, match=r"semantic_logits must be \(B, C, H, W\)"):
            process({**good, "semantic_logits": good["semantic_logits"][0]})
        with pytest.raises(ValueError, match=r"thing_ids and void_ids must be below the 4 classes .* got 9"):
            PostProcessing([9])(good)
        with pytest.raises(ValueError, match=r"label_divisor must be at most .* for 4 classes"):
            PostProcessing([CAR], label_divisor=10**9)(good)


GOLDEN = [
    "area0_nokernel",
    "exact_ties",
    "exact_ties_topk",
    "small_div256",
    "topk_div1000",
    "coco_style_void0",
]
WITH_PYTORCH = GOLDEN[:-1]


@dataclasses.dataclass
class Scenes:
    outputs: dict
    config: dict
    expected: dict
    process: PostProcessing

    def maps(self, **changes):
        """Run ours and return the maps in the reference's map type."""
        divisor = self.config["label_divisor"]
        maps = [
            panoptic.numpy() for panoptic, *_ in dataclasses.replace(self.process, **changes)(self.outputs)
        ]
        return [np.where(m == 0, self.config["void_label"] * divisor, m - divisor) for m in maps]


@pytest.fixture
def scenes(golden, request):
    arrays = np.load(golden(f"postprocess_{request.param}.npz"))
    config = json.loads(str(arrays["config"]))
    limited = config["keep_k_centers"] > 0
    names = {
        "semantic_logits": "input/semantic_probs",
        "center_heatmap": "input/center_heatmap",
        "offsets": "input/offset_map",
    }
    outputs = {ours: torch.from_numpy(arrays[theirs]).permute(0, 3, 1, 2) for ours, theirs in names.items()}
    outputs["semantic_logits"] = outputs["semantic_logits"].log()
    output = "output_sorted_topk" if limited else "output"
    expected = {name: arrays[f"{output}/{name}"] for name in ("panoptic", "panoptic_tfop", "instance")}
    expected["semantic"] = arrays["output/semantic"]
    process = PostProcessing(
        config["thing_ids"],
        label_divisor=config["label_divisor"],
        center_threshold=config["center_threshold"],
        nms_kernel=config["nms_kernel"],
        top_k=config["keep_k_centers"] if limited else None,
        strict_top_k=True,
        stuff_area=config["stuff_area_limit"],
        void_ids=(0,) if config["void_label"] == 0 else (),
    )
    return Scenes(outputs, config, expected, process)


def assert_same_up_to_numbering(ours, theirs, divisor):
    np.testing.assert_array_equal(ours // divisor, theirs // divisor)
    pairs = np.unique(np.stack([ours.ravel(), theirs.ravel()]), axis=1).shape[1]
    assert pairs == len(np.unique(ours)) == len(np.unique(theirs))


@pytest.mark.parametrize("scenes", GOLDEN, indirect=True)
def test_equals_deeplab2(scenes):
    np.testing.assert_array_equal(np.stack(scenes.maps()), scenes.expected["panoptic"])


@pytest.mark.parametrize("scenes", GOLDEN, indirect=True)
def test_parts_equal_deeplab2(scenes):
    things = torch.tensor(scenes.config["thing_ids"])
    process = scenes.process
    for index, logits in enumerate(scenes.outputs["semantic_logits"]):
        semantic, _ = classify_pixels(logits)
        np.testing.assert_array_equal(semantic, scenes.expected["semantic"][index])
        centers, _ = find_centers(
            scenes.outputs["center_heatmap"][index, 0],
            threshold=process.center_threshold,
            nms_kernel=process.nms_kernel,
            top_k=process.top_k,
            strict_top_k=True,
        )
        instances = group_pixels(centers, scenes.outputs["offsets"][index], torch.isin(semantic, things))
        np.testing.assert_array_equal(instances, scenes.expected["instance"][index])


@pytest.mark.parametrize("scenes", GOLDEN, indirect=True)
def test_equals_the_compiled_operation_of_deeplab2(scenes):
    limit = scenes.config["stuff_area_limit"]
    # It makes stuff of exactly `limit` pixels void, and none if the limit is 0.
    ours = scenes.maps(without_centers="one_instance", stuff_area=limit + 1 if limit else 0)
    for map_ours, theirs in zip(ours, scenes.expected["panoptic_tfop"], strict=True):
        assert_same_up_to_numbering(map_ours, theirs, scenes.config["label_divisor"])


@pytest.mark.parametrize("scenes", WITH_PYTORCH, indirect=True)
@pytest.mark.parametrize("implementation", ["panoptic", "panoptic_d2"])
def test_equals_the_pytorch_implementations(scenes, implementation, golden, request):
    name = request.node.callspec.params["scenes"]
    expected = np.load(golden(f"postprocess_pt_{name}.npz"))[f"output/{implementation}"]
    for ours, theirs in zip(scenes.maps(), expected, strict=True):
        assert_same_up_to_numbering(ours, theirs, scenes.config["label_divisor"])


@pytest.mark.parametrize("scenes", ["exact_ties_topk", "topk_div1000"], indirect=True)
def test_top_k_is_exact_by_default(scenes):
    k = scenes.config["keep_k_centers"]
    for heatmap in scenes.outputs["center_heatmap"][:, 0]:
        knobs = {"threshold": scenes.process.center_threshold, "nms_kernel": scenes.process.nms_kernel}
        everything, confidences = find_centers(heatmap, top_k=None, **knobs)
        centers, kept = find_centers(heatmap, top_k=k, **knobs)
        assert len(centers) == min(k, len(everything))
        assert sorted(kept.tolist()) == sorted(confidences.tolist())[-k:]


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak of the memory"
)
def test_noise_with_200_centers_takes_less_than_200_mb():
    # Of 1025 x 2049 pixels, each of a class of its own; detectron2's public implementation takes 4.9 GB.
    script = Path(__file__).parent.parent / "benchmarks" / "post_processing.py"
    words = [sys.executable, str(script), "--case", "noise", "--rounds", "1"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    numbers = json.loads(done.stdout.splitlines()[-1])
    assert numbers["num_segments"] > 100
    assert 50 < numbers["peak_mb"] < 200
