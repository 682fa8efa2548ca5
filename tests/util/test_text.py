"""Sizes on the command line, and lists in messages."""

import re

import pytest

from axial_deeplab.cli.main import main
from axial_deeplab.util.text import format_bytes, format_size, parse_size, shortened


def test_sizes() -> None:
    assert parse_size("1025x2049") == (1025, 2049)
    assert parse_size("224") == (224, 224)
    assert parse_size(format_size((1025, 2049))) == (1025, 2049)
    with pytest.raises(ValueError, match="crop_size must be HEIGHTxWIDTH in pixels, got 0x97"):
        parse_size("0x97", "crop_size")


@pytest.mark.parametrize(
    "command", ["models resnet50", "benchmark model resnet50 --batch 1 --rounds 1 --no-memory"]
)
@pytest.mark.parametrize(("word", "sides"), [("41", "41 41"), ("41x73", "41 73")])
def test_commands_take_the_same_sizes(
    command: str, word: str, sides: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command.split(), "--input", word]) == 0
    assert re.search(r" ?x ?".join(sides.split()), capsys.readouterr().out)


def test_bytes_are_told_in_a_unit_of_which_there_is_one() -> None:
    told = {
        0: "0.0 KB",
        307_200: "307.2 KB",
        999_999: "1,000.0 KB",
        10**6: "1.0 MB",
        12_340_000_000: "12.3 GB",
    }
    assert {num: format_bytes(num) for num in told} == told


def test_long_lists_are_shortened() -> None:
    assert shortened([1, 2], 2) == "1, 2"
    assert shortened(["a", "b", "c"], 2) == "a, b and 1 more"
