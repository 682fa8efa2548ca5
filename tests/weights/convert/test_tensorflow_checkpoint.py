"""TensorFlow checkpoints: those that TensorFlow wrote are read bit for bit, damaged ones are refused."""

import shutil
import time
import tracemalloc
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from axial_deeplab.weights.convert.tensorflow_checkpoint import (
    BrokenFileError,
    TensorFlowCheckpoint,
    is_checkpoint,
    masked_crc32c,
    parse_message,
    read_table,
    read_varint,
)
from tensorflow_files import MAGIC, block, message, signed, table, tensor_entry, varint, write_index

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


@pytest.mark.parametrize(
    ("content", "crc"),
    # RFC 3720, appendix B.4, and the customary check value.
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (b"123456789", 0xE3069283),
    ],
)
def test_crc32c(content, crc):
    assert masked_crc32c(content) == ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


@pytest.mark.parametrize("size", [4095, 4096, 5003, 65_536, 65_537])
def test_crc32c_in_lanes_is_that_of_single_bits(size):
    content = np.random.default_rng(size).bytes(size)
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    assert masked_crc32c(content) == ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


def test_large_checkpoints_are_checked_in_seconds():
    content = np.random.default_rng(0).bytes(20_000_000)
    start = time.process_time()
    masked_crc32c(content)
    assert time.process_time() - start < 1  # 0.1 s here


def test_varints():
    assert read_varint(b"\x07", 0) == (7, 1)
    assert read_varint(b"x\xac\x02", 1) == (300, 3)
    assert read_varint(b"\xff" * 9 + b"\x01", 0) == (2**64 - 1, 10)
    with pytest.raises(BrokenFileError, match="a number that is cut off"):
        read_varint(b"\xac", 0)
    for too_long in (b"\xff" * 9 + b"\x02", b"\x80" * 11):
        with pytest.raises(BrokenFileError, match="a number of more than 64 bits"):
            read_varint(too_long, 0)


def test_messages():
    content = b"\x08\x96\x01" + b"\x12\x02hi" + b"\x1d\x01\0\0\0" + b"\x21" + b"\x02" + bytes(7) + b"\x12\x00"
    assert parse_message(content) == {1: [150], 2: [b"hi", b""], 3: [1], 4: [2]}
    for cut_off in (b"\x12\x03hi", b"\x1d\0", b"\x12" + b"\xff" * 9 + b"\x01"):
        with pytest.raises(BrokenFileError, match="a text that is cut off"):
            parse_message(cut_off)
    with pytest.raises(BrokenFileError, match="a field of the unknown kind 3"):
        parse_message(b"\x0b")


@given(st.binary(max_size=60))
def test_any_bytes(content):
    with suppress(BrokenFileError):
        parse_message(content)


ENTRIES = [(b"a", b"1"), (b"ab", b""), (b"b", b"3")]


def test_blocks_and_their_order():
    assert read_table(table(signed(block(ENTRIES[:2])), signed(block(ENTRIES[2:])))) == dict(ENTRIES)
    assert read_table(table()) == {}


def test_keys_that_share_a_beginning():
    content = b"\0\3\1abc1" + b"\2\1\1d2" + b"\1\0\0" + bytes(4) + b"\1\0\0\0"
    with pytest.raises(BrokenFileError, match="the key b'a' out of order"):
        read_table(table(signed(content)))
    content = content.replace(b"\1\0\0" + bytes(4), b"\1\1\0z" + bytes(4))
    assert read_table(table(signed(content))) == {b"abc": b"1", b"abd": b"2", b"az": b""}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no table at its end"),
        (b"hello" * 20, "no table at its end"),
        (MAGIC.rjust(48, b"\xff"), "a number of more than 64 bits"),
        (table(signed(block(ENTRIES)))[1:], "a wrong checksum of the block|a text that is cut off"),
        (table(signed(block(ENTRIES), compression=1)), "a block of the unknown compression 1"),
        (table(signed(block(ENTRIES, end=b"\xff\xff\xff\x7f"))), "that claims 2147483647 whole keys"),
        (table(signed(b"")), "a block of 0 bytes that claims 0 whole keys"),
        (table(signed(block(ENTRIES)), signed(block(ENTRIES))), "the key b'a' out of order"),
        (table(signed(b"\1\1\0a" + bytes(4) + b"\1\0\0\0")), r"a key of 1 \+ 1 bytes"),
        (
            table(signed(b"\0" + varint(2**60) + b"\0a" + bytes(8))),
            r"a key of 0 \+ 1152921504606846976 bytes",
        ),
        (table(signed(b"\0\1" + varint(2**60) + b"a" + bytes(8))), "a text that is cut off"),
    ],
)
def test_refuses_false_tables(content, message):
    with pytest.raises(BrokenFileError, match=message):
        read_table(content)


def test_keys_that_grow_do_not_fill_the_memory():
    # Each key is the one before and one byte more: 4 bytes in the file, but longer and longer in memory.
    entries = b"".join(varint(number) + b"\1\0a" for number in range(100_000))
    content = table(signed(entries + bytes(4) + b"\1\0\0\0"))
    tracemalloc.start()
    with pytest.raises(BrokenFileError, match=r"a key of 4096 \+ 1 bytes"):
        read_table(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16e6
