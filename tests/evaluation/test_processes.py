"""Images shared out among processes: none is lost or counted twice, and the result is that of one."""

import json
import os
import socket
import subprocess
import sys
import time

import pytest
import torch.distributed as dist

import sharded_evaluation
from axial_deeplab.evaluation import processes as module
from axial_deeplab.evaluation.processes import (
    Processes,
    connect,
    is_first_process,
    is_lost_connection,
    join_processes,
    naming_lost_connection,
)

NUM_IMAGES = 5


def test_every_image_is_one_process_s():
    for count in (1, 2, 3, 7):
        for num_images in (0, 1, 5, 14):
            shares = [list(Processes(rank, count).share(num_images)) for rank in range(count)]
            assert sorted(image for share in shares for image in share) == list(range(num_images))


def test_items_come_back_in_the_order_of_the_images(monkeypatch):
    for count in (1, 2, 3):
        shares = [[str(image) for image in Processes(rank, count).share(5)] for rank in range(count)]
        monkeypatch.setattr(Processes, "gather", lambda self, items, shares=shares: shares)
        assert Processes(0, count).collect(shares[0]) == ["0", "1", "2", "3", "4"]


def test_a_group_that_the_caller_has_joined_is_used_and_left_alone(tmp_path):
    with join_processes() as alone:
        assert alone == Processes(0, 1)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'rendezvous'}", rank=0, world_size=1)
    try:
        with join_processes() as processes:
            assert processes.gather("state") == ["state"]
            assert processes.is_first
        assert dist.is_initialized()
    finally:
        dist.destroy_process_group()


@pytest.fixture
def first_of_two(monkeypatch):
    """Be the first of two processes, of which the second never starts."""
    monkeypatch.setattr(module, "_PATIENCE", 2)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names = {"RANK": 0, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    for name, value in names.items():
        monkeypatch.setenv(name, str(value))


def test_waits_for_others_no_longer_than_a_minute(first_of_two):
    # On a busy machine PyTorch says so too late.
    reason = "(Timed out .* 1/2 clients joined|no answer within 2 s)"
    message = rf"^all processes must reach each other, got: {reason}.*by GLOO_SOCKET_IF"
    with pytest.raises(ConnectionError, match=message), join_processes():
        pass
    assert not dist.is_initialized()


def test_a_wait_that_pytorch_does_not_end(first_of_two, monkeypatch):
    monkeypatch.setattr(dist, "init_process_group", lambda *_, **__: time.sleep(9))
    with pytest.raises(ConnectionError, match="each other, got: no answer within 2 s; see what the others"):
        connect("gloo")


def test_a_launcher_that_tells_too_little(first_of_two, monkeypatch):
    monkeypatch.delenv("MASTER_PORT")
    with pytest.raises(ValueError, match="MASTER_PORT expected"):
        connect("gloo")


def test_others_may_be_long_at_work_once_they_are_connected(first_of_two, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    connect("gloo")
    try:
        assert dist.group.WORLD.get_group_store().timeout.total_seconds() == 1800
    finally:
        dist.destroy_process_group()


def test_knows_a_lost_connection(monkeypatch):
    gloo = "[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1"
    assert is_lost_connection(RuntimeError(gloo))
    assert is_lost_connection(dist.DistBackendError("NCCL error"))
    other = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    assert not is_lost_connection(other)
    with pytest.raises(RuntimeError, match="mat1"), naming_lost_connection("evaluating", "start again"):
        raise other
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    message = r"^the 2 evaluating processes must all run to the end, got .*closed by peer.*, then start again"
    with pytest.raises(ConnectionError, match=message), naming_lost_connection("evaluating", "start again"):
        raise RuntimeError(gloo)


def test_the_first_process_prints(monkeypatch):
    assert is_first_process()
    monkeypatch.setenv("RANK", "1")
    assert not is_first_process()


def test_each_process_takes_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert Processes(3, 8).device("auto") == "cuda:3"
    assert Processes(3, 8).device("cpu") == "cpu"
    assert Processes(0, 1).device("auto") == "auto"


def test_two_gloo_processes_measure_exactly_what_one_does(tmp_path, capsys):
    sharded_evaluation.write_boxes(tmp_path / "data", NUM_IMAGES)
    words = ["--root", str(tmp_path / "data"), "--ap", "cityscapes", "--flip", "--workers", "2"]
    outputs = {
        name: ["--json-out", str(tmp_path / f"{name}.json"), "--output", str(tmp_path / name)]
        for name in ("one", "two")
    }
    assert sharded_evaluation.run([*words, *outputs["one"]]) == 0
    assert "5 images" in capsys.readouterr().out
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    result = subprocess.run(
        [sys.executable, *torchrun, sharded_evaluation.__file__, *words, *outputs["two"]],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("5 images") == 1
    one, two = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "two"))
    for numbers in (one, two):
        assert numbers.pop("network_ms") > 0
        assert numbers.pop("post_processing_ms") > 0
    assert one == two
    assert one["num_images"] == NUM_IMAGES
    assert 0 < one["Things"]["pq"] < 100
    assert 0 < one["instances"]["ap"] < 100
    documents = [json.loads((tmp_path / name / "panoptic.json").read_text()) for name in ("one", "two")]
    assert documents[0] == documents[1]
    for annotation in documents[0]["annotations"]:
        pngs = [tmp_path / name / "panoptic" / annotation["file_name"] for name in ("one", "two")]
        assert pngs[0].read_bytes() == pngs[1].read_bytes()
