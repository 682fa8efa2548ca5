"""The forward kernel.

A unit is one head of one line: L queries and keys that attend to each other. A thread packs a unit into
its scratch memory (which fits the first-level cache for the lengths of the networks) and walks over its
queries four at a time. The weights of these four are all that ever exists.

* Logits are vectorized over the positions p: keys and relative tables are transposed to (channels,
  positions), and a relative table is read at a start that moves with the query.
* Sums over the positions are vectorized over the channels, rows padded to whole vectors. The row of the
  distance p - o for query o + 1 is that of p - 1 for query o, so it slides from row to row of a tile.
"""

import math

from axial_deeplab.ops.cpu_kernels.layout import (
    BATCH,
    CHUNKS,
    CONTENT,
    HEAD_DIM,
    HEADS,
    LENGTH,
    LINES,
    LOG2_E,
    MARGIN,
    MAXIMA,
    NEXT_CHUNK,
    NEXT_THREAD,
    POSITIONAL,
    POSITIONAL_SCALE,
    REACH,
    SCRATCH,
    SCRATCH_SIZE,
    TABLES,
    VALUE_DIM,
    K,
    Pointer,
    Q,
    Scalar,
    Tile,
    V,
    clear,
    copy_rows,
    inlined,
    kernel,
    position_stride,
    positions_pitch,
    prefetch_unit,
    scales_of_head,
    table_rows,
    tensor_of_unit,
    tile_of_logits,
    transpose_rows,
    unit_of,
    weights_pitch,
    whole_tiles,
    whole_vectors,
)
from axial_deeplab.ops.cpu_kernels.simd import (
    LANES,
    ROWS,
    add,
    advance,
    exp2,
    fill_tile,
    fma,
    load,
    load_rows,
    load_scalar,
    maximum,
    multiply,
    pointer_like,
    reciprocal,
    shift_down,
    splat_rows,
    spread_max,
    spread_sum,
    store_first_lane,
    store_rows,
    store_scalar,
    subtract,
    take_ticket,
)


@kernel
def attend_unit(arguments: Pointer, image: int, line: int, head: int, scratch: Pointer, like: Scalar) -> None:
    """The outputs of one unit and the largest logit of each query."""
    length, reach = load_scalar(arguments, LENGTH), load_scalar(arguments, REACH)
    head_dim, value_dim = load_scalar(arguments, HEAD_DIM), load_scalar(arguments, VALUE_DIM)
    key_pitch, value_pitch = whole_vectors(head_dim), whole_vectors(value_dim)
    rows = whole_tiles(length)

    queries = scratch
    keys = advance(queries, rows * key_pitch)
    values = advance(keys, positions_pitch(length) * head_dim)
    # Addresses of weights and tables are those of position and distance 0.
    weights = advance(values, rows * value_pitch + MARGIN)
    output = advance(weights, ROWS * weights_pitch(length) - MARGIN)

    distances = table_rows(reach)
    q_table = advance(pointer_like(load_scalar(arguments, TABLES), like), MARGIN)
    k_table = advance(q_table, distances * head_dim)
    v_rows = advance(k_table, distances * (head_dim + value_dim + 2 * key_pitch) + MARGIN * (value_pitch - 1))

    q = tensor_of_unit(arguments, Q, image, line, head, like)
    k = tensor_of_unit(arguments, K, image, line, head, like)
    v = tensor_of_unit(arguments, V, image, line, head, like)
    copy_rows(q, position_stride(arguments, Q), queries, key_pitch, length, head_dim)
    transpose_rows(k, position_stride(arguments, K), keys, positions_pitch(length), length, head_dim)
    copy_rows(v, position_stride(arguments, V), values, value_pitch, length, value_dim)
    content = tensor_of_unit(arguments, CONTENT, image, line, head, like)
    positional = tensor_of_unit(arguments, POSITIONAL, image, line, head, like)
    unit = (image * load_scalar(arguments, LINES) + line) * load_scalar(arguments, HEADS) + head
    maxima = advance(pointer_like(load_scalar(arguments, MAXIMA), like), unit * rows)
    scales = scales_of_head(arguments, head, LOG2_E, like)
    positional_scales = advance(
        pointer_like(load_scalar(arguments, POSITIONAL_SCALE), like), head * value_pitch
    )
    summed = load_scalar(arguments, POSITIONAL_SCALE) != 0

    for o in range(0, length, ROWS):
        start = max(0, o - reach)
        stop = min(length, o + ROWS + reach)
        row_count = min(ROWS, length - o)
        pitch = weights_pitch(length)

        largest = fill_tile(queries, -math.inf)
        for p in range(start, stop, LANES):
            logits = tile_of_logits(queries, keys, q_table, k_table, scales, p, o, head_dim, length, reach)
            store_rows(weights, p, pitch, logits)
            largest = maximum(logits, largest)
        largest = spread_max(largest)
        total = fill_tile(queries, 0.0)
        for p in range(start, stop, LANES):
            numerators = exp2(subtract(load_rows(weights, p, pitch), largest))
            store_rows(weights, p, pitch, numerators)
            total = add(total, numerators)
        total = spread_sum(total)

        store_first_lane(maxima, o, largest)
        for row in range(row_count, ROWS):
            store_scalar(maxima, o + row, 0.0)

        average_values(
            weights,
            values,
            v_rows,
            reciprocal(total),
            summed,
            positional_scales,
            output,
            o,
            start,
            stop,
            length,
            reach,
            value_pitch,
        )
        copy_rows(
            output,
            value_pitch,
            advance(content, o * position_stride(arguments, CONTENT)),
            position_stride(arguments, CONTENT),
            row_count,
            value_dim,
        )
        if not summed:
            copy_rows(
                advance(output, ROWS * value_pitch),
                value_pitch,
                advance(positional, o * position_stride(arguments, POSITIONAL)),
                position_stride(arguments, POSITIONAL),
                row_count,
                value_dim,
            )


@inlined
def average_values(
    weights: Pointer,
    values: Pointer,
    v_rows: Pointer,
    norm: Tile,
    summed: bool,
    positional_scales: Pointer,
    output: Pointer,
    o: int,
    start: int,
    stop: int,
    length: int,
    reach: int,
    value_pitch: int,
) -> None:
    """The content and positional outputs of queries o ... o + 3, or their sum."""
    pitch = weights_pitch(length)
    for c in range(0, value_pitch, LANES):
        content = fill_tile(weights, 0.0)
        positional = fill_tile(weights, 0.0)
        relative = load_rows(v_rows, (start - 1 - o + reach) * value_pitch + c, -value_pitch)
        for p in range(start, stop):
            relative = shift_down(relative, load(v_rows, (p - o + reach) * value_pitch + c))
            weight = splat_rows(weights, p, pitch)
            content = fma(weight, load(values, p * value_pitch + c), content)
            positional = fma(weight, relative, positional)
        if summed:
            content = fma(positional, load(positional_scales, c), content)
        else:
            store_rows(output, ROWS * value_pitch + c, value_pitch, multiply(positional, norm))
        store_rows(output, c, value_pitch, multiply(content, norm))


@kernel
def forward(address: int, like: Scalar) -> None:
    """What one thread does: take chunks of units until none is left."""
    arguments = pointer_like(address, address)
    size = load_scalar(arguments, SCRATCH_SIZE)
    scratch = pointer_like(load_scalar(arguments, SCRATCH), like)
    scratch = advance(scratch, take_ticket(advance(arguments, NEXT_THREAD)) * size)
    clear(scratch, size)
    units = load_scalar(arguments, BATCH) * load_scalar(arguments, LINES) * load_scalar(arguments, HEADS)
    chunks = load_scalar(arguments, CHUNKS)
    tensors = 4 if load_scalar(arguments, POSITIONAL_SCALE) != 0 else 5
    chunk = take_ticket(advance(arguments, NEXT_CHUNK))
    while chunk < chunks:
        stop = units * (chunk + 1) // chunks
        for unit in range(units * chunk // chunks, stop):
            if unit + 1 < stop:
                prefetch_unit(arguments, tensors, unit + 1, like)
            image, line, head = unit_of(arguments, unit)
            attend_unit(arguments, image, line, head, scratch, like)
        chunk = take_ticket(advance(arguments, NEXT_CHUNK))
