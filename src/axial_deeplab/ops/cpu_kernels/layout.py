"""What the compiled loops share: the table of arguments, sizes of memory, packing, the logits.

All arguments of a kernel stand in one table of integers (addresses, sizes, strides) whose columns are
named here. The numbers at all addresses have the type of the argument `like`.
"""

from typing import Any

import numpy as np
from numba import njit
from numba.extending import register_jitable

from axial_deeplab.ops.cpu_kernels.simd import (
    LANES,
    ROWS,
    advance,
    fill,
    fill_tile,
    fma,
    load,
    load_rows,
    load_scalar,
    mask_span,
    multiply,
    pointer_like,
    prefetch,
    splat_rows,
    store,
    store_scalar,
    take_ticket,
)

Pointer = Any  # to numbers of one floating-point type
Scalar = Any
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
SEGMENT = 64  # The same where queries attend to squares.

# Columns of the table of arguments. A tensor has five: address, strides of B, L, M and N; its channels
# are dense. (They are not plain integers, for each of which Numba would compile a function anew.)
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
# How far a square reaches along the columns of the image; REACH is along its rows.
ROW_REACH = np.arange(67, 68)[0]
COLUMNS = 68


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
def positions_pitch(length: int) -> int:
    """The length of a row of (channels, positions), zeros behind the last position."""
    return whole_vectors(length + LANES)


@size_rule
def weights_pitch(length: int) -> int:
    """The length of a row of weights, a margin on both sides."""
    return whole_vectors(length + 3 * MARGIN)


@size_rule
def table_rows(reach: int) -> int:
    """The distances of an expanded relative table: those of the span and margins."""
    return whole_vectors(2 * reach + 1 + 3 * MARGIN)


def tables_size(reach: int, head_dim: int, value_dim: int) -> int:
    padded = whole_vectors(head_dim), whole_vectors(value_dim)
    return table_rows(reach) * (2 * head_dim + value_dim + 2 * padded[0] + padded[1])


def table_grads_size(reach: int, head_dim: int, value_dim: int, heads: int) -> int:
    """The gradients of the three expanded tables and of the scales."""
    rows = table_rows(reach)
    return rows * (2 * whole_vectors(head_dim) + whole_vectors(value_dim)) + whole_vectors(3 * heads)


def forward_scratch_size(length: int, head_dim: int, value_dim: int) -> int:
    rows = whole_tiles(length)
    key_dim, padded = whole_vectors(head_dim), whole_vectors(value_dim)
    packed = rows * key_dim + positions_pitch(length) * head_dim + rows * padded
    return packed + ROWS * weights_pitch(length) + 2 * ROWS * padded


def backward_scratch_size(length: int, head_dim: int, value_dim: int) -> int:
    rows = whole_tiles(length) + 2 * MARGIN
    key_dim, padded = whole_vectors(head_dim), whole_vectors(value_dim)
    packed = rows * (4 * key_dim + 3 * padded) + positions_pitch(length) * (head_dim + value_dim)
    return packed + 2 * BLOCK * weights_pitch(length) + ROWS * key_dim + 3 * LANES


@size_rule
def moments_size(length: int, head_dim: int) -> int:
    """The moments of one head.

    For queries and then for keys: sums (L, D) and sums of outer products (L, D, D), each row up to whole
    vectors; at last the sums of q·k and of its square.
    """
    return 2 * length * (head_dim + 1) * whole_vectors(head_dim) + LANES


def moments_scratch_size(length: int, head_dim: int) -> int:
    return (2 * (head_dim + 1) + 3 * length) * whole_vectors(head_dim)


# --- sizes for squares --------------------------------------------------------------------------------------


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
    """The offsets in a square, each of its rows up to whole tiles."""
    return (2 * row_reach + 1) * whole_tiles(2 * reach + 1)


def squares_scratch_size(
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


def square_moments_scratch_size(
    height: int, width: int, reach: int, row_reach: int, head_dim: int, value_dim: int
) -> int:
    rows = 1 + (rows_in_reach(height, row_reach) + 1) * whole_tiles(head_dim)
    return rows * columns_pitch(width, reach) + (6 + 3 * whole_tiles(2 * reach + 1)) * LANES


def square_moments_backward_scratch_size(
    height: int, width: int, reach: int, row_reach: int, head_dim: int, value_dim: int
) -> int:
    rows = 1 + 2 * (rows_in_reach(height, row_reach) + 1) * whole_tiles(head_dim)
    size = offsets(reach, row_reach)
    lane_sums = (2 * size * whole_tiles(head_dim) + 1) * LANES
    return rows * columns_pitch(width, reach) + lane_sums + 3 * size * segment_pitch(reach)


@size_rule
def square_table_grads_size(reach: int, row_reach: int, head_dim: int, value_dim: int) -> int:
    """The gradients of a head's tables and of its first scale."""
    return offsets(reach, row_reach) * (2 * whole_tiles(head_dim) + whole_tiles(value_dim)) + 1


def squares_backward_scratch_size(
    height: int, width: int, reach: int, row_reach: int, head_dim: int, value_dim: int
) -> int:
    key_dim, padded_dim = whole_tiles(head_dim), whole_tiles(value_dim)
    slots = rows_in_reach(height, row_reach)
    rows = 1 + 2 * key_dim + 2 * padded_dim + 2 * slots * (key_dim + padded_dim)
    lane_sums = LANES * square_table_grads_size(reach, row_reach, head_dim, value_dim)
    weights = 2 * offsets(reach, row_reach) * segment_pitch(reach)
    return rows * columns_pitch(width, reach) + weights + lane_sums


# --- packing ------------------------------------------------------------------------------------------------


@kernel
def clear(target: Pointer, size: int) -> None:
    """Zero `size` numbers, a multiple of the lanes."""
    zero = fill(target, 0.0)
    for i in range(0, size, LANES):
        store(target, i, zero)


@kernel
def copy_rows(source: Pointer, stride: int, target: Pointer, pitch: int, rows: int, width: int) -> None:
    """Copy (rows, width) between row distances `stride` and `pitch`."""
    whole = width // LANES * LANES
    for row in range(rows):
        for i in range(0, whole, LANES):
            store(target, row * pitch + i, load(source, row * stride + i))
        for i in range(whole, width):
            store_scalar(target, row * pitch + i, load_scalar(source, row * stride + i))


@kernel
def transpose_rows(source: Pointer, stride: int, target: Pointer, pitch: int, rows: int, width: int) -> None:
    """Copy (rows, width) to (width, rows)."""
    for row in range(rows):
        for i in range(width):
            store_scalar(target, i * pitch + row, load_scalar(source, row * stride + i))


@kernel
def tensor_of_unit(
    arguments: Pointer, tensor: int, image: int, line: int, head: int, like: Scalar
) -> Pointer:
    """The address of a tensor's first position for one unit."""
    start = image * load_scalar(arguments, tensor + 1)
    start += line * load_scalar(arguments, tensor + 3) + head * load_scalar(arguments, tensor + 4)
    return advance(pointer_like(load_scalar(arguments, tensor), like), start)


@kernel
def position_stride(arguments: Pointer, tensor: int) -> int:
    return load_scalar(arguments, tensor + 2)


@kernel
def scratch_of_thread(arguments: Pointer, like: Scalar) -> Pointer:
    """Take a part of the scratch memory, zeroed."""
    size = load_scalar(arguments, SCRATCH_SIZE)
    scratch = pointer_like(load_scalar(arguments, SCRATCH), like)
    scratch = advance(scratch, take_ticket(advance(arguments, NEXT_THREAD)) * size)
    clear(scratch, size)
    return scratch


# --- one unit -----------------------------------------------------------------------------------------------


@kernel
def unit_of(arguments: Pointer, unit: int) -> Any:
    """Image, line and head of a unit; heads vary fastest: neighbors in memory follow each other."""
    lines, heads = load_scalar(arguments, LINES), load_scalar(arguments, HEADS)
    return unit // (lines * heads), unit // heads % lines, unit % heads


@kernel
def prefetch_unit(arguments: Pointer, tensors: int, unit: int, like: Scalar) -> None:
    """Bring a unit's rows of the first `tensors` tensors into the cache: they lie too far apart for the
    processor to foresee."""
    image, line, head = unit_of(arguments, unit)
    for tensor in range(Q, Q + tensors * (K - Q), K - Q):
        of_values = tensor in (V, CONTENT, POSITIONAL, GRAD_V)
        width = load_scalar(arguments, VALUE_DIM if of_values else HEAD_DIM)
        start = tensor_of_unit(arguments, tensor, image, line, head, like)
        stride = position_stride(arguments, tensor)
        for row in range(load_scalar(arguments, LENGTH)):
            for i in range(0, width, CACHE_LINE):
                prefetch(start, row * stride + i)


@inlined
def scales_of_head(arguments: Pointer, head: int, factor: float, like: Scalar) -> Any:
    """The scales of the three terms, times a factor."""
    heads = load_scalar(arguments, HEADS)
    scales = advance(pointer_like(load_scalar(arguments, SCALE), like), head)
    return (
        fill(scales, load_scalar(scales, 0) * factor),
        fill(scales, load_scalar(scales, heads) * factor),
        fill(scales, load_scalar(scales, 2 * heads) * factor),
    )


@inlined
def tile_of_logits(
    queries: Pointer,
    keys: Pointer,
    q_table: Pointer,
    k_table: Pointer,
    scales: Any,
    p: int,
    o: int,
    head_dim: int,
    length: int,
    reach: int,
) -> Tile:
    """The logits, base 2, of queries o ... o + 3 for positions p ... p + 7; -inf outside the span."""
    query_pitch = whole_vectors(head_dim)
    key_pitch = positions_pitch(length)
    table_pitch = table_rows(reach)
    distance = p - o + reach
    content = fill_tile(queries, 0.0)
    by_query = fill_tile(queries, 0.0)
    by_key = fill_tile(queries, 0.0)
    for d in range(head_dim):
        query = splat_rows(queries, o * query_pitch + d, query_pitch)
        key = load(keys, d * key_pitch + p)
        content = fma(query, key, content)
        by_query = fma(query, load_rows(q_table, d * table_pitch + distance, -1), by_query)
        by_key = fma(load_rows(k_table, d * table_pitch + distance, -1), key, by_key)
    logits = fma(content, scales[0], fma(by_query, scales[1], multiply(by_key, scales[2])))
    return mask_span(logits, p, o, reach, length)
