"""The forward kernel of attention to squares.

A unit is a row of queries of one head. A thread takes units from top to bottom and keeps the rows of keys
and values that their squares reach in its scratch memory, transposed to (channels, columns): a new unit needs
one more row, which takes the place of the one that no square reaches any more.

Eight neighboring queries are one vector. What they see at one offset of their squares is one vector of keys,
read at a shifted start, and one row of the relative tables. So softmax and sums over a square need no sums of
lanes, and only columns outside the image a mask. The weights of eight queries are all that ever exists.
"""

import math
from typing import Any, NamedTuple

from axial_deeplab.ops.numba.layout import (
    BATCH,
    CHUNKS,
    CONTENT,
    HEAD_DIM,
    HEADS,
    LENGTH,
    LINES,
    LOG2_E,
    MAXIMA,
    NEXT_CHUNK,
    POSITIONAL,
    REACH,
    REL_K,
    REL_Q,
    REL_V,
    ROW_REACH,
    SCALE,
    VALUE_DIM,
    K,
    Pointer,
    Q,
    Scalar,
    Tile,
    V,
    columns_pitch,
    inlined,
    kernel,
    merged,
    offsets,
    position_stride,
    rows_in_reach,
    scratch_of_thread,
    tensor_of_unit,
    transpose_rows,
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
    store_scalar,
    subtract,
    take_ticket,
)

# --- packing ------------------------------------------------------------------------------------------------


@kernel
def pack_row(
    arguments: Pointer,
    tensor: int,
    image: int,
    row: int,
    head: int,
    width: int,
    target: Pointer,
    like: Scalar,
) -> None:
    """Copy a row of a tensor (W, channels) to (channels, W), behind a margin."""
    source = tensor_of_unit(arguments, tensor, image, row, head, like)
    reach = load_scalar(arguments, REACH)
    length = load_scalar(arguments, LENGTH)
    pitch = columns_pitch(length, reach)
    transpose_rows(source, position_stride(arguments, tensor), advance(target, reach), pitch, length, width)


@kernel
def unpack_row(
    arguments: Pointer,
    tensor: int,
    image: int,
    row: int,
    head: int,
    width: int,
    source: Pointer,
    like: Scalar,
) -> None:
    """Copy (channels, W), behind a margin, to a row of a tensor (W, channels)."""
    target = tensor_of_unit(arguments, tensor, image, row, head, like)
    reach = load_scalar(arguments, REACH)
    length = load_scalar(arguments, LENGTH)
    pitch = columns_pitch(length, reach)
    transpose_rows(advance(source, reach), pitch, target, position_stride(arguments, tensor), width, length)


class SquareSizes(NamedTuple):
    """Lengths that all kernels for squares need."""

    height: int
    width: int
    reach: int
    row_reach: int
    head_dim: int
    value_dim: int
    key_dim: int  # up to whole tiles
    padded_dim: int  # of the values
    pitch: int  # of a packed row
    key_row: int  # numbers in the packed channels of a row of keys
    value_row: int
    slots: int  # rows that are packed at the same time
    side: int
    row_offsets: int  # offsets in a row of a square, up to whole tiles
    offsets: int


@merged
def sizes_of_squares(arguments: Pointer) -> SquareSizes:
    height, width = load_scalar(arguments, LINES), load_scalar(arguments, LENGTH)
    reach, row_reach = load_scalar(arguments, REACH), load_scalar(arguments, ROW_REACH)
    head_dim, value_dim = load_scalar(arguments, HEAD_DIM), load_scalar(arguments, VALUE_DIM)
    key_dim, padded_dim = whole_tiles(head_dim), whole_tiles(value_dim)
    pitch = columns_pitch(width, reach)
    side = 2 * reach + 1
    return SquareSizes(
        height,
        width,
        reach,
        row_reach,
        head_dim,
        value_dim,
        key_dim,
        padded_dim,
        pitch,
        key_dim * pitch,
        padded_dim * pitch,
        rows_in_reach(height, row_reach),
        side,
        whole_tiles(side),
        offsets(reach, row_reach),
    )


@kernel
def mark_columns(borders: Pointer, reach: int, width: int, inside: float, outside: float) -> None:
    """Fill a packed row with one number at the columns that exist and another elsewhere."""
    elsewhere = fill(borders, outside)
    for i in range(0, columns_pitch(width, reach), LANES):
        store(borders, i, elsewhere)
    for i in range(width):
        store_scalar(borders, reach + i, inside)


@kernel
def table_of_head(arguments: Pointer, table: int, head: int, size: int, like: Scalar) -> Any:
    """The relative table (offsets, channels up to whole tiles) of a head, and whether there is one."""
    address = load_scalar(arguments, table)
    return advance(pointer_like(address, like), head * size), address != 0


# --- logits -------------------------------------------------------------------------------------------------


@inlined
def tiles_of_terms(
    queries: Pointer,
    keys: Pointer,
    pitch: int,
    q_table: Pointer,
    k_table: Pointer,
    has_q: bool,
    has_k: bool,
    head_dim: int,
) -> Any:
    """The three terms of eight queries for the keys at four neighboring offsets, a row for each.

    All addresses are those of the first query and its first key.
    """
    table_pitch = whole_tiles(head_dim)
    content = fill_tile(queries, 0.0)
    by_query = fill_tile(queries, 0.0)
    by_key = fill_tile(queries, 0.0)
    for d in range(head_dim):
        query = load(queries, d * pitch)
        key = load_rows(keys, d * pitch, 1)
        content = fma(query, key, content)
        if has_q:
            by_query = fma(query, splat_rows(q_table, d, table_pitch), by_query)
        if has_k:
            by_key = fma(key, splat_rows(k_table, d, table_pitch), by_key)
    return content, by_query, by_key


@inlined
def tile_of_square_logits(terms: Any, scale: Any, borders: Pointer) -> Tile:
    """The logits, base 2, of such terms; -inf outside the image. The tables have their scales already."""
    logits = fma(terms[0], scale, add(terms[1], terms[2]))
    return add(multiply(logits, fill(borders, LOG2_E)), load_rows(borders, 0, 1))


# --- one unit -----------------------------------------------------------------------------------------------


@merged
def attend_from_row(
    arguments: Pointer, image: int, y: int, head: int, scratch: Pointer, borders: Pointer, like: Scalar
) -> None:
    """The outputs of one row of queries and the largest logit of each."""
    sizes = sizes_of_squares(arguments)

    queries = scratch
    keys = advance(queries, sizes.key_row)
    values = advance(keys, sizes.slots * sizes.key_row)
    weights = advance(values, sizes.slots * sizes.value_row)
    output = advance(weights, sizes.offsets * LANES)
    positional_output = advance(output, sizes.padded_dim * LANES)

    q_table, has_q = table_of_head(arguments, REL_Q, head, sizes.offsets * sizes.key_dim, like)
    k_table, has_k = table_of_head(arguments, REL_K, head, sizes.offsets * sizes.key_dim, like)
    v_table, has_v = table_of_head(arguments, REL_V, head, sizes.offsets * sizes.padded_dim, like)
    scale = fill(queries, load_scalar(pointer_like(load_scalar(arguments, SCALE), like), head))
    unit = (image * load_scalar(arguments, HEADS) + head) * sizes.height + y
    maxima = advance(pointer_like(load_scalar(arguments, MAXIMA), like), unit * whole_vectors(sizes.width))
    content = tensor_of_unit(arguments, CONTENT, image, y, head, like)
    positional = tensor_of_unit(arguments, POSITIONAL, image, y, head, like)
    pack_row(arguments, Q, image, y, head, sizes.head_dim, queries, like)

    top, bottom = max(0, y - sizes.row_reach), min(sizes.height, y + sizes.row_reach + 1)
    for x in range(0, sizes.width, LANES):
        largest = fill(queries, -math.inf)
        for row in range(top, bottom):
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
                logits = tile_of_square_logits(terms, scale, advance(borders, x + t))
                store_rows(weights, (first + t) * LANES, LANES, logits)
            for t in range(first, first + sizes.side):
                largest = maximum(load(weights, t * LANES), largest)
        total = fill(queries, 0.0)
        for row in range(top, bottom):
            first = (row - y + sizes.row_reach) * sizes.row_offsets
            for t in range(first, first + sizes.side):
                numerator = exp2(subtract(load(weights, t * LANES), largest))
                store(weights, t * LANES, numerator)
                total = add(total, numerator)
        norm = reciprocal(total)
        store(maxima, x, largest)
        count = min(LANES, sizes.width - x)
        for i in range(count, LANES):
            # Queries behind the last column take no weight in the backward pass.
            store_scalar(maxima, x + i, math.inf)

        for c in range(0, sizes.value_dim, ROWS):
            by_content = fill_tile(queries, 0.0)
            by_position = fill_tile(queries, 0.0)
            for row in range(top, bottom):
                first = (row - y + sizes.row_reach) * sizes.row_offsets
                near = advance(values, (row % sizes.slots * sizes.padded_dim + c) * sizes.pitch + x)
                relative = advance(v_table, first * sizes.padded_dim + c)
                for t in range(sizes.side):
                    weight = load(weights, (first + t) * LANES)
                    by_content = fma(weight, load_rows(near, t, sizes.pitch), by_content)
                    if has_v:
                        by_position = fma(weight, splat_rows(relative, t * sizes.padded_dim, 1), by_position)
            store_rows(output, c * LANES, LANES, multiply(by_content, norm))
            store_rows(positional_output, c * LANES, LANES, multiply(by_position, norm))
        stride = position_stride(arguments, CONTENT)
        transpose_rows(output, LANES, advance(content, x * stride), stride, sizes.value_dim, count)
        if has_v:
            stride = position_stride(arguments, POSITIONAL)
            transpose_rows(
                positional_output, LANES, advance(positional, x * stride), stride, sizes.value_dim, count
            )


@merged
def attend_to_squares(address: int, like: Scalar) -> None:
    """What one thread does: take chunks of units until none is left."""
    arguments = pointer_like(address, address)
    sizes = sizes_of_squares(arguments)
    heads = load_scalar(arguments, HEADS)

    borders = scratch_of_thread(arguments, like)
    mark_columns(borders, sizes.reach, sizes.width, 0.0, -math.inf)  # is added to logits
    scratch = advance(borders, sizes.pitch)
    keys = advance(scratch, sizes.key_row)
    values = advance(keys, sizes.slots * sizes.key_row)

    units = load_scalar(arguments, BATCH) * heads * sizes.height
    chunks = load_scalar(arguments, CHUNKS)
    chunk = take_ticket(advance(arguments, NEXT_CHUNK))
    while chunk < chunks:
        start = units * chunk // chunks
        packed = 0
        for unit in range(start, units * (chunk + 1) // chunks):
            image, head, y = unit // (heads * sizes.height), unit // sizes.height % heads, unit % sizes.height
            if unit == start or y == 0:
                packed = max(0, y - sizes.row_reach)
            for row in range(packed, min(sizes.height, y + sizes.row_reach + 1)):
                target = advance(keys, row % sizes.slots * sizes.key_row)
                pack_row(arguments, K, image, row, head, sizes.head_dim, target, like)
                target = advance(values, row % sizes.slots * sizes.value_row)
                pack_row(arguments, V, image, row, head, sizes.value_dim, target, like)
                packed = row + 1
            attend_from_row(arguments, image, y, head, scratch, borders, like)
        chunk = take_ticket(advance(arguments, NEXT_CHUNK))
