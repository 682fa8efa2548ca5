"""The sums of the three terms of the logits of windows and of their squares, and the gradients.

Rows of keys are packed as in `window`. The terms of eight queries, for the gradients of a segment, are all
that ever exists. Lines of a local span are images whose windows have one row.
"""

from axial_deeplab.ops.numba import layout, simd, window, window_gradients
from axial_deeplab.ops.numba.layout import Pointer, Scalar, Tile, inlined, kernel, merged
from axial_deeplab.ops.numba.simd import LANES, ROWS


@kernel
def add_moments(terms: Pointer, pitch: int, existing: Pointer, side: int, sums: Pointer) -> None:
    """Add a row of windows of eight queries to the sums (3, lanes) of the terms and then of their squares.

    Args:
        terms: (3, offsets, lanes), `pitch` numbers a term.
        existing: 1 or 0 for the column of the first query's first key, and so on.
    """
    queries_exist = simd.load(existing, side // 2)
    for term in range(3):
        first, second = simd.fill(terms, 0.0), simd.fill(terms, 0.0)
        for t in range(side):
            number = simd.load(terms, term * pitch + t * LANES)
            existing_number = simd.multiply(number, simd.load(existing, t))
            first = simd.add(first, existing_number)
            second = simd.fma(existing_number, number, second)
        simd.store(sums, term * LANES, simd.fma(first, queries_exist, simd.load(sums, term * LANES)))
        simd.store(
            sums, (3 + term) * LANES, simd.fma(second, queries_exist, simd.load(sums, (3 + term) * LANES))
        )


@merged
def add_moments_of_row(
    arguments: Pointer, image: int, y: int, head: int, scratch: Pointer, existing: Pointer, like: Scalar
) -> None:
    """Add what one row of queries has."""
    sizes = window.window_sizes(arguments)

    keys = scratch
    queries = simd.advance(keys, sizes.slots * sizes.key_row)
    sums = simd.advance(queries, sizes.key_row)
    rows = simd.advance(sums, 6 * LANES)
    tables = window.tables_of_head(arguments, sizes, head, like)
    window.pack_row(arguments, layout.Q, image, y, head, queries, like)
    for x in range(0, sizes.width, LANES):
        for row in range(max(0, y - sizes.row_reach), min(sizes.height, y + sizes.row_reach + 1)):
            first = (row - y + sizes.row_reach) * sizes.row_offsets
            near = simd.advance(keys, row % sizes.slots * sizes.key_row + x)
            for t in range(0, sizes.side, ROWS):
                terms = window.tiles_of_terms(
                    sizes, tables, simd.advance(queries, sizes.reach + x), simd.advance(near, t), first + t
                )
                simd.store_rows(rows, t * LANES, LANES, terms[0])
                simd.store_rows(rows, (sizes.row_offsets + t) * LANES, LANES, terms[1])
                simd.store_rows(rows, (2 * sizes.row_offsets + t) * LANES, LANES, terms[2])
            add_moments(rows, sizes.row_offsets * LANES, simd.advance(existing, x), sizes.side, sums)


@inlined
def gradient_of(numbers: Tile, factors: Pointer, term: int, exist: Tile) -> Tile:
    """The gradients of one of the three terms."""
    by_first = simd.fill(factors, simd.load_scalar(factors, term))
    by_second = simd.fill(factors, simd.load_scalar(factors, 3 + term))
    return simd.multiply(simd.fma(numbers, by_second, by_first), exist)


@merged
def differentiate_moments_of_row(
    arguments: Pointer, image: int, y: int, head: int, scratch: Pointer, existing: Pointer, like: Scalar
) -> None:
    """Add what one row of queries gives to all gradients.

    MOMENTS has for each head the gradients of the sums of the terms, then twice those of the sums of squares.
    """
    sizes = window.window_sizes(arguments)
    grad_pitch = layout.segment_pitch(sizes.reach)

    keys = scratch
    grad_keys = simd.advance(keys, sizes.slots * sizes.key_row)
    queries = simd.advance(grad_keys, sizes.slots * sizes.key_row)
    grad_queries = simd.advance(queries, sizes.key_row)
    q_sums = simd.advance(grad_queries, sizes.key_row)
    k_sums = simd.advance(q_sums, sizes.offsets * sizes.key_dim * LANES)
    unused_sums = simd.advance(k_sums, sizes.offsets * sizes.key_dim * LANES)
    # The addresses of the first query of the segment.
    content_grads = simd.advance(unused_sums, LANES + layout.segment_margin(sizes.reach))
    query_grads = simd.advance(content_grads, sizes.offsets * grad_pitch)
    key_grads = simd.advance(query_grads, sizes.offsets * grad_pitch)

    grads = content_grads, query_grads, key_grads
    rows = window_gradients.Rows(queries, keys, grad_queries, grad_keys)
    sums = q_sums, k_sums, unused_sums

    tables = window.tables_of_head(arguments, sizes, head, like)
    factors = simd.advance(layout.tensor_at(arguments, layout.MOMENTS, like), 6 * head)
    one = simd.fill(queries, 1.0)
    window.pack_row(arguments, layout.Q, image, y, head, queries, like)
    for first in range(0, sizes.width, layout.SEGMENT):
        last = min(first + layout.SEGMENT, sizes.width)
        for x in range(first, last, LANES):
            queries_exist = simd.load(existing, sizes.reach + x)
            for row in range(max(0, y - sizes.row_reach), min(sizes.height, y + sizes.row_reach + 1)):
                start = (row - y + sizes.row_reach) * sizes.row_offsets
                near = simd.advance(keys, row % sizes.slots * sizes.key_row + x)
                for t in range(0, sizes.side, ROWS):
                    terms = window.tiles_of_terms(
                        sizes,
                        tables,
                        simd.advance(queries, sizes.reach + x),
                        simd.advance(near, t),
                        start + t,
                    )
                    at = (start + t) * grad_pitch + x - first
                    exist = simd.multiply(simd.load_rows(existing, x + t, 1), queries_exist)
                    simd.store_rows(content_grads, at, grad_pitch, gradient_of(terms[0], factors, 0, exist))
                    simd.store_rows(query_grads, at, grad_pitch, gradient_of(terms[1], factors, 1, exist))
                    simd.store_rows(key_grads, at, grad_pitch, gradient_of(terms[2], factors, 2, exist))
        window_gradients.add_segment_gradients(sizes, tables, y, first, last, grads, rows, one, sums)
    window.unpack_row(arguments, layout.GRAD_Q, image, y, head, grad_queries, like)


@merged
def window_moments(address: int, like: Scalar) -> None:
    """What one thread does: take chunks, each a head in a range of images, until none is left."""
    arguments = simd.pointer_like(address, address)
    sizes = window.window_sizes(arguments)
    batch, heads = simd.load_scalar(arguments, layout.BATCH), simd.load_scalar(arguments, layout.HEADS)

    existing = layout.scratch_of_thread(arguments, like)
    window.mark_columns(existing, sizes.reach, sizes.width, 1.0, 0.0)
    scratch = simd.advance(existing, sizes.pitch)
    sums = simd.advance(scratch, (sizes.slots + 1) * sizes.key_row)
    chunks = simd.load_scalar(arguments, layout.CHUNKS)
    groups = chunks // heads
    chunk = simd.take_ticket(simd.advance(arguments, layout.NEXT_CHUNK))
    while chunk < chunks:
        head, group = chunk // groups, chunk % groups
        for image in range(batch * group // groups, batch * (group + 1) // groups):
            packed = 0
            for y in range(sizes.height):
                stop = min(sizes.height, y + sizes.row_reach + 1)
                window.pack_rows(arguments, image, head, packed, stop, scratch, like)
                packed = stop
                add_moments_of_row(arguments, image, y, head, scratch, existing, like)
        moments = simd.advance(layout.tensor_at(arguments, layout.MOMENTS, like), 6 * chunk)
        for i in range(6):
            simd.store_scalar(moments, i, simd.sum_lanes(simd.load(sums, i * LANES)))
        layout.clear(sums, 6 * LANES)
        chunk = simd.take_ticket(simd.advance(arguments, layout.NEXT_CHUNK))


@merged
def window_moments_backward(address: int, like: Scalar) -> None:
    """The same for the gradients."""
    arguments = simd.pointer_like(address, address)
    sizes = window.window_sizes(arguments)
    batch, heads = simd.load_scalar(arguments, layout.BATCH), simd.load_scalar(arguments, layout.HEADS)

    existing = layout.scratch_of_thread(arguments, like)
    window.mark_columns(existing, sizes.reach, sizes.width, 1.0, 0.0)
    scratch = simd.advance(existing, sizes.pitch)
    lane_sums = simd.advance(scratch, 2 * (sizes.slots + 1) * sizes.key_row)
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
                differentiate_moments_of_row(arguments, image, y, head, scratch, existing, like)
                behind = sizes.height if y + 1 == sizes.height else y + 1 - sizes.row_reach
                window_gradients.finish_rows(arguments, image, head, finished, behind, scratch, like)
                finished = max(finished, behind)
        window_gradients.finish_table_grads(arguments, chunk, lane_sums, like)
        chunk = simd.take_ticket(simd.advance(arguments, layout.NEXT_CHUNK))
