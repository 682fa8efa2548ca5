"""Gradients of queries, keys and tables, given those of the terms: for attention over windows, its moments.

The gradients of the terms are those of a segment of a row of queries, (offsets, queries).
"""

from typing import Any

from axial_deeplab.ops.numba import layout, simd
from axial_deeplab.ops.numba.layout import Pointer, Scalar, Tile, inlined, kernel
from axial_deeplab.ops.numba.simd import LANES, ROWS


@inlined
def add_tile(target: Pointer, index: int, pitch: int, tile: Tile) -> None:
    simd.store_rows(target, index, pitch, simd.add(simd.load_rows(target, index, pitch), tile))


@kernel
def add_outer_products(
    grads: Pointer, rows: Pointer, pitch: int, width: int, channels: int, sums: Pointer
) -> None:
    """Add the products of `width` numbers with each of the channels to the lane sums of the channels."""
    for c in range(0, channels, ROWS):
        total = simd.fill_tile(grads, 0.0)
        for x in range(0, width, LANES):
            total = simd.fma(simd.load(grads, x), simd.load_rows(rows, c * pitch + x, pitch), total)
        add_tile(sums, c * LANES, LANES, total)


@kernel
def add_row_gradients(
    grads: Pointer,
    table_grads: Pointer,
    rows: Pointer,
    table: Pointer,
    has_table: bool,
    scale: Any,
    channels: int,
    reach: int,
    width: int,
    first: int,
    last: int,
    target: Pointer,
) -> None:
    """Add to a row of keys or values (channels, W) what a segment of queries gives in one row of windows.

    Key p gets scale · grad · row + table grad · table row from the query o = p - t + reach of each offset t.

    Args:
        grads: gradients of the content's term, or the weights, (offsets, queries of the segment).
        table_grads: gradients of the term of keys and table, likewise.
        rows: queries, or the gradients of the content, (channels, W).
        table: its rows for the offsets t.
    """
    pitch, grad_pitch, table_pitch = (
        layout.columns_pitch(width, reach),
        layout.segment_pitch(reach),
        layout.whole_tiles(channels),
    )
    for p in range(max(0, first - reach), min(width, last + reach), LANES):
        for c in range(0, channels, ROWS):
            by_row = simd.fill_tile(grads, 0.0)
            by_table = simd.fill_tile(grads, 0.0)
            for t in range(2 * reach + 1):
                o = p - t + reach
                grad = simd.load(grads, t * grad_pitch + o - first)
                by_row = simd.fma(grad, simd.load_rows(rows, c * pitch + reach + o, pitch), by_row)
                if has_table:
                    grad = simd.load(table_grads, t * grad_pitch + o - first)
                    by_table = simd.fma(grad, simd.splat_rows(table, t * table_pitch + c, 1), by_table)
            add_tile(target, c * pitch + reach + p, pitch, simd.fma(by_row, scale, by_table))


@kernel
def add_segment_gradients(
    arguments: Pointer,
    y: int,
    first: int,
    last: int,
    content_grads: Pointer,
    query_grads: Pointer,
    key_grads: Pointer,
    queries: Pointer,
    keys: Pointer,
    q_table: Pointer,
    k_table: Pointer,
    has_q: bool,
    has_k: bool,
    scale: Any,
    grad_queries: Pointer,
    grad_keys: Pointer,
    q_sums: Pointer,
    k_sums: Pointer,
    scale_sums: Pointer,
) -> None:
    """Set the gradients of the queries first ... last - 1 of row y; add to those of keys and tables.

    Args:
        content_grads: the gradients of scale · q·k, (offsets, queries of the segment), and likewise of the
            terms of the tables: `query_grads`, `key_grads`.
        q_sums: the gradient of r^q, (offsets, channels, lanes), and likewise `k_sums`.
        scale_sums: the gradient of the scale, lanes.
    """
    height, width = simd.load_scalar(arguments, layout.LINES), simd.load_scalar(arguments, layout.LENGTH)
    reach, row_reach = (
        simd.load_scalar(arguments, layout.REACH),
        simd.load_scalar(arguments, layout.ROW_REACH),
    )
    head_dim = simd.load_scalar(arguments, layout.HEAD_DIM)
    key_dim = layout.whole_tiles(head_dim)
    pitch, grad_pitch = layout.columns_pitch(width, reach), layout.segment_pitch(reach)
    slots = layout.rows_in_reach(height, row_reach)
    side = 2 * reach + 1
    row_offsets = layout.whole_tiles(side)
    num_queries = layout.whole_vectors(last - first)
    top, bottom = max(0, y - row_reach), min(height, y + row_reach + 1)
    for x in range(first, last, LANES):
        for d in range(0, head_dim, ROWS):
            by_key = simd.fill_tile(queries, 0.0)
            by_table = simd.fill_tile(queries, 0.0)
            for row in range(top, bottom):
                start = (row - y + row_reach) * row_offsets
                near = simd.advance(keys, (row % slots * key_dim + d) * pitch + x)
                relative = simd.advance(q_table, start * key_dim + d)
                for t in range(side):
                    at = (start + t) * grad_pitch + x - first
                    by_key = simd.fma(simd.load(content_grads, at), simd.load_rows(near, t, pitch), by_key)
                    if has_q:
                        grad = simd.load(query_grads, at)
                        by_table = simd.fma(grad, simd.splat_rows(relative, t * key_dim, 1), by_table)
            at = d * pitch + reach + x
            simd.store_rows(grad_queries, at, pitch, simd.fma(by_key, scale, by_table))
            products = simd.sum_rows(simd.multiply(simd.load_rows(queries, at, pitch), by_key))
            simd.store(scale_sums, 0, simd.add(simd.load(scale_sums, 0), products))
    for row in range(top, bottom):
        start = (row - y + row_reach) * row_offsets
        of_content = simd.advance(content_grads, start * grad_pitch)
        of_query = simd.advance(query_grads, start * grad_pitch)
        of_key = simd.advance(key_grads, start * grad_pitch)
        row_keys = simd.advance(keys, row % slots * key_dim * pitch)
        for t in range(side):
            at = t * grad_pitch
            # Keys near the end of the segment look for queries behind it.
            layout.clear(simd.advance(of_content, at + num_queries), layout.segment_margin(reach))
            layout.clear(simd.advance(of_key, at + num_queries), layout.segment_margin(reach))
            sums_at = (start + t) * key_dim * LANES
            if has_q:
                near, sums = simd.advance(queries, reach + first), simd.advance(q_sums, sums_at)
                add_outer_products(simd.advance(of_query, at), near, pitch, num_queries, head_dim, sums)
            if has_k:
                near, sums = simd.advance(row_keys, first + t), simd.advance(k_sums, sums_at)
                add_outer_products(simd.advance(of_key, at), near, pitch, num_queries, head_dim, sums)
        add_row_gradients(
            of_content,
            of_key,
            queries,
            simd.advance(k_table, start * key_dim),
            has_k,
            scale,
            head_dim,
            reach,
            width,
            first,
            last,
            simd.advance(grad_keys, row % slots * key_dim * pitch),
        )


@kernel
def finish_table_grads(arguments: Pointer, chunk: int, lane_sums: Pointer, like: Scalar) -> None:
    """Set the table gradients of a chunk to the sums of the lanes, which begin again at 0."""
    size = simd.load_scalar(arguments, layout.TABLE_GRADS_SIZE)
    target = simd.advance(layout.tensor_at(arguments, layout.TABLE_GRADS, like), chunk * size)
    for i in range(size):
        simd.store_scalar(target, i, simd.sum_lanes(simd.load(lane_sums, i * LANES)))
    layout.clear(lane_sums, size * LANES)
