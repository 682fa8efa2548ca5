"""The configurations of the paper's rows: complete, short, with its numbers, and buildable."""

from functools import cache
from pathlib import Path

import pytest
import torch

from axial_deeplab.accounting.counting import count_parameters_by_the_rule
from axial_deeplab.accounting.published import TABLES, PublishedRow
from axial_deeplab.cli.main import main
from axial_deeplab.config.parse import read_config
from axial_deeplab.config.schema import Config
from axial_deeplab.models.registry import create_model, is_classifier

CONFIGS = Path(__file__).parents[2] / "src/axial_deeplab/config/recipes"
FOLDERS = {"imagenet": 1000, "coco": 133, "cityscapes": 19, "mapillary": 65}
SHARED_PARTS = ("base", "base_full")

FILES = {
    f"{folder}/{path.stem}": path
    for folder in FOLDERS
    for path in sorted((CONFIGS / folder).glob("*.yaml"))
    if path.stem not in SHARED_PARTS
}

# Batch, learning rate, steps, warm-up of each data set.
PROTOCOLS = {
    "coco": (64, 0.001, 200_000, 2000),
    "mapillary": (64, 0.001, 150_000, 2000),
    "cityscapes": (32, 0.001, 60_000, 2000),
    "imagenet": (1024, 0.4, 162_648, 12_511),
    "imagenet full": (512, 0.2, 325_296, 25_023),
}
IMAGES_OF_IMAGENET = 1_281_167


read = cache(lambda name: read_config(str(FILES[name])))


def settings() -> list[pytest.param]:
    return [pytest.param(name, id=name) for name in FILES]


def arguments(config: Config) -> dict[str, object]:
    span = {} if config.model.span is None else {"span": config.model.span}
    return {"name": config.model.name, **span, **config.model.overrides}


def of_row(row: PublishedRow) -> dict[str, object]:
    return {"name": row.name, **row.overrides}


@pytest.mark.parametrize("name", settings())
def test_protocol_is_that_of_the_paper(name: str) -> None:
    config = read(name)
    folder = name.split("/")[0]
    protocol = f"{folder} full" if "/full_" in name else folder
    optim = config.optim
    assert (config.trainer.batch_size, optim.lr, optim.max_steps, optim.warmup_steps) == PROTOCOLS[protocol]
    assert config.trainer.output == f"runs/{name.replace('/', '_')}"
    assert len(FILES[name].read_text().splitlines()) <= 30
    if folder == "imagenet":
        assert is_classifier(config.model.name)
        assert (optim.optimizer, optim.schedule, optim.momentum) == ("sgd", "cosine", 0.9)
        assert (optim.weight_decay, optim.ema_decay) == (8e-5, 0.9999)
        assert config.classification.label_smoothing == 0.1
        assert config.augmentation.crop_size == (224, 224)
        epoch = IMAGES_OF_IMAGENET / config.trainer.batch_size
        assert optim.max_steps == pytest.approx(130 * epoch, abs=1)
        assert optim.warmup_steps == pytest.approx(10 * epoch, abs=1)
        assert optim.lr == pytest.approx(1.6 * config.trainer.batch_size / 4096)
        return
    assert not is_classifier(config.model.name)
    assert (optim.optimizer, optim.schedule, optim.poly_power) == ("radam_lookahead", "poly", 0.9)
    assert (config.augmentation.scale_range, config.augmentation.flip) == ((0.5, 2.0), True)
    crop_size = (1025, 2049) if folder == "cityscapes" else (1025, 1025)
    assert config.augmentation.crop_size == crop_size
    loss, target, post = config.loss, config.target, config.post_processing
    assert (loss.semantic_weight, loss.center_weight, loss.offset_weight) == (1, 200, 0.01)
    assert loss.top_k_fraction == 0.2
    assert (target.sigma, target.small_instance_area, target.small_instance_weight) == (8, 64 * 64, 3)
    assert (post.center_threshold, post.nms_kernel, post.top_k) == (0.1, 7, 200)
    assert post.stuff_area == (4096 if folder == "coco" else 2048)
    assert config.data.long_side == {"coco": 1025, "mapillary": 2177}.get(folder)
    assert config.data.max_size is None
    if config.model.name.startswith("axial_deeplab"):
        assert config.model.span == 65 or name.startswith("cityscapes/ablation_span_")


@pytest.mark.parametrize("name", settings())
def test_network_can_be_built_and_what_it_starts_from_fits(name: str) -> None:
    config = read(name)
    with torch.device("meta"):
        model = create_model(**arguments(config), num_classes=FOLDERS[name.split("/")[0]])  # type: ignore[arg-type]
    assert count_parameters_by_the_rule(model) > 4e6
    if config.model.weights is None:
        assert name.startswith("imagenet/")
        return
    source = Path(config.model.weights).parent.name.split("_", 1)
    start = read("/".join(source))
    if source[0] == "mapillary":
        assert arguments(start) == arguments(config)
        return
    with torch.device("meta"):
        pretrained = create_model(**arguments(start), num_classes=1000).state_dict()  # type: ignore[arg-type]
    own = {key: value.shape for key, value in model.state_dict().items() if key.startswith("backbone.")}
    given = {f"backbone.{key}": value.shape for key, value in pretrained.items() if "classifier" not in key}
    assert own == given


@pytest.mark.parametrize("title", [title for title in TABLES if "Table" in title])
def test_every_row_of_the_paper_has_a_configuration(title: str) -> None:
    folder = {"224 x 224": "imagenet", "1025 x 1025": "coco", "2177 x 2177": "mapillary",
              "1025 x 2049": "cityscapes"}[title.rsplit(", ", 1)[1]]  # fmt: skip
    configured = [arguments(read(name)) for name in FILES if name.startswith(f"{folder}/")]
    for row in TABLES[title]:
        wanted = of_row(row)
        if wanted.get("output_stride") == 16:
            del wanted["output_stride"]
        stripped = [{k: v for k, v in c.items() if (k, v) != ("output_stride", 16)} for c in configured]
        assert wanted in stripped, row.label


@pytest.mark.parametrize("folder", FOLDERS)
def test_missing_data_is_one_line(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = next(path for name, path in FILES.items() if name.startswith(f"{folder}/"))
    assert main(["train", "--config", str(path)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("axial-deeplab: error: ")
    assert f"data/{folder}" in lines[0]
