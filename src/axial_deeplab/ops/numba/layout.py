"""What the compiled loops share: the table of arguments, sizes of memory, packing, the logits.

All arguments of a kernel stand in one table of integers (addresses, sizes, strides) whose columns are
named here. The numbers at all addresses have the type of the argument `like`.
"""

from typing import Any

import numpy as np
from numba import njit
from numba.extending import register_jitable

from axial_deeplab.ops.numba.simd import (
    LANES,
    ROWS,
    advance,
    fill,
    load_scalar,
    pointer_like,
    store,
    store_scalar,
    take_ticket,
)

Pointer = Any  # to numbers of one floating-point type
Scalar = Any
Vector = Any
Tile = Any

kernel: Any = njit
# A tile stays in registers only within one function.
inlined: Any = njit(forceinline=True)
# Compiled with its caller, which saves the time of compiling it alone.
merged: Any = njit(inline="always")
# Sizes are also asked for by Python.
size_rule: Any = register_jitable

LOG2_E = 1.4426950408889634

MARGIN = LANES  # Zeros on either side of what is read at shifted positions.
CACHE_LINE = 16  # Numbers: 64 bytes of float32; half as many of float64 are seldom worth a second request.
BLOCK = 16  # Queries of which the backward pass keeps the weights and their gradients.
SEGMENT = 64  # The same where queries attend to windows.

# Columns of the table of arguments. A tensor has five: address, strides of B, L, M and N; its channels
# are dense. (They are not plain integers, for each of which Numba would compile a function again.)
(NEXT_THREAD, NEXT_CHUNK, CHUNKS) = np.arange(3)
(BATCH, LENGTH, LINES, HEADS, HEAD_DIM, VALUE_DIM, REACH, MAX_DISTANCE) = np.arange(3, 11)
(SCALE, MAXIMA) = np.arange(11, 13)  # (3, N); largest logits (units, L up to whole tiles), base 2
(REL_Q, REL_K, REL_V, GRAD_REL_Q, GRAD_REL_K, GRAD_REL_V, GRAD_SCALE) = np.arange(13, 20)  # 0: absent
(TABLES, SCRATCH, SCRATCH_SIZE, TABLE_GRADS, TABLE_GRADS_SIZE) = np.arange(20, 25)
# In the backward pass CONTENT and POSITIONAL are the gradients of the outputs.
(Q, K, V, CONTENT, POSITIONAL, GRAD_Q, GRAD_K, GRAD_V) = np.arange(25, 65, 5)
# Factors of the positional output (N, V up to whole vectors), where it is added to the content; else 0.
# Moments of all heads (N, `moments_size`), or their gradients.
(POSITIONAL_SCALE, MOMENTS) = np.arange(65, 67)
# How far a window reaches along the columns of the image; REACH is along its rows.
# Units in all, and where those of a bundle start, for each thread `LANE_STARTS_SIZE` integers.
(ROW_REACH, UNITS, LANE_STARTS) = np.arange(67, 70)
COLUMNS = 70
TENSORS = 8
LANE_STARTS_SIZE = 2 * TENSORS * LANES  # Of this bundle and of the next.


# --- sizes --------------------------------------------------------------------------------------------------


@size_rule
def whole_vectors(count: int) -> int:
    """The numbers in the vectors that hold `count` numbers."""
    return (count + LANES - 1) // LANES * LANES


@size_rule
def whole_tiles(count: int) -> int:
    """The rows in the tiles that hold `count` rows."""
    return (count + ROWS - 1) // ROWS * ROWS


@size_rule
def table_rows(reach: int) -> int:
    """The distances of an expanded relative table: those of the span and margins."""
    return 2 * (reach + MARGIN) + 1


def tables_size(reach: int, head_dim: int, value_dim: int) -> int:
    return table_rows(reach) * (2 * head_dim + value_dim)


@size_rule
def table_grads_size(reach: int, head_dim: int, value_dim: int, heads: int) -> int:
    """The gradients of the three tables and of the scales."""
    return whole_vectors((2 * reach + 1) * (2 * head_dim + value_dim) + 3 * heads)


def forward_scratch_size(length: int, head_dim: int, value_dim: int) -> int:
    rows = whole_tiles(length)
    packed = rows * head_dim + (length + 1) * (3 * head_dim + value_dim)
    tiles = ROWS * (2 * head_dim + length + 1 + 2 * value_dim)
    return LANES * (3 + packed + tiles + value_dim)


def backward_scratch_size(length: int, head_dim: int, value_dim: int, reach: int) -> int:
    rows = whole_tiles(length)
    padded = rows + 2 * MARGIN
    packed = padded * (4 * head_dim + value_dim) + rows * 2 * value_dim
    sums = padded * (2 * head_dim + value_dim)
    tiles = ROWS * (4 * head_dim + 2 * value_dim)
    lane_grads = table_rows(reach) * (2 * head_dim + value_dim)
    return LANES * (6 + packed + sums + tiles + 2 * BLOCK * weights_pitch(length) + lane_grads)


@size_rule
def weights_pitch(length: int) -> int:
    """The positions of four queries' weights in a block: margins of zeros on both sides."""
    return length + 2 * MARGIN


@size_rule
def moments_size(length: int, head_dim: int) -> int:
    """The moments of one head.

    Of queries and then of keys: at each position the sum (D) and that of the outer products (D, D); at last
    the sums of q·k and of its square. A tile reads beyond the last product.
    """
    return whole_vectors(2 * length * (1 + head_dim) * head_dim + ROWS)


def moments_scratch_size(length: int, head_dim: int, heads: int) -> int:
    """For so many heads at a time."""
    line = (length + 1 + head_dim) * head_dim + 2 * ROWS
    sums = max(heads * 2 * length * (1 + head_dim) * head_dim, length * head_dim + ROWS)
    return LANES * (2 * line + sums)


# --- sizes for windows --------------------------------------------------------------------------------------


@size_rule
def columns_pitch(width: int, reach: int) -> int:
    """The length of a packed row: its columns, `reach` zeros before them, more behind the last one."""
    return whole_vectors(whole_vectors(width) + 2 * reach + ROWS + LANES)


@size_rule
def rows_in_reach(height: int, row_reach: int) -> int:
    """The rows of keys that are packed at the same time."""
    return min(height, 2 * row_reach + 1)


@size_rule
def offsets(reach: int, row_reach: int) -> int:
    """The offsets in a window, each of its rows up to whole tiles."""
    return (2 * row_reach + 1) * whole_tiles(2 * reach + 1)


def window_scratch_size(
    height: int, width: int, reach: int, row_reach: int, head_dim: int, value_dim: int
) -> int:
    key_dim, padded_dim = whole_tiles(head_dim), whole_tiles(value_dim)
    rows = 1 + key_dim + rows_in_reach(height, row_reach) * (key_dim + padded_dim)
    return rows * columns_pitch(width, reach) + (offsets(reach, row_reach) + 2 * padded_dim) * LANES


@size_rule
def segment_pitch(reach: int) -> int:
    """The length of a row of weights of a segment: margins of zeros on both sides."""
    return SEGMENT + 2 * segment_margin(reach)


@size_rule
def segment_margin(reach: int) -> int:
    return whole_vectors(2 * reach + LANES)


def window_moments_scratch_size(
    height: int, width: int, reach: int, row_reach: int, head_dim: int, value_dim: int
) -> int:
    rows = 1 + (rows_in_reach(height, row_reach) + 1) * whole_tiles(head_dim)
    return rows * columns_pitch(width, reach) + (6 + 3 * whole_tiles(2 * reach + 1)) * LANES


def window_moments_backward_scratch_size(
    height: int, width: int, reach: int, row_reach: int, head_dim: int, value_dim: int
) -> int:
    rows = 1 + 2 * (rows_in_reach(height, row_reach) + 1) * whole_tiles(head_dim)
    size = offsets(reach, row_reach)
    lane_sums = (2 * size * whole_tiles(head_dim) + 1) * LANES
    return rows * columns_pitch(width, reach) + lane_sums + 3 * size * segment_pitch(reach)


@size_rule
def window_table_grads_size(reach: int, row_reach: int, head_dim: int, value_dim: int) -> int:
    """The gradients of a head's tables and of its first scale."""
    return offsets(reach, row_reach) * (2 * whole_tiles(head_dim) + whole_tiles(value_dim)) + 1


def window_backward_scratch_size(
    height: int, width: int, reach: int, row_reach: int, head_dim: int, value_dim: int
) -> int:
    key_dim, padded_dim = whole_tiles(head_dim), whole_tiles(value_dim)
    slots = rows_in_reach(height, row_reach)
    rows = 1 + 2 * key_dim + 2 * padded_dim + 2 * slots * (key_dim + padded_dim)
    lane_sums = LANES * window_table_grads_size(reach, row_reach, head_dim, value_dim)
    weights = 2 * offsets(reach, row_reach) * segment_pitch(reach)
    return rows * columns_pitch(width, reach) + weights + lane_sums


@merged
def lengths(arguments: Pointer) -> Any:
    """The positions of the axis, the reach, the channels of queries and keys, and of values."""
    return (
        load_scalar(arguments, LENGTH),
        load_scalar(arguments, REACH),
        load_scalar(arguments, HEAD_DIM),
        load_scalar(arguments, VALUE_DIM),
    )


# --- packing ------------------------------------------------------------------------------------------------


@kernel
def clear(target: Pointer, size: int) -> None:
    """Zero `size` numbers, a multiple of the lanes."""
    zero = fill(target, 0.0)
    for i in range(0, size, LANES):
        store(target, i, zero)


@kernel
def transpose_rows(source: Pointer, stride: int, target: Pointer, pitch: int, rows: int, width: int) -> None:
    """Copy (rows, width) to (width, rows)."""
    for row in range(rows):
        for i in range(width):
            store_scalar(target, i * pitch + row, load_scalar(source, row * stride + i))


@kernel
def tensor_at(arguments: Pointer, column: int, like: Scalar) -> Pointer:
    """The numbers at the address in a column of the table of arguments."""
    return pointer_like(load_scalar(arguments, column), like)


@kernel
def tensor_of_unit(
    arguments: Pointer, tensor: int, image: int, line: int, head: int, like: Scalar
) -> Pointer:
    """The address of a tensor's first position for one unit."""
    start = image * load_scalar(arguments, tensor + 1)
    start += line * load_scalar(arguments, tensor + 3) + head * load_scalar(arguments, tensor + 4)
    return advance(tensor_at(arguments, tensor, like), start)


@kernel
def channels_of(arguments: Pointer, tensor: int) -> int:
    """The channels that a head has in a tensor."""
    of_values = tensor in (V, CONTENT, POSITIONAL, GRAD_V)
    return load_scalar(arguments, VALUE_DIM if of_values else HEAD_DIM)


@kernel
def position_stride(arguments: Pointer, tensor: int) -> int:
    return load_scalar(arguments, tensor + 2)


@kernel
def scratch_of_thread(arguments: Pointer, like: Scalar) -> Pointer:
    """Take a part of the scratch memory, zeroed."""
    size = load_scalar(arguments, SCRATCH_SIZE)
    scratch = tensor_at(arguments, SCRATCH, like)
    scratch = advance(scratch, take_ticket(advance(arguments, NEXT_THREAD)) * size)
    clear(scratch, size)
    return scratch
