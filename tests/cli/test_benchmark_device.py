"""Benchmarks on a device that is not there."""

import pytest
import torch

from axial_deeplab.cli.main import main


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("what", ["attention", "model", "training", "runtime"])
def test_no_gpu(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", what, "--device", "cuda"]) == 2
    assert "device must be auto, cpu or a GPU of this machine, got cuda" in capsys.readouterr().err
