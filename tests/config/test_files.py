"""Settings in files that are built on others."""

from pathlib import Path

import pytest

from axial_deeplab.cli.main import main
from axial_deeplab.cli.training import parse_config
from axial_deeplab.config import files
from axial_deeplab.config.files import read_settings
from axial_deeplab.config.parse import read_config

CONFIGS = Path(__file__).parents[2] / "src/axial_deeplab/config/recipes"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_file_counts_more_than_its_bases_and_a_later_base_more_than_an_earlier(tmp_path: Path) -> None:
    write(tmp_path / "optim.yaml", "optim: {lr: 1, max_steps: 30, warmup_steps: 3}\ntarget: {sigma: 5}")
    write(tmp_path / "long.yaml", "optim: {max_steps: 50}\nmodel: {overrides: {stem: axial, depths: [1, 1]}}")
    path = write(
        tmp_path / "deeper" / "run.yaml",
        "base: [../optim.yaml, ../long.yaml]\noptim: {lr: 2}\nmodel: {overrides: {depths: [2]}}",
    )
    assert read_settings(path) == {
        "optim": {"lr": 2, "max_steps": 50, "warmup_steps": 3},
        "target": {"sigma": 5},
        "model": {"overrides": {"stem": "axial", "depths": [2]}},
    }
    assert read_config(str(path)).optim.max_steps == 50


def test_settings_of_the_package_are_found_by_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    expected = read_settings(CONFIGS / "coco" / "axial_deeplab_s.yaml")
    for name in ("coco/axial_deeplab_s", "coco/axial_deeplab_s.yaml", "configs/coco/axial_deeplab_s.yaml"):
        assert read_settings(name) == expected
    assert read_settings("configs/cityscapes/base.yaml") == read_settings(
        CONFIGS / "cityscapes" / "base.yaml"
    )
    for name in ("coco/axial_deeplab_t", "../configs/coco/axial_deeplab_s"):
        with pytest.raises(FileNotFoundError):
            read_settings(name)
    write(tmp_path / "configs" / "coco" / "axial_deeplab_s.yaml", "optim: {lr: 5}")
    assert read_settings("configs/coco/axial_deeplab_s.yaml") == {"optim": {"lr": 5}}
    assert main(["configs"]) == 0
    names = capsys.readouterr().out.split()
    assert "imagenet/axial_resnet_s" in names
    assert not [name for name in names if "base" in name]
    for name in names:
        assert (CONFIGS / f"{name}.yaml").is_file()
    assert main(["configs", "--output", "mine"]) == 0
    assert read_settings(Path("mine/coco/axial_deeplab_s.yaml")) == expected
    assert main(["configs", "--output", "mine"]) == 2
    assert "output must be a new or empty folder, got mine" in capsys.readouterr().err


def test_bases_may_have_bases(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", "optim: {lr: 1.0e-3, warmup_steps: 1}")
    write(tmp_path / "b.yaml", "base: a.yaml\noptim: {max_steps: 20}")
    # 1e-4 is a text in YAML 1.1, but a number to whoever writes it.
    path = write(tmp_path / "c.yaml", "base: b.yaml\noptim: {lr: 1e-4}")
    config = read_config(str(path))
    assert (config.optim.lr, config.optim.max_steps, config.optim.warmup_steps) == (1e-4, 20, 1)


def test_a_second_file_on_the_command_line_overrides_the_first(tmp_path: Path) -> None:
    one = write(tmp_path / "one.yaml", "optim: {lr: 0.1}\ntarget: {sigma: 4}")
    two = write(tmp_path / "two.yaml", "optim: {lr: 0.2}")
    config = parse_config(["--config", str(one), "--config", str(two), "--target.small_instance_area", "9"])
    assert (config.optim.lr, config.target.sigma, config.target.small_instance_area) == (0.2, 4, 9)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (
            "base: run.yaml",
            ValueError,
            r"base must be files that are not based on each other, got .*run",
        ),
        ("base: 3", ValueError, r"run.yaml: base must be a path or a list of paths, got 3"),
        ("base: nowhere.yaml", FileNotFoundError, r"nowhere\.yaml"),
        ("base: list.yaml", ValueError, r"list.yaml must be a YAML file of settings, got list"),
        ("base: broken.yaml", ValueError, r"broken.yaml must be a YAML file of settings, got: "),
    ],
)
def test_refuses(text: str, error: type[Exception], message: str, tmp_path: Path) -> None:
    write(tmp_path / "list.yaml", "- 1")
    write(tmp_path / "broken.yaml", "a: [")
    path = write(tmp_path / "run.yaml", text)
    with pytest.raises(error, match=message):
        read_settings(path)


def test_package_without_settings_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(files, "SHIPPED_FOLDER", tmp_path)
    for words in (["configs"], ["configs", "--output", str(tmp_path / "mine")]):
        assert main(words) == 2
        assert "got none; install axial-deeplab again" in capsys.readouterr().err
    assert not (tmp_path / "mine").exists()


def test_words_are_parsed_by_the_command_line_alone() -> None:
    with pytest.warns(DeprecationWarning, match=r"parse_config is now axial_deeplab\.cli\.training"):
        from axial_deeplab.config import parse_config as old_name
    assert old_name is parse_config
