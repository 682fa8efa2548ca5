"""The moments that the variances of the logits are made of, and their gradients.

The lanes are eight lines of one head. Each row of queries or keys is packed once; its outer product goes into
the sum over the positions of its line and into that over the lines at its position, which keeps its lanes
until the last line. The sums of a head do not depend on the other heads: the number of threads changes no
bit.
"""

from typing import NamedTuple

from axial_deeplab.ops.numba import bundles, layout, simd
from axial_deeplab.ops.numba.layout import Pointer, Scalar, kernel, merged
from axial_deeplab.ops.numba.simd import LANES, ROWS


class Line(NamedTuple):
    """The queries or keys of eight lines: (L, D) vectors, their sum (D) and that of their products (D, D)."""

    rows: Pointer
    total: Pointer
    products: Pointer


@merged
def divide(memory: Pointer, length: int, head_dim: int) -> Line:
    """The parts of the memory for one tensor, of `line_size`."""
    total = simd.advance(memory, (length * head_dim + ROWS) * LANES)
    return Line(memory, total, simd.advance(total, head_dim * LANES))


@kernel
def line_size(length: int, head_dim: int) -> int:
    """The numbers of a `Line`: tiles reach beyond the last channel."""
    return ((length + 1 + head_dim) * head_dim + 2 * ROWS) * LANES


@kernel
def find_lines(arguments: Pointer, block: int, head: int, starts: Pointer) -> int:
    """Set where eight lines of a head start in each tensor; return how many there are.

    Lanes behind the last line repeat it.
    """
    lines = simd.load_scalar(arguments, layout.LINES)
    existing = simd.load_scalar(arguments, layout.BATCH) * lines
    for lane in range(LANES):
        line = min(block * LANES + lane, existing - 1)
        bundles.set_start(arguments, starts, lane, line // lines, line % lines, head)
    return min(existing - block * LANES, LANES)


@kernel
def add_positions(rows: Pointer, total: Pointer, products: Pointer, length: int, head_dim: int) -> None:
    """The sum of the rows (L, D) and of their outer products, of which the upper triangle is made."""
    width = head_dim * LANES
    for d in range(head_dim):
        in_all = simd.fill(rows, 0.0)
        for i in range(length):
            in_all = simd.add(in_all, simd.load(rows, i * width + d * LANES))
        simd.store(total, d * LANES, in_all)
        # What a tile puts behind its row is below the diagonal, or set by the next row.
        for e in range(d, head_dim, ROWS):
            tile = simd.multiply(simd.load_rows(rows, e * LANES, LANES), simd.load(rows, d * LANES))
            for i in range(1, length):
                at = i * width
                tile = simd.fma(
                    simd.load_rows(rows, at + e * LANES, LANES), simd.load(rows, at + d * LANES), tile
                )
            simd.store_rows(products, d * width + e * LANES, LANES, tile)


@kernel
def add_lines(rows: Pointer, sums: Pointer, length: int, head_dim: int) -> None:
    """Add rows (L, D) and the upper triangle of their outer products to the sums (L, D + D D)."""
    width = head_dim * LANES
    pitch = (1 + head_dim) * width
    for i in range(length):
        for d in range(head_dim):
            x = simd.load(rows, i * width + d * LANES)
            at = i * pitch + d * LANES
            simd.store(sums, at, simd.add(simd.load(sums, at), x))
            for e in range(d, head_dim):
                at = i * pitch + (1 + d) * width + e * LANES
                simd.store(sums, at, simd.fma(x, simd.load(rows, i * width + e * LANES), simd.load(sums, at)))


@kernel
def mirror(products: Pointer, head_dim: int) -> None:
    """Copy the upper triangle of (D, D) vectors to the lower one."""
    for d in range(head_dim):
        for e in range(d):
            simd.store(products, (d * head_dim + e) * LANES, simd.load(products, (e * head_dim + d) * LANES))


@kernel
def multiply_moments(queries: Pointer, keys: Pointer, size: int) -> float:
    """The sum over all lanes of the products of `size` vectors."""
    total = simd.fill(queries, 0.0)
    for i in range(0, size * LANES, LANES):
        total = simd.fma(simd.load(queries, i), simd.load(keys, i), total)
    return simd.sum_lanes(total)


@kernel
def sum_over_lanes(sums: Pointer, target: Pointer, length: int, head_dim: int) -> None:
    """Set (L, D + D D) numbers to the sums of their lanes, which have the upper triangles."""
    size = (1 + head_dim) * head_dim
    for i in range(length):
        for d in range(head_dim):
            at = i * size + d
            simd.store_scalar(target, at, simd.sum_lanes(simd.load(sums, at * LANES)))
            for e in range(d, head_dim):
                total = simd.sum_lanes(simd.load(sums, (i * size + (1 + d) * head_dim + e) * LANES))
                simd.store_scalar(target, i * size + (1 + d) * head_dim + e, total)
                simd.store_scalar(target, i * size + (1 + e) * head_dim + d, total)


@kernel
def pack_lines(
    arguments: Pointer, tensor: int, starts: Pointer, lines: int, rows: Pointer, like: Scalar
) -> None:
    """Copy the rows of eight lines; those behind the last line are zero."""
    head_dim = simd.load_scalar(arguments, layout.HEAD_DIM)
    bundles.pack(arguments, tensor, starts, rows, head_dim, like)
    bundles.clear_lanes(rows, simd.load_scalar(arguments, layout.LENGTH) * head_dim, lines)


@merged
def moments_of_heads(
    arguments: Pointer, first: int, behind: int, starts: Pointer, scratch: Pointer, like: Scalar
) -> None:
    """The moments of heads first ... behind - 1, whose channels share cache lines."""
    length, _, head_dim, _ = layout.lengths(arguments)
    sums_size = length * (1 + head_dim) * head_dim
    queries = divide(scratch, length, head_dim)
    keys = divide(simd.advance(scratch, line_size(length, head_dim)), length, head_dim)
    all_sums = simd.advance(scratch, 2 * line_size(length, head_dim))
    layout.clear(all_sums, (behind - first) * 2 * sums_size * LANES)
    targets = layout.tensor_at(arguments, layout.MOMENTS, like)
    size = layout.moments_size(length, head_dim)
    layout.clear(simd.advance(targets, first * size), (behind - first) * size)
    existing = simd.load_scalar(arguments, layout.BATCH) * simd.load_scalar(arguments, layout.LINES)
    for block in range((existing + LANES - 1) // LANES):
        for head in range(first, behind):
            lines = find_lines(arguments, block, head, starts)
            sums = simd.advance(all_sums, (head - first) * 2 * sums_size * LANES)
            pack_lines(arguments, layout.Q, starts, lines, queries.rows, like)
            add_lines(queries.rows, sums, length, head_dim)
            add_positions(queries.rows, queries.total, queries.products, length, head_dim)
            pack_lines(arguments, layout.K, starts, lines, keys.rows, like)
            add_lines(keys.rows, simd.advance(sums, sums_size * LANES), length, head_dim)
            add_positions(keys.rows, keys.total, keys.products, length, head_dim)
            mirror(queries.products, head_dim)
            mirror(keys.products, head_dim)
            content = simd.advance(targets, head * size + 2 * sums_size)
            mean = multiply_moments(queries.total, keys.total, head_dim)
            square = multiply_moments(queries.products, keys.products, head_dim * head_dim)
            simd.store_scalar(content, 0, simd.load_scalar(content, 0) + mean)
            simd.store_scalar(content, 1, simd.load_scalar(content, 1) + square)
    for head in range(first, behind):
        for i in range(2):
            sums = simd.advance(all_sums, ((head - first) * 2 + i) * sums_size * LANES)
            sum_over_lanes(sums, simd.advance(targets, head * size + i * sums_size), length, head_dim)


@kernel
def scale(vectors: Pointer, size: int, factor: float) -> None:
    """Multiply `size` vectors by a number."""
    for i in range(0, size * LANES, LANES):
        simd.store(vectors, i, simd.multiply(simd.load(vectors, i), simd.fill(vectors, factor)))


@kernel
def differentiate_rows(
    rows: Pointer,
    grad_total: Pointer,
    grad_products: Pointer,
    grads: Pointer,
    target: Pointer,
    length: int,
    head_dim: int,
) -> None:
    """The gradients of rows (L, D).

    `grad_total` (D) and `grad_products` (D, D) are vectors, the same for all positions of a line; `grads`
    (L, D + D D) are numbers, the same for all lines.
    """
    width = head_dim * LANES
    size = (1 + head_dim) * head_dim
    for i in range(length):
        for d in range(0, head_dim, ROWS):
            total = simd.add(
                simd.load_rows(grad_total, d * LANES, LANES), simd.splat_rows(grads, i * size + d, 1)
            )
            for e in range(head_dim):
                factors = simd.splat_rows(grads, i * size + (1 + e) * head_dim + d, 1)
                factors = simd.add(factors, simd.load_rows(grad_products, e * width + d * LANES, LANES))
                total = simd.fma(factors, simd.load(rows, i * width + e * LANES), total)
            # What lies behind the last channel is set again at the next position.
            simd.store_rows(target, i * width + d * LANES, LANES, total)


@merged
def differentiate_heads(
    arguments: Pointer, first: int, behind: int, starts: Pointer, scratch: Pointer, like: Scalar
) -> None:
    """The gradients of the queries and keys of some heads; MOMENTS has those of products G as G + Gᵀ."""
    length, _, head_dim, _ = layout.lengths(arguments)
    sums_size = length * (1 + head_dim) * head_dim
    queries = divide(scratch, length, head_dim)
    keys = divide(simd.advance(scratch, line_size(length, head_dim)), length, head_dim)
    target = simd.advance(scratch, 2 * line_size(length, head_dim))
    size = layout.moments_size(length, head_dim)
    existing = simd.load_scalar(arguments, layout.BATCH) * simd.load_scalar(arguments, layout.LINES)
    for block in range((existing + LANES - 1) // LANES):
        for head in range(first, behind):
            lines = find_lines(arguments, block, head, starts)
            grads = simd.advance(layout.tensor_at(arguments, layout.MOMENTS, like), head * size)
            content = simd.advance(grads, 2 * sums_size)
            pack_lines(arguments, layout.Q, starts, lines, queries.rows, like)
            add_positions(queries.rows, queries.total, queries.products, length, head_dim)
            pack_lines(arguments, layout.K, starts, lines, keys.rows, like)
            add_positions(keys.rows, keys.total, keys.products, length, head_dim)
            for line in (queries, keys):
                mirror(line.products, head_dim)
                scale(line.total, head_dim, simd.load_scalar(content, 0))
                scale(line.products, head_dim * head_dim, 2.0 * simd.load_scalar(content, 1))
            differentiate_rows(queries.rows, keys.total, keys.products, grads, target, length, head_dim)
            bundles.unpack(arguments, layout.GRAD_Q, starts, target, 0, length, head_dim, lines, like)
            grads = simd.advance(grads, sums_size)
            differentiate_rows(keys.rows, queries.total, queries.products, grads, target, length, head_dim)
            bundles.unpack(arguments, layout.GRAD_K, starts, target, 0, length, head_dim, lines, like)


@merged
def moments(address: int, like: Scalar) -> None:
    """What one thread does: take groups of heads until none is left."""
    arguments = simd.pointer_like(address, address)
    scratch, starts = bundles.memory_of_thread(arguments, like)
    heads, groups = simd.load_scalar(arguments, layout.HEADS), simd.load_scalar(arguments, layout.CHUNKS)
    group = simd.take_ticket(simd.advance(arguments, layout.NEXT_CHUNK))
    while group < groups:
        first, behind = heads * group // groups, heads * (group + 1) // groups
        moments_of_heads(arguments, first, behind, starts, scratch, like)
        group = simd.take_ticket(simd.advance(arguments, layout.NEXT_CHUNK))


@merged
def moments_backward(address: int, like: Scalar) -> None:
    """The same for the gradients."""
    arguments = simd.pointer_like(address, address)
    scratch, starts = bundles.memory_of_thread(arguments, like)
    heads, groups = simd.load_scalar(arguments, layout.HEADS), simd.load_scalar(arguments, layout.CHUNKS)
    group = simd.take_ticket(simd.advance(arguments, layout.NEXT_CHUNK))
    while group < groups:
        first, behind = heads * group // groups, heads * (group + 1) // groups
        differentiate_heads(arguments, first, behind, starts, scratch, like)
        group = simd.take_ticket(simd.advance(arguments, layout.NEXT_CHUNK))
