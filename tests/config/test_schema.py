"""Settings: files, overrides, refusals, and the way through a checkpoint."""

from pathlib import Path

import pytest
import torch
import yaml

from axial_deeplab.cli.main import main
from axial_deeplab.cli.training import parse_config
from axial_deeplab.config.parse import read_config
from axial_deeplab.config.schema import (
    Config,
    SplitConfig,
    config_from_dict,
    config_to_dict,
)

CONFIGS = Path(__file__).parents[2] / "src/axial_deeplab/config/recipes"


def write(folder: Path, text: str) -> str:
    path = folder / "settings.yaml"
    path.write_text(text)
    return str(path)


def test_defaults_need_no_file() -> None:
    assert parse_config([]) == Config()


def test_options_override_the_file(tmp_path: Path) -> None:
    path = write(
        tmp_path, "optim: {lr: 0.01, max_steps: 50, warmup_steps: 5}\nmodel: {overrides: {stem: axial}}"
    )
    config = parse_config(
        [
            "--config",
            path,
            "--optim.lr",
            "3e-4",
            "--augmentation.crop_size",
            "[33, 65]",
            "--data.train.images",
            "photos",
        ]
    )
    assert config.optim.lr == 3e-4
    assert config.optim.max_steps == 50
    assert config.model.overrides == {"stem": "axial"}
    assert config.augmentation.crop_size == (33, 65)
    assert config.data.train == SplitConfig(images="photos")
    assert config.optim.poly_power == Config().optim.poly_power


@pytest.mark.parametrize("word", ["--data.val.root", "--data.train.json=x.json"])
def test_a_root_of_both_parts_and_that_of_one_are_refused(word: str) -> None:
    with pytest.raises(
        ValueError, match=rf"--data.root must stand for both parts, got {word.split('=')[0]}, too"
    ):
        parse_config(["--data.root", "mine", word, *([] if "=" in word else ["other"])])
    assert parse_config(["--data.root", "mine", "--data.train.images", "x"]).data.train.images == "x"


@pytest.mark.parametrize("order", [1, -1])
def test_a_root_replaces_the_paths_of_a_recipe(order: int) -> None:
    options = [["--config", "nuclei/axial_deeplab_nano"], ["--data.train.root", "mine"]]
    data = parse_config([word for option in options[::order] for word in option]).data
    assert data.train == SplitConfig(root="mine")
    assert data.val.json == "data/nuclei/val/panoptic.json"
    words = ["--config", "nuclei/axial_deeplab_nano", "--data.val.root=mine", "--data.val.images=photos"]
    assert parse_config(words).data.val == SplitConfig(root="mine", images="photos")


def test_a_root_replaces_the_paths_of_a_recipe_in_evaluate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "--weights", "axial_deeplab_nano_scenes", "--device", "cpu"]
    words += ["--config", "nuclei/axial_deeplab_nano", "--root", str(tmp_path / "mine")]
    assert main(words) == 2
    assert "mine/panoptic.json" in capsys.readouterr().err


def test_survives_a_checkpoint_and_a_file(tmp_path: Path) -> None:
    config = parse_config(["--augmentation.crop_size=[33,65]", "--model.overrides={depths: [1, 2]}"])
    torch.save(config_to_dict(config), tmp_path / "c.ckpt")
    assert config_from_dict(torch.load(tmp_path / "c.ckpt", weights_only=True)) == config
    assert read_config(write(tmp_path, yaml.safe_dump(config_to_dict(config)))) == config


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError, match="cannot assign"):
        Config().optim.lr = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    "path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.parent.stem + path.stem
)
def test_shipped_files_are_valid_and_short(path: Path) -> None:
    read_config(str(path))
    assert len(path.read_text().splitlines()) <= 45


def test_print_config_prints_what_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse_config(["--optim.lr", "0.5", "--print_config"])
    assert stop.value.code == 0
    assert yaml.safe_load(capsys.readouterr().out)["optim"]["lr"] == 0.5


def test_help_explains_each_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_config(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "Images of one optimizer step in total" in text
    assert "the paper's m, odd" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optim: {lrr: 1}", "lrr"),
        ("optimizer: {lr: 1}", "optimizer"),
        ("data: {train: {image: a}}", "image"),
        ("optim: {lr: fast}", r"optim.lr.*fast"),
        ("optim: {lr: -1}", "optim.lr must be positive, got -1"),
        ("optim: {max_steps: 0}", "optim.max_steps must be positive, got 0"),
        (
            "optim: {warmup_steps: 10, max_steps: 5}",
            "optim.warmup_steps must be between 0 and max_steps = 5, got 10",
        ),
        ("optim: {lookahead_steps: 0}", "optim.lookahead_steps must be positive, got 0"),
        ("optim: {lookahead_alpha: 2}", "optim.lookahead_alpha must be in"),
        ("optim: {optimizer: adam}", r"optim.optimizer.*adam"),
        ("optim: {schedule: step}", r"optim.schedule.*step"),
        ("optim: {momentum: 1}", r"optim.momentum must be in \[0, 1\), got 1"),
        ("optim: {ema_decay: 1}", r"optim.ema_decay must be null or in \[0, 1\), got 1"),
        (
            "optim: {lookahead_steps: 7}",
            "trainer.val_interval must be a multiple of optim.lookahead_steps = 7, got 5000",
        ),
        ("augmentation: {scale_range: [2, 1]}", "augmentation.scale_range must be two positive numbers"),
        ("augmentation: {crop_size: [0, 1]}", "augmentation.crop_size must be two positive"),
        ("augmentation: {crop_size: 5}", "augmentation.crop_size"),
        ("augmentation: {color_jitter: 2}", "augmentation.color_jitter must be between 0 and 1, got 2"),
        ("target: {sigma: 0}", "target.sigma must be positive, got 0"),
        ("loss: {top_k_fraction: 0}", "loss.top_k_fraction must be in"),
        ("data: {val_limit: 0}", "data.val_limit must be null or positive, got 0"),
        ("trainer: {batch_size: 0}", "trainer.batch_size must be positive, got 0"),
        ("trainer: {num_workers: -1}", "trainer.num_workers must be zero or more, got -1"),
        ("optim: {lr: .nan}", "optim.lr must be positive, got nan"),
        ("optim: {lr: .inf}", "optim.lr must be positive, got inf"),
        ("optim: {poly_power: .nan}", "optim.poly_power must be zero or more, got nan"),
        (f"optim: {{max_steps: {10**400}}}", "optim.max_steps must be at most 2147483647, got 1000000"),
        (f"trainer: {{seed: {2**63}}}", "trainer.seed must be at most 2147483647, got 9223372036854775808"),
        ("trainer: {num_workers: 1000000}", "trainer.num_workers must be at most 1000, got 1000000"),
        ("augmentation: {crop_size: [100000, 5]}", "augmentation.crop_size must be at most 32768, got"),
        (
            "augmentation: {intensity: {hue: 2}}",
            "augmentation.intensity.hue must be between 0 and 0.5, got 2",
        ),
        ("data: {scales: []}", "data.scales must be positive numbers, one or more"),
        (
            "optim: {max_steps: 2, lookahead_steps: 4}\ntrainer: {val_interval: 3}",
            r"optim.warmup_steps must be between 0 and max_steps = 2, got 2000; trainer.val_interval must be "
            r"a multiple of .* 4, got 3; optim.max_steps must be a multiple of .* got 2; change them in the "
            r"YAML or give --optim.warmup_steps VALUE --trainer.val_interval VALUE --optim.max_steps VALUE$",
        ),
        ("- 1\n- 2", "must be a YAML file of settings, got list"),
        ("a: [", "must be a YAML file of settings, got: "),
    ],
)
def test_refuses(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_config(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_refuses_an_unknown_option_and_a_missing_file() -> None:
    with pytest.raises(ValueError, match=r"--optim.lrr"):
        parse_config(["--optim.lrr", "1"])
    with pytest.raises(FileNotFoundError, match=r"nowhere\.yaml"):
        parse_config(["--config", "nowhere.yaml"])


def test_refuses_an_unknown_key_of_a_checkpoint() -> None:
    with pytest.raises(
        ValueError, match=r"optim\.warm must be a known setting, got 3; known here: optimizer, schedule, lr, "
    ):
        config_from_dict({"optim": {"warm": 3}})
