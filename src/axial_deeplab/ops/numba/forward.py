"""The forward kernel.

A thread packs a bundle of units into its scratch memory and walks over its queries four at a time. The
weights of these four are all that ever exists. The relative row of the distance p - o for query o + 1 is that
of p - 1 for query o, so it slides from row to row of a tile.
"""

import math

from axial_deeplab.ops.numba.bundles import (
    find_scales,
    find_starts,
    pack,
    pair_of_logits,
    prefetch_bundle,
    scaled_keys,
    scaled_queries,
    scratch_of_ticket,
    starts_of_ticket,
    units_in,
    unpack,
)
from axial_deeplab.ops.numba.layout import (
    CHUNKS,
    CONTENT,
    HEAD_DIM,
    HEADS,
    LENGTH,
    MARGIN,
    MAXIMA,
    NEXT_CHUNK,
    NEXT_THREAD,
    POSITIONAL,
    POSITIONAL_SCALE,
    REACH,
    TABLES,
    TENSORS,
    UNITS,
    VALUE_DIM,
    K,
    Pointer,
    Q,
    Scalar,
    Tile,
    V,
    inlined,
    kernel,
    table_rows,
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
    splat_rows,
    store_rows,
    store_scalar,
    subtract,
    take_ticket,
)


@kernel
def attend_bundle(arguments: Pointer, bundle: int, starts: Pointer, scratch: Pointer, like: Scalar) -> None:
    """The outputs of one bundle and the largest logit of each query."""
    length, reach = load_scalar(arguments, LENGTH), load_scalar(arguments, REACH)
    head_dim, value_dim = load_scalar(arguments, HEAD_DIM), load_scalar(arguments, VALUE_DIM)
    rows = whole_tiles(length)
    units = units_in(arguments, bundle)

    scales = scratch
    queries = advance(scales, 3 * LANES)
    raw_keys = advance(queries, rows * head_dim * LANES)
    keys = advance(raw_keys, (length + 1) * head_dim * LANES)
    values = advance(keys, 2 * (length + 1) * head_dim * LANES)
    query_tile = advance(values, (length + 1) * value_dim * LANES)
    weights = advance(query_tile, 2 * head_dim * TILE)
    content = advance(weights, (length + 1) * TILE)
    positional = advance(content, value_dim * TILE)
    positional_scale = advance(positional, value_dim * TILE)

    table_pitch = table_rows(reach)
    q_table = advance(pointer_like(load_scalar(arguments, TABLES), like), MARGIN + reach)
    k_table = advance(q_table, table_pitch * head_dim)
    v_table = advance(k_table, table_pitch * head_dim)

    find_scales(arguments, bundle, scales, like)
    pack(arguments, Q, starts, queries, head_dim, like)
    pack(arguments, K, starts, raw_keys, head_dim, like)
    scaled_keys(raw_keys, length * head_dim, advance(scales, 2 * LANES), keys)
    pack(arguments, V, starts, values, value_dim, like)
    summed = load_scalar(arguments, POSITIONAL_SCALE) != 0
    if summed:
        find_positional_scale(arguments, bundle, positional_scale, value_dim, like)
    maxima = advance(pointer_like(load_scalar(arguments, MAXIMA), like), bundle * rows * LANES)

    local = reach < length - 1
    for o in range(0, length, ROWS):
        start = max(0, o - reach)
        stop = min(length, o + ROWS + reach)
        scaled_queries(advance(queries, o * head_dim * LANES), head_dim, scales, query_tile)
        largest = fill_tile(scratch, -math.inf)
        for p in range(start, stop, 2):
            first, second = pair_of_logits(
                query_tile,
                advance(keys, 2 * p * head_dim * LANES),
                advance(q_table, p - o),
                advance(k_table, p - o),
                table_pitch,
                head_dim,
                1,
            )
            if local:
                first = keep_rows(first, p - o + reach, 1, 2 * reach)
                second = keep_rows(second, p + 1 - o + reach, 1, 2 * reach)
            store_rows(weights, p * TILE, LANES, first)
            store_rows(weights, (p + 1) * TILE, LANES, second)
            largest = maximum(first, largest)
            if p + 1 < stop:
                largest = maximum(second, largest)
        store_rows(maxima, o * LANES, LANES, largest)
        total = fill_tile(scratch, 0.0)
        for p in range(start, stop):
            numerators = exp2(subtract(load_rows(weights, p * TILE, LANES), largest))
            store_rows(weights, p * TILE, LANES, numerators)
            total = add(total, numerators)

        average_values(
            weights,
            values,
            advance(v_table, -o),
            table_pitch,
            reciprocal(total),
            summed,
            positional_scale,
            content,
            positional,
            start,
            stop,
            value_dim,
        )
        row_count = min(ROWS, length - o)
        unpack(arguments, CONTENT, starts, content, o, row_count, value_dim, units, like)
        if not summed:
            unpack(arguments, POSITIONAL, starts, positional, o, row_count, value_dim, units, like)


@kernel
def find_positional_scale(
    arguments: Pointer, bundle: int, target: Pointer, value_dim: int, like: Scalar
) -> None:
    """Set the factors of the positional output, (V, lanes)."""
    source = pointer_like(load_scalar(arguments, POSITIONAL_SCALE), like)
    for lane in range(LANES):
        head = (bundle * LANES + lane) % load_scalar(arguments, HEADS)
        for c in range(value_dim):
            store_scalar(target, c * LANES + lane, load_scalar(source, head * value_dim + c))


@inlined
def average_values(
    weights: Pointer,
    values: Pointer,
    v_table: Pointer,
    table_pitch: int,
    norm: Tile,
    summed: bool,
    positional_scale: Pointer,
    content: Pointer,
    positional: Pointer,
    start: int,
    stop: int,
    value_dim: int,
) -> None:
    """The content and positional outputs of four queries, or their sum; `v_table` is that of p = 0."""
    width = value_dim * LANES
    for c in range(value_dim):
        row = advance(v_table, c * table_pitch)
        by_content = fill_tile(weights, 0.0)
        by_position = fill_tile(weights, 0.0)
        relative = splat_rows(row, start - 1, -1)
        for p in range(start, stop):
            relative = shift_down(relative, fill(row, load_scalar(row, p)))
            weight = load_rows(weights, p * TILE, LANES)
            by_content = fma(weight, load(values, p * width + c * LANES), by_content)
            by_position = fma(weight, relative, by_position)
        if summed:
            by_content = fma(by_position, load(positional_scale, c * LANES), by_content)
        else:
            store_rows(positional, c * LANES, width, multiply(by_position, norm))
        store_rows(content, c * LANES, width, multiply(by_content, norm))


@kernel
def forward(address: int, like: Scalar) -> None:
    """What one thread does: take chunks of bundles until none is left."""
    arguments = pointer_like(address, address)
    ticket = take_ticket(advance(arguments, NEXT_THREAD))
    scratch = scratch_of_ticket(arguments, ticket, like)
    starts = starts_of_ticket(arguments, ticket)
    following = advance(starts, TENSORS * LANES)
    bundles = (load_scalar(arguments, UNITS) + LANES - 1) // LANES
    chunks = load_scalar(arguments, CHUNKS)
    tensors = 4 if load_scalar(arguments, POSITIONAL_SCALE) != 0 else 5
    chunk = take_ticket(advance(arguments, NEXT_CHUNK))
    while chunk < chunks:
        stop = bundles * (chunk + 1) // chunks
        for bundle in range(bundles * chunk // chunks, stop):
            if bundle + 1 < stop:
                find_starts(arguments, bundle + 1, following)
                prefetch_bundle(arguments, tensors, following, like)
            find_starts(arguments, bundle, starts)
            attend_bundle(arguments, bundle, starts, scratch, like)
        chunk = take_ticket(advance(arguments, NEXT_CHUNK))
