"""The forward kernel of inference: its vectors are eight heads.

A unit is one line and eight heads. The projection puts the heads of a channel side by side, so that every
number of the other kernels is a vector here, and nothing has to be summed or masked within a vector: short
axes waste no lanes. Relative tables have the same numbers for all heads: those of the logits are read as
one number for all lanes, those of the values have been multiplied by each head's scale.

A thread packs a unit into its scratch memory and walks over its queries four at a time. Where only every
second position is wanted, the others are never queries; positions are then visited in the order of their
remainders, so that the rows of a relative table slide through a tile all the same.
"""

import math

import numpy as np

from axial_deeplab.ops.numba.bundles import pair_of_logits, scaled_keys, scaled_queries
from axial_deeplab.ops.numba.layout import (
    Pointer,
    Scalar,
    Tile,
    inlined,
    kernel,
    whole_tiles,
)
from axial_deeplab.ops.numba.simd import (
    LANES,
    ROWS,
    TILE,
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
# Tables from the distance -reach - margin on: (D, distances) of the logits, (groups, distances, V, lanes) of
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
    packed = (queries + 3 * positions) * head_dim + positions * padded
    return LANES * (3 + packed + ROWS * (2 * head_dim + positions + padded))


@kernel
def whole_pairs(count: int) -> int:
    """The channels in the pairs that hold `count` channels."""
    return (count + PAIR - 1) // PAIR * PAIR


@kernel
def pack_heads(
    source: Pointer, stride: int, target: Pointer, pitch: int, rows: int, width: int, heads: int
) -> None:
    """Copy vectors (rows, width) of channels that are `heads` apart to rows of `pitch` vectors."""
    for row in range(rows):
        for i in range(width):
            store(target, (row * pitch + i) * LANES, load(source, row * stride + i * heads))


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

    scales = scratch
    packed_queries = advance(scales, 3 * LANES)
    raw_keys = advance(packed_queries, whole_tiles(queries) * head_dim * LANES)
    keys = advance(raw_keys, positions * head_dim * LANES)
    values = advance(keys, 2 * positions * head_dim * LANES)
    query_tile = advance(values, positions * padded * LANES)
    weights = advance(query_tile, 2 * head_dim * TILE)
    averages = advance(weights, positions * TILE)

    margin = (ROWS + PAIR) * stride
    distances = 2 * (reach + margin) + 1
    # Addresses of the tables are those of distance 0.
    q_table = advance(pointer_like(load_scalar(arguments, REL_Q), like), margin + reach)
    k_table = advance(pointer_like(load_scalar(arguments, REL_K), like), margin + reach)
    v_table = advance(
        pointer_like(load_scalar(arguments, REL_V), like),
        (group * distances + margin + reach) * padded * LANES,
    )
    scale = advance(pointer_like(load_scalar(arguments, SCALE), like), group * LANES)
    for term in range(3):
        store(scales, term * LANES, load(scale, term * heads))

    row = load_scalar(arguments, QKV + 2)
    q = advance(
        pointer_like(load_scalar(arguments, QKV), like),
        image * load_scalar(arguments, QKV + 1) + line * load_scalar(arguments, QKV + 3) + group * LANES,
    )
    k = advance(q, head_dim * heads)
    pack_heads(q, row * stride, packed_queries, head_dim, queries, head_dim, heads)
    pack_heads(k, row, raw_keys, head_dim, length, head_dim, heads)
    scaled_keys(raw_keys, length * head_dim, advance(scales, 2 * LANES), keys)
    pack_heads(advance(k, head_dim * heads), row, values, padded, length, value_dim, heads)

    row = load_scalar(arguments, OUTPUT + 2)
    output = advance(
        pointer_like(load_scalar(arguments, OUTPUT), like),
        image * load_scalar(arguments, OUTPUT + 1)
        + line * load_scalar(arguments, OUTPUT + 3)
        + group * LANES,
    )
    relu = load_scalar(arguments, RELU) != 0
    local = reach < length - 1
    for i in range(0, queries, ROWS):
        o = i * stride
        row_count = min(ROWS, queries - i)
        start = max(0, o - reach)
        stop = min(length, o + (row_count - 1) * stride + reach + 1)
        scaled_queries(advance(packed_queries, i * head_dim * LANES), head_dim, scales, query_tile)

        largest = fill_tile(scratch, -math.inf)
        for phase in range(stride):
            for p in range(start + phase, stop, PAIR * stride):
                tile_keys = advance(keys, 2 * p * head_dim * LANES)
                q_row, k_row = advance(q_table, p - o), advance(k_table, p - o)
                if stride == 1:
                    # A copy of its own, in which the addresses lie at constant distances.
                    first, second = pair_of_logits(
                        query_tile, tile_keys, q_row, k_row, distances, head_dim, 1
                    )
                else:
                    first, second = pair_of_logits(
                        query_tile, tile_keys, q_row, k_row, distances, head_dim, stride
                    )
                if local:
                    distance = p - o + reach
                    first = keep_rows(first, distance, stride, 2 * reach)
                    second = keep_rows(second, distance + stride, stride, 2 * reach)
                store_rows(weights, p * TILE, LANES, first)
                store_rows(weights, (p + stride) * TILE, LANES, second)
                largest = maximum(first, largest)
                if p + stride < stop:
                    largest = maximum(second, largest)
        total = fill_tile(scratch, 0.0)
        for p in range(start, stop):
            numerators = exp2(subtract(load_rows(weights, p * TILE, LANES), largest))
            store_rows(weights, p * TILE, LANES, numerators)
            total = add(total, numerators)

        average_heads(
            weights,
            values,
            advance(v_table, -o * padded * LANES),
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
def average_heads(
    weights: Pointer,
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
                weight = load_rows(weights, p * TILE, LANES)
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
