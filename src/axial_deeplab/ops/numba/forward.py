"""The forward kernel.

A thread packs a bundle of units into its scratch memory and walks over its queries four at a time. The
weights of these four are all that ever exists. The relative row of the distance p - o for query o + 1 is that
of p - 1 for query o, so it slides from row to row of a tile.
"""

import math

from axial_deeplab.ops.numba import bundles, layout, simd
from axial_deeplab.ops.numba.layout import Pointer, Scalar, Tile, inlined, kernel
from axial_deeplab.ops.numba.simd import LANES, ROWS, TILE


@kernel
def attend_bundle(arguments: Pointer, bundle: int, starts: Pointer, scratch: Pointer, like: Scalar) -> None:
    """The outputs of one bundle and the largest logit of each query."""
    length, reach, head_dim, value_dim = layout.lengths(arguments)
    rows = layout.whole_tiles(length)
    units = bundles.units_in(arguments, bundle)

    scales = scratch
    queries = simd.advance(scales, 3 * LANES)
    raw_keys = simd.advance(queries, rows * head_dim * LANES)
    keys = simd.advance(raw_keys, (length + 1) * head_dim * LANES)
    values = simd.advance(keys, 2 * (length + 1) * head_dim * LANES)
    query_tile = simd.advance(values, (length + 1) * value_dim * LANES)
    weights = simd.advance(query_tile, 2 * head_dim * TILE)
    content = simd.advance(weights, (length + 1) * TILE)
    positional = simd.advance(content, value_dim * TILE)
    positional_scale = simd.advance(positional, value_dim * TILE)

    table_pitch = layout.table_rows(reach)
    q_table = simd.advance(layout.tensor_at(arguments, layout.TABLES, like), layout.MARGIN + reach)
    k_table = simd.advance(q_table, table_pitch * head_dim)
    v_table = simd.advance(k_table, table_pitch * head_dim)

    bundles.find_scales(arguments, bundle, scales, like)
    bundles.pack(arguments, layout.Q, starts, queries, head_dim, like)
    bundles.pack(arguments, layout.K, starts, raw_keys, head_dim, like)
    bundles.scaled_keys(raw_keys, length * head_dim, simd.advance(scales, 2 * LANES), keys)
    bundles.pack(arguments, layout.V, starts, values, value_dim, like)
    summed = simd.load_scalar(arguments, layout.POSITIONAL_SCALE) != 0
    if summed:
        find_positional_scale(arguments, bundle, positional_scale, value_dim, like)
    maxima = simd.advance(layout.tensor_at(arguments, layout.MAXIMA, like), bundle * rows * LANES)

    local = reach < length - 1
    for o in range(0, length, ROWS):
        start = max(0, o - reach)
        stop = min(length, o + ROWS + reach)
        bundles.scaled_queries(simd.advance(queries, o * head_dim * LANES), head_dim, scales, query_tile)
        largest = simd.fill_tile(scratch, -math.inf)
        for p in range(start, stop, 2):
            first, second = bundles.pair_of_logits(
                query_tile,
                simd.advance(keys, 2 * p * head_dim * LANES),
                simd.advance(q_table, p - o),
                simd.advance(k_table, p - o),
                table_pitch,
                head_dim,
                1,
            )
            if local:
                first = simd.keep_rows(first, p - o + reach, 1, 2 * reach)
                second = simd.keep_rows(second, p + 1 - o + reach, 1, 2 * reach)
            simd.store_rows(weights, p * TILE, LANES, first)
            simd.store_rows(weights, (p + 1) * TILE, LANES, second)
            largest = simd.maximum(first, largest)
            if p + 1 < stop:
                largest = simd.maximum(second, largest)
        simd.store_rows(maxima, o * LANES, LANES, largest)
        total = simd.fill_tile(scratch, 0.0)
        for p in range(start, stop):
            numerators = simd.exp2(simd.subtract(simd.load_rows(weights, p * TILE, LANES), largest))
            simd.store_rows(weights, p * TILE, LANES, numerators)
            total = simd.add(total, numerators)

        average_values(
            weights,
            values,
            simd.advance(v_table, -o),
            table_pitch,
            simd.reciprocal(total),
            summed,
            positional_scale,
            content,
            positional,
            start,
            stop,
            value_dim,
        )
        row_count = min(ROWS, length - o)
        bundles.unpack(arguments, layout.CONTENT, starts, content, o, row_count, value_dim, units, like)
        if not summed:
            bundles.unpack(
                arguments, layout.POSITIONAL, starts, positional, o, row_count, value_dim, units, like
            )


@kernel
def find_positional_scale(
    arguments: Pointer, bundle: int, target: Pointer, value_dim: int, like: Scalar
) -> None:
    """Set the factors of the positional output, (V, lanes)."""
    source = layout.tensor_at(arguments, layout.POSITIONAL_SCALE, like)
    for lane in range(LANES):
        head = (bundle * LANES + lane) % simd.load_scalar(arguments, layout.HEADS)
        for c in range(value_dim):
            simd.store_scalar(target, c * LANES + lane, simd.load_scalar(source, head * value_dim + c))


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
        row = simd.advance(v_table, c * table_pitch)
        by_content = simd.fill_tile(weights, 0.0)
        by_position = simd.fill_tile(weights, 0.0)
        relative = simd.splat_rows(row, start - 1, -1)
        for p in range(start, stop):
            relative = simd.shift_down(relative, simd.fill(row, simd.load_scalar(row, p)))
            weight = simd.load_rows(weights, p * TILE, LANES)
            by_content = simd.fma(weight, simd.load(values, p * width + c * LANES), by_content)
            by_position = simd.fma(weight, relative, by_position)
        if summed:
            by_content = simd.fma(by_position, simd.load(positional_scale, c * LANES), by_content)
        else:
            simd.store_rows(positional, c * LANES, width, simd.multiply(by_position, norm))
        simd.store_rows(content, c * LANES, width, simd.multiply(by_content, norm))


@kernel
def forward(address: int, like: Scalar) -> None:
    """What one thread does: take chunks of bundles until none is left."""
    arguments = simd.pointer_like(address, address)
    scratch, starts = bundles.memory_of_thread(arguments, like)
    following = simd.advance(starts, layout.TENSORS * LANES)
    bundle_count = (simd.load_scalar(arguments, layout.UNITS) + LANES - 1) // LANES
    chunks = simd.load_scalar(arguments, layout.CHUNKS)
    tensors = 4 if simd.load_scalar(arguments, layout.POSITIONAL_SCALE) != 0 else 5
    chunk = simd.take_ticket(simd.advance(arguments, layout.NEXT_CHUNK))
    while chunk < chunks:
        stop = bundle_count * (chunk + 1) // chunks
        for bundle in range(bundle_count * chunk // chunks, stop):
            if bundle + 1 < stop:
                bundles.find_starts(arguments, bundle + 1, following)
                bundles.prefetch_bundle(arguments, tensors, following, like)
            bundles.find_starts(arguments, bundle, starts)
            attend_bundle(arguments, bundle, starts, scratch, like)
        chunk = simd.take_ticket(simd.advance(arguments, layout.NEXT_CHUNK))
