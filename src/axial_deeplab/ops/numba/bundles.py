"""Bundles: units side by side, as many as a vector has lanes, so that every number of a unit is a vector.

A unit is one head of one line; heads vary fastest, so that a bundle of most networks is the eight heads of
a line or of two. Nothing has to be summed or masked within a vector, and short axes waste no lanes.
Relative tables have the same numbers for all units: one number is read for all lanes.
"""

from typing import Any

from axial_deeplab.ops.numba import layout, simd
from axial_deeplab.ops.numba.layout import Pointer, Scalar, Tile, inlined, kernel, merged
from axial_deeplab.ops.numba.simd import HALF_SQUARE, LANES, SQUARE, TILE

# Longer sums are made of pieces: each addition to a long one rounds more.
CHANNELS_IN_A_SUM = 16
POSITIONS_IN_A_SUM = 32


@merged
def memory_of_thread(arguments: Pointer, like: Scalar) -> tuple[Pointer, Pointer]:
    """Take a part of the scratch memory, zeroed, and of the memory for lane starts."""
    ticket = simd.take_ticket(simd.advance(arguments, layout.NEXT_THREAD))
    size = simd.load_scalar(arguments, layout.SCRATCH_SIZE)
    scratch = simd.advance(layout.tensor_at(arguments, layout.SCRATCH, like), ticket * size)
    layout.clear(scratch, size)
    starts = simd.pointer_like(simd.load_scalar(arguments, layout.LANE_STARTS), ticket)
    return scratch, simd.advance(starts, ticket * layout.LANE_STARTS_SIZE)


@kernel
def unit_of(arguments: Pointer, unit: int) -> Any:
    """Image, line and head of a unit; heads vary fastest: neighbors in memory follow each other."""
    lines, heads = simd.load_scalar(arguments, layout.LINES), simd.load_scalar(arguments, layout.HEADS)
    return unit // (lines * heads), unit // heads % lines, unit % heads


@kernel
def units_in(arguments: Pointer, bundle: int) -> int:
    """How many units a bundle has; lanes behind the last one repeat it."""
    return min(simd.load_scalar(arguments, layout.UNITS) - bundle * LANES, LANES)


@kernel
def set_start(arguments: Pointer, starts: Pointer, lane: int, image: int, line: int, head: int) -> None:
    """Set where a lane starts in each tensor."""
    for tensor in range(layout.Q, layout.GRAD_V + 1, layout.K - layout.Q):
        start = image * simd.load_scalar(arguments, tensor + 1) + line * simd.load_scalar(
            arguments, tensor + 3
        )
        start += head * simd.load_scalar(arguments, tensor + 4)
        simd.store_scalar(starts_in(starts, tensor), lane, start)


@kernel
def find_starts(arguments: Pointer, bundle: int, starts: Pointer) -> None:
    """Set where the units of a bundle start in each tensor."""
    last = units_in(arguments, bundle) - 1
    for lane in range(LANES):
        image, line, head = unit_of(arguments, bundle * LANES + min(lane, last))
        set_start(arguments, starts, lane, image, line, head)


@kernel
def find_scales(arguments: Pointer, bundle: int, scales: Pointer, like: Scalar) -> None:
    """Set the scales of the logit terms, (3, lanes)."""
    source = layout.tensor_at(arguments, layout.SCALE, like)
    heads = simd.load_scalar(arguments, layout.HEADS)
    for lane in range(LANES):
        for term in range(3):
            scale = simd.load_scalar(source, term * heads + (bundle * LANES + lane) % heads)
            simd.store_scalar(scales, term * LANES + lane, scale)


@kernel
def prefetch_bundle(arguments: Pointer, tensors: int, starts: Pointer, like: Scalar) -> None:
    """Bring the rows of a bundle in the first `tensors` tensors into the cache.

    They lie too far apart for the processor to foresee.
    """
    for tensor in range(layout.Q, layout.Q + tensors * (layout.K - layout.Q), layout.K - layout.Q):
        width = layout.channels_of(arguments, tensor)
        source = layout.tensor_at(arguments, tensor, like)
        lanes = starts_in(starts, tensor)
        for row in range(simd.load_scalar(arguments, layout.LENGTH)):
            at = row * layout.position_stride(arguments, tensor)
            for lane in range(LANES):
                for i in range(0, width, layout.CACHE_LINE):
                    simd.prefetch(source, simd.load_scalar(lanes, lane) + at + i)


@kernel
def starts_in(starts: Pointer, tensor: int) -> Pointer:
    """Where the lanes start in one tensor."""
    return simd.advance(starts, (tensor - layout.Q) // (layout.K - layout.Q) * LANES)


@kernel
def pack(arguments: Pointer, tensor: int, starts: Pointer, target: Pointer, width: int, like: Scalar) -> None:
    """Copy the rows of a bundle to (L, width) vectors."""
    source = layout.tensor_at(arguments, tensor, like)
    stride = layout.position_stride(arguments, tensor)
    lanes = starts_in(starts, tensor)
    whole, halves = width // SQUARE * SQUARE, width // HALF_SQUARE * HALF_SQUARE
    for row in range(simd.load_scalar(arguments, layout.LENGTH)):
        at = row * width
        for i in range(0, whole, SQUARE):
            simd.gather_square(source, lanes, row * stride + i, target, (at + i) * LANES)
        for i in range(whole, halves, HALF_SQUARE):
            simd.gather_half_square(source, lanes, row * stride + i, target, (at + i) * LANES)
        for i in range(halves, width):
            simd.store(target, (at + i) * LANES, simd.load_lanes(source, lanes, row * stride + i))


@kernel
def unpack(
    arguments: Pointer,
    tensor: int,
    starts: Pointer,
    source: Pointer,
    first: int,
    rows: int,
    width: int,
    units: int,
    like: Scalar,
) -> None:
    """Copy (rows, width) vectors of so many units to the rows of a tensor from `first` on."""
    target = layout.tensor_at(arguments, tensor, like)
    stride = layout.position_stride(arguments, tensor)
    lanes = starts_in(starts, tensor)
    whole = width // SQUARE * SQUARE if units == LANES else 0
    halves = width // HALF_SQUARE * HALF_SQUARE if units == LANES else 0
    for row in range(rows):
        at = (first + row) * stride
        for i in range(0, whole, SQUARE):
            simd.scatter_square(source, (row * width + i) * LANES, target, lanes, at + i)
        for i in range(whole, halves, HALF_SQUARE):
            simd.scatter_half_square(source, (row * width + i) * LANES, target, lanes, at + i)
        for lane in range(units):
            start = simd.load_scalar(lanes, lane) + at
            for i in range(halves, width):
                simd.store_scalar(
                    target, start + i, simd.load_scalar(source, (row * width + i) * LANES + lane)
                )


@kernel
def clear_lanes(target: Pointer, size: int, units: int) -> None:
    """Zero the lanes behind the last unit in so many vectors."""
    for i in range(size):
        for lane in range(units, LANES):
            simd.store_scalar(target, i * LANES + lane, 0.0)


@kernel
def scaled_keys(keys: Pointer, size: int, scale: Pointer, target: Pointer) -> None:
    """Set (L, D, 2) vectors: each of `size` keys, and the same times a vector and log2 e."""
    factor = simd.multiply(simd.load(scale, 0), simd.fill(scale, layout.LOG2_E))
    for i in range(0, size * LANES, LANES):
        key = simd.load(keys, i)
        simd.store(target, 2 * i, key)
        simd.store(target, 2 * i + LANES, simd.multiply(key, factor))


@kernel
def scaled_queries(queries: Pointer, head_dim: int, scales: Pointer, tile: Pointer) -> None:
    """Set (D, 2, ROWS) vectors: four queries times log2 e and the scale of the first term, of the second."""
    by_key = simd.multiply(simd.load(scales, 0), simd.fill(scales, layout.LOG2_E))
    by_table = simd.multiply(simd.load(scales, LANES), simd.fill(scales, layout.LOG2_E))
    for d in range(head_dim):
        rows = simd.load_rows(queries, d * LANES, head_dim * LANES)
        simd.store_rows(tile, 2 * d * TILE, LANES, simd.multiply(rows, by_key))
        simd.store_rows(tile, (2 * d + 1) * TILE, LANES, simd.multiply(rows, by_table))


@inlined
def pair_of_logits(
    query_tile: Pointer,
    keys: Pointer,
    q_table: Pointer,
    k_table: Pointer,
    table_pitch: int,
    head_dim: int,
    stride: int,
) -> tuple[Tile, Tile]:
    """The logits, base 2, of four queries for a position and for the one `stride` further.

    All that is read lies at fixed distances from a few addresses: more of them would not fit the registers.
    Tables are (D, distances), at the distance of the first query.
    """
    following_keys = simd.advance(keys, 2 * stride * head_dim * LANES)
    first_total = simd.fill_tile(keys, 0.0)
    second_total = simd.fill_tile(keys, 0.0)
    for piece in range(0, head_dim, CHANNELS_IN_A_SUM):
        first = simd.fill_tile(keys, 0.0)
        second = simd.fill_tile(keys, 0.0)
        for d in range(piece, min(piece + CHANNELS_IN_A_SUM, head_dim)):
            query = simd.load_rows(query_tile, 2 * d * TILE, LANES)
            first = simd.fma(query, simd.load(keys, 2 * d * LANES), first)
            second = simd.fma(query, simd.load(following_keys, 2 * d * LANES), second)
            query = simd.load_rows(query_tile, (2 * d + 1) * TILE, LANES)
            relative = simd.splat_rows(q_table, d * table_pitch, -stride)
            first = simd.fma(query, relative, first)
            following = simd.fill(q_table, simd.load_scalar(q_table, d * table_pitch + stride))
            second = simd.fma(query, simd.shift_down(relative, following), second)
            relative = simd.splat_rows(k_table, d * table_pitch, -stride)
            first = simd.fma(relative, simd.load(keys, (2 * d + 1) * LANES), first)
            following = simd.fill(k_table, simd.load_scalar(k_table, d * table_pitch + stride))
            second = simd.fma(
                simd.shift_down(relative, following), simd.load(following_keys, (2 * d + 1) * LANES), second
            )
        first_total = simd.add(first_total, first)
        second_total = simd.add(second_total, second)
    return first_total, second_total
