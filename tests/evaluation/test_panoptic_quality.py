import json
import math
import shutil
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from axial_deeplab.cli.main import main
from axial_deeplab.evaluation.exact_sums import join_iou
from axial_deeplab.evaluation.panoptic_quality import PanopticQuality, evaluate_files
from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.panoptic.coco_json import PanopticJson
from axial_deeplab.panoptic.map import Panoptic, Segment, count_overlaps
from axial_deeplab.panoptic.png import from_coco_annotation, read_panoptic_png, write_panoptic_png
from axial_deeplab.panoptic.writer import PanopticWriter

CATEGORIES = Categories(
    [
        Category(id=0, name="dog", is_thing=True),
        Category(id=5, name="cat", is_thing=True),
        Category(id=9, name="sky", is_thing=False),
    ]
)
DOG, CAT, SKY = range(3)


def draw(drawing, **segments):
    """Return a map and its segments: letters are train ids or (train id, "crowd"), dots are void."""
    ids = {letter: 1000 * (order + 1) for order, letter in enumerate(segments)}
    rows = [[ids.get(letter, 0) for letter in row] for row in drawing.split()]
    made = []
    for letter, kind in segments.items():
        train_id, is_crowd = (kind[0], True) if isinstance(kind, tuple) else (kind, False)
        made.append(Segment(id=ids[letter], train_id=train_id, area=drawing.count(letter), is_crowd=is_crowd))
    return Panoptic(np.array(rows, dtype=np.int32), made)


def counts(ground_truth, prediction, train_id, **options):
    """Return the sum of IoU, TP, FP and FN of one class."""
    metric = PanopticQuality(CATEGORIES, **options)
    metric.update(ground_truth, prediction)
    iou_high, iou_low, *matches = metric.state[:, train_id].tolist()
    return [join_iou(iou_high, iou_low), *matches]


# --- by hand


def test_perfect_prediction_is_100_percent():
    drawing = draw("AAAS AAAS BBSS", A=DOG, B=DOG, S=SKY)
    metric = PanopticQuality(CATEGORIES)
    metric.update(drawing, drawing)
    result = metric.compute()
    assert (result.all.pq, result.things.pq, result.stuff.pq) == (100, 100, 100)
    assert (result.all.num_classes, result.all.tp, result.all.fp, result.all.fn) == (2, 3, 0, 0)
    assert math.isnan(result.per_class[CAT].pq)


def test_a_match_needs_more_than_half():
    half = counts(draw("AAAA ....", A=DOG), draw("pp.. ....", p=DOG), DOG)
    assert half == [0, 0, 1, 1]
    more = counts(draw("AAAA A...", A=DOG), draw("ppp. ....", p=DOG), DOG)
    assert more == [3 / 5, 1, 0, 0]


def test_stardist_matches_at_half_and_one_to_one():
    """StarDist 0.9.2 gives the same, see findings/stardist_half.sh."""
    whole, half, halves = draw("AAAA", A=DOG), draw("pp..", p=DOG), draw("ppqq", p=DOG, q=DOG)
    for truth, found, expected in (
        (whole, half, [0.5, 1, 0, 0]),
        (whole, halves, [0.5, 1, 1, 0]),
        (halves, whole, [0.5, 1, 0, 1]),
        (whole, draw("p...", p=DOG), [0, 0, 1, 1]),
        (whole, draw("pp..", p=CAT), [0, 0, 0, 1]),
    ):
        assert counts(truth, found, DOG, rule="stardist") == expected


def test_torchmetrics_leaves_the_void_of_the_prediction_out():
    whole, part = draw("AAAAA AAAAA", A=DOG), draw("ppp.. ppp..", p=DOG)
    assert counts(whole, part, DOG) == [0.6, 1, 0, 0]
    assert counts(whole, part, DOG, rule="torchmetrics") == [1, 1, 0, 0]
    # More than half of it unseen: neither found nor missed.
    assert counts(whole, draw("..... .qqqq", q=CAT), DOG, rule="torchmetrics") == [0, 0, 0, 0]
    assert counts(whole, draw("..... qqqqq", q=CAT), DOG, rule="torchmetrics") == [0, 0, 0, 1]


@pytest.mark.parametrize("seed", range(20))
def test_torchmetrics_gives_the_same_numbers(seed):
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.detection")
    rng = np.random.default_rng(seed)
    kinds = [(3, 0), (DOG, 1), (DOG, 2), (CAT, 1), (SKY, 0)]  # 3 is no class: void
    truth = rng.integers(0, 5, (3, 4)).repeat(4, 0).repeat(4, 1)
    found = np.where(rng.random(truth.shape) < 0.7, truth, rng.integers(0, 5, truth.shape))
    metric = PanopticQuality(CATEGORIES, rule="torchmetrics")
    metric.update(
        *(
            Panoptic(
                drawing.astype(np.int32),
                [Segment(id=n, train_id=kinds[n][0], area=0) for n in range(1, 5) if (drawing == n).any()],
            )
            for drawing in (truth, found)
        )
    )
    theirs = functional.panoptic_quality(
        *(torch.tensor(kinds)[torch.tensor(drawing)][None] for drawing in (found, truth)),
        things={DOG, CAT},
        stuffs={SKY},
        allow_unknown_preds_category=True,
        return_per_class=True,
    )
    ours = [each.pq for each in metric.compute().per_class]
    assert theirs.flatten().tolist() == pytest.approx(np.nan_to_num(ours) / 100)


def test_an_unknown_rule_is_refused():
    with pytest.raises(
        ValueError, match="rule must be one of panopticapi, stardist, torchmetrics, got 'coco'"
    ):
        PanopticQuality(CATEGORIES, rule="coco")


def test_the_class_must_agree():
    assert counts(draw("AAAA", A=DOG), draw("pppp", p=CAT), DOG) == [0, 0, 0, 1]
    assert counts(draw("AAAA", A=DOG), draw("pppp", p=CAT), CAT) == [0, 0, 1, 0]


def test_each_prediction_loses_only_its_own_void():
    ground_truth = draw("AAA... AAA... SSSSSS BBB... BBB...", A=DOG, B=DOG, S=SKY)
    prediction = draw("ppppp. pppp.. SSSSSS qqqq.. .qqq..", p=DOG, q=DOG, S=SKY)
    # p: 6 of A, 3 void. q: 5 of B, 2 void: 5 / (7 + 6 - 5 - 2).
    assert counts(ground_truth, prediction, DOG) == [6 / 6 + 5 / 6, 2, 0, 0]


def test_segments_of_an_image_are_told_by_id():
    ground_truth = draw("AAAS BBSS CC..", A=DOG, B=DOG, C=(DOG, "crowd"), S=SKY)
    prediction = draw("pppS .qSS rr..", p=DOG, q=CAT, r=DOG, S=SKY)
    metric = PanopticQuality(CATEGORIES)
    matches = metric.match(ground_truth, prediction)
    # A and p are ids 1000; B and q are 2000; r, in the crowd, does not count; the sky is 4000.
    assert matches == ([(1000, 1000, 1.0), (4000, 4000, 1.0)], [2000], [2000])
    assert not metric.state.any()


def test_pq_is_not_symmetric():
    ground_truth = draw("AAA... AAA... BBB... BBB...", A=DOG, B=DOG)
    prediction = draw("pppppp ppppp. qqqq.. .qqq..", p=DOG, q=DOG)
    assert counts(ground_truth, prediction, DOG) == [6 / 6 + 5 / 6, 2, 0, 0]
    # Swapped, p is the truth and A finds 6 of its 11 pixels; B lies on 5 pixels of q and on 1 void one.
    assert counts(prediction, ground_truth, DOG) == [6 / 11 + 5 / 7, 2, 0, 0]


def test_a_prediction_more_than_half_in_void_does_not_count():
    assert counts(draw("..AAAA SSSSSS", A=CAT, S=SKY), draw("ppp... qqqqqq", p=DOG, q=SKY), DOG) == [
        0,
        0,
        0,
        0,
    ]
    assert counts(draw("..AAAA SSSSSS", A=CAT, S=SKY), draw("pppp.. qqqqqq", p=DOG, q=SKY), DOG) == [
        0,
        0,
        1,
        0,
    ]


def test_a_prediction_in_the_crowd_of_its_class_does_not_count():
    crowd = draw("KKKK SSSS", K=(DOG, "crowd"), S=SKY)
    assert counts(crowd, draw("ppp. p...", p=DOG), DOG) == [0, 0, 0, 0]
    assert counts(crowd, draw("pp.. pp..", p=DOG), DOG) == [0, 0, 1, 0]
    assert counts(crowd, draw("pppp ....", p=CAT), CAT) == [0, 0, 1, 0]


def test_a_crowd_is_neither_matched_nor_missed():
    assert counts(draw("KKKK", K=(DOG, "crowd")), draw("pppp", p=DOG), DOG) == [0, 0, 0, 0]
    assert counts(draw("KKKK", K=(DOG, "crowd")), draw("...."), DOG) == [0, 0, 0, 0]


def test_void_and_crowd_add_up():
    ground_truth = draw("KKSS ..SS", K=(DOG, "crowd"), S=SKY)
    assert counts(ground_truth, draw("pppp p...", p=DOG), DOG) == [0, 0, 0, 0]
    assert counts(ground_truth, draw("pppp ....", p=DOG), DOG) == [0, 0, 1, 0]


def test_of_two_crowds_of_a_class_the_last_counts_unless_all_are_asked_for():
    ground_truth = draw("KKKK SSSS LLLL", K=(DOG, "crowd"), L=(DOG, "crowd"), S=SKY)
    prediction = draw("pppp .... qqqq", p=DOG, q=DOG)
    assert counts(ground_truth, prediction, DOG) == [0, 0, 1, 0]
    assert counts(ground_truth, prediction, DOG, all_crowds=True) == [0, 0, 0, 0]
    spread = draw("rr.. rr.. rr..", r=DOG)
    assert counts(ground_truth, spread, DOG) == [0, 0, 1, 0]
    assert counts(ground_truth, spread, DOG, all_crowds=True) == [0, 0, 0, 0]


def test_areas_are_counted_and_never_taken_from_the_segments():
    drawing, segments = draw("AAAA BBBB", A=DOG, B=CAT)
    stale = [Segment(id=segment.id, train_id=segment.train_id, area=1) for segment in segments]
    drawing = Panoptic(drawing, stale)
    assert counts(drawing, drawing, DOG) == [1, 1, 0, 0]


def test_the_first_segment_counts_when_ids_start_at_one():
    ones = Panoptic(np.ones((2, 2), dtype=np.int32), [Segment(id=1, train_id=DOG, area=4)])
    assert counts(ones, ones, DOG) == [1, 1, 0, 0]


def test_classes_that_never_occur_are_left_out_and_nothing_is_divided_by_zero():
    metric = PanopticQuality(CATEGORIES)
    empty = metric.compute()
    assert math.isnan(empty.all.pq)
    assert empty.all.num_classes == 0
    assert json.loads(json.dumps(empty.to_json(), allow_nan=False))["All"]["pq"] is None
    metric.update(draw("AA SS", A=DOG, S=SKY), draw("pp ..", p=DOG))
    result = metric.compute()
    assert (result.all.pq, result.things.pq, result.stuff.pq) == (50, 100, 0)
    assert (result.things.num_classes, result.stuff.num_classes) == (1, 1)
    assert (result.per_class[SKY].pq, result.per_class[SKY].sq, result.per_class[SKY].rq) == (0, 0, 0)


def test_mean_pq_is_not_the_product_of_mean_sq_and_mean_rq():
    metric = PanopticQuality(CATEGORIES)
    metric.update(draw("AAAA SSSS BBBB", A=DOG, B=DOG, S=SKY), draw("aaa. SSSS ....", a=DOG, S=SKY))
    result = metric.compute()
    assert result.per_class[DOG].pq == pytest.approx(100 * 0.75 / 1.5, abs=1e-12)
    assert result.all.pq == pytest.approx(75, abs=1e-12)
    assert result.all.sq * result.all.rq / 100 == pytest.approx(87.5 * (200 / 3 + 100) / 200, abs=1e-12)


def test_shards_merge_to_the_whole():
    images = [
        (draw("AAAA SSSS", A=DOG, S=SKY), draw("aaa. SSSS", a=DOG, S=SKY)),
        (draw("BBBB ....", B=CAT), draw("bb.. ....", b=CAT)),
        (draw("AABB", A=DOG, B=DOG), draw("aaaa", a=DOG)),
    ]
    whole, first, second = (PanopticQuality(CATEGORIES) for _ in range(3))
    for index, (ground_truth, prediction) in enumerate(images):
        for metric in (whole, first if index % 2 else second):
            metric.update(ground_truth, prediction)
    first += second
    np.testing.assert_array_equal(first.state, whole.state)
    with pytest.raises(ValueError, match=r"other must have the same categories"):
        first += PanopticQuality(Categories(list(CATEGORIES)[:2]))


# --- refusals


@pytest.mark.parametrize(
    ("prediction", "message"),
    [
        (draw("AA", A=DOG), r"pred_map must have the size \(H, W\) of gt_map, got \(1, 2\) for \(2, 2\)"),
        (
            Panoptic(np.full((2, 2), 7), []),
            r"pred_segments must have one entry for each value of pred_map, got none for 7",
        ),
        (draw("AA AA", A=3), r"pred_segments must have train ids from 0 to 2, got 3"),
        (draw("AA AA", A=-1), r"pred_segments must have train ids from 0 to 2, got -1"),
        (
            Panoptic(np.ones((2, 2)), [Segment(id=1, train_id=0, area=4)] * 2),
            r"pred_segments must have unique ids other than 0, got \[1, 1\]",
        ),
        (
            Panoptic(np.ones((2, 2)), [Segment(id=0, train_id=0, area=4)]),
            r"pred_segments must have unique ids other than 0, got \[0\]",
        ),
    ],
)
def test_maps_and_segments_that_do_not_fit_are_refused(prediction, message):
    with pytest.raises(ValueError, match=message):
        PanopticQuality(CATEGORIES).update(draw("AA AA", A=DOG), prediction)


def test_refusals_name_the_side():
    odd, empty = (Panoptic(np.full((1, 1), value), []) for value in (4, 0))
    with pytest.raises(
        ValueError, match=r"gt_segments must have one entry for each value of gt_map, got none for 4"
    ):
        PanopticQuality(CATEGORIES).update(odd, empty)


# --- against the definition


def by_definition(ground_truth, prediction, train_id, all_crowds):
    """Count as the definition reads, segment by segment and in sets of pixels."""
    (gt_map, gt_segments), (pred_map, pred_segments) = ground_truth, prediction

    def pixels(drawing, value):
        return set(np.flatnonzero(drawing == value).tolist())

    void = pixels(gt_map, 0)
    gt = {s.id: pixels(gt_map, s.id) for s in gt_segments if s.train_id == train_id and not s.is_crowd}
    pred = {s.id: pixels(pred_map, s.id) for s in pred_segments if s.train_id == train_id}
    gt, pred = ({key: value for key, value in side.items() if value} for side in (gt, pred))
    crowds = [pixels(gt_map, s.id) for s in gt_segments if s.train_id == train_id and s.is_crowd]
    crowd = set().union(*(crowds if all_crowds else crowds[-1:]))
    iou = {
        (g, p): len(gt[g] & pred[p]) / len(gt[g] | (pred[p] - void))
        for g in gt
        for p in pred
        if gt[g] & pred[p]
    }
    matched = {pair: value for pair, value in iou.items() if value > 0.5}
    unmatched = pred.keys() - {p for _, p in matched}
    false = [p for p in unmatched if len(pred[p] & (void | crowd)) / len(pred[p]) <= 0.5]
    return [sum(matched.values()), len(matched), len(false), len(gt) - len(matched)]


SEGMENT_KINDS = st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=5, max_size=5)
SMALL_MAPS = arrays(np.int32, (4, 6), elements=st.integers(0, 5))


@settings(max_examples=150, deadline=None)
@given(SMALL_MAPS, SMALL_MAPS, SEGMENT_KINDS, SEGMENT_KINDS, st.booleans(), st.integers(0, 24))
def test_counts_equal_the_definition(gt_map, pred_map, gt_kinds, pred_kinds, all_crowds, num_equal):
    # Random maps hardly ever match: make some of the prediction equal.
    pred_map.flat[:num_equal] = gt_map.flat[:num_equal]
    ground_truth, prediction = (
        Panoptic(
            drawing,
            [
                Segment(id=index + 1, train_id=train_id, area=0, is_crowd=is_crowd)
                for index, (train_id, is_crowd) in enumerate(kinds)
            ],
        )
        for drawing, kinds in ((gt_map, gt_kinds), (pred_map, pred_kinds))
    )
    for train_id in range(3):
        assert counts(ground_truth, prediction, train_id, all_crowds=all_crowds) == pytest.approx(
            by_definition(ground_truth, prediction, train_id, all_crowds), abs=1e-12
        )


def test_overlaps_of_large_ids():
    overlaps = count_overlaps(np.array([[2**24 - 1, 0, 0]]), np.array([[2**31 - 1, 5, 5]], dtype=np.int32))
    assert [column.tolist() for column in overlaps] == [[0, 2**24 - 1], [5, 2**31 - 1], [2, 1]]


# --- files


@pytest.fixture(params=["pq_coco_a", "pq_coco_b"])
def golden_case(request, golden):
    return golden(request.param)


def assert_equal_to_panopticapi(result, expected):
    numbers = result.to_json()
    for group in ("All", "Things", "Stuff"):
        assert numbers[group]["n"] == expected[group]["n"]
        for key in ("pq", "sq", "rq"):
            assert numbers[group][key] == pytest.approx(100 * expected[group][key], abs=1e-9)
    for quality in result.per_class:
        # panopticapi has no counts of a class that never occurs, and calls its quality 0.
        count = expected["counts"].get(str(quality.category_id), {"tp": 0, "fp": 0, "fn": 0})
        assert (quality.tp, quality.fp, quality.fn) == (count["tp"], count["fp"], count["fn"])
        for key in ("pq", "sq", "rq"):
            ours = getattr(quality, key)
            theirs = expected["per_class"][str(quality.category_id)][key]
            assert (0 if math.isnan(ours) else ours) == pytest.approx(100 * theirs, abs=1e-9)


def test_files_give_the_numbers_of_panopticapi(golden_case):
    expected = json.loads((golden_case / "expected.json").read_text())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = [
            evaluate_files(
                golden_case / "gt.json", golden_case / "gt", golden_case / "pred.json", None, num_workers=n
            )
            for n in (1, 3)
        ]
    assert_equal_to_panopticapi(results[0], expected)
    # nan is not equal to itself, so compare what is printed.
    assert repr(results[0]) == repr(results[1])


def test_our_own_maps_give_the_numbers_of_panopticapi(golden_case):
    ground_truth = PanopticJson.read(golden_case / "gt.json")
    categories = ground_truth.categories
    predictions = PanopticJson.read(golden_case / "pred.json", categories=categories)
    metric = PanopticQuality(categories)
    for image_id, entry in ground_truth.annotations.items():
        maps = [
            from_coco_annotation(read_panoptic_png(golden_case / side / each.file_name), each, categories)
            for side, each in (("gt", entry), ("pred", predictions.annotations[image_id]))
        ]
        metric.update(*maps)
    assert_equal_to_panopticapi(metric.compute(), json.loads((golden_case / "expected.json").read_text()))


@pytest.fixture
def case(tmp_path):
    """Write two images, ground truth and prediction, whose dog has an IoU of 3/4."""
    for side, dog in (("gt", "AAAA SSSS"), ("pred", "AAA. SSSS")):
        with PanopticWriter(tmp_path / side, tmp_path / f"{side}.json", CATEGORIES) as writer:
            for image_id in (41, 42):
                writer.add(draw(dog, A=DOG, S=SKY), image_file_name=f"{image_id}.jpg", image_id=image_id)
    return tmp_path


def edit(path, change):
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def evaluate(case, **arguments):
    return evaluate_files(case / "gt.json", None, case / "pred.json", None, **arguments)


def test_the_command_takes_a_rule(case, capsys):
    with PanopticWriter(case / "pred", case / "pred.json", CATEGORIES) as writer:
        for image_id in (41, 42):
            writer.add(draw("AA.. SSSS", A=DOG, S=SKY), image_file_name=f"{image_id}.jpg", image_id=image_id)
    words = ["pq", "--gt-json", str(case / "gt.json"), "--pred-json", str(case / "pred.json")]
    for rule, quality in (("panopticapi", 0), ("stardist", 50), ("torchmetrics", 100)):
        assert main([*words, "--rule", rule, "--json", str(case / "n.json")]) == 0
        assert json.loads((case / "n.json").read_text())["Things"]["pq"] == quality
        assert ("segments matched by the rule of" in capsys.readouterr().out) == (rule != "panopticapi")
    assert main([*words, "--rule", "coco"]) == 2
    assert "choose from" in capsys.readouterr().err


def test_a_category_with_id_0_and_a_shuffled_list_make_no_difference(case):
    edit(case / "gt.json", lambda document: document["categories"].reverse())
    result = evaluate(case)
    assert result.per_class[DOG].sq == 75
    assert result.to_json()["per_class"]["0"]["name"] == "dog"


def test_stale_areas_are_counted_again_with_a_warning(case):
    expected = repr(evaluate(case))

    def spoil(document):
        document["annotations"][0]["segments_info"][0]["area"] = 1
        del document["annotations"][1]["segments_info"][1]["area"]

    edit(case / "gt.json", spoil)
    with pytest.warns(
        UserWarning,
        match=r"gt.json: area of 2 segments is not .* PNG has \(image 41 segment \d+: 1 instead of 4, ...\)",
    ):
        assert repr(evaluate(case)) == expected


def test_a_true_segment_without_pixels_is_left_out_with_a_warning(case):
    extra = {"id": 77, "category_id": 5, "iscrowd": 0, "area": 3}
    edit(case / "gt.json", lambda document: document["annotations"][0]["segments_info"].append(extra))
    with pytest.warns(UserWarning, match=r"gt.41.png \(image 41\): segments 77 of the JSON have no pixel"):
        assert math.isnan(evaluate(case).per_class[CAT].pq)


def test_ids_that_another_program_gave_in_another_order_are_refused(case):
    def swap_images(document):
        first, second = document["images"]
        first["file_name"], second["file_name"] = second["file_name"], first["file_name"]

    edit(case / "pred.json", swap_images)
    with pytest.raises(
        ValueError, match=r"pred.json: images must have the ids .*, got 41 for 42.jpg, which is 42"
    ):
        evaluate(case)
    edit(case / "pred.json", lambda document: document["images"].clear())  # as panopticapi's predictions
    assert evaluate(case).things.sq == 75


def test_categories_with_other_ids_are_refused_and_with_other_names_told(case):
    expected = repr(evaluate(case))
    edit(case / "pred.json", lambda document: document["categories"][0].update(name="hound"))
    with pytest.warns(UserWarning, match=r"pred.json: 1 categories have other names .*'hound' for 'dog'"):
        assert repr(evaluate(case)) == expected

    def swap_names(document):
        first, second, *_ = document["categories"]
        first["name"], second["name"] = second["name"], "dog"

    edit(case / "pred.json", swap_names)
    with pytest.raises(
        ValueError, match=r"pred.json: categories must have the ids .* got \d+ for '\w+', which is \d+ there"
    ):
        evaluate(case)
    edit(case / "pred.json", lambda document: document.pop("categories"))
    assert repr(evaluate(case)) == expected


def test_predictions_of_further_images_are_left_out(case):
    edit(case / "gt.json", lambda document: (document["annotations"].pop(), document["images"].pop()))
    assert evaluate(case).things.tp == 1


def drop_prediction(case):
    edit(case / "pred.json", lambda document: document["annotations"].pop())


def drop_segment(case):
    edit(case / "pred.json", lambda document: document["annotations"][1]["segments_info"].pop())


def add_segment(case):
    extra = {"id": 77, "category_id": 5}
    edit(case / "pred.json", lambda document: document["annotations"][1]["segments_info"].append(extra))


def add_unknown_category(case):
    extra = {"id": 77, "category_id": 202}
    edit(case / "pred.json", lambda document: document["annotations"][1]["segments_info"].append(extra))


def drop_ground_truth(case):
    edit(case / "gt.json", lambda document: document.update(annotations=[]))


def shrink_prediction(case):
    write_panoptic_png(case / "pred" / "42.png", np.zeros((1, 4), dtype=np.int32))


def shrink_ground_truth(case):
    write_panoptic_png(case / "gt" / "42.png", np.zeros((1, 4), dtype=np.int32))


def leave_folder(case):
    edit(case / "pred.json", lambda document: document["annotations"][0].update(file_name="../gt/41.png"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (drop_prediction, r"pred.json: annotations must have every image .*, got none for image 42"),
        (drop_segment, r"pred.42.png \(image 42\) must have only ids that segments_info lists"),
        (add_segment, r"pred.42.png \(image 42\) must have pixels of every segment .* got none of 77"),
        (
            add_unknown_category,
            r"pred.json: .*image 42\) segment 77 category_id must be in categories, got 202",
        ),
        (drop_ground_truth, r"gt.json: annotations must not be empty, got none"),
        (shrink_prediction, r"pred.42.png \(image 42\) must be 2 x 4 pixels .*, got 1 x 4"),
        (shrink_ground_truth, r"gt.42.png \(image 42\) must be 2 x 4 pixels .*, got 1 x 4"),
        (leave_folder, r"file_name must stay inside .*pred, got '../gt/41.png'"),
    ],
)
@pytest.mark.parametrize("num_workers", [1, 2])
def test_broken_files_are_refused_by_name(case, spoil, message, num_workers):
    spoil(case)
    with pytest.raises(ValueError, match=message):
        evaluate(case, num_workers=num_workers)


def test_missing_files_and_folders_are_named(case):
    (case / "pred" / "42.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"42.png"):
        evaluate(case)
    shutil.rmtree(case / "pred")
    with pytest.raises(FileNotFoundError, match=r"folder of PNG files must exist, got .*pred; name it"):
        evaluate(case)


def test_the_number_of_workers_must_be_positive(case):
    with pytest.raises(ValueError, match=r"num_workers must be at least 1, got 0"):
        evaluate(case, num_workers=0)


def test_the_table_shows_percent_counts_and_dashes(case):
    text = evaluate(case).to_text(classwise=True)
    assert text.splitlines() == [
        "          |     PQ     SQ     RQ      N     TP     FP     FN",
        "------------------------------------------------------------",
        "All       |   87.5   87.5  100.0      2      4      0      0",
        "Things    |   75.0   75.0  100.0      1      2      0      0",
        "Stuff     |  100.0  100.0  100.0      1      2      0      0",
        "------------------------------------------------------------",
        "dog       |   75.0   75.0  100.0             2      0      0",
        "cat       |      -      -      -             0      0      0",
        "sky       |  100.0  100.0  100.0             2      0      0",
    ]
    assert evaluate(case).to_text() == "\n".join(text.splitlines()[:5])


def test_json_numbers_are_percent(case):
    numbers = json.loads(json.dumps(evaluate(case, progress=True).to_json(), allow_nan=False))
    assert numbers["unit"] == "percent"
    assert numbers["Things"] == {"pq": 75, "sq": 75, "rq": 100, "n": 1, "tp": 2, "fp": 0, "fn": 0}
    assert numbers["per_class"]["5"]["pq"] is None
