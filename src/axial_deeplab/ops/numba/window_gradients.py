"""Gradients of queries, keys and tables, given those of the terms: for attention over windows, its moments.

The gradients of the terms are those of a segment of a row of queries, (offsets, queries).
"""

from typing import Any, NamedTuple

from axial_deeplab.ops.numba import layout, simd, window
from axial_deeplab.ops.numba.layout import Pointer, Scalar, Tile, inlined, kernel
from axial_deeplab.ops.numba.simd import LANES, ROWS
from axial_deeplab.ops.numba.window import HeadTables, WindowSizes


class Rows(NamedTuple):
    """A row of queries, the rows of keys in reach, and their gradients, packed."""

    queries: Pointer
    keys: Pointer
    grad_queries: Pointer
    grad_keys: Pointer


@kernel
def begin_rows(
    arguments: Pointer, image: int, head: int, start: int, stop: int, keys: Pointer, like: Scalar
) -> None:
    """Pack rows of keys and values as `window.pack_rows`; zero their gradients, which lie behind both."""
    sizes = window.window_sizes(arguments)
    window.pack_rows(arguments, image, head, start, stop, keys, like)
    grad_keys = simd.advance(keys, sizes.slots * (sizes.key_row + sizes.value_row))
    grad_values = simd.advance(grad_keys, sizes.slots * sizes.key_row)
    for row in range(start, stop):
        slot = row % sizes.slots
        layout.clear(simd.advance(grad_keys, slot * sizes.key_row), sizes.key_row)
        layout.clear(simd.advance(grad_values, slot * sizes.value_row), sizes.value_row)


@kernel
def finish_rows(
    arguments: Pointer, image: int, head: int, start: int, stop: int, keys: Pointer, like: Scalar
) -> None:
    """Write the gradients of rows start ... stop - 1 of the keys and values, see `begin_rows`."""
    sizes = window.window_sizes(arguments)
    grad_keys = simd.advance(keys, sizes.slots * (sizes.key_row + sizes.value_row))
    grad_values = simd.advance(grad_keys, sizes.slots * sizes.key_row)
    for row in range(start, stop):
        slot = row % sizes.slots
        grad_row = simd.advance(grad_keys, slot * sizes.key_row)
        window.unpack_row(arguments, layout.GRAD_K, image, row, head, grad_row, like)
        grad_row = simd.advance(grad_values, slot * sizes.value_row)
        window.unpack_row(arguments, layout.GRAD_V, image, row, head, grad_row, like)


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
    sizes: WindowSizes,
    grads: Pointer,
    table_grads: Pointer,
    rows: Pointer,
    table: Pointer,
    has_table: bool,
    scale: Any,
    channels: int,
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
    width, reach, pitch = sizes.width, sizes.reach, sizes.pitch
    grad_pitch, table_pitch = layout.segment_pitch(reach), layout.whole_tiles(channels)
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
    sizes: WindowSizes,
    tables: HeadTables,
    y: int,
    first: int,
    last: int,
    grads: Any,
    rows: Rows,
    scale: Any,
    sums: Any,
) -> None:
    """Set the gradients of the queries first ... last - 1 of row y; add to those of keys and tables.

    Args:
        grads: the gradients of scale · q·k, (offsets, queries of the segment), and likewise of the terms of
            r^q and r^k.
        sums: the gradients of r^q and of r^k, (offsets, channels, lanes), and of the scale, lanes.
    """
    content_grads, query_grads, key_grads = grads
    q_sums, k_sums, scale_sums = sums
    reach, pitch, grad_pitch = sizes.reach, sizes.pitch, layout.segment_pitch(sizes.reach)
    head_dim, key_dim = sizes.head_dim, sizes.key_dim
    num_queries = layout.whole_vectors(last - first)
    top, bottom = max(0, y - sizes.row_reach), min(sizes.height, y + sizes.row_reach + 1)
    for x in range(first, last, LANES):
        for d in range(0, head_dim, ROWS):
            by_key = simd.fill_tile(rows.queries, 0.0)
            by_table = simd.fill_tile(rows.queries, 0.0)
            for row in range(top, bottom):
                start = (row - y + sizes.row_reach) * sizes.row_offsets
                near = simd.advance(rows.keys, (row % sizes.slots * key_dim + d) * pitch + x)
                relative = simd.advance(tables.q, start * key_dim + d)
                for t in range(sizes.side):
                    at = (start + t) * grad_pitch + x - first
                    by_key = simd.fma(simd.load(content_grads, at), simd.load_rows(near, t, pitch), by_key)
                    if tables.has_q:
                        grad = simd.load(query_grads, at)
                        by_table = simd.fma(grad, simd.splat_rows(relative, t * key_dim, 1), by_table)
            at = d * pitch + reach + x
            simd.store_rows(rows.grad_queries, at, pitch, simd.fma(by_key, scale, by_table))
            products = simd.sum_rows(simd.multiply(simd.load_rows(rows.queries, at, pitch), by_key))
            simd.store(scale_sums, 0, simd.add(simd.load(scale_sums, 0), products))
    for row in range(top, bottom):
        start = (row - y + sizes.row_reach) * sizes.row_offsets
        of_content = simd.advance(content_grads, start * grad_pitch)
        of_query = simd.advance(query_grads, start * grad_pitch)
        of_key = simd.advance(key_grads, start * grad_pitch)
        slot = row % sizes.slots * sizes.key_row
        row_keys = simd.advance(rows.keys, slot)
        for t in range(sizes.side):
            at = t * grad_pitch
            # Keys near the end of the segment look for queries behind it.
            layout.clear(simd.advance(of_content, at + num_queries), layout.segment_margin(reach))
            layout.clear(simd.advance(of_key, at + num_queries), layout.segment_margin(reach))
            sums_at = (start + t) * key_dim * LANES
            if tables.has_q:
                near, target = simd.advance(rows.queries, reach + first), simd.advance(q_sums, sums_at)
                add_outer_products(
                    simd.advance(of_query, at), near, pitch, num_queries, sizes.head_dim, target
                )
            if tables.has_k:
                near, target = simd.advance(row_keys, first + t), simd.advance(k_sums, sums_at)
                add_outer_products(simd.advance(of_key, at), near, pitch, num_queries, head_dim, target)
        target, table = simd.advance(rows.grad_keys, slot), simd.advance(tables.k, start * key_dim)
        add_row_gradients(
            sizes, of_content, of_key, rows.queries, table, tables.has_k, scale, head_dim, first, last, target
        )


@kernel
def finish_table_grads(arguments: Pointer, chunk: int, lane_sums: Pointer, like: Scalar) -> None:
    """Set the table gradients of a chunk to the sums of the lanes, which begin again at 0."""
    size = simd.load_scalar(arguments, layout.TABLE_GRADS_SIZE)
    target = simd.advance(layout.tensor_at(arguments, layout.TABLE_GRADS, like), chunk * size)
    for i in range(size):
        simd.store_scalar(target, i, simd.sum_lanes(simd.load(lane_sums, i * LANES)))
    layout.clear(lane_sums, size * LANES)
