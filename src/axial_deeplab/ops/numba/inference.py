"""The forward kernel of inference: its vectors are eight heads of a line, or of two neighboring lines.

A unit is as many lines as fit, and eight heads. The projection puts the heads of a channel side by side, so
that every number of the other kernels is a vector here, and nothing has to be summed or masked within a
vector: short axes waste no lanes. Relative tables have the same numbers for all heads: one number is read for
all lanes. Keys and values are divided by what would multiply the relative ones, so that the two can be added
before they meet a query or a weight; the products are then multiplied by it. A scale of zero counts as 1e-12.

A thread packs a unit into its scratch memory and walks over its queries four at a time. Where only every
second position is wanted, the others are never queries; positions are then visited in the order of their
remainders, so that the rows of a relative table slide through a tile all the same.
"""

import numpy as np

from axial_deeplab.ops.numba import bundles, layout, simd
from axial_deeplab.ops.numba.layout import LOG2_E, Pointer, Scalar, Tile, Vector, inlined, kernel
from axial_deeplab.ops.numba.simd import LANES, ROWS, SQUARE, TILE

# Columns of the table of arguments; strides and sizes count numbers.
(NEXT_THREAD, NEXT_UNIT) = np.arange(2)
(BATCH, LENGTH, LINES, GROUPS, HEAD_DIM, VALUE_DIM, REACH, STRIDE, RELU) = np.arange(2, 11)
# Addresses, each with the strides of B, L and M behind it; channels are dense, the heads of one side by side.
(QKV, OUTPUT) = np.arange(11, 19, 4)
# Tables from the distance -reach - margin on: (D, distances) of the logits, (V, distances) of the values;
# factors of the logit terms (3, N) and of the relative values (V, N).
(REL_Q, REL_K, REL_V, SCALE, POSITIONAL_SCALE) = np.arange(19, 24)
(SCRATCH, SCRATCH_SIZE) = np.arange(24, 26)
COLUMNS = 26

HEADS = SQUARE  # Those of a unit.
LINES_OF_UNIT = LANES // HEADS
PAIR = 2  # Positions that are computed together: they share what is loaded.


def table_margin(stride: int) -> int:
    """The distances beyond the span on either side that tiles at its edge read."""
    return (ROWS + PAIR) * stride


def scratch_size(length: int, head_dim: int, value_dim: int, stride: int) -> int:
    """The numbers in the scratch memory of a thread."""
    queries = layout.whole_tiles(-(-length // stride))
    positions = length + stride
    packed = (queries + 3 * positions) * head_dim + positions * value_dim
    return LANES * (3 + value_dim + packed + ROWS * (head_dim + positions + value_dim + 2))


@kernel
def pack_heads(
    source: Pointer,
    stride: int,
    line_stride: int,
    target: Pointer,
    pitch: int,
    channel_pitch: int,
    rows: int,
    width: int,
    heads: int,
) -> None:
    """Copy vectors (rows, width) of channels that are `heads` apart to where the pitches, in vectors, say."""
    for row in range(rows):
        for i in range(width):
            vector = simd.load_parts(source, row * stride + i * heads, line_stride)
            simd.store(target, (row * pitch + i * channel_pitch) * LANES, vector)


@kernel
def scale_values(values: Pointer, first: int, size: int, factor: Vector) -> None:
    """Multiply `size` vectors from the given one on by a vector."""
    for i in range(first * LANES, (first + size) * LANES, LANES):
        simd.store(values, i, simd.multiply(simd.load(values, i), factor))


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
    positions = length + stride

    scales = scratch
    packed_queries = simd.advance(scales, 3 * LANES)
    raw_keys = simd.advance(packed_queries, layout.whole_tiles(queries) * head_dim * LANES)
    keys = simd.advance(raw_keys, positions * head_dim * LANES)
    values = simd.advance(keys, 2 * positions * head_dim * LANES)
    query_tile = simd.advance(values, positions * value_dim * LANES)
    weights = simd.advance(query_tile, head_dim * TILE)
    averages = simd.advance(weights, positions * TILE)
    norm = simd.advance(averages, value_dim * TILE)
    maxima = simd.advance(norm, TILE)
    value_scales = simd.advance(maxima, TILE)

    margin = (ROWS + PAIR) * stride
    distances = 2 * (reach + margin) + 1
    # Addresses of the tables are those of distance 0.
    q_table = simd.advance(layout.tensor_at(arguments, REL_Q, like), margin + reach)
    k_table = simd.advance(layout.tensor_at(arguments, REL_K, like), margin + reach)
    v_table = simd.advance(layout.tensor_at(arguments, REL_V, like), margin + reach)
    scale = simd.advance(layout.tensor_at(arguments, SCALE, like), group * HEADS)
    for term in range(3):
        simd.store(scales, term * LANES, simd.load_parts(scale, term * heads, 0))
    scale = simd.advance(layout.tensor_at(arguments, POSITIONAL_SCALE, like), group * HEADS)
    for c in range(value_dim):
        simd.store(value_scales, c * LANES, simd.nonzero(simd.load_parts(scale, c * heads, 0)))

    row = simd.load_scalar(arguments, QKV + 2)
    q = simd.advance(
        layout.tensor_at(arguments, QKV, like),
        image * simd.load_scalar(arguments, QKV + 1)
        + line * simd.load_scalar(arguments, QKV + 3)
        + group * HEADS,
    )
    k = simd.advance(q, head_dim * heads)
    across = 0 if repeats else simd.load_scalar(arguments, QKV + 3)
    pack_heads(q, row * stride, across, packed_queries, head_dim, 1, queries, head_dim, heads)
    pack_heads(k, row, across, raw_keys, head_dim, 1, length, head_dim, heads)
    scaled_keys(raw_keys, length * head_dim, scales, keys)
    v = simd.advance(k, head_dim * heads)
    pack_heads(v, row, across, values, 1, positions, length, value_dim, heads)
    for c in range(value_dim):
        scale_values(values, c * positions, length, simd.reciprocal(simd.load(value_scales, c * LANES)))

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
        scaled_queries(simd.advance(packed_queries, i * head_dim * LANES), head_dim, scales, query_tile)

        tile_keys = simd.advance(keys, 2 * start * head_dim * LANES)
        q_row, k_row = simd.advance(q_table, start - o), simd.advance(k_table, start - o)
        tile_weights = simd.advance(weights, start * TILE)
        size = stop - start
        if stride == 1:
            # A copy of its own, in which the addresses lie at constant distances.
            neighboring_logits(query_tile, tile_keys, q_row, k_row, distances, head_dim, size, tile_weights)
        else:
            strided_logits(
                query_tile, tile_keys, q_row, k_row, distances, head_dim, stride, size, tile_weights
            )
        if local:
            mask_logits(tile_weights, start - o + reach, stride, 2 * reach, size)
        largest_logits(tile_weights, size, maxima)
        powers(tile_weights, size, maxima, norm)
        average_heads(
            tile_weights,
            simd.advance(values, start * LANES),
            positions,
            simd.advance(v_table, start - o),
            distances,
            norm,
            value_scales,
            relu,
            averages,
            stride,
            size,
            value_dim,
        )
        for r in range(row_count):
            for c in range(value_dim):
                vector = simd.load(averages, (c * ROWS + r) * LANES)
                simd.store_parts(output, (i + r) * row + c * heads, across, vector)


@kernel
def scaled_keys(keys: Pointer, size: int, scales: Pointer, target: Pointer) -> None:
    """Set (L, D, 2) vectors: each of `size` keys times the first scale over the second, and the third times
    log2 e."""
    by_query = simd.multiply(simd.load(scales, 0), simd.reciprocal(simd.nonzero(simd.load(scales, LANES))))
    by_table = simd.multiply(simd.load(scales, 2 * LANES), simd.fill(scales, LOG2_E))
    for i in range(0, size * LANES, LANES):
        key = simd.load(keys, i)
        simd.store(target, 2 * i, simd.multiply(key, by_query))
        simd.store(target, 2 * i + LANES, simd.multiply(key, by_table))


@kernel
def scaled_queries(queries: Pointer, head_dim: int, scales: Pointer, tile: Pointer) -> None:
    """Set (D, ROWS) vectors: four queries times log2 e and the second scale."""
    scale = simd.multiply(simd.nonzero(simd.load(scales, LANES)), simd.fill(scales, LOG2_E))
    for d in range(head_dim):
        rows = simd.load_rows(queries, d * LANES, head_dim * LANES)
        simd.store_rows(tile, d * TILE, LANES, simd.multiply(rows, scale))


@kernel
def neighboring_logits(
    query_tile: Pointer,
    keys: Pointer,
    q_table: Pointer,
    k_table: Pointer,
    distances: int,
    head_dim: int,
    size: int,
    target: Pointer,
) -> None:
    """Set (size, ROWS) vectors: the logits of four queries with so many positions."""
    for p in range(0, size, PAIR):
        first, second = pair_of_logits(
            query_tile,
            simd.advance(keys, 2 * p * head_dim * LANES),
            simd.advance(q_table, p),
            simd.advance(k_table, p),
            distances,
            head_dim,
            1,
        )
        simd.store_rows(target, p * TILE, LANES, first)
        simd.store_rows(target, (p + 1) * TILE, LANES, second)


@kernel
def strided_logits(
    query_tile: Pointer,
    keys: Pointer,
    q_table: Pointer,
    k_table: Pointer,
    distances: int,
    head_dim: int,
    stride: int,
    size: int,
    target: Pointer,
) -> None:
    """Set (size, ROWS) vectors: the logits of four queries, `stride` apart, with so many positions."""
    for phase in range(stride):
        for p in range(phase, size, PAIR * stride):
            first, second = pair_of_logits(
                query_tile,
                simd.advance(keys, 2 * p * head_dim * LANES),
                simd.advance(q_table, p),
                simd.advance(k_table, p),
                distances,
                head_dim,
                stride,
            )
            simd.store_rows(target, p * TILE, LANES, first)
            simd.store_rows(target, (p + stride) * TILE, LANES, second)


@inlined
def pair_of_logits(
    query_tile: Pointer,
    keys: Pointer,
    q_table: Pointer,
    k_table: Pointer,
    table_pitch: int,
    head_dim: int,
    stride: int,
) -> tuple[Tile, Tile]:
    """The logits, base 2, of four queries for a position and for the one `stride` further.

    A query meets the sum of key and relative row, so that the two take one product: additions have units of
    their own in many processors. All that is read lies at fixed distances from a few addresses: more of them
    would not fit the registers. Tables are (D, distances), at the distance of the first query.
    """
    if head_dim <= bundles.CHANNELS_IN_A_SUM:
        # A loop around the loop would keep the sums out of the registers.
        return part_of_logits(query_tile, keys, q_table, k_table, table_pitch, 0, head_dim, head_dim, stride)
    first_total = simd.fill_tile(keys, 0.0)
    second_total = simd.fill_tile(keys, 0.0)
    for start in range(0, head_dim, bundles.CHANNELS_IN_A_SUM):
        stop = min(start + bundles.CHANNELS_IN_A_SUM, head_dim)
        first, second = part_of_logits(
            query_tile, keys, q_table, k_table, table_pitch, start, stop, head_dim, stride
        )
        first_total = simd.add(first_total, first)
        second_total = simd.add(second_total, second)
    return first_total, second_total


@inlined
def part_of_logits(
    query_tile: Pointer,
    keys: Pointer,
    q_table: Pointer,
    k_table: Pointer,
    table_pitch: int,
    start: int,
    stop: int,
    head_dim: int,
    stride: int,
) -> tuple[Tile, Tile]:
    """What channels start ... stop - 1 add to a pair of logits."""
    following_keys = simd.advance(keys, 2 * stride * head_dim * LANES)
    first = simd.fill_tile(keys, 0.0)
    second = simd.fill_tile(keys, 0.0)
    for d in range(start, stop):
        query = simd.load_rows(query_tile, d * TILE, LANES)
        relative = simd.splat_rows(q_table, d * table_pitch, -stride)
        first = simd.fma(query, simd.add(relative, simd.load(keys, 2 * d * LANES)), first)
        following = simd.fill(q_table, simd.load_scalar(q_table, d * table_pitch + stride))
        relative = simd.shift_down(relative, following)
        second = simd.fma(query, simd.add(relative, simd.load(following_keys, 2 * d * LANES)), second)
        relative = simd.splat_rows(k_table, d * table_pitch, -stride)
        first = simd.fma(relative, simd.load(keys, (2 * d + 1) * LANES), first)
        following = simd.fill(k_table, simd.load_scalar(k_table, d * table_pitch + stride))
        relative = simd.shift_down(relative, following)
        second = simd.fma(relative, simd.load(following_keys, (2 * d + 1) * LANES), second)
    return first, second


@kernel
def mask_logits(target: Pointer, distance: int, stride: int, last: int, size: int) -> None:
    """Set logits to -inf whose distance, counted from the edge of the span, is not in 0 ... last."""
    for p in range(size):
        rows = simd.load_rows(target, p * TILE, LANES)
        simd.store_rows(target, p * TILE, LANES, simd.keep_rows(rows, distance + p, stride, last))


@kernel
def largest_logits(logits: Pointer, size: int, maxima: Pointer) -> None:
    """Set (ROWS,) vectors: the largest logits of four queries."""
    largest = simd.load_rows(logits, 0, LANES)
    for p in range(1, size):
        largest = simd.maximum(simd.load_rows(logits, p * TILE, LANES), largest)
    simd.store_rows(maxima, 0, LANES, largest)


@kernel
def powers(logits: Pointer, size: int, maxima: Pointer, norm: Pointer) -> None:
    """Replace the logits of four queries by powers of two, of which the largest is 1.

    Sets (ROWS,) vectors: one over the sums of the powers.
    """
    for i in range(0, TILE, LANES):
        # Query by query: the constants of the exponential take the registers that more of them would need.
        row = simd.advance(logits, i)
        largest = simd.load(maxima, i)
        total = simd.fill(logits, 0.0)
        last = size - size % ROWS
        for p in range(0, last, ROWS):
            numerators = simd.exp2(simd.subtract(simd.load_rows(row, p * TILE, TILE), largest))
            simd.store_rows(row, p * TILE, TILE, numerators)
            total = simd.add(total, simd.sum_rows(numerators))
        for p in range(last, size):
            numerator = simd.exp2(simd.subtract(simd.load(row, p * TILE), largest))
            simd.store(row, p * TILE, numerator)
            total = simd.add(total, numerator)
        simd.store(norm, i, simd.reciprocal(total))


@kernel
def average_heads(
    weights: Pointer,
    values: Pointer,
    values_pitch: int,
    v_table: Pointer,
    table_pitch: int,
    norm: Pointer,
    scales: Pointer,
    relu: bool,
    averages: Pointer,
    stride: int,
    size: int,
    value_dim: int,
) -> None:
    """Set (V, ROWS) vectors: the weighted averages of values and relative values for four queries.

    Values are (V, values_pitch) vectors over the (V,) scales, relative ones (V, table_pitch) numbers.
    Neighbors have sums of their own, which hide the latency of a sum.
    """
    norms = simd.load_rows(norm, 0, LANES)
    for c in range(value_dim):
        channel = simd.advance(values, c * values_pitch * LANES)
        table = simd.advance(v_table, c * table_pitch)
        first = simd.fill_tile(weights, 0.0)
        second = simd.fill_tile(weights, 0.0)
        for phase in range(stride):
            relative = simd.fill_tile(weights, 0.0)
            for row in range(1 - ROWS, 0):
                number = simd.load_scalar(table, phase + row * stride)
                relative = simd.shift_down(relative, simd.fill(table, number))
            p = phase
            while p + stride < size:
                relative = simd.shift_down(relative, simd.fill(table, simd.load_scalar(table, p)))
                value = simd.add(relative, simd.load(channel, p * LANES))
                first = simd.fma(simd.load_rows(weights, p * TILE, LANES), value, first)
                p += stride
                relative = simd.shift_down(relative, simd.fill(table, simd.load_scalar(table, p)))
                value = simd.add(relative, simd.load(channel, p * LANES))
                second = simd.fma(simd.load_rows(weights, p * TILE, LANES), value, second)
                p += stride
            if p < size:
                relative = simd.shift_down(relative, simd.fill(table, simd.load_scalar(table, p)))
                value = simd.add(relative, simd.load(channel, p * LANES))
                first = simd.fma(simd.load_rows(weights, p * TILE, LANES), value, first)
        total = simd.multiply(simd.add(first, second), simd.multiply(norms, simd.load(scales, c * LANES)))
        if relu:
            # NaN stays.
            total = simd.maximum(simd.fill_tile(weights, 0.0), total)
        simd.store_rows(averages, c * TILE, LANES, total)


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
