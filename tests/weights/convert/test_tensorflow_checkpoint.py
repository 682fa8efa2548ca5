"""TensorFlow checkpoints: those that TensorFlow wrote are read bit for bit, damaged ones are refused."""

import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from axial_deeplab.weights.convert.binary import masked_crc32c
from axial_deeplab.weights.convert.tensorflow_checkpoint import TensorFlowCheckpoint, is_checkpoint
from tensorflow_files import block, message, signed, table, tensor_entry, write_index

SHARDS = Path(__file__).parents[2] / "golden" / "tf_checkpoint_shards"
FILES = sorted(SHARDS.glob("ckpt-7.*"))


def assert_same_bits(tensor, expected):
    """Compare with an array of NumPy, which has bfloat16 as float32."""
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    assert tensor.numpy().dtype == expected.dtype
    assert tensor.shape == expected.shape
    assert tensor.numpy().tobytes() == expected.tobytes()


def test_all_types(golden):
    folder = golden("tf_checkpoint_mixed")
    checkpoint = TensorFlowCheckpoint(folder / "ckpt-1")
    with np.load(folder / "expected.npz") as expected:
        assert len(expected.files) == len(checkpoint.variables) - 1
        for name in expected.files:
            assert_same_bits(checkpoint.read(name.replace("_", "/", 1)), expected[name])
    assert checkpoint.read("a/bf16").dtype == torch.bfloat16
    assert checkpoint.read("a/half").dtype == torch.float16
    with pytest.raises(
        ValueError, match="a/string must be a whole tensor of numbers, got one of another type"
    ):
        checkpoint.read("a/string")


def test_several_shards():
    checkpoint = TensorFlowCheckpoint(SHARDS)
    assert checkpoint.num_shards == 2
    with np.load(SHARDS / "expected.npz") as expected:
        assert {*expected.files, "sliced"} == set(checkpoint.variables)
        for name in expected.files:
            assert_same_bits(checkpoint.read(name), expected[name])
    assert {variable.shard for variable in checkpoint.variables.values()} == {0, 1}
    with pytest.raises(
        ValueError, match="sliced must be a whole tensor of numbers, got one in several slices"
    ):
        checkpoint.read("sliced")


def test_checkpoint_of_a_network(golden):
    checkpoint = TensorFlowCheckpoint(golden("tf_checkpoint_max_deeplab_s_backbone"))
    with np.load(golden("deeplab_e2e_max_deeplab_s_backbone.npz")) as archive:
        weights = {
            name.removeprefix("weights/"): archive[name]
            for name in archive.files
            if name.startswith("weights/")
        }
    assert len(weights) == 592
    for name, expected in weights.items():
        assert_same_bits(checkpoint.read(name), expected)
    assert checkpoint.read("global_step").item() == 60_000


def test_paths(tmp_path):
    for path in (SHARDS, SHARDS / "ckpt-7", *FILES):
        assert is_checkpoint(path)
        assert TensorFlowCheckpoint(path).prefix == SHARDS / "ckpt-7"
    assert not is_checkpoint(tmp_path)
    assert not is_checkpoint(SHARDS / "expected.npz")
    with pytest.raises(
        FileNotFoundError, match=r"checkpoint must have an index, got none at .*ckpt-8\.index"
    ):
        TensorFlowCheckpoint(SHARDS / "ckpt-8")
    for name in ("a.index", "b.index"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"must be one of the folder .*, got a, b; name one"):
        TensorFlowCheckpoint(tmp_path)


@pytest.fixture
def copied(tmp_path):
    for path in FILES:
        shutil.copy(path, tmp_path)
    return tmp_path


def test_missing_shard(copied):
    (copied / "ckpt-7.data-00001-of-00002").unlink()
    checkpoint = TensorFlowCheckpoint(copied)
    checkpoint.read("encoder/_half")
    with pytest.raises(
        FileNotFoundError, match=r"checkpoint must have all its files, got no .*data-00001-of"
    ):
        checkpoint.read("encoder/_brain")


def test_truncated_and_corrupted_data(copied):
    path = copied / "ckpt-7.data-00000-of-00002"
    content = bytearray(path.read_bytes())
    checkpoint = TensorFlowCheckpoint(copied)
    path.write_bytes(content[:900])
    with pytest.raises(
        ValueError, match=r"0-of-00002 must be a file .*, got 900 bytes, encoder/_half lies behind"
    ):
        checkpoint.read("encoder/_half")
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"0-of-00002 must be a file .*, got a wrong checksum of encoder/_stem/"
    ):
        checkpoint.read("encoder/_stem/_conv/kernel")


def read_all(folder):
    checkpoint = TensorFlowCheckpoint(folder / "ckpt-7")
    return {name: checkpoint.read(name) for name in checkpoint.variables if name != "sliced"}


@given(number=st.integers(0, len(FILES) - 1), position=st.integers(0, 10_000), change=st.integers(1, 255))
def test_damaged_bytes_are_noticed(tmp_path_factory, number, position, change):
    folder = tmp_path_factory.mktemp("damaged")
    for path in FILES:
        content = bytearray(path.read_bytes())
        if path == FILES[number]:
            content[position % len(content)] ^= change
        (folder / path.name).write_bytes(content)
    try:
        tensors = read_all(folder)
    except ValueError:
        return
    # Nothing but the slices of "sliced" and the padding of the footer is not protected.
    intact = read_all(SHARDS)
    assert tensors.keys() == intact.keys()
    assert all(torch.equal(tensors[name], intact[name]) for name in intact)


@given(number=st.integers(0, len(FILES) - 1), length=st.integers(0, 900))
def test_truncated_files_are_refused(tmp_path_factory, number, length):
    folder = tmp_path_factory.mktemp("truncated")
    for path in FILES:
        content = path.read_bytes()
        (folder / path.name).write_bytes(
            content[: length % len(content)] if path == FILES[number] else content
        )
    with pytest.raises(ValueError, match="must be a file of a complete TensorFlow checkpoint"):
        read_all(folder)


DATA = bytes(range(24))
ENTRY = tensor_entry(DATA, (2, 3))


@given(position=st.integers(0, len(ENTRY) - 1), change=st.integers(1, 255))
def test_false_entries_with_right_checksums(tmp_path_factory, position, change):
    folder = tmp_path_factory.mktemp("false")
    entry = bytearray(ENTRY)
    entry[position] ^= change
    write_index(folder / "c.index", {b"a": bytes(entry)})
    (folder / "c.data-00000-of-00001").write_bytes(DATA)
    try:
        tensor = TensorFlowCheckpoint(folder).read("a")
    except ValueError:
        return
    assert tensor.numel() * tensor.element_size() <= len(DATA)


HUGE = message((1, 1), (2, message((2, message((1, 2**38))))), (5, 2**40))


@pytest.mark.parametrize(
    ("entries", "message_of_error"),
    [
        ({b"a": HUGE}, r"got 24 bytes, a lies behind them"),
        ({b"a": message((1, 1), (5, 4), (4, 2**64 - 4))}, r"got 24 bytes, a lies behind them"),
        ({b"a": message((1, 1), (5, 8))}, r"got 8 bytes for a of shape \(\);"),
        ({b"a": tensor_entry(DATA, (2, 2))}, r"got 24 bytes for a of shape \(2, 2\);"),
        (
            {b"a": tensor_entry(b"", (0, 2**62))},
            "got a tensor of 2 dimensions and sizes such as 4611686018427387904",
        ),
        ({b"a": tensor_entry(b"", (0,) * 17)}, "got a tensor of 17 dimensions"),
        ({b"a": tensor_entry(DATA, (2, 3), shard=1)}, "got a in file 2 of 1;"),
        ({b"a": message((1, b"float"))}, "got a text in the place of a number;"),
        ({b"a": message((2, 6))}, "got a number in the place of a message;"),
        ({b"\xff": ENTRY}, r"got the name b'\\xff';"),
        ({b"a": ENTRY, b"a/.ATTRIBUTES/VARIABLE_VALUE": ENTRY}, "got two variables a;"),
    ],
)
def test_refuses_false_entries(tmp_path, entries, message_of_error):
    write_index(tmp_path / "c.index", entries)
    (tmp_path / "c.data-00000-of-00001").write_bytes(DATA)
    tracemalloc.start()
    with pytest.raises(ValueError, match=message_of_error):
        TensorFlowCheckpoint(tmp_path).read("a")
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_refuses_false_headers(tmp_path):
    path = tmp_path / "c.index"
    write_index(path, {b"a": ENTRY}, header=message((1, 1), (2, 1)))
    with pytest.raises(ValueError, match="got numbers whose highest byte comes first"):
        TensorFlowCheckpoint(path)
    path.write_bytes(table(signed(block([(b"a", ENTRY)]))))
    with pytest.raises(ValueError, match="got no header"):
        TensorFlowCheckpoint(path)
    with path.open("wb") as file:
        file.truncate(2**40)  # a hole: it occupies no space
    with pytest.raises(ValueError, match="got 1099511627776 bytes, more than any index has"):
        TensorFlowCheckpoint(path)


def test_checksums_are_those_of_tensorflow():
    content = FILES[0].read_bytes()
    variable = TensorFlowCheckpoint(SHARDS).variables["encoder/_half"]
    assert masked_crc32c(content[variable.offset : variable.offset + variable.size]) == variable.checksum
