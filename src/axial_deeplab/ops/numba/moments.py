"""The moments that the variances of the logits are made of, and their gradients.

The lanes are eight lines of one head. Each row of queries or keys is packed once; its outer product goes into
the sum over the positions of its line and into that over the lines at its position, which keeps its lanes
until the last line. The sums of a head do not depend on the other heads: the number of threads changes no
bit.
"""

from typing import NamedTuple

from axial_deeplab.ops.numba.bundles import (
    clear_lanes,
    pack,
    scratch_of_ticket,
    set_start,
    starts_of_ticket,
    unpack,
)
from axial_deeplab.ops.numba.layout import (
    BATCH,
    CHUNKS,
    GRAD_K,
    GRAD_Q,
    HEAD_DIM,
    HEADS,
    LENGTH,
    LINES,
    MOMENTS,
    NEXT_CHUNK,
    NEXT_THREAD,
    K,
    Pointer,
    Q,
    Scalar,
    clear,
    kernel,
    merged,
    moments_size,
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
    splat_rows,
    store,
    store_rows,
    store_scalar,
    sum_lanes,
    take_ticket,
)


class Line(NamedTuple):
    """The queries or keys of eight lines: (L, D) vectors, their sum (D) and that of their products (D, D)."""

    rows: Pointer
    total: Pointer
    products: Pointer


@merged
def divide(memory: Pointer, length: int, head_dim: int) -> Line:
    """The parts of the memory for one tensor, of `line_size`."""
    total = advance(memory, (length * head_dim + ROWS) * LANES)
    return Line(memory, total, advance(total, head_dim * LANES))


@kernel
def line_size(length: int, head_dim: int) -> int:
    """The numbers of a `Line`: tiles reach beyond the last channel."""
    return ((length + 1 + head_dim) * head_dim + 2 * ROWS) * LANES


@kernel
def find_lines(arguments: Pointer, block: int, head: int, starts: Pointer) -> int:
    """Set where eight lines of a head start in each tensor; return how many there are.

    Lanes behind the last line repeat it.
    """
    lines = load_scalar(arguments, LINES)
    existing = load_scalar(arguments, BATCH) * lines
    for lane in range(LANES):
        line = min(block * LANES + lane, existing - 1)
        set_start(arguments, starts, lane, line // lines, line % lines, head)
    return min(existing - block * LANES, LANES)


@kernel
def add_positions(rows: Pointer, total: Pointer, products: Pointer, length: int, head_dim: int) -> None:
    """The sum of the rows (L, D) and of their outer products, of which the upper triangle is made."""
    width = head_dim * LANES
    for d in range(head_dim):
        in_all = fill(rows, 0.0)
        for i in range(length):
            in_all = add(in_all, load(rows, i * width + d * LANES))
        store(total, d * LANES, in_all)
        # What a tile puts behind its row is below the diagonal, or set by the next row.
        for e in range(d, head_dim, ROWS):
            tile = multiply(load_rows(rows, e * LANES, LANES), load(rows, d * LANES))
            for i in range(1, length):
                at = i * width
                tile = fma(load_rows(rows, at + e * LANES, LANES), load(rows, at + d * LANES), tile)
            store_rows(products, d * width + e * LANES, LANES, tile)


@kernel
def add_lines(rows: Pointer, sums: Pointer, length: int, head_dim: int) -> None:
    """Add rows (L, D) and the upper triangle of their outer products to the sums (L, D + D D)."""
    width = head_dim * LANES
    pitch = (1 + head_dim) * width
    for i in range(length):
        for d in range(head_dim):
            x = load(rows, i * width + d * LANES)
            at = i * pitch + d * LANES
            store(sums, at, add(load(sums, at), x))
            for e in range(d, head_dim):
                at = i * pitch + (1 + d) * width + e * LANES
                store(sums, at, fma(x, load(rows, i * width + e * LANES), load(sums, at)))


@kernel
def mirror(products: Pointer, head_dim: int) -> None:
    """Copy the upper triangle of (D, D) vectors to the lower one."""
    for d in range(head_dim):
        for e in range(d):
            store(products, (d * head_dim + e) * LANES, load(products, (e * head_dim + d) * LANES))


@kernel
def multiply_moments(queries: Pointer, keys: Pointer, size: int) -> float:
    """The sum over all lanes of the products of `size` vectors."""
    total = fill(queries, 0.0)
    for i in range(0, size * LANES, LANES):
        total = fma(load(queries, i), load(keys, i), total)
    return sum_lanes(total)


@kernel
def sum_over_lanes(sums: Pointer, target: Pointer, length: int, head_dim: int) -> None:
    """Set (L, D + D D) numbers to the sums of their lanes, which have the upper triangles."""
    size = (1 + head_dim) * head_dim
    for i in range(length):
        for d in range(head_dim):
            at = i * size + d
            store_scalar(target, at, sum_lanes(load(sums, at * LANES)))
            for e in range(d, head_dim):
                total = sum_lanes(load(sums, (i * size + (1 + d) * head_dim + e) * LANES))
                store_scalar(target, i * size + (1 + d) * head_dim + e, total)
                store_scalar(target, i * size + (1 + e) * head_dim + d, total)


@kernel
def pack_lines(
    arguments: Pointer, tensor: int, starts: Pointer, lines: int, rows: Pointer, like: Scalar
) -> None:
    """Copy the rows of eight lines; those behind the last line are zero."""
    head_dim = load_scalar(arguments, HEAD_DIM)
    pack(arguments, tensor, starts, rows, head_dim, like)
    clear_lanes(rows, load_scalar(arguments, LENGTH) * head_dim, lines)


@merged
def moments_of_heads(
    arguments: Pointer, first: int, behind: int, starts: Pointer, scratch: Pointer, like: Scalar
) -> None:
    """The moments of heads first ... behind - 1, whose channels share cache lines."""
    length, head_dim = load_scalar(arguments, LENGTH), load_scalar(arguments, HEAD_DIM)
    sums_size = length * (1 + head_dim) * head_dim
    queries = divide(scratch, length, head_dim)
    keys = divide(advance(scratch, line_size(length, head_dim)), length, head_dim)
    all_sums = advance(scratch, 2 * line_size(length, head_dim))
    clear(all_sums, (behind - first) * 2 * sums_size * LANES)
    targets = pointer_like(load_scalar(arguments, MOMENTS), like)
    size = moments_size(length, head_dim)
    clear(advance(targets, first * size), (behind - first) * size)
    existing = load_scalar(arguments, BATCH) * load_scalar(arguments, LINES)
    for block in range((existing + LANES - 1) // LANES):
        for head in range(first, behind):
            lines = find_lines(arguments, block, head, starts)
            sums = advance(all_sums, (head - first) * 2 * sums_size * LANES)
            pack_lines(arguments, Q, starts, lines, queries.rows, like)
            add_lines(queries.rows, sums, length, head_dim)
            add_positions(queries.rows, queries.total, queries.products, length, head_dim)
            pack_lines(arguments, K, starts, lines, keys.rows, like)
            add_lines(keys.rows, advance(sums, sums_size * LANES), length, head_dim)
            add_positions(keys.rows, keys.total, keys.products, length, head_dim)
            mirror(queries.products, head_dim)
            mirror(keys.products, head_dim)
            content = advance(targets, head * size + 2 * sums_size)
            mean = multiply_moments(queries.total, keys.total, head_dim)
            square = multiply_moments(queries.products, keys.products, head_dim * head_dim)
            store_scalar(content, 0, load_scalar(content, 0) + mean)
            store_scalar(content, 1, load_scalar(content, 1) + square)
    for head in range(first, behind):
        for i in range(2):
            sums = advance(all_sums, ((head - first) * 2 + i) * sums_size * LANES)
            sum_over_lanes(sums, advance(targets, head * size + i * sums_size), length, head_dim)


@kernel
def scale(vectors: Pointer, size: int, factor: float) -> None:
    """Multiply `size` vectors by a number."""
    for i in range(0, size * LANES, LANES):
        store(vectors, i, multiply(load(vectors, i), fill(vectors, factor)))


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
            total = add(load_rows(grad_total, d * LANES, LANES), splat_rows(grads, i * size + d, 1))
            for e in range(head_dim):
                factors = splat_rows(grads, i * size + (1 + e) * head_dim + d, 1)
                factors = add(factors, load_rows(grad_products, e * width + d * LANES, LANES))
                total = fma(factors, load(rows, i * width + e * LANES), total)
            # What lies behind the last channel is set again at the next position.
            store_rows(target, i * width + d * LANES, LANES, total)


@merged
def differentiate_heads(
    arguments: Pointer, first: int, behind: int, starts: Pointer, scratch: Pointer, like: Scalar
) -> None:
    """The gradients of the queries and keys of some heads; MOMENTS has those of products G as G + Gᵀ."""
    length, head_dim = load_scalar(arguments, LENGTH), load_scalar(arguments, HEAD_DIM)
    sums_size = length * (1 + head_dim) * head_dim
    queries = divide(scratch, length, head_dim)
    keys = divide(advance(scratch, line_size(length, head_dim)), length, head_dim)
    target = advance(scratch, 2 * line_size(length, head_dim))
    size = moments_size(length, head_dim)
    existing = load_scalar(arguments, BATCH) * load_scalar(arguments, LINES)
    for block in range((existing + LANES - 1) // LANES):
        for head in range(first, behind):
            lines = find_lines(arguments, block, head, starts)
            grads = advance(pointer_like(load_scalar(arguments, MOMENTS), like), head * size)
            content = advance(grads, 2 * sums_size)
            pack_lines(arguments, Q, starts, lines, queries.rows, like)
            add_positions(queries.rows, queries.total, queries.products, length, head_dim)
            pack_lines(arguments, K, starts, lines, keys.rows, like)
            add_positions(keys.rows, keys.total, keys.products, length, head_dim)
            for line in (queries, keys):
                mirror(line.products, head_dim)
                scale(line.total, head_dim, load_scalar(content, 0))
                scale(line.products, head_dim * head_dim, 2.0 * load_scalar(content, 1))
            differentiate_rows(queries.rows, keys.total, keys.products, grads, target, length, head_dim)
            unpack(arguments, GRAD_Q, starts, target, 0, length, head_dim, lines, like)
            grads = advance(grads, sums_size)
            differentiate_rows(keys.rows, queries.total, queries.products, grads, target, length, head_dim)
            unpack(arguments, GRAD_K, starts, target, 0, length, head_dim, lines, like)


@merged
def moments(address: int, like: Scalar) -> None:
    """What one thread does: take groups of heads until none is left."""
    arguments = pointer_like(address, address)
    ticket = take_ticket(advance(arguments, NEXT_THREAD))
    scratch, starts = scratch_of_ticket(arguments, ticket, like), starts_of_ticket(arguments, ticket)
    heads, groups = load_scalar(arguments, HEADS), load_scalar(arguments, CHUNKS)
    group = take_ticket(advance(arguments, NEXT_CHUNK))
    while group < groups:
        first, behind = heads * group // groups, heads * (group + 1) // groups
        moments_of_heads(arguments, first, behind, starts, scratch, like)
        group = take_ticket(advance(arguments, NEXT_CHUNK))


@merged
def moments_backward(address: int, like: Scalar) -> None:
    """The same for the gradients."""
    arguments = pointer_like(address, address)
    ticket = take_ticket(advance(arguments, NEXT_THREAD))
    scratch, starts = scratch_of_ticket(arguments, ticket, like), starts_of_ticket(arguments, ticket)
    heads, groups = load_scalar(arguments, HEADS), load_scalar(arguments, CHUNKS)
    group = take_ticket(advance(arguments, NEXT_CHUNK))
    while group < groups:
        first, behind = heads * group // groups, heads * (group + 1) // groups
        differentiate_heads(arguments, first, behind, starts, scratch, like)
        group = take_ticket(advance(arguments, NEXT_CHUNK))
