"""The backward kernel of attention over windows.

As in the forward kernel, a thread goes through the rows of queries of a head from top to bottom. The
gradients of the keys and values in reach are in scratch memory, too; a row that no further window reaches is
written out. The weights and their gradients are computed again for a segment of a row of queries. Then each
gradient is a sum over the segment, eight queries or keys and four channels at a time. Those of the tables
keep their eight lanes until the last row.
"""

import math

from axial_deeplab.ops.numba import layout, simd, window, window_gradients
from axial_deeplab.ops.numba.layout import Pointer, Scalar, Tile, inlined, kernel, merged
from axial_deeplab.ops.numba.simd import LANES, ROWS


@inlined
def tile_of_window_weight_gradients(
    grad_content: Pointer,
    grad_positional: Pointer,
    values: Pointer,
    pitch: int,
    v_table: Pointer,
    has_v: bool,
    value_dim: int,
) -> Tile:
    """The gradients of the weights of eight queries for the values at four neighboring offsets."""
    table_pitch = layout.whole_tiles(value_dim)
    by_content = simd.fill_tile(values, 0.0)
    by_position = simd.fill_tile(values, 0.0)
    for c in range(value_dim):
        by_content = simd.fma(
            simd.load(grad_content, c * pitch), simd.load_rows(values, c * pitch, 1), by_content
        )
        if has_v:
            relative = simd.splat_rows(v_table, c, table_pitch)
            by_position = simd.fma(simd.load(grad_positional, c * pitch), relative, by_position)
    return simd.add(by_content, by_position)


@kernel
def differentiate_softmax(
    weights: Pointer, grad_logits: Pointer, pitch: int, start: int, stop: int, row_offsets: int, side: int
) -> None:
    """Turn eight queries' numerators into weights, and gradients of weights into those of logits.

    The offsets are those of the rows start ... stop - 1 of the windows.
    """
    total = simd.fill(weights, 0.0)
    delta = simd.fill(weights, 0.0)
    for row in range(start, stop):
        for t in range(row * row_offsets, row * row_offsets + side):
            weight = simd.load(weights, t * pitch)
            total = simd.add(total, weight)
            delta = simd.fma(weight, simd.load(grad_logits, t * pitch), delta)
    # The sum is at least 1 or NaN, but for the columns behind the last query, where all is zero.
    norm = simd.reciprocal(simd.maximum(simd.fill(weights, 0.5), total))
    delta = simd.multiply(delta, norm)
    for row in range(start, stop):
        for t in range(row * row_offsets, row * row_offsets + side):
            weight = simd.multiply(simd.load(weights, t * pitch), norm)
            simd.store(weights, t * pitch, weight)
            simd.store(
                grad_logits,
                t * pitch,
                simd.multiply(weight, simd.subtract(simd.load(grad_logits, t * pitch), delta)),
            )


@merged
def differentiate_row(
    arguments: Pointer, image: int, y: int, head: int, scratch: Pointer, borders: Pointer, like: Scalar
) -> None:
    """Add what one row of queries gives to all gradients."""
    sizes = window.window_sizes(arguments)

    keys = scratch
    values = simd.advance(keys, sizes.slots * sizes.key_row)
    grad_keys = simd.advance(values, sizes.slots * sizes.value_row)
    grad_values = simd.advance(grad_keys, sizes.slots * sizes.key_row)
    queries = simd.advance(grad_values, sizes.slots * sizes.value_row)
    grad_queries = simd.advance(queries, sizes.key_row)
    grad_content = simd.advance(grad_queries, sizes.key_row)
    grad_positional = simd.advance(grad_content, sizes.value_row)
    q_sums = simd.advance(grad_positional, sizes.value_row)
    k_sums = simd.advance(q_sums, sizes.offsets * sizes.key_dim * LANES)
    v_sums = simd.advance(k_sums, sizes.offsets * sizes.key_dim * LANES)
    scale_sums = simd.advance(v_sums, sizes.offsets * sizes.padded_dim * LANES)
    weight_pitch, margin = layout.segment_pitch(sizes.reach), layout.segment_margin(sizes.reach)
    # The addresses of the first query of the segment.
    weights = simd.advance(scale_sums, LANES + margin)
    grad_logits = simd.advance(weights, sizes.offsets * weight_pitch)

    grads = grad_logits, grad_logits, grad_logits
    rows = window_gradients.Rows(queries, keys, grad_queries, grad_keys)
    sums = q_sums, k_sums, scale_sums

    tables = window.tables_of_head(arguments, sizes, head, like)
    scale = simd.fill(queries, simd.load_scalar(layout.tensor_at(arguments, layout.SCALE, like), head))
    unit = (image * simd.load_scalar(arguments, layout.HEADS) + head) * sizes.height + y
    maxima = simd.advance(
        layout.tensor_at(arguments, layout.MAXIMA, like), unit * layout.whole_vectors(sizes.width)
    )
    window.pack_row(arguments, layout.Q, image, y, head, queries, like)
    window.pack_row(arguments, layout.CONTENT, image, y, head, grad_content, like)
    if tables.has_v:
        window.pack_row(arguments, layout.POSITIONAL, image, y, head, grad_positional, like)

    top, bottom = max(0, y - sizes.row_reach), min(sizes.height, y + sizes.row_reach + 1)
    for first in range(0, sizes.width, layout.SEGMENT):
        last = min(first + layout.SEGMENT, sizes.width)
        for x in range(first, last, LANES):
            for row in range(top, bottom):
                start = (row - y + sizes.row_reach) * sizes.row_offsets
                near_keys = simd.advance(keys, row % sizes.slots * sizes.key_row + x)
                near_values = simd.advance(values, row % sizes.slots * sizes.value_row + x)
                for t in range(0, sizes.side, ROWS):
                    near = simd.advance(near_keys, t)
                    terms = window.tiles_of_terms(
                        sizes, tables, simd.advance(queries, sizes.reach + x), near, start + t
                    )
                    logits = window.tile_of_window_logits(terms, scale, simd.advance(borders, x + t))
                    at = (start + t) * weight_pitch + x - first
                    simd.store_rows(
                        weights, at, weight_pitch, simd.exp2(simd.subtract(logits, simd.load(maxima, x)))
                    )
                    grad_weights = tile_of_window_weight_gradients(
                        simd.advance(grad_content, sizes.reach + x),
                        simd.advance(grad_positional, sizes.reach + x),
                        simd.advance(near_values, t),
                        sizes.pitch,
                        simd.advance(tables.v, (start + t) * sizes.padded_dim),
                        tables.has_v,
                        sizes.value_dim,
                    )
                    simd.store_rows(grad_logits, at, weight_pitch, grad_weights)
            differentiate_softmax(
                simd.advance(weights, x - first),
                simd.advance(grad_logits, x - first),
                weight_pitch,
                top - y + sizes.row_reach,
                bottom - y + sizes.row_reach,
                sizes.row_offsets,
                sizes.side,
            )

        window_gradients.add_segment_gradients(sizes, tables, y, first, last, grads, rows, scale, sums)
        num_queries = layout.whole_vectors(last - first)
        one, dim = simd.fill(queries, 1.0), sizes.value_dim
        for row in range(top, bottom):
            start = (row - y + sizes.row_reach) * sizes.row_offsets
            attention = simd.advance(weights, start * weight_pitch)
            for t in range(sizes.side):
                layout.clear(simd.advance(attention, t * weight_pitch + num_queries), margin)
                if tables.has_v:
                    near = simd.advance(grad_positional, sizes.reach + first)
                    of_table = simd.advance(v_sums, (start + t) * sizes.padded_dim * LANES)
                    products = simd.advance(attention, t * weight_pitch)
                    window_gradients.add_outer_products(
                        products, near, sizes.pitch, num_queries, sizes.value_dim, of_table
                    )
            target = simd.advance(grad_values, row % sizes.slots * sizes.value_row)
            window_gradients.add_row_gradients(
                sizes, attention, attention, grad_content, tables.v, False, one, dim, first, last, target
            )
    window.unpack_row(arguments, layout.GRAD_Q, image, y, head, grad_queries, like)


@merged
def differentiate_windows(address: int, like: Scalar) -> None:
    """What one thread does: take chunks, each a head in a range of images, until none is left."""
    arguments = simd.pointer_like(address, address)
    sizes = window.window_sizes(arguments)
    batch, heads = simd.load_scalar(arguments, layout.BATCH), simd.load_scalar(arguments, layout.HEADS)

    borders = layout.scratch_of_thread(arguments, like)
    window.mark_columns(borders, sizes.reach, sizes.width, 0.0, -math.inf)  # is added to logits
    scratch = simd.advance(borders, sizes.pitch)
    lane_sums = simd.advance(scratch, 2 * (sizes.slots + 1) * (sizes.key_row + sizes.value_row))

    chunks = simd.load_scalar(arguments, layout.CHUNKS)
    groups = chunks // heads
    chunk = simd.take_ticket(simd.advance(arguments, layout.NEXT_CHUNK))
    while chunk < chunks:
        head, group = chunk // groups, chunk % groups
        for image in range(batch * group // groups, batch * (group + 1) // groups):
            packed, finished = 0, 0
            for y in range(sizes.height):
                stop = min(sizes.height, y + sizes.row_reach + 1)
                window_gradients.begin_rows(arguments, image, head, packed, stop, scratch, like)
                packed = stop
                differentiate_row(arguments, image, y, head, scratch, borders, like)
                behind = sizes.height if y + 1 == sizes.height else y + 1 - sizes.row_reach
                window_gradients.finish_rows(arguments, image, head, finished, behind, scratch, like)
                finished = max(finished, behind)
        window_gradients.finish_table_grads(arguments, chunk, lane_sums, like)
        chunk = simd.take_ticket(simd.advance(arguments, layout.NEXT_CHUNK))
