"""The sums of the three terms of the logits of squares and of their squares, and the gradients.

Rows of keys are packed as in `squares`. The terms of eight queries, for the gradients of a segment, are all
that ever exists. Lines of a local span are images whose squares have one row.
"""

from axial_deeplab.ops.numba.layout import (
    BATCH,
    CHUNKS,
    GRAD_K,
    GRAD_Q,
    HEADS,
    MOMENTS,
    NEXT_CHUNK,
    REL_K,
    REL_Q,
    SEGMENT,
    K,
    Pointer,
    Q,
    Scalar,
    Tile,
    clear,
    inlined,
    kernel,
    merged,
    scratch_of_thread,
    segment_margin,
    segment_pitch,
)
from axial_deeplab.ops.numba.simd import (
    LANES,
    ROWS,
    add,
    advance,
    fill,
    fma,
    load,
    load_rows,
    load_scalar,
    multiply,
    pointer_like,
    store,
    store_rows,
    store_scalar,
    sum_lanes,
    take_ticket,
)
from axial_deeplab.ops.numba.squares import (
    mark_columns,
    pack_row,
    sizes_of_squares,
    table_of_head,
    tiles_of_terms,
    unpack_row,
)
from axial_deeplab.ops.numba.squares_gradients import add_segment_gradients, finish_table_grads


@kernel
def add_moments(terms: Pointer, pitch: int, existing: Pointer, side: int, sums: Pointer) -> None:
    """Add a row of squares of eight queries to the sums (3, lanes) of the terms and then of their squares.

    Args:
        terms: (3, offsets, lanes), `pitch` numbers a term.
        existing: 1 or 0 for the column of the first query's first key, and so on.
    """
    queries_exist = load(existing, side // 2)
    for term in range(3):
        first, second = fill(terms, 0.0), fill(terms, 0.0)
        for t in range(side):
            number = load(terms, term * pitch + t * LANES)
            existing_number = multiply(number, load(existing, t))
            first = add(first, existing_number)
            second = fma(existing_number, number, second)
        store(sums, term * LANES, fma(first, queries_exist, load(sums, term * LANES)))
        store(sums, (3 + term) * LANES, fma(second, queries_exist, load(sums, (3 + term) * LANES)))


@merged
def add_moments_of_row(
    arguments: Pointer, image: int, y: int, head: int, scratch: Pointer, existing: Pointer, like: Scalar
) -> None:
    """Add what one row of queries has."""
    sizes = sizes_of_squares(arguments)

    keys = scratch
    queries = advance(keys, sizes.slots * sizes.key_row)
    sums = advance(queries, sizes.key_row)
    rows = advance(sums, 6 * LANES)
    q_table, has_q = table_of_head(arguments, REL_Q, head, sizes.offsets * sizes.key_dim, like)
    k_table, has_k = table_of_head(arguments, REL_K, head, sizes.offsets * sizes.key_dim, like)
    pack_row(arguments, Q, image, y, head, sizes.head_dim, queries, like)
    for x in range(0, sizes.width, LANES):
        for row in range(max(0, y - sizes.row_reach), min(sizes.height, y + sizes.row_reach + 1)):
            first = (row - y + sizes.row_reach) * sizes.row_offsets
            near = advance(keys, row % sizes.slots * sizes.key_row + x)
            for t in range(0, sizes.side, ROWS):
                terms = tiles_of_terms(
                    advance(queries, sizes.reach + x),
                    advance(near, t),
                    sizes.pitch,
                    advance(q_table, (first + t) * sizes.key_dim),
                    advance(k_table, (first + t) * sizes.key_dim),
                    has_q,
                    has_k,
                    sizes.head_dim,
                )
                store_rows(rows, t * LANES, LANES, terms[0])
                store_rows(rows, (sizes.row_offsets + t) * LANES, LANES, terms[1])
                store_rows(rows, (2 * sizes.row_offsets + t) * LANES, LANES, terms[2])
            add_moments(rows, sizes.row_offsets * LANES, advance(existing, x), sizes.side, sums)


@inlined
def gradient_of(numbers: Tile, factors: Pointer, term: int, exist: Tile) -> Tile:
    """The gradients of one of the three terms."""
    by_first = fill(factors, load_scalar(factors, term))
    by_second = fill(factors, load_scalar(factors, 3 + term))
    return multiply(fma(numbers, by_second, by_first), exist)


@merged
def differentiate_moments_of_row(
    arguments: Pointer, image: int, y: int, head: int, scratch: Pointer, existing: Pointer, like: Scalar
) -> None:
    """Add what one row of queries gives to all gradients.

    MOMENTS has for each head the gradients of the sums of the terms, then twice those of the sums of squares.
    """
    sizes = sizes_of_squares(arguments)
    grad_pitch = segment_pitch(sizes.reach)

    keys = scratch
    grad_keys = advance(keys, sizes.slots * sizes.key_row)
    queries = advance(grad_keys, sizes.slots * sizes.key_row)
    grad_queries = advance(queries, sizes.key_row)
    q_sums = advance(grad_queries, sizes.key_row)
    k_sums = advance(q_sums, sizes.offsets * sizes.key_dim * LANES)
    unused_sums = advance(k_sums, sizes.offsets * sizes.key_dim * LANES)
    # The addresses of the first query of the segment.
    content_grads = advance(unused_sums, LANES + segment_margin(sizes.reach))
    query_grads = advance(content_grads, sizes.offsets * grad_pitch)
    key_grads = advance(query_grads, sizes.offsets * grad_pitch)

    q_table, has_q = table_of_head(arguments, REL_Q, head, sizes.offsets * sizes.key_dim, like)
    k_table, has_k = table_of_head(arguments, REL_K, head, sizes.offsets * sizes.key_dim, like)
    factors = advance(pointer_like(load_scalar(arguments, MOMENTS), like), 6 * head)
    one = fill(queries, 1.0)
    pack_row(arguments, Q, image, y, head, sizes.head_dim, queries, like)
    for first in range(0, sizes.width, SEGMENT):
        last = min(first + SEGMENT, sizes.width)
        for x in range(first, last, LANES):
            queries_exist = load(existing, sizes.reach + x)
            for row in range(max(0, y - sizes.row_reach), min(sizes.height, y + sizes.row_reach + 1)):
                start = (row - y + sizes.row_reach) * sizes.row_offsets
                near = advance(keys, row % sizes.slots * sizes.key_row + x)
                for t in range(0, sizes.side, ROWS):
                    terms = tiles_of_terms(
                        advance(queries, sizes.reach + x),
                        advance(near, t),
                        sizes.pitch,
                        advance(q_table, (start + t) * sizes.key_dim),
                        advance(k_table, (start + t) * sizes.key_dim),
                        has_q,
                        has_k,
                        sizes.head_dim,
                    )
                    at = (start + t) * grad_pitch + x - first
                    exist = multiply(load_rows(existing, x + t, 1), queries_exist)
                    store_rows(content_grads, at, grad_pitch, gradient_of(terms[0], factors, 0, exist))
                    store_rows(query_grads, at, grad_pitch, gradient_of(terms[1], factors, 1, exist))
                    store_rows(key_grads, at, grad_pitch, gradient_of(terms[2], factors, 2, exist))
        add_segment_gradients(
            arguments,
            y,
            first,
            last,
            content_grads,
            query_grads,
            key_grads,
            queries,
            keys,
            q_table,
            k_table,
            has_q,
            has_k,
            one,
            grad_queries,
            grad_keys,
            q_sums,
            k_sums,
            unused_sums,
        )
    unpack_row(arguments, GRAD_Q, image, y, head, sizes.head_dim, grad_queries, like)


@merged
def square_moments(address: int, like: Scalar) -> None:
    """What one thread does: take chunks, each a head in a range of images, until none is left."""
    arguments = pointer_like(address, address)
    sizes = sizes_of_squares(arguments)
    batch, heads = load_scalar(arguments, BATCH), load_scalar(arguments, HEADS)

    existing = scratch_of_thread(arguments, like)
    mark_columns(existing, sizes.reach, sizes.width, 1.0, 0.0)
    scratch = advance(existing, sizes.pitch)
    sums = advance(scratch, (sizes.slots + 1) * sizes.key_row)
    chunks = load_scalar(arguments, CHUNKS)
    groups = chunks // heads
    chunk = take_ticket(advance(arguments, NEXT_CHUNK))
    while chunk < chunks:
        head, group = chunk // groups, chunk % groups
        for image in range(batch * group // groups, batch * (group + 1) // groups):
            packed = 0
            for y in range(sizes.height):
                for row in range(packed, min(sizes.height, y + sizes.row_reach + 1)):
                    target = advance(scratch, row % sizes.slots * sizes.key_row)
                    pack_row(arguments, K, image, row, head, sizes.head_dim, target, like)
                    packed = row + 1
                add_moments_of_row(arguments, image, y, head, scratch, existing, like)
        moments = advance(pointer_like(load_scalar(arguments, MOMENTS), like), 6 * chunk)
        for i in range(6):
            store_scalar(moments, i, sum_lanes(load(sums, i * LANES)))
        clear(sums, 6 * LANES)
        chunk = take_ticket(advance(arguments, NEXT_CHUNK))


@merged
def square_moments_backward(address: int, like: Scalar) -> None:
    """The same for the gradients."""
    arguments = pointer_like(address, address)
    sizes = sizes_of_squares(arguments)
    batch, heads = load_scalar(arguments, BATCH), load_scalar(arguments, HEADS)

    existing = scratch_of_thread(arguments, like)
    mark_columns(existing, sizes.reach, sizes.width, 1.0, 0.0)
    scratch = advance(existing, sizes.pitch)
    grad_keys = advance(scratch, sizes.slots * sizes.key_row)
    lane_sums = advance(grad_keys, (sizes.slots + 2) * sizes.key_row)
    chunks = load_scalar(arguments, CHUNKS)
    groups = chunks // heads
    chunk = take_ticket(advance(arguments, NEXT_CHUNK))
    while chunk < chunks:
        head, group = chunk // groups, chunk % groups
        for image in range(batch * group // groups, batch * (group + 1) // groups):
            packed, finished = 0, 0
            for y in range(sizes.height):
                for row in range(packed, min(sizes.height, y + sizes.row_reach + 1)):
                    slot = row % sizes.slots
                    pack_row(
                        arguments,
                        K,
                        image,
                        row,
                        head,
                        sizes.head_dim,
                        advance(scratch, slot * sizes.key_row),
                        like,
                    )
                    clear(advance(grad_keys, slot * sizes.key_row), sizes.key_row)
                    packed = row + 1
                differentiate_moments_of_row(arguments, image, y, head, scratch, existing, like)
                for row in range(
                    finished, sizes.height if y + 1 == sizes.height else y + 1 - sizes.row_reach
                ):
                    grad_row = advance(grad_keys, row % sizes.slots * sizes.key_row)
                    unpack_row(arguments, GRAD_K, image, row, head, sizes.head_dim, grad_row, like)
                    finished = row + 1
        finish_table_grads(arguments, chunk, lane_sums, like)
        chunk = take_ticket(advance(arguments, NEXT_CHUNK))
