"""The compiled loops of fused axial attention on the CPU, forward and backward.

A unit is one head of one line: L queries and keys that attend to each other. A thread packs a unit into its scratch
memory (which fits the first-level cache for the lengths of the networks) and walks over its queries four at a time.
The weights of at most `BLOCK` queries are all that ever exists; the backward pass recomputes them from the largest
logit of each query, which makes them equal to those of the forward pass to the last bit.

* Logits and the gradient of the weights are vectorized over the positions p: keys, values and relative tables are
  transposed to (channels, positions), and a relative table is read at a start that moves with the query.
* Sums over positions or queries are vectorized over the channels, rows padded to whole vectors. Four queries (or
  positions, or distances) share their loads: the row of the distance p - o for query o + 1 is that of p - 1 for query
  o, so it slides from row to row of a tile.

All arguments stand in one table of integers (addresses, sizes, strides) whose columns are named below. The numbers at
all addresses have the type of the argument `like`.

Numba caches the compiled code beside this file and looks at this file alone: touch it after a change in _simd.py.
"""

import math
from typing import Any

import numpy as np
from numba import cfunc, njit, types

from axial_deeplab.ops._simd import (
    LANES,
    ROWS,
    add,
    advance,
    exp2,
    fill,
    fill_tile,
    fma,
    load,
    load_rows,
    load_scalar,
    mask_span,
    maximum,
    multiply,
    pointer_like,
    reciprocal,
    shift_down,
    shift_up,
    splat_rows,
    spread_max,
    spread_sum,
    store,
    store_first_lane,
    store_rows,
    store_scalar,
    subtract,
    sum_lanes,
    sum_rows,
    take_ticket,
)

Pointer = Any  # to numbers of one floating-point type
Scalar = Any
Tile = Any

LOG2_E = 1.4426950408889634

MARGIN = LANES  # Zeros on either side of what is read at shifted positions.
BLOCK = 16  # Queries of which the backward pass keeps the weights and their gradients.

# Columns of the table of arguments. A tensor has five: address, strides of B, L, M and N; its channels are dense.
(NEXT_THREAD, NEXT_CHUNK, CHUNKS) = range(3)
(BATCH, LENGTH, LINES, HEADS, HEAD_DIM, VALUE_DIM, REACH, MAX_DISTANCE) = range(3, 11)
(SCALE, MAXIMA, REL_Q, REL_K, REL_V) = range(
    11, 16
)  # (3, N), (units, L to whole tiles) of logits, tables (0: absent)
(TABLES, SCRATCH, SCRATCH_SIZE, TABLE_GRADS, TABLE_GRADS_SIZE) = range(16, 21)
# In the backward pass CONTENT and POSITIONAL are the gradients of the outputs.
(Q, K, V, CONTENT, POSITIONAL, GRAD_Q, GRAD_K, GRAD_V) = range(21, 61, 5)
COLUMNS = 61


# --- sizes ----------------------------------------------------------------------------------------------------------


@njit
def round_up(number: int, multiple: int) -> int:
    return (number + multiple - 1) // multiple * multiple


@njit
def positions_pitch(length: int) -> int:
    """The length of a row of (channels, positions), zeros behind the last position."""
    return round_up(length + LANES, LANES)


@njit
def weights_pitch(length: int) -> int:
    """The length of a row of weights, a margin on both sides."""
    return round_up(length + 3 * MARGIN, LANES)


@njit
def table_rows(reach: int) -> int:
    """The distances of an expanded relative table: those of the span and margins."""
    return round_up(2 * reach + 1 + 3 * MARGIN, LANES)


@njit
def tables_size(reach: int, head_dim: int, value_dim: int) -> int:
    padded = round_up(head_dim, LANES), round_up(value_dim, LANES)
    return table_rows(reach) * (2 * head_dim + value_dim + 2 * padded[0] + padded[1])


@njit
def table_grads_size(reach: int, head_dim: int, value_dim: int, heads: int) -> int:
    """The gradients of the three expanded tables and of the scales."""
    rows = table_rows(reach)
    return rows * (2 * round_up(head_dim, LANES) + round_up(value_dim, LANES)) + round_up(3 * heads, LANES)


@njit
def forward_scratch_size(length: int, head_dim: int, value_dim: int) -> int:
    rows = round_up(length, ROWS)
    key_dim, padded = round_up(head_dim, LANES), round_up(value_dim, LANES)
    packed = rows * key_dim + positions_pitch(length) * head_dim + rows * padded
    return packed + ROWS * weights_pitch(length) + 2 * ROWS * padded


@njit
def backward_scratch_size(length: int, head_dim: int, value_dim: int) -> int:
    rows = round_up(length, ROWS) + 2 * MARGIN
    key_dim, padded = round_up(head_dim, LANES), round_up(value_dim, LANES)
    packed = rows * (4 * key_dim + 3 * padded) + positions_pitch(length) * (head_dim + value_dim)
    return packed + 2 * BLOCK * weights_pitch(length) + ROWS * key_dim + 3 * LANES


# --- packing --------------------------------------------------------------------------------------------------------


@njit
def clear(target: Pointer, size: int) -> None:
    """Zero `size` numbers, a multiple of the lanes."""
    zero = fill(target, 0.0)
    for i in range(0, size, LANES):
        store(target, i, zero)


@njit
def copy_rows(source: Pointer, stride: int, target: Pointer, pitch: int, rows: int, width: int) -> None:
    """Copy (rows, width) between row distances `stride` and `pitch`."""
    whole = width // LANES * LANES
    for row in range(rows):
        for i in range(0, whole, LANES):
            store(target, row * pitch + i, load(source, row * stride + i))
        for i in range(whole, width):
            store_scalar(target, row * pitch + i, load_scalar(source, row * stride + i))


@njit
def transpose_rows(source: Pointer, stride: int, target: Pointer, pitch: int, rows: int, width: int) -> None:
    """Copy (rows, width) to (width, rows)."""
    for row in range(rows):
        for i in range(width):
            store_scalar(target, i * pitch + row, load_scalar(source, row * stride + i))


@njit
def tensor_of_unit(
    arguments: Pointer, tensor: int, image: int, line: int, head: int, like: Scalar
) -> Pointer:
    """The address of a tensor's first position for one unit."""
    start = image * load_scalar(arguments, tensor + 1)
    start += line * load_scalar(arguments, tensor + 3) + head * load_scalar(arguments, tensor + 4)
    return advance(pointer_like(load_scalar(arguments, tensor), like), start)


@njit
def position_stride(arguments: Pointer, tensor: int) -> int:
    return load_scalar(arguments, tensor + 2)


@njit
def expand_table(
    table: Pointer, present: bool, width: int, max_distance: int, reach: int, columns: Pointer, rows: Pointer
) -> None:
    """Copy the rows of the distances -reach ... reach, as (width, distances) and as (distances, padded width)."""
    pitch = table_rows(reach)
    padded = round_up(width, LANES)
    clear(columns, width * pitch)
    clear(rows, padded * pitch)
    if present:
        for t in range(2 * reach + 1):
            row = min(max(t - reach, -max_distance), max_distance) + max_distance
            for i in range(width):
                number = load_scalar(table, row * width + i)
                store_scalar(columns, i * pitch + t + MARGIN, number)
                store_scalar(rows, (t + MARGIN) * padded + i, number)


@njit
def expand_tables(address: int, like: Scalar) -> None:
    """Fill TABLES: r^q, r^k, r^v as columns, then as rows, each with margins of zeros."""
    arguments = pointer_like(address, address)
    reach = load_scalar(arguments, REACH)
    max_distance = load_scalar(arguments, MAX_DISTANCE)
    columns = pointer_like(load_scalar(arguments, TABLES), like)
    head_dim, value_dim = load_scalar(arguments, HEAD_DIM), load_scalar(arguments, VALUE_DIM)
    rows = advance(columns, table_rows(reach) * (2 * head_dim + value_dim))
    for table in range(REL_Q, REL_V + 1):
        width = value_dim if table == REL_V else head_dim
        source = load_scalar(arguments, table)
        expand_table(pointer_like(source, like), source != 0, width, max_distance, reach, columns, rows)
        columns = advance(columns, table_rows(reach) * width)
        rows = advance(rows, table_rows(reach) * round_up(width, LANES))


# --- forward --------------------------------------------------------------------------------------------------------


@njit(forceinline=True)
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
    query_pitch = round_up(head_dim, LANES)
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


@njit(forceinline=True)
def scales_of_head(arguments: Pointer, head: int, like: Scalar) -> Any:
    """The three scales of one head, natural and for logits of base 2."""
    heads = load_scalar(arguments, HEADS)
    scale = pointer_like(load_scalar(arguments, SCALE), like)
    s0, s1, s2 = (
        load_scalar(scale, head),
        load_scalar(scale, heads + head),
        load_scalar(scale, 2 * heads + head),
    )
    natural = (fill(scale, s0), fill(scale, s1), fill(scale, s2))
    binary = (fill(scale, s0 * LOG2_E), fill(scale, s1 * LOG2_E), fill(scale, s2 * LOG2_E))
    return natural, binary


@njit
def attend_unit(arguments: Pointer, image: int, line: int, head: int, scratch: Pointer, like: Scalar) -> None:
    """The outputs of one unit and the largest logit of each query."""
    length, reach = load_scalar(arguments, LENGTH), load_scalar(arguments, REACH)
    head_dim, value_dim = load_scalar(arguments, HEAD_DIM), load_scalar(arguments, VALUE_DIM)
    key_pitch, value_pitch = round_up(head_dim, LANES), round_up(value_dim, LANES)
    rows = round_up(length, ROWS)

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
    natural, scales = scales_of_head(arguments, head, like)

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
            weights, values, v_rows, reciprocal(total), output, o, start, stop, length, reach, value_pitch
        )
        copy_rows(
            output,
            value_pitch,
            advance(content, o * position_stride(arguments, CONTENT)),
            position_stride(arguments, CONTENT),
            row_count,
            value_dim,
        )
        copy_rows(
            advance(output, ROWS * value_pitch),
            value_pitch,
            advance(positional, o * position_stride(arguments, POSITIONAL)),
            position_stride(arguments, POSITIONAL),
            row_count,
            value_dim,
        )


@njit(forceinline=True)
def average_values(
    weights: Pointer,
    values: Pointer,
    v_rows: Pointer,
    norm: Tile,
    output: Pointer,
    o: int,
    start: int,
    stop: int,
    length: int,
    reach: int,
    value_pitch: int,
) -> None:
    """The content and positional outputs of queries o ... o + 3."""
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
        store_rows(output, c, value_pitch, multiply(content, norm))
        store_rows(output, ROWS * value_pitch + c, value_pitch, multiply(positional, norm))


@njit
def unit_of(arguments: Pointer, unit: int) -> Any:
    """Image, line and head of a unit; heads vary fastest, so that neighbors in memory are taken one after another."""
    lines, heads = load_scalar(arguments, LINES), load_scalar(arguments, HEADS)
    return unit // (lines * heads), unit // heads % lines, unit % heads


@njit
def forward(address: int, like: Scalar) -> None:
    """What one thread does: take chunks of units until none is left."""
    arguments = pointer_like(address, address)
    length = load_scalar(arguments, LENGTH)
    size = load_scalar(arguments, SCRATCH_SIZE)
    scratch = pointer_like(load_scalar(arguments, SCRATCH), like)
    scratch = advance(scratch, take_ticket(advance(arguments, NEXT_THREAD)) * size)
    clear(scratch, size)
    units = load_scalar(arguments, BATCH) * load_scalar(arguments, LINES) * load_scalar(arguments, HEADS)
    chunks = load_scalar(arguments, CHUNKS)
    chunk = take_ticket(advance(arguments, NEXT_CHUNK))
    while chunk < chunks:
        for unit in range(units * chunk // chunks, units * (chunk + 1) // chunks):
            image, line, head = unit_of(arguments, unit)
            attend_unit(arguments, image, line, head, scratch, like)
        chunk = take_ticket(advance(arguments, NEXT_CHUNK))


# --- backward -------------------------------------------------------------------------------------------------------


@njit
def backward_unit(
    arguments: Pointer, image: int, line: int, head: int, scratch: Pointer, table_grads: Pointer, like: Scalar
) -> None:
    """The gradients of one unit; those of the tables and scales are added to `table_grads`."""
    length, reach = load_scalar(arguments, LENGTH), load_scalar(arguments, REACH)
    head_dim, value_dim = load_scalar(arguments, HEAD_DIM), load_scalar(arguments, VALUE_DIM)
    key_pitch, value_pitch = round_up(head_dim, LANES), round_up(value_dim, LANES)
    rows = round_up(length, ROWS)
    padded_rows = rows + 2 * MARGIN
    pitch = weights_pitch(length)

    # Margins stay zero: nothing but the first `length` rows or positions is ever copied.
    queries = scratch
    grad_content = advance(queries, padded_rows * key_pitch)
    grad_positional = advance(grad_content, padded_rows * value_pitch)
    key_rows = advance(grad_positional, padded_rows * value_pitch + MARGIN * key_pitch)
    keys = advance(key_rows, (padded_rows - MARGIN) * key_pitch)
    values = advance(keys, positions_pitch(length) * head_dim)
    grad_keys = advance(values, positions_pitch(length) * value_dim)
    grad_keys_relative = advance(grad_keys, padded_rows * key_pitch)
    grad_values = advance(grad_keys_relative, padded_rows * key_pitch)
    weights = advance(grad_values, padded_rows * value_pitch + MARGIN)
    grad_logits = advance(weights, BLOCK * pitch)
    grad_queries = advance(grad_logits, BLOCK * pitch - MARGIN)
    grad_scales = advance(grad_queries, ROWS * key_pitch)

    distances = table_rows(reach)
    q_table = advance(pointer_like(load_scalar(arguments, TABLES), like), MARGIN)
    k_table = advance(q_table, distances * head_dim)
    v_table = advance(k_table, distances * head_dim)
    q_rows = advance(v_table, distances * value_dim + MARGIN * (key_pitch - 1))
    k_rows = advance(q_rows, distances * key_pitch)
    q_rows_grad = advance(table_grads, MARGIN * key_pitch)
    k_rows_grad = advance(q_rows_grad, distances * key_pitch)
    v_rows_grad = advance(table_grads, distances * 2 * key_pitch + MARGIN * value_pitch)
    scales_grad = advance(table_grads, distances * (2 * key_pitch + value_pitch))

    q, k = (
        tensor_of_unit(arguments, Q, image, line, head, like),
        tensor_of_unit(arguments, K, image, line, head, like),
    )
    v = tensor_of_unit(arguments, V, image, line, head, like)
    content = tensor_of_unit(arguments, CONTENT, image, line, head, like)
    positional = tensor_of_unit(arguments, POSITIONAL, image, line, head, like)
    copy_rows(q, position_stride(arguments, Q), queries, key_pitch, length, head_dim)
    copy_rows(k, position_stride(arguments, K), key_rows, key_pitch, length, head_dim)
    transpose_rows(k, position_stride(arguments, K), keys, positions_pitch(length), length, head_dim)
    transpose_rows(v, position_stride(arguments, V), values, positions_pitch(length), length, value_dim)
    copy_rows(content, position_stride(arguments, CONTENT), grad_content, value_pitch, length, value_dim)
    copy_rows(
        positional, position_stride(arguments, POSITIONAL), grad_positional, value_pitch, length, value_dim
    )
    clear(grad_keys, padded_rows * (2 * key_pitch + value_pitch))
    clear(grad_scales, 3 * LANES)
    unit = (image * load_scalar(arguments, LINES) + line) * load_scalar(arguments, HEADS) + head
    maxima = advance(pointer_like(load_scalar(arguments, MAXIMA), like), unit * rows)
    natural, scales = scales_of_head(arguments, head, like)

    for first in range(0, length, BLOCK):
        last = min(first + BLOCK, rows)
        for o in range(first, last, ROWS):
            start = max(0, o - reach)
            stop = min(length, o + ROWS + reach)
            row = (o - first) * pitch
            total = fill_tile(queries, 0.0)
            delta = fill_tile(queries, 0.0)
            for p in range(start, stop, LANES):
                logits = tile_of_logits(
                    queries, keys, q_table, k_table, scales, p, o, head_dim, length, reach
                )
                weight = exp2(subtract(logits, splat_rows(maxima, o, 1)))
                grad_weight = tile_of_weight_gradients(
                    grad_content, grad_positional, values, v_table, p, o, value_dim, length, reach
                )
                store_rows(weights, row + p, pitch, weight)
                store_rows(grad_logits, row + p, pitch, grad_weight)
                total = add(total, weight)
                delta = fma(weight, grad_weight, delta)
            # The sum is at least 1, but for the rows behind the last query, where all is zero.
            norm = reciprocal(maximum(spread_sum(total), fill_tile(queries, 0.5)))
            delta = multiply(spread_sum(delta), norm)
            for p in range(start, stop, LANES):
                weight = multiply(load_rows(weights, row + p, pitch), norm)
                grad_weight = load_rows(grad_logits, row + p, pitch)
                store_rows(weights, row + p, pitch, weight)
                store_rows(grad_logits, row + p, pitch, multiply(weight, subtract(grad_weight, delta)))
            for p in (start - MARGIN, start + round_up(stop - start, LANES)):
                store_rows(weights, row + p, pitch, fill_tile(queries, 0.0))
                store_rows(grad_logits, row + p, pitch, fill_tile(queries, 0.0))

            add_query_gradients(
                advance(grad_logits, -first * pitch),
                queries,
                key_rows,
                q_rows,
                natural,
                grad_queries,
                grad_scales,
                o,
                start,
                stop,
                reach,
                pitch,
                key_pitch,
            )
            target = tensor_of_unit(arguments, GRAD_Q, image, line, head, like)
            stride = position_stride(arguments, GRAD_Q)
            copy_rows(
                grad_queries, key_pitch, advance(target, o * stride), stride, min(ROWS, length - o), head_dim
            )

        start = max(0, first - reach)
        stop = min(length, last + reach)
        # The row of query 0, so that rows are addressed by the query.
        block_weights = advance(weights, -first * pitch)
        block_grads = advance(grad_logits, -first * pitch)
        add_key_gradients(
            block_grads,
            queries,
            k_rows,
            grad_keys,
            grad_keys_relative,
            first,
            last,
            start,
            stop,
            reach,
            pitch,
            key_pitch,
        )
        add_value_gradients(
            block_weights, grad_content, grad_values, first, last, start, stop, reach, pitch, value_pitch
        )
        add_table_gradients(
            block_grads,
            queries,
            key_rows,
            natural,
            q_rows_grad,
            k_rows_grad,
            first,
            last,
            start,
            stop,
            reach,
            pitch,
            key_pitch,
        )
        add_value_table_gradients(
            block_weights, grad_positional, v_rows_grad, first, last, start, stop, reach, pitch, value_pitch
        )

    by_scale = load(grad_scales, 2 * LANES)
    for i in range(0, length * key_pitch, LANES):
        relative = load(grad_keys_relative, i)
        by_scale = fma(load(key_rows, i), relative, by_scale)
        store(grad_keys, i, fma(load(grad_keys, i), natural[0], multiply(relative, natural[2])))
    store(grad_scales, 2 * LANES, by_scale)
    heads = load_scalar(arguments, HEADS)
    for i in range(3):
        total = load_scalar(scales_grad, i * heads + head) + sum_lanes(load(grad_scales, i * LANES))
        store_scalar(scales_grad, i * heads + head, total)
    target = tensor_of_unit(arguments, GRAD_K, image, line, head, like)
    copy_rows(grad_keys, key_pitch, target, position_stride(arguments, GRAD_K), length, head_dim)
    target = tensor_of_unit(arguments, GRAD_V, image, line, head, like)
    copy_rows(grad_values, value_pitch, target, position_stride(arguments, GRAD_V), length, value_dim)


@njit(forceinline=True)
def tile_of_weight_gradients(
    grad_content: Pointer,
    grad_positional: Pointer,
    values: Pointer,
    v_table: Pointer,
    p: int,
    o: int,
    value_dim: int,
    length: int,
    reach: int,
) -> Tile:
    """The gradients of the weights of queries o ... o + 3 for positions p ... p + 7."""
    grad_pitch = round_up(value_dim, LANES)
    value_pitch = positions_pitch(length)
    table_pitch = table_rows(reach)
    distance = p - o + reach
    by_content = fill_tile(values, 0.0)
    by_position = fill_tile(values, 0.0)
    for c in range(value_dim):
        value = load(values, c * value_pitch + p)
        by_content = fma(splat_rows(grad_content, o * grad_pitch + c, grad_pitch), value, by_content)
        relative = load_rows(v_table, c * table_pitch + distance, -1)
        by_position = fma(splat_rows(grad_positional, o * grad_pitch + c, grad_pitch), relative, by_position)
    return add(by_content, by_position)


@njit
def add_query_gradients(
    grad_logits: Pointer,
    queries: Pointer,
    key_rows: Pointer,
    q_rows: Pointer,
    scales: Any,
    grad_queries: Pointer,
    grad_scales: Pointer,
    o: int,
    start: int,
    stop: int,
    reach: int,
    pitch: int,
    key_pitch: int,
) -> None:
    """The gradients of queries o ... o + 3, and what they add to those of the first two scales."""
    for d in range(0, key_pitch, LANES):
        by_key = fill_tile(queries, 0.0)
        by_table = fill_tile(queries, 0.0)
        relative = load_rows(q_rows, (start - 1 - o + reach) * key_pitch + d, -key_pitch)
        for p in range(start, stop):
            relative = shift_down(relative, load(q_rows, (p - o + reach) * key_pitch + d))
            grad = splat_rows(grad_logits, o * pitch + p, pitch)
            by_key = fma(grad, load(key_rows, p * key_pitch + d), by_key)
            by_table = fma(grad, relative, by_table)
        store_rows(grad_queries, d, key_pitch, fma(by_key, scales[0], multiply(by_table, scales[1])))
        query = load_rows(queries, o * key_pitch + d, key_pitch)
        store(grad_scales, 0, add(load(grad_scales, 0), sum_rows(multiply(query, by_key))))
        store(grad_scales, LANES, add(load(grad_scales, LANES), sum_rows(multiply(query, by_table))))


@njit
def add_key_gradients(
    grad_logits: Pointer,
    queries: Pointer,
    k_rows: Pointer,
    grad_keys: Pointer,
    grad_keys_relative: Pointer,
    first: int,
    last: int,
    start: int,
    stop: int,
    reach: int,
    pitch: int,
    key_pitch: int,
) -> None:
    """Add what queries first ... last - 1 give to the two parts of the keys' gradients, through q·k and k·r^k."""
    for p in range(start, stop, ROWS):
        earliest, latest = max(first, p - reach), min(last, p + ROWS + reach)
        for d in range(0, key_pitch, LANES):
            by_query = fill_tile(queries, 0.0)
            by_table = fill_tile(queries, 0.0)
            relative = load_rows(k_rows, (p + 1 - earliest + reach) * key_pitch + d, key_pitch)
            for o in range(earliest, latest):
                relative = shift_down(relative, load(k_rows, (p - o + reach) * key_pitch + d))
                grad = splat_rows(grad_logits, o * pitch + p, 1)
                by_query = fma(grad, load(queries, o * key_pitch + d), by_query)
                by_table = fma(grad, relative, by_table)
            at = p * key_pitch + d
            store_rows(grad_keys, at, key_pitch, add(load_rows(grad_keys, at, key_pitch), by_query))
            by_table = add(load_rows(grad_keys_relative, at, key_pitch), by_table)
            store_rows(grad_keys_relative, at, key_pitch, by_table)


@njit
def add_value_gradients(
    weights: Pointer,
    grad_content: Pointer,
    grad_values: Pointer,
    first: int,
    last: int,
    start: int,
    stop: int,
    reach: int,
    pitch: int,
    value_pitch: int,
) -> None:
    """Add what queries first ... last - 1 give to the values' gradients."""
    for p in range(start, stop, ROWS):
        earliest, latest = max(first, p - reach), min(last, p + ROWS + reach)
        for c in range(0, value_pitch, LANES):
            at = p * value_pitch + c
            total = load_rows(grad_values, at, value_pitch)
            for o in range(earliest, latest):
                weight = splat_rows(weights, o * pitch + p, 1)
                total = fma(weight, load(grad_content, o * value_pitch + c), total)
            store_rows(grad_values, at, value_pitch, total)


@njit
def add_table_gradients(
    grad_logits: Pointer,
    queries: Pointer,
    key_rows: Pointer,
    scales: Any,
    q_rows_grad: Pointer,
    k_rows_grad: Pointer,
    first: int,
    last: int,
    start: int,
    stop: int,
    reach: int,
    pitch: int,
    key_pitch: int,
) -> None:
    """Add what queries first ... last - 1 give to the gradients of r^q and r^k: sums along diagonals."""
    for distance in range(max(-reach, start + 1 - last), min(reach, stop - 1 - first) + 1, ROWS):
        earliest, latest = max(first, start + 1 - ROWS - distance), min(last, stop - distance)
        for d in range(0, key_pitch, LANES):
            by_query = fill_tile(queries, 0.0)
            by_key = fill_tile(queries, 0.0)
            key = load_rows(key_rows, (earliest - 1 + distance) * key_pitch + d, key_pitch)
            for o in range(earliest, latest):
                key = shift_up(key, load(key_rows, (o + distance + ROWS - 1) * key_pitch + d))
                grad = splat_rows(grad_logits, o * pitch + o + distance, 1)
                by_query = fma(grad, load(queries, o * key_pitch + d), by_query)
                by_key = fma(grad, key, by_key)
            at = (distance + reach) * key_pitch + d
            store_rows(
                q_rows_grad, at, key_pitch, fma(by_query, scales[1], load_rows(q_rows_grad, at, key_pitch))
            )
            store_rows(
                k_rows_grad, at, key_pitch, fma(by_key, scales[2], load_rows(k_rows_grad, at, key_pitch))
            )


@njit
def add_value_table_gradients(
    weights: Pointer,
    grad_positional: Pointer,
    v_rows_grad: Pointer,
    first: int,
    last: int,
    start: int,
    stop: int,
    reach: int,
    pitch: int,
    value_pitch: int,
) -> None:
    """Add what queries first ... last - 1 give to the gradient of r^v."""
    for distance in range(max(-reach, start + 1 - last), min(reach, stop - 1 - first) + 1, ROWS):
        earliest, latest = max(first, start + 1 - ROWS - distance), min(last, stop - distance)
        for c in range(0, value_pitch, LANES):
            at = (distance + reach) * value_pitch + c
            total = load_rows(v_rows_grad, at, value_pitch)
            for o in range(earliest, latest):
                weight = splat_rows(weights, o * pitch + o + distance, 1)
                total = fma(weight, load(grad_positional, o * value_pitch + c), total)
            store_rows(v_rows_grad, at, value_pitch, total)


@njit
def backward(address: int, like: Scalar) -> None:
    """What one thread does: take chunks of units until none is left; each chunk sums its own table gradients."""
    arguments = pointer_like(address, address)
    size = load_scalar(arguments, SCRATCH_SIZE)
    scratch = pointer_like(load_scalar(arguments, SCRATCH), like)
    scratch = advance(scratch, take_ticket(advance(arguments, NEXT_THREAD)) * size)
    clear(scratch, size)
    table_grads = pointer_like(load_scalar(arguments, TABLE_GRADS), like)
    table_grads_size = load_scalar(arguments, TABLE_GRADS_SIZE)
    units = load_scalar(arguments, BATCH) * load_scalar(arguments, LINES) * load_scalar(arguments, HEADS)
    chunks = load_scalar(arguments, CHUNKS)
    chunk = take_ticket(advance(arguments, NEXT_CHUNK))
    while chunk < chunks:
        chunk_grads = advance(table_grads, chunk * table_grads_size)
        clear(chunk_grads, table_grads_size)
        for unit in range(units * chunk // chunks, units * (chunk + 1) // chunks):
            image, line, head = unit_of(arguments, unit)
            backward_unit(arguments, image, line, head, scratch, chunk_grads, like)
        chunk = take_ticket(advance(arguments, NEXT_CHUNK))


# --- entry points ---------------------------------------------------------------------------------------------------


def expand_tables_float32(address: int) -> None:
    expand_tables(address, np.float32(0))


def expand_tables_float64(address: int) -> None:
    expand_tables(address, np.float64(0))


def forward_float32(address: int) -> None:
    forward(address, np.float32(0))


def forward_float64(address: int) -> None:
    forward(address, np.float64(0))


def backward_float32(address: int) -> None:
    backward(address, np.float32(0))


def backward_float64(address: int) -> None:
    backward(address, np.float64(0))


def compiled(name: str) -> Any:
    """The C function of an entry point, from the cache if an earlier process could write there."""
    function, signature = globals()[name], types.void(types.int64)
    try:
        return cfunc(signature, cache=True)(function)
    except RuntimeError:  # Neither the folder of this file nor that of the user can be written.
        return cfunc(signature)(function)
