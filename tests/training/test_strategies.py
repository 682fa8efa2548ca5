"""How processes join for a training and leave again."""

import socket

import pytest
import torch.distributed

from axial_deeplab.training.strategies import joined_machines


@pytest.fixture
def launched_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set what torchrun sets, for a group of one process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {"WORLD_SIZE": 1, "LOCAL_WORLD_SIZE": 1, "RANK": 0, "LOCAL_RANK": 0, "GROUP_RANK": 0,
                 "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test"}  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))


@pytest.mark.usefixtures("launched_alone")
def test_the_group_is_left_after_success_and_after_an_error() -> None:
    # A group that is there when Python ends now and then aborts the process: exit status -6 instead of 2.
    with joined_machines(2, "cpu"):
        assert torch.distributed.is_initialized()
    assert not torch.distributed.is_initialized()
    with pytest.raises(ValueError, match="number of images"), joined_machines(2, "cpu"):
        raise ValueError("number of images")
    assert not torch.distributed.is_initialized()


@pytest.mark.usefixtures("launched_alone")
def test_the_group_that_lightning_makes_is_left_too() -> None:
    with joined_machines(1, "cpu"):
        torch.distributed.init_process_group("gloo", rank=0, world_size=1)
    assert not torch.distributed.is_initialized()


@pytest.mark.usefixtures("launched_alone")
def test_the_group_of_the_caller_stays() -> None:
    torch.distributed.init_process_group("gloo", rank=0, world_size=1)
    try:
        with joined_machines(2, "cpu") as processes:
            assert processes.count == 1
        assert torch.distributed.is_initialized()
    finally:
        torch.distributed.destroy_process_group()
