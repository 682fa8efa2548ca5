"""The forward kernel of attention over windows.

A unit is a row of queries of one head. A thread takes units from top to bottom and keeps the rows of keys
and values that their windows reach in its scratch memory, transposed to (channels, columns): a new unit needs
one more row, which takes the place of the one that no window reaches any more.

Eight neighboring queries are one vector. What they see at one offset of their windows is one vector of keys,
read at a shifted start, and one row of the relative tables. So softmax and sums over a window need no sums of
lanes, and only columns outside the image a mask. The weights of eight queries are all that ever exists.
"""

import math
from typing import Any, NamedTuple

from axial_deeplab.ops.numba import layout, simd
from axial_deeplab.ops.numba.layout import Pointer, Scalar, Tile, inlined, kernel, merged
from axial_deeplab.ops.numba.simd import LANES, ROWS

# --- packing ------------------------------------------------------------------------------------------------


@kernel
def pack_row(
    arguments: Pointer, tensor: int, image: int, row: int, head: int, target: Pointer, like: Scalar
) -> None:
    """Copy a row of a tensor (W, channels) to (channels, W), behind a margin."""
    source = layout.tensor_of_unit(arguments, tensor, image, row, head, like)
    stride, width = layout.position_stride(arguments, tensor), layout.channels_of(arguments, tensor)
    length, reach, _, _ = layout.lengths(arguments)
    packed, pitch = simd.advance(target, reach), layout.columns_pitch(length, reach)
    layout.transpose_rows(source, stride, packed, pitch, length, width)


@kernel
def unpack_row(
    arguments: Pointer, tensor: int, image: int, row: int, head: int, source: Pointer, like: Scalar
) -> None:
    """Copy (channels, W), behind a margin, to a row of a tensor (W, channels)."""
    target = layout.tensor_of_unit(arguments, tensor, image, row, head, like)
    stride, width = layout.position_stride(arguments, tensor), layout.channels_of(arguments, tensor)
    length, reach, _, _ = layout.lengths(arguments)
    packed, pitch = simd.advance(source, reach), layout.columns_pitch(length, reach)
    layout.transpose_rows(packed, pitch, target, stride, width, length)


class WindowSizes(NamedTuple):
    """Lengths that all kernels for windows need."""

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
    row_offsets: int  # offsets in a row of a window, up to whole tiles
    offsets: int


@merged
def window_sizes(arguments: Pointer) -> WindowSizes:
    width, reach, head_dim, value_dim = layout.lengths(arguments)
    height = simd.load_scalar(arguments, layout.LINES)
    row_reach = simd.load_scalar(arguments, layout.ROW_REACH)
    key_dim, padded_dim = layout.whole_tiles(head_dim), layout.whole_tiles(value_dim)
    pitch = layout.columns_pitch(width, reach)
    side = 2 * reach + 1
    return WindowSizes(
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
        layout.rows_in_reach(height, row_reach),
        side,
        layout.whole_tiles(side),
        layout.offsets(reach, row_reach),
    )


@kernel
def pack_rows(
    arguments: Pointer, image: int, head: int, start: int, stop: int, keys: Pointer, like: Scalar
) -> None:
    """Pack rows start ... stop - 1 of the keys, and of the values behind them, each in its slot."""
    sizes = window_sizes(arguments)
    values = simd.advance(keys, sizes.slots * sizes.key_row)
    for row in range(start, stop):
        slot = row % sizes.slots
        pack_row(arguments, layout.K, image, row, head, simd.advance(keys, slot * sizes.key_row), like)
        pack_row(arguments, layout.V, image, row, head, simd.advance(values, slot * sizes.value_row), like)


@kernel
def mark_columns(borders: Pointer, reach: int, width: int, inside: float, outside: float) -> None:
    """Fill a packed row with one number at the columns that exist and another elsewhere."""
    elsewhere = simd.fill(borders, outside)
    for i in range(0, layout.columns_pitch(width, reach), LANES):
        simd.store(borders, i, elsewhere)
    for i in range(width):
        simd.store_scalar(borders, reach + i, inside)


class HeadTables(NamedTuple):
    """The relative tables (offsets, channels up to whole tiles) of a head, and whether there is each."""

    q: Pointer
    k: Pointer
    v: Pointer
    has_q: bool
    has_k: bool
    has_v: bool


@merged
def tables_of_head(arguments: Pointer, sizes: WindowSizes, head: int, like: Scalar) -> HeadTables:
    q = simd.load_scalar(arguments, layout.REL_Q)
    k = simd.load_scalar(arguments, layout.REL_K)
    v = simd.load_scalar(arguments, layout.REL_V)
    key_table, value_table = head * sizes.offsets * sizes.key_dim, head * sizes.offsets * sizes.padded_dim
    return HeadTables(
        simd.advance(simd.pointer_like(q, like), key_table),
        simd.advance(simd.pointer_like(k, like), key_table),
        simd.advance(simd.pointer_like(v, like), value_table),
        q != 0,
        k != 0,
        v != 0,
    )


# --- logits -------------------------------------------------------------------------------------------------


@inlined
def tiles_of_terms(
    sizes: WindowSizes, tables: HeadTables, queries: Pointer, keys: Pointer, offset: int
) -> Any:
    """The three terms of eight queries for the keys at the offset and the next three, a row for each.

    The addresses are those of the first query and its first key.
    """
    q_table = simd.advance(tables.q, offset * sizes.key_dim)
    k_table = simd.advance(tables.k, offset * sizes.key_dim)
    content = simd.fill_tile(queries, 0.0)
    by_query = simd.fill_tile(queries, 0.0)
    by_key = simd.fill_tile(queries, 0.0)
    for d in range(sizes.head_dim):
        query = simd.load(queries, d * sizes.pitch)
        key = simd.load_rows(keys, d * sizes.pitch, 1)
        content = simd.fma(query, key, content)
        if tables.has_q:
            by_query = simd.fma(query, simd.splat_rows(q_table, d, sizes.key_dim), by_query)
        if tables.has_k:
            by_key = simd.fma(key, simd.splat_rows(k_table, d, sizes.key_dim), by_key)
    return content, by_query, by_key


@inlined
def tile_of_window_logits(terms: Any, scale: Any, borders: Pointer) -> Tile:
    """The logits, base 2, of such terms; -inf outside the image. The tables have their scales already."""
    logits = simd.fma(terms[0], scale, simd.add(terms[1], terms[2]))
    return simd.add(simd.multiply(logits, simd.fill(borders, layout.LOG2_E)), simd.load_rows(borders, 0, 1))


# --- one unit -----------------------------------------------------------------------------------------------


@merged
def attend_from_row(
    arguments: Pointer, image: int, y: int, head: int, scratch: Pointer, borders: Pointer, like: Scalar
) -> None:
    """The outputs of one row of queries and the largest logit of each."""
    sizes = window_sizes(arguments)

    queries = scratch
    keys = simd.advance(queries, sizes.key_row)
    values = simd.advance(keys, sizes.slots * sizes.key_row)
    weights = simd.advance(values, sizes.slots * sizes.value_row)
    output = simd.advance(weights, sizes.offsets * LANES)
    positional_output = simd.advance(output, sizes.padded_dim * LANES)

    tables = tables_of_head(arguments, sizes, head, like)
    scale = simd.fill(queries, simd.load_scalar(layout.tensor_at(arguments, layout.SCALE, like), head))
    unit = (image * simd.load_scalar(arguments, layout.HEADS) + head) * sizes.height + y
    maxima = simd.advance(
        layout.tensor_at(arguments, layout.MAXIMA, like), unit * layout.whole_vectors(sizes.width)
    )
    content = layout.tensor_of_unit(arguments, layout.CONTENT, image, y, head, like)
    positional = layout.tensor_of_unit(arguments, layout.POSITIONAL, image, y, head, like)
    pack_row(arguments, layout.Q, image, y, head, queries, like)

    top, bottom = max(0, y - sizes.row_reach), min(sizes.height, y + sizes.row_reach + 1)
    for x in range(0, sizes.width, LANES):
        largest = simd.fill(queries, -math.inf)
        for row in range(top, bottom):
            first = (row - y + sizes.row_reach) * sizes.row_offsets
            near = simd.advance(keys, row % sizes.slots * sizes.key_row + x)
            for t in range(0, sizes.side, ROWS):
                terms = tiles_of_terms(
                    sizes, tables, simd.advance(queries, sizes.reach + x), simd.advance(near, t), first + t
                )
                logits = tile_of_window_logits(terms, scale, simd.advance(borders, x + t))
                simd.store_rows(weights, (first + t) * LANES, LANES, logits)
            for t in range(first, first + sizes.side):
                largest = simd.maximum(simd.load(weights, t * LANES), largest)
        total = simd.fill(queries, 0.0)
        for row in range(top, bottom):
            first = (row - y + sizes.row_reach) * sizes.row_offsets
            for t in range(first, first + sizes.side):
                numerator = simd.exp2(simd.subtract(simd.load(weights, t * LANES), largest))
                simd.store(weights, t * LANES, numerator)
                total = simd.add(total, numerator)
        norm = simd.reciprocal(total)
        simd.store(maxima, x, largest)
        count = min(LANES, sizes.width - x)
        for i in range(count, LANES):
            # Queries behind the last column take no weight in the backward pass.
            simd.store_scalar(maxima, x + i, math.inf)

        for c in range(0, sizes.value_dim, ROWS):
            by_content = simd.fill_tile(queries, 0.0)
            by_position = simd.fill_tile(queries, 0.0)
            for row in range(top, bottom):
                first = (row - y + sizes.row_reach) * sizes.row_offsets
                near = simd.advance(values, (row % sizes.slots * sizes.padded_dim + c) * sizes.pitch + x)
                relative = simd.advance(tables.v, first * sizes.padded_dim + c)
                for t in range(sizes.side):
                    weight = simd.load(weights, (first + t) * LANES)
                    by_content = simd.fma(weight, simd.load_rows(near, t, sizes.pitch), by_content)
                    if tables.has_v:
                        by_position = simd.fma(
                            weight, simd.splat_rows(relative, t * sizes.padded_dim, 1), by_position
                        )
            simd.store_rows(output, c * LANES, LANES, simd.multiply(by_content, norm))
            simd.store_rows(positional_output, c * LANES, LANES, simd.multiply(by_position, norm))
        stride = layout.position_stride(arguments, layout.CONTENT)
        layout.transpose_rows(
            output, LANES, simd.advance(content, x * stride), stride, sizes.value_dim, count
        )
        if tables.has_v:
            stride = layout.position_stride(arguments, layout.POSITIONAL)
            layout.transpose_rows(
                positional_output, LANES, simd.advance(positional, x * stride), stride, sizes.value_dim, count
            )


@merged
def attend_to_windows(address: int, like: Scalar) -> None:
    """What one thread does: take chunks of units until none is left."""
    arguments = simd.pointer_like(address, address)
    sizes = window_sizes(arguments)
    heads = simd.load_scalar(arguments, layout.HEADS)

    borders = layout.scratch_of_thread(arguments, like)
    mark_columns(borders, sizes.reach, sizes.width, 0.0, -math.inf)  # is added to logits
    scratch = simd.advance(borders, sizes.pitch)
    keys = simd.advance(scratch, sizes.key_row)

    units = simd.load_scalar(arguments, layout.BATCH) * heads * sizes.height
    chunks = simd.load_scalar(arguments, layout.CHUNKS)
    chunk = simd.take_ticket(simd.advance(arguments, layout.NEXT_CHUNK))
    while chunk < chunks:
        start = units * chunk // chunks
        packed = 0
        for unit in range(start, units * (chunk + 1) // chunks):
            image, head, y = unit // (heads * sizes.height), unit // sizes.height % heads, unit % sizes.height
            if unit == start or y == 0:
                packed = max(0, y - sizes.row_reach)
            stop = min(sizes.height, y + sizes.row_reach + 1)
            pack_rows(arguments, image, head, packed, stop, keys, like)
            packed = stop
            attend_from_row(arguments, image, y, head, scratch, borders, like)
        chunk = simd.take_ticket(simd.advance(arguments, layout.NEXT_CHUNK))
