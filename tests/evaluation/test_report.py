"""The HTML report: what it shows, that it needs nothing else, and that names cannot break out of it."""

import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from axial_deeplab.data.panoptic_dataset import Sample
from axial_deeplab.evaluation.panoptic_quality import PanopticQuality
from axial_deeplab.evaluation.report import EvaluationReport
from axial_deeplab.evaluation.semantic_iou import SemanticIoU
from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.panoptic.map import Panoptic, Segment, semantic_map
from axial_deeplab.prediction.batch import PanopticPrediction

CATEGORIES = Categories([Category(1, "sky", False), Category(2, "<script>alert(1)</script>", True)])
SKY, THING = 10_000, 20_001


def segmentation(edge):
    """A map of 20 x 20 pixels whose first `edge` columns are the thing."""
    panoptic = np.full((20, 20), SKY, dtype=np.int32)
    panoptic[:, :edge] = THING
    sky = Segment(id=SKY, train_id=0, area=400 - 20 * edge)
    return Panoptic(panoptic, (sky, Segment(id=THING, train_id=1, area=20 * edge)))


def collect(edges, examples):
    """Report predictions whose thing ends at `edges`; the true one ends at column 10."""
    report = EvaluationReport(CATEGORIES, examples=examples)
    metric, iou = PanopticQuality(CATEGORIES), SemanticIoU(2, ignore_label=-1)
    truth = segmentation(10)
    for number, edge in enumerate(edges):
        guess = segmentation(edge)
        image = np.zeros((20, 20, 3), dtype=np.uint8)
        sample = Sample(image, truth, number, f"{number}.jpg", (20, 20))
        labels = semantic_map(guess.map, ignore_label=-1)
        report.add(sample, PanopticPrediction(guess, labels, 10.0, 2.0))
        metric.update(truth, guess)
        iou.update(semantic_map(truth.map, ignore_label=-1), labels)
    return report, metric, iou


class Texts(HTMLParser):
    """The texts of a page and the tags that it has."""

    def __init__(self, page):
        super().__init__()
        self.texts, self.tags = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if data.strip():
            self.texts.append(data.strip())


@pytest.fixture
def page(tmp_path):
    report, metric, iou = collect([10, 8, 1, 9, 5], examples=2)
    report.write(tmp_path / "r.html", metric.compute(), iou.compute(), iou.confusion, title="A & B")
    return (tmp_path / "r.html").read_text()


def test_best_and_worst_images_are_shown_in_order(page):
    captions = re.findall(r"<figcaption><b>(\d)\.jpg</b>: PQ ([\d.]+)</figcaption>", page)
    assert [number for number, _ in captions] == ["2", "4", "0", "3"]
    assert captions[2][1] == "100.0"


def test_scores_and_times_are_those_of_the_images(page):
    _, metric, _ = collect([10, 8, 1, 9, 5], examples=2)
    texts = Texts(page).texts
    assert f"{metric.compute().all.pq:.1f}" in texts
    assert "5 images; all qualities in percent." in texts
    assert "10.0" in texts
    # 2 + 9 + 1 + 5 of 50 columns of the thing were predicted as sky: 34 %.
    assert "34.0 %" in texts


def test_the_page_is_whole_in_itself_and_runs_nothing(page):
    tags = Texts(page).tags
    assert "script" not in [tag for tag, _ in tags]
    assert "<script>alert(1)</script>" in Texts(page).texts
    sources = [attributes["src"] for _, attributes in tags if "src" in attributes]
    assert len(sources) == 4 * 4  # examples and panels
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert "http" not in page
    assert "<title>A &amp; B</title>" in page


def test_many_classes_leave_out_the_table_of_confusions(tmp_path):
    categories = Categories([Category(i, f"class {i}", False) for i in range(1, 60)])
    report = EvaluationReport(categories)
    metric, iou = PanopticQuality(categories), SemanticIoU(59, ignore_label=-1)
    report.write(tmp_path / "r.html", metric.compute(), iou.compute(), iou.confusion, title="none")
    page = (tmp_path / "r.html").read_text()
    assert 'id="confusion"' not in page
    assert "class 59" in page


def test_shared_out_images_make_the_same_page(tmp_path):
    whole = collect([10, 8, 1, 9, 5, 8], examples=2)[0]
    parts = [collect(edges, examples=2)[0] for edges in ([10, 8, 1], [9, 5, 8])]
    # The second half counts from 0: give its images their own names.
    second = parts[1].state
    renamed = [
        [example._replace(file_name=f"{int(example.file_name[0]) + 3}.jpg") for example in kept]
        for kept in (second.best, second.worst)
    ]
    merged = EvaluationReport(CATEGORIES, examples=2)
    merged.load_states([parts[0].state, second._replace(best=renamed[0], worst=renamed[1])])
    assert merged.state == whole.state


@pytest.mark.parametrize(
    ("size", "expected"), [((20, 20), (640, 640)), ((300, 400), (300, 400)), ((1000, 3000), (213, 640))]
)
def test_panels_have_the_size_of_the_page(size, expected):
    report = EvaluationReport(CATEGORIES)
    panoptic = np.full(size, SKY, dtype=np.int32)
    panoptic[:, : size[1] // 2] = THING
    segments = tuple(Segment(id=value, train_id=value // 10_000 - 1, area=1) for value in (SKY, THING))
    image = np.zeros((*size, 3), dtype=np.uint8)
    sample = Sample(image, Panoptic(panoptic, segments), 1, "1.jpg", size)
    labels = semantic_map(panoptic, ignore_label=-1)
    report.add(sample, PanopticPrediction(Panoptic(panoptic, segments), labels, 10.0, 2.0))
    (example,) = report.state.best
    sizes = [Image.open(io.BytesIO(picture)).size[::-1] for picture in example.pictures]
    assert sizes == [expected] * 4
    errors = np.asarray(Image.open(io.BytesIO(example.pictures[3])))
    middle = expected[1] // 2
    assert (
        errors[:, : middle - 8].std(axis=(0, 1)).max() < 3
    )  # all of it is matched, as in the map at its own size
