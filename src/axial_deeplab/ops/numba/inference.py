"""The forward kernel of inference: its vectors are eight heads of a line, or of two neighboring lines.

A unit is as many lines as fit, and eight heads. The projection puts the heads of a channel side by side, so
that every number of the other kernels is a vector here, and nothing has to be summed or masked within a
vector: short axes waste no lanes. Relative tables have the same numbers for all heads: those of the logits
are read as one number for all lanes, those of the values have been multiplied by each head's scale.

A thread packs a unit into its scratch memory and walks over its queries four at a time. Where only every
second position is wanted, the others are never queries; positions are then visited in the order of their
remainders, so that the rows of a relative table slide through a tile all the same.
"""

import math

import numpy as np

from axial_deeplab.ops.numba import bundles, layout, simd
from axial_deeplab.ops.numba.layout import Pointer, Scalar, Tile, inlined, kernel
from axial_deeplab.ops.numba.simd import LANES, ROWS, SQUARE, TILE

# Columns of the table of arguments; strides and sizes count numbers.
(NEXT_THREAD, NEXT_UNIT) = np.arange(2)
(BATCH, LENGTH, LINES, GROUPS, HEAD_DIM, VALUE_DIM, REACH, STRIDE, RELU) = np.arange(2, 11)
# Addresses, each with the strides of B, L and M behind it; channels are dense, the heads of one side by side.
(QKV, OUTPUT) = np.arange(11, 19, 4)
# Tables from the distance -reach - margin on: (D, distances) of the logits, (groups, distances, V, heads) of
# the values; factors of the logit terms (3, N).
(REL_Q, REL_K, REL_V, SCALE) = np.arange(19, 23)
(SCRATCH, SCRATCH_SIZE) = np.arange(23, 25)
COLUMNS = 25

HEADS = SQUARE  # Those of a unit.
LINES_OF_UNIT = LANES // HEADS
PAIR = 2  # Positions, or channels of values, that are computed together: they share what is loaded.


def table_margin(stride: int) -> int:
    """The distances beyond the span on either side that tiles at its edge read."""
    return (ROWS + PAIR) * stride


def scratch_size(length: int, head_dim: int, value_dim: int, stride: int) -> int:
    """The numbers in the scratch memory of a thread."""
    queries = layout.whole_tiles(-(-length // stride))
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
    source: Pointer,
    stride: int,
    line_stride: int,
    target: Pointer,
    pitch: int,
    rows: int,
    width: int,
    heads: int,
) -> None:
    """Copy vectors (rows, width) of channels that are `heads` apart to rows of `pitch` vectors."""
    for row in range(rows):
        for i in range(width):
            vector = simd.load_parts(source, row * stride + i * heads, line_stride)
            simd.store(target, (row * pitch + i) * LANES, vector)


@kernel
def attend_heads(
    arguments: Pointer, image: int, line: int, group: int, scratch: Pointer, like: Scalar
) -> None:
    """The outputs of one unit."""
    length = simd.load_scalar(arguments, LENGTH)
    reach = simd.load_scalar(arguments, REACH)
    stride = simd.load_scalar(arguments, STRIDE)
    head_dim, value_dim = simd.load_scalar(arguments, HEAD_DIM), simd.load_scalar(arguments, VALUE_DIM)
    heads = simd.load_scalar(arguments, GROUPS) * HEADS
    # Where a unit has more lines than are left it takes the last one again.
    repeats = line + LINES_OF_UNIT > simd.load_scalar(arguments, LINES)
    queries = (length + stride - 1) // stride
    padded = whole_pairs(value_dim)
    positions = length + stride

    scales = scratch
    packed_queries = simd.advance(scales, 3 * LANES)
    raw_keys = simd.advance(packed_queries, layout.whole_tiles(queries) * head_dim * LANES)
    keys = simd.advance(raw_keys, positions * head_dim * LANES)
    values = simd.advance(keys, 2 * positions * head_dim * LANES)
    query_tile = simd.advance(values, positions * padded * LANES)
    weights = simd.advance(query_tile, 2 * head_dim * TILE)
    averages = simd.advance(weights, positions * TILE)

    margin = (ROWS + PAIR) * stride
    distances = 2 * (reach + margin) + 1
    # Addresses of the tables are those of distance 0.
    q_table = simd.advance(layout.tensor_at(arguments, REL_Q, like), margin + reach)
    k_table = simd.advance(layout.tensor_at(arguments, REL_K, like), margin + reach)
    v_table = simd.advance(
        layout.tensor_at(arguments, REL_V, like), (group * distances + margin + reach) * padded * HEADS
    )
    scale = simd.advance(layout.tensor_at(arguments, SCALE, like), group * HEADS)
    for term in range(3):
        simd.store(scales, term * LANES, simd.load_parts(scale, term * heads, 0))

    row = simd.load_scalar(arguments, QKV + 2)
    q = simd.advance(
        layout.tensor_at(arguments, QKV, like),
        image * simd.load_scalar(arguments, QKV + 1)
        + line * simd.load_scalar(arguments, QKV + 3)
        + group * HEADS,
    )
    k = simd.advance(q, head_dim * heads)
    across = 0 if repeats else simd.load_scalar(arguments, QKV + 3)
    pack_heads(q, row * stride, across, packed_queries, head_dim, queries, head_dim, heads)
    pack_heads(k, row, across, raw_keys, head_dim, length, head_dim, heads)
    bundles.scaled_keys(raw_keys, length * head_dim, simd.advance(scales, 2 * LANES), keys)
    pack_heads(simd.advance(k, head_dim * heads), row, across, values, padded, length, value_dim, heads)

    row = simd.load_scalar(arguments, OUTPUT + 2)
    output = simd.advance(
        layout.tensor_at(arguments, OUTPUT, like),
        image * simd.load_scalar(arguments, OUTPUT + 1)
        + line * simd.load_scalar(arguments, OUTPUT + 3)
        + group * HEADS,
    )
    across = 0 if repeats else simd.load_scalar(arguments, OUTPUT + 3)
    relu = simd.load_scalar(arguments, RELU) != 0
    local = reach < length - 1
    for i in range(0, queries, ROWS):
        o = i * stride
        row_count = min(ROWS, queries - i)
        start = max(0, o - reach)
        stop = min(length, o + (row_count - 1) * stride + reach + 1)
        bundles.scaled_queries(
            simd.advance(packed_queries, i * head_dim * LANES), head_dim, scales, query_tile
        )

        largest = simd.fill_tile(scratch, -math.inf)
        for phase in range(stride):
            for p in range(start + phase, stop, PAIR * stride):
                tile_keys = simd.advance(keys, 2 * p * head_dim * LANES)
                q_row, k_row = simd.advance(q_table, p - o), simd.advance(k_table, p - o)
                if stride == 1:
                    # A copy of its own, in which the addresses lie at constant distances.
                    first, second = bundles.pair_of_logits(
                        query_tile, tile_keys, q_row, k_row, distances, head_dim, 1
                    )
                else:
                    first, second = bundles.pair_of_logits(
                        query_tile, tile_keys, q_row, k_row, distances, head_dim, stride
                    )
                if local:
                    distance = p - o + reach
                    first = simd.keep_rows(first, distance, stride, 2 * reach)
                    second = simd.keep_rows(second, distance + stride, stride, 2 * reach)
                simd.store_rows(weights, p * TILE, LANES, first)
                simd.store_rows(weights, (p + stride) * TILE, LANES, second)
                largest = simd.maximum(first, largest)
                if p + stride < stop:
                    largest = simd.maximum(second, largest)
        total = simd.fill_tile(scratch, 0.0)
        for p in range(start, stop):
            numerators = simd.exp2(simd.subtract(simd.load_rows(weights, p * TILE, LANES), largest))
            simd.store_rows(weights, p * TILE, LANES, numerators)
            total = simd.add(total, numerators)

        average_heads(
            weights,
            values,
            simd.advance(v_table, -o * padded * HEADS),
            simd.reciprocal(total),
            relu,
            averages,
            start,
            stop,
            stride,
            padded,
        )
        for r in range(row_count):
            for c in range(value_dim):
                vector = simd.load(averages, (r * padded + c) * LANES)
                simd.store_parts(output, (i + r) * row + c * heads, across, vector)


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
    for c in range(0, padded, PAIR):
        first = simd.fill_tile(weights, 0.0)
        second = simd.fill_tile(weights, 0.0)
        for phase in range(stride):
            first_relative = simd.fill_tile(weights, 0.0)
            second_relative = simd.fill_tile(weights, 0.0)
            for p in range(start + phase - (ROWS - 1) * stride, start + phase, stride):
                relative = (p * padded + c) * HEADS
                first_relative = simd.shift_down(first_relative, simd.load_parts(v_table, relative, 0))
                second_relative = simd.shift_down(
                    second_relative, simd.load_parts(v_table, relative + HEADS, 0)
                )
            for p in range(start + phase, stop, stride):
                weight = simd.load_rows(weights, p * TILE, LANES)
                relative = (p * padded + c) * HEADS
                first_relative = simd.shift_down(first_relative, simd.load_parts(v_table, relative, 0))
                second_relative = simd.shift_down(
                    second_relative, simd.load_parts(v_table, relative + HEADS, 0)
                )
                value = p * width + c * LANES
                first = simd.fma(weight, simd.add(first_relative, simd.load(values, value)), first)
                second = simd.fma(weight, simd.add(second_relative, simd.load(values, value + LANES)), second)
        first = simd.multiply(first, norm)
        second = simd.multiply(second, norm)
        if relu:
            # NaN stays.
            first = simd.maximum(simd.fill_tile(weights, 0.0), first)
            second = simd.maximum(simd.fill_tile(weights, 0.0), second)
        simd.store_rows(averages, c * LANES, width, first)
        simd.store_rows(averages, (c + 1) * LANES, width, second)


@kernel
def infer(address: int, like: Scalar) -> None:
    """What one thread does: take units until none is left."""
    arguments = simd.pointer_like(address, address)
    size = simd.load_scalar(arguments, SCRATCH_SIZE)
    scratch = layout.tensor_at(arguments, SCRATCH, like)
    scratch = simd.advance(scratch, simd.take_ticket(simd.advance(arguments, NEXT_THREAD)) * size)
    for i in range(0, size, LANES):
        simd.store(scratch, i, simd.fill(scratch, 0.0))
    steps = (simd.load_scalar(arguments, LINES) + LINES_OF_UNIT - 1) // LINES_OF_UNIT
    groups = simd.load_scalar(arguments, GROUPS)
    units = simd.load_scalar(arguments, BATCH) * steps * groups
    unit = simd.take_ticket(simd.advance(arguments, NEXT_UNIT))
    while unit < units:
        line = unit // groups % steps * LINES_OF_UNIT
        attend_heads(arguments, unit // (steps * groups), line, unit % groups, scratch, like)
        unit = simd.take_ticket(simd.advance(arguments, NEXT_UNIT))
