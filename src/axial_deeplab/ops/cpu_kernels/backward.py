"""The backward kernel.

As in the forward kernel, a thread takes one head of one line at a time. The weights of a block of
queries are computed again from the largest logit of each query, which makes them equal to those of the
forward pass to the last bit, and their gradients beside them. Then each gradient is a sum over the
block, vectorized over the channels, four queries, positions or distances at a time: what they share is
loaded once, and relative rows slide from row to row of a tile.
"""

from typing import Any

from axial_deeplab.ops.cpu_kernels.layout import (
    BATCH,
    BLOCK,
    CHUNKS,
    CONTENT,
    GRAD_K,
    GRAD_Q,
    GRAD_V,
    HEAD_DIM,
    HEADS,
    LENGTH,
    LINES,
    LOG2_E,
    MARGIN,
    MAXIMA,
    NEXT_CHUNK,
    POSITIONAL,
    REACH,
    TABLE_GRADS,
    TABLE_GRADS_SIZE,
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
    merged,
    position_stride,
    positions_pitch,
    prefetch_unit,
    scales_of_head,
    scratch_of_thread,
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
    shift_up,
    splat_rows,
    spread_sum,
    store,
    store_rows,
    store_scalar,
    subtract,
    sum_lanes,
    sum_rows,
    take_ticket,
)


@merged
def backward_unit(
    arguments: Pointer, image: int, line: int, head: int, scratch: Pointer, table_grads: Pointer, like: Scalar
) -> None:
    """The gradients of one unit; those of the tables and scales are added to `table_grads`."""
    length, reach = load_scalar(arguments, LENGTH), load_scalar(arguments, REACH)
    head_dim, value_dim = load_scalar(arguments, HEAD_DIM), load_scalar(arguments, VALUE_DIM)
    key_pitch, value_pitch = whole_vectors(head_dim), whole_vectors(value_dim)
    rows = whole_tiles(length)
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
    natural = scales_of_head(arguments, head, 1.0, like)
    scales = scales_of_head(arguments, head, LOG2_E, like)

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
            # The sum is at least 1 or NaN, but for the rows behind the last query, where all is zero.
            norm = reciprocal(maximum(fill_tile(queries, 0.5), spread_sum(total)))
            delta = multiply(spread_sum(delta), norm)
            for p in range(start, stop, LANES):
                weight = multiply(load_rows(weights, row + p, pitch), norm)
                grad_weight = load_rows(grad_logits, row + p, pitch)
                store_rows(weights, row + p, pitch, weight)
                store_rows(grad_logits, row + p, pitch, multiply(weight, subtract(grad_weight, delta)))
            for p in (start - MARGIN, start + whole_vectors(stop - start)):
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


@inlined
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
    grad_pitch = whole_vectors(value_dim)
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


@kernel
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


@kernel
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
    """Add what queries first ... last - 1 give to both parts of the keys' gradients, by q·k and k·r^k."""
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


@kernel
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


@kernel
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


@kernel
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


@merged
def backward(address: int, like: Scalar) -> None:
    """What one thread does: take chunks of units until none is left. Each has its own table gradients."""
    arguments = pointer_like(address, address)
    scratch = scratch_of_thread(arguments, like)
    table_grads = pointer_like(load_scalar(arguments, TABLE_GRADS), like)
    table_grads_size = load_scalar(arguments, TABLE_GRADS_SIZE)
    units = load_scalar(arguments, BATCH) * load_scalar(arguments, LINES) * load_scalar(arguments, HEADS)
    chunks = load_scalar(arguments, CHUNKS)
    chunk = take_ticket(advance(arguments, NEXT_CHUNK))
    while chunk < chunks:
        chunk_grads = advance(table_grads, chunk * table_grads_size)
        clear(chunk_grads, table_grads_size)
        stop = units * (chunk + 1) // chunks
        for unit in range(units * chunk // chunks, stop):
            if unit + 1 < stop:
                prefetch_unit(arguments, 8, unit + 1, like)
            image, line, head = unit_of(arguments, unit)
            backward_unit(arguments, image, line, head, scratch, chunk_grads, like)
        chunk = take_ticket(advance(arguments, NEXT_CHUNK))
