"""The backward kernel of attention to squares.

As in the forward kernel, a thread goes through the rows of queries of a head from top to bottom. The
gradients of the keys and values in reach are in scratch memory, too; a row that no further square reaches is
written out. The weights and their gradients are computed again for a segment of a row of queries. Then each
gradient is a sum over the segment, eight queries or keys and four channels at a time. Those of the tables
keep their eight lanes until the last row.
"""

import math

from axial_deeplab.ops.numba.layout import (
    BATCH,
    CHUNKS,
    CONTENT,
    GRAD_K,
    GRAD_Q,
    GRAD_V,
    HEADS,
    MAXIMA,
    NEXT_CHUNK,
    POSITIONAL,
    REL_K,
    REL_Q,
    REL_V,
    SCALE,
    SEGMENT,
    K,
    Pointer,
    Q,
    Scalar,
    Tile,
    V,
    clear,
    inlined,
    kernel,
    merged,
    scratch_of_thread,
    segment_margin,
    segment_pitch,
    whole_tiles,
    whole_vectors,
)
from axial_deeplab.ops.numba.simd import (
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
    maximum,
    multiply,
    pointer_like,
    reciprocal,
    splat_rows,
    store,
    store_rows,
    subtract,
    take_ticket,
)
from axial_deeplab.ops.numba.squares import (
    mark_columns,
    pack_row,
    sizes_of_squares,
    table_of_head,
    tile_of_square_logits,
    tiles_of_terms,
    unpack_row,
)
from axial_deeplab.ops.numba.squares_gradients import (
    add_outer_products,
    add_row_gradients,
    add_segment_gradients,
    finish_table_grads,
)


@inlined
def tile_of_square_weight_gradients(
    grad_content: Pointer,
    grad_positional: Pointer,
    values: Pointer,
    pitch: int,
    v_table: Pointer,
    has_v: bool,
    value_dim: int,
) -> Tile:
    """The gradients of the weights of eight queries for the values at four neighboring offsets."""
    table_pitch = whole_tiles(value_dim)
    by_content = fill_tile(values, 0.0)
    by_position = fill_tile(values, 0.0)
    for c in range(value_dim):
        by_content = fma(load(grad_content, c * pitch), load_rows(values, c * pitch, 1), by_content)
        if has_v:
            relative = splat_rows(v_table, c, table_pitch)
            by_position = fma(load(grad_positional, c * pitch), relative, by_position)
    return add(by_content, by_position)


@kernel
def differentiate_softmax(
    weights: Pointer, grad_logits: Pointer, pitch: int, start: int, stop: int, row_offsets: int, side: int
) -> None:
    """Turn eight queries' numerators into weights, and gradients of weights into those of logits.

    The offsets are those of the rows start ... stop - 1 of the squares.
    """
    total = fill(weights, 0.0)
    delta = fill(weights, 0.0)
    for row in range(start, stop):
        for t in range(row * row_offsets, row * row_offsets + side):
            weight = load(weights, t * pitch)
            total = add(total, weight)
            delta = fma(weight, load(grad_logits, t * pitch), delta)
    # The sum is at least 1 or NaN, but for the columns behind the last query, where all is zero.
    norm = reciprocal(maximum(fill(weights, 0.5), total))
    delta = multiply(delta, norm)
    for row in range(start, stop):
        for t in range(row * row_offsets, row * row_offsets + side):
            weight = multiply(load(weights, t * pitch), norm)
            store(weights, t * pitch, weight)
            store(grad_logits, t * pitch, multiply(weight, subtract(load(grad_logits, t * pitch), delta)))


@merged
def differentiate_row(
    arguments: Pointer, image: int, y: int, head: int, scratch: Pointer, borders: Pointer, like: Scalar
) -> None:
    """Add what one row of queries gives to all gradients."""
    sizes = sizes_of_squares(arguments)

    keys = scratch
    values = advance(keys, sizes.slots * sizes.key_row)
    grad_keys = advance(values, sizes.slots * sizes.value_row)
    grad_values = advance(grad_keys, sizes.slots * sizes.key_row)
    queries = advance(grad_values, sizes.slots * sizes.value_row)
    grad_queries = advance(queries, sizes.key_row)
    grad_content = advance(grad_queries, sizes.key_row)
    grad_positional = advance(grad_content, sizes.value_row)
    q_sums = advance(grad_positional, sizes.value_row)
    k_sums = advance(q_sums, sizes.offsets * sizes.key_dim * LANES)
    v_sums = advance(k_sums, sizes.offsets * sizes.key_dim * LANES)
    scale_sums = advance(v_sums, sizes.offsets * sizes.padded_dim * LANES)
    weight_pitch, margin = segment_pitch(sizes.reach), segment_margin(sizes.reach)
    # The addresses of the first query of the segment.
    weights = advance(scale_sums, LANES + margin)
    grad_logits = advance(weights, sizes.offsets * weight_pitch)

    q_table, has_q = table_of_head(arguments, REL_Q, head, sizes.offsets * sizes.key_dim, like)
    k_table, has_k = table_of_head(arguments, REL_K, head, sizes.offsets * sizes.key_dim, like)
    v_table, has_v = table_of_head(arguments, REL_V, head, sizes.offsets * sizes.padded_dim, like)
    scale = fill(queries, load_scalar(pointer_like(load_scalar(arguments, SCALE), like), head))
    unit = (image * load_scalar(arguments, HEADS) + head) * sizes.height + y
    maxima = advance(pointer_like(load_scalar(arguments, MAXIMA), like), unit * whole_vectors(sizes.width))
    pack_row(arguments, Q, image, y, head, sizes.head_dim, queries, like)
    pack_row(arguments, CONTENT, image, y, head, sizes.value_dim, grad_content, like)
    if has_v:
        pack_row(arguments, POSITIONAL, image, y, head, sizes.value_dim, grad_positional, like)

    top, bottom = max(0, y - sizes.row_reach), min(sizes.height, y + sizes.row_reach + 1)
    for first in range(0, sizes.width, SEGMENT):
        last = min(first + SEGMENT, sizes.width)
        for x in range(first, last, LANES):
            for row in range(top, bottom):
                start = (row - y + sizes.row_reach) * sizes.row_offsets
                near_keys = advance(keys, row % sizes.slots * sizes.key_row + x)
                near_values = advance(values, row % sizes.slots * sizes.value_row + x)
                for t in range(0, sizes.side, ROWS):
                    terms = tiles_of_terms(
                        advance(queries, sizes.reach + x),
                        advance(near_keys, t),
                        sizes.pitch,
                        advance(q_table, (start + t) * sizes.key_dim),
                        advance(k_table, (start + t) * sizes.key_dim),
                        has_q,
                        has_k,
                        sizes.head_dim,
                    )
                    logits = tile_of_square_logits(terms, scale, advance(borders, x + t))
                    at = (start + t) * weight_pitch + x - first
                    store_rows(weights, at, weight_pitch, exp2(subtract(logits, load(maxima, x))))
                    grad_weights = tile_of_square_weight_gradients(
                        advance(grad_content, sizes.reach + x),
                        advance(grad_positional, sizes.reach + x),
                        advance(near_values, t),
                        sizes.pitch,
                        advance(v_table, (start + t) * sizes.padded_dim),
                        has_v,
                        sizes.value_dim,
                    )
                    store_rows(grad_logits, at, weight_pitch, grad_weights)
            differentiate_softmax(
                advance(weights, x - first),
                advance(grad_logits, x - first),
                weight_pitch,
                top - y + sizes.row_reach,
                bottom - y + sizes.row_reach,
                sizes.row_offsets,
                sizes.side,
            )

        add_segment_gradients(
            arguments,
            y,
            first,
            last,
            grad_logits,
            grad_logits,
            grad_logits,
            queries,
            keys,
            q_table,
            k_table,
            has_q,
            has_k,
            scale,
            grad_queries,
            grad_keys,
            q_sums,
            k_sums,
            scale_sums,
        )
        num_queries = whole_vectors(last - first)
        one = fill(queries, 1.0)
        for row in range(top, bottom):
            start = (row - y + sizes.row_reach) * sizes.row_offsets
            attention = advance(weights, start * weight_pitch)
            for t in range(sizes.side):
                clear(advance(attention, t * weight_pitch + num_queries), margin)
                if has_v:
                    near = advance(grad_positional, sizes.reach + first)
                    sums = advance(v_sums, (start + t) * sizes.padded_dim * LANES)
                    products = advance(attention, t * weight_pitch)
                    add_outer_products(products, near, sizes.pitch, num_queries, sizes.value_dim, sums)
            target = advance(grad_values, row % sizes.slots * sizes.value_row)
            add_row_gradients(
                attention,
                attention,
                grad_content,
                v_table,
                False,
                one,
                sizes.value_dim,
                sizes.reach,
                sizes.width,
                first,
                last,
                target,
            )
    unpack_row(arguments, GRAD_Q, image, y, head, sizes.head_dim, grad_queries, like)


@merged
def differentiate_squares(address: int, like: Scalar) -> None:
    """What one thread does: take chunks, each a head in a range of images, until none is left."""
    arguments = pointer_like(address, address)
    sizes = sizes_of_squares(arguments)
    batch, heads = load_scalar(arguments, BATCH), load_scalar(arguments, HEADS)

    borders = scratch_of_thread(arguments, like)
    mark_columns(borders, sizes.reach, sizes.width, 0.0, -math.inf)  # is added to logits
    scratch = advance(borders, sizes.pitch)
    values = advance(scratch, sizes.slots * sizes.key_row)
    grad_keys = advance(values, sizes.slots * sizes.value_row)
    grad_values = advance(grad_keys, sizes.slots * sizes.key_row)
    lane_sums = advance(grad_values, sizes.slots * sizes.value_row + 2 * (sizes.key_row + sizes.value_row))

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
                    pack_row(
                        arguments,
                        V,
                        image,
                        row,
                        head,
                        sizes.value_dim,
                        advance(values, slot * sizes.value_row),
                        like,
                    )
                    clear(advance(grad_keys, slot * sizes.key_row), sizes.key_row)
                    clear(advance(grad_values, slot * sizes.value_row), sizes.value_row)
                    packed = row + 1
                differentiate_row(arguments, image, y, head, scratch, borders, like)
                for row in range(
                    finished, sizes.height if y + 1 == sizes.height else y + 1 - sizes.row_reach
                ):
                    slot = row % sizes.slots
                    grad_row = advance(grad_keys, slot * sizes.key_row)
                    unpack_row(arguments, GRAD_K, image, row, head, sizes.head_dim, grad_row, like)
                    grad_row = advance(grad_values, slot * sizes.value_row)
                    unpack_row(arguments, GRAD_V, image, row, head, sizes.value_dim, grad_row, like)
                    finished = row + 1
        finish_table_grads(arguments, chunk, lane_sums, like)
        chunk = take_ticket(advance(arguments, NEXT_CHUNK))
