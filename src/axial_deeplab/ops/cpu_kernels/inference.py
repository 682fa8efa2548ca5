"""The forward kernel of inference: its vectors are eight heads.

A unit is one line and eight heads. The projection puts the heads of a channel side by side, so that every
number of the other kernels is a vector here, and nothing has to be summed or masked within a vector: short
axes waste no lanes. Relative tables have the same numbers for all heads: those of the logits are read as
one number for all lanes, those of the values have been multiplied by each head's scale.

A thread packs a unit into its scratch memory, queries and keys once for each term of the logits that has a
scale, and walks over its queries four at a time. Where only every second position is wanted, the others
are never queries; positions are then visited in the order of their remainders, so that the rows of a
relative table slide through a tile all the same.
"""

import math

import numpy as np

from axial_deeplab.ops.cpu_kernels.layout import (
    LOG2_E,
    Pointer,
    Scalar,
    Tile,
    inlined,
    kernel,
    whole_tiles,
)
from axial_deeplab.ops.cpu_kernels.simd import (
    LANES,
    ROWS,
    add,
    advance,
    exp2,
    fill,
    fill_tile,
    fma,
    keep_rows,
    load,
    load_rows,
    load_scalar,
    maximum,
    multiply,
    pointer_like,
    reciprocal,
    shift_down,
    splat_rows,
    store,
    store_rows,
    subtract,
    take_ticket,
)

# Columns of the table of arguments; strides and sizes count numbers.
(NEXT_THREAD, NEXT_UNIT) = np.arange(2)
(BATCH, LENGTH, LINES, GROUPS, HEAD_DIM, VALUE_DIM, REACH, STRIDE, RELU) = np.arange(2, 11)
# Addresses, each with the strides of B, L and M behind it; channels are dense, the heads of one side by side.
(QKV, OUTPUT) = np.arange(11, 19, 4)
# Tables from the distance -reach - margin on: (distances, D) of the logits, (groups, distances, V, lanes) of
# the values; factors of the logit terms (3, N).
(REL_Q, REL_K, REL_V, SCALE) = np.arange(19, 23)
(SCRATCH, SCRATCH_SIZE) = np.arange(23, 25)
COLUMNS = 25

PAIR = 2  # Positions, or channels of values, that are computed together: they share what is loaded.


def table_margin(stride: int) -> int:
    """The distances beyond the span on either side that tiles at its edge read."""
    return (ROWS + PAIR) * stride


def scratch_size(length: int, head_dim: int, value_dim: int, stride: int) -> int:
    """The numbers in the scratch memory of a thread."""
    queries = whole_tiles(-(-length // stride))
    positions = length + stride
    padded = whole_pairs(value_dim)
    return LANES * (2 * queries * head_dim + positions * (2 * head_dim + padded + ROWS) + ROWS * padded)


@kernel
def whole_pairs(count: int) -> int:
    """The channels in the pairs that hold `count` channels."""
    return (count + PAIR - 1) // PAIR * PAIR


@kernel
def pack(
    source: Pointer, stride: int, target: Pointer, pitch: int, rows: int, width: int, heads: int
) -> None:
    """Copy vectors (rows, width) of channels that are `heads` apart to rows of `pitch` vectors."""
    for row in range(rows):
        for i in range(width):
            store(target, (row * pitch + i) * LANES, load(source, row * stride + i * heads))


@kernel
def pack_scaled(
    source: Pointer, stride: int, target: Pointer, scale: Pointer, rows: int, width: int, heads: int
) -> None:
    """Copy vectors like `pack`, times a vector and log2 e."""
    factor = multiply(load(scale, 0), fill(scale, LOG2_E))
    for row in range(rows):
        for i in range(width):
            store(target, (row * width + i) * LANES, multiply(load(source, row * stride + i * heads), factor))


@kernel
def attend_heads(
    arguments: Pointer, image: int, line: int, group: int, scratch: Pointer, like: Scalar
) -> None:
    """The outputs of one unit."""
    length, reach, stride = (
        load_scalar(arguments, LENGTH),
        load_scalar(arguments, REACH),
        load_scalar(arguments, STRIDE),
    )
    head_dim, value_dim = load_scalar(arguments, HEAD_DIM), load_scalar(arguments, VALUE_DIM)
    heads = load_scalar(arguments, GROUPS) * LANES
    queries = (length + stride - 1) // stride
    padded = whole_pairs(value_dim)
    positions = length + stride

    content_queries = scratch
    table_queries = advance(content_queries, whole_tiles(queries) * head_dim * LANES)
    keys = advance(table_queries, whole_tiles(queries) * head_dim * LANES)
    table_keys = advance(keys, positions * head_dim * LANES)
    values = advance(table_keys, positions * head_dim * LANES)
    weights = advance(values, positions * padded * LANES)
    averages = advance(weights, ROWS * positions * LANES)

    margin = (ROWS + PAIR) * stride
    distances = 2 * (reach + margin) + 1
    q_table = advance(pointer_like(load_scalar(arguments, REL_Q), like), margin * head_dim)
    k_table = advance(pointer_like(load_scalar(arguments, REL_K), like), margin * head_dim)
    v_table = advance(
        pointer_like(load_scalar(arguments, REL_V), like), (group * distances + margin) * padded * LANES
    )
    scale = advance(pointer_like(load_scalar(arguments, SCALE), like), group * LANES)

    row = load_scalar(arguments, QKV + 2)
    q = advance(
        pointer_like(load_scalar(arguments, QKV), like),
        image * load_scalar(arguments, QKV + 1) + line * load_scalar(arguments, QKV + 3) + group * LANES,
    )
    k = advance(q, head_dim * heads)
    pack_scaled(q, row * stride, content_queries, scale, queries, head_dim, heads)
    pack_scaled(q, row * stride, table_queries, advance(scale, heads), queries, head_dim, heads)
    pack(k, row, keys, head_dim, length, head_dim, heads)
    pack_scaled(k, row, table_keys, advance(scale, 2 * heads), length, head_dim, heads)
    pack(advance(k, head_dim * heads), row, values, padded, length, value_dim, heads)

    row = load_scalar(arguments, OUTPUT + 2)
    output = advance(
        pointer_like(load_scalar(arguments, OUTPUT), like),
        image * load_scalar(arguments, OUTPUT + 1)
        + line * load_scalar(arguments, OUTPUT + 3)
        + group * LANES,
    )
    relu = load_scalar(arguments, RELU) != 0
    local = reach < length - 1
    pitch = positions * LANES
    for i in range(0, queries, ROWS):
        o = i * stride
        row_count = min(ROWS, queries - i)
        start = max(0, o - reach)
        stop = min(length, o + (row_count - 1) * stride + reach + 1)

        largest = fill_tile(scratch, -math.inf)
        for phase in range(stride):
            for p in range(start + phase, stop, PAIR * stride):
                distance = p - o + reach
                first, second = pair_of_logits(
                    advance(content_queries, i * head_dim * LANES),
                    advance(table_queries, i * head_dim * LANES),
                    advance(keys, p * head_dim * LANES),
                    advance(table_keys, p * head_dim * LANES),
                    advance(q_table, distance * head_dim),
                    advance(k_table, distance * head_dim),
                    head_dim,
                    stride,
                )
                if local:
                    first = keep_rows(first, distance, stride, 2 * reach)
                    second = keep_rows(second, distance + stride, stride, 2 * reach)
                store_rows(weights, p * LANES, pitch, first)
                store_rows(weights, (p + stride) * LANES, pitch, second)
                largest = maximum(first, largest)
                if p + stride < stop:
                    largest = maximum(second, largest)
        total = fill_tile(scratch, 0.0)
        for p in range(start, stop):
            numerators = exp2(subtract(load_rows(weights, p * LANES, pitch), largest))
            store_rows(weights, p * LANES, pitch, numerators)
            total = add(total, numerators)

        average_heads(
            weights,
            pitch,
            values,
            advance(v_table, (reach - o) * padded * LANES),
            reciprocal(total),
            relu,
            averages,
            start,
            stop,
            stride,
            padded,
        )
        for r in range(row_count):
            for c in range(value_dim):
                store(output, (i + r) * row + c * heads, load(averages, (r * padded + c) * LANES))


@inlined
def pair_of_logits(
    content_queries: Pointer,
    table_queries: Pointer,
    keys: Pointer,
    table_keys: Pointer,
    q_table: Pointer,
    k_table: Pointer,
    head_dim: int,
    stride: int,
) -> tuple[Tile, Tile]:
    """The logits, base 2, of four queries for a position and for the one `stride` further."""
    pitch = head_dim * LANES
    first = fill_tile(keys, 0.0)
    second = fill_tile(keys, 0.0)
    for d in range(head_dim):
        query = load_rows(content_queries, d * LANES, pitch)
        first = fma(query, load(keys, d * LANES), first)
        second = fma(query, load(keys, stride * pitch + d * LANES), second)
        query = load_rows(table_queries, d * LANES, pitch)
        relative = splat_rows(q_table, d, -stride * head_dim)
        first = fma(query, relative, first)
        following = fill(q_table, load_scalar(q_table, stride * head_dim + d))
        second = fma(query, shift_down(relative, following), second)
        relative = splat_rows(k_table, d, -stride * head_dim)
        first = fma(relative, load(table_keys, d * LANES), first)
        following = fill(k_table, load_scalar(k_table, stride * head_dim + d))
        second = fma(shift_down(relative, following), load(table_keys, stride * pitch + d * LANES), second)
    return first, second


@inlined
def average_heads(
    weights: Pointer,
    pitch: int,
    values: Pointer,
    v_table: Pointer,
    norm: Tile,
    relu: bool,
    averages: Pointer,
    start: int,
    stop: int,
    stride: int,
    padded: int,
) -> None:
    """The weighted averages of values and relative values for four queries; `v_table` is that of p = 0."""
    width = padded * LANES
    for c in range(0, width, PAIR * LANES):
        first = fill_tile(weights, 0.0)
        second = fill_tile(weights, 0.0)
        for phase in range(stride):
            before = (start + phase - stride) * width + c
            first_relative = load_rows(v_table, before, -stride * width)
            second_relative = load_rows(v_table, before + LANES, -stride * width)
            for p in range(start + phase, stop, stride):
                weight = load_rows(weights, p * LANES, pitch)
                first_relative = shift_down(first_relative, load(v_table, p * width + c))
                second_relative = shift_down(second_relative, load(v_table, p * width + c + LANES))
                first = fma(weight, add(first_relative, load(values, p * width + c)), first)
                second = fma(weight, add(second_relative, load(values, p * width + c + LANES)), second)
        first = multiply(first, norm)
        second = multiply(second, norm)
        if relu:
            # NaN stays.
            first = maximum(fill_tile(weights, 0.0), first)
            second = maximum(fill_tile(weights, 0.0), second)
        store_rows(averages, c, width, first)
        store_rows(averages, c + LANES, width, second)


@kernel
def infer(address: int, like: Scalar) -> None:
    """What one thread does: take units until none is left."""
    arguments = pointer_like(address, address)
    size = load_scalar(arguments, SCRATCH_SIZE)
    scratch = pointer_like(load_scalar(arguments, SCRATCH), like)
    scratch = advance(scratch, take_ticket(advance(arguments, NEXT_THREAD)) * size)
    for i in range(0, size, LANES):
        store(scratch, i, fill(scratch, 0.0))
    lines, groups = load_scalar(arguments, LINES), load_scalar(arguments, GROUPS)
    units = load_scalar(arguments, BATCH) * lines * groups
    unit = take_ticket(advance(arguments, NEXT_UNIT))
    while unit < units:
        attend_heads(
            arguments, unit // (lines * groups), unit // groups % lines, unit % groups, scratch, like
        )
        unit = take_ticket(advance(arguments, NEXT_UNIT))
