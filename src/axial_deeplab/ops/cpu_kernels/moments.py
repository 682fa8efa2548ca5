"""The moments that the variances of the logits are made of, and their gradients.

A thread takes a group of neighboring heads, whose channels share cache lines, and walks over the lines.
Each row of queries or keys is read once; its outer product goes into the sum over the positions of the
line and into that over the lines at the position. The sums of a head are added in the order of the lines,
whatever the groups: the number of threads changes no bit.
"""

from axial_deeplab.ops.cpu_kernels.layout import (
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
    K,
    Pointer,
    Q,
    Scalar,
    clear,
    copy_rows,
    kernel,
    merged,
    moments_size,
    position_stride,
    scratch_of_thread,
    tensor_of_unit,
    whole_vectors,
)
from axial_deeplab.ops.cpu_kernels.simd import (
    LANES,
    add,
    advance,
    fill,
    fma,
    load,
    load_scalar,
    multiply,
    pointer_like,
    store,
    store_scalar,
    sum_lanes,
    take_ticket,
)


@kernel
def add_rows(
    rows: Pointer,
    line_sum: Pointer,
    line_products: Pointer,
    sums: Pointer,
    products: Pointer,
    length: int,
    head_dim: int,
) -> None:
    """Add rows (L, D) and their outer products to the sums of a line, and to those of each position."""
    pitch = whole_vectors(head_dim)
    for i in range(length):
        for c in range(0, pitch, LANES):
            row = load(rows, i * pitch + c)
            store(line_sum, c, add(load(line_sum, c), row))
            store(sums, i * pitch + c, add(load(sums, i * pitch + c), row))
            for d in range(head_dim):
                product = multiply(fill(rows, load_scalar(rows, i * pitch + d)), row)
                at = d * pitch + c
                store(line_products, at, add(load(line_products, at), product))
                at += i * head_dim * pitch
                store(products, at, add(load(products, at), product))


@merged
def moments_of_line(
    arguments: Pointer, image: int, line: int, head: int, scratch: Pointer, like: Scalar
) -> None:
    """Add one line to the moments of a head: of queries, of keys, and the sums of q·k and of its square."""
    length, head_dim = load_scalar(arguments, LENGTH), load_scalar(arguments, HEAD_DIM)
    pitch = whole_vectors(head_dim)
    line_size = (head_dim + 1) * pitch
    target = pointer_like(load_scalar(arguments, MOMENTS), like)
    target = advance(target, head * moments_size(length, head_dim))
    content = advance(target, 2 * length * line_size)
    of_queries = scratch
    of_keys = advance(of_queries, line_size)
    rows = advance(of_keys, line_size)
    clear(scratch, 2 * line_size)
    for tensor, of_line, start in ((Q, of_queries, 0), (K, of_keys, length * line_size)):
        source = tensor_of_unit(arguments, tensor, image, line, head, like)
        copy_rows(source, position_stride(arguments, tensor), rows, pitch, length, head_dim)
        sums = advance(target, start)
        products = advance(sums, length * pitch)
        add_rows(rows, of_line, advance(of_line, pitch), sums, products, length, head_dim)
    first, second = fill(scratch, 0.0), fill(scratch, 0.0)
    for c in range(0, pitch, LANES):
        first = fma(load(of_queries, c), load(of_keys, c), first)
    for c in range(pitch, line_size, LANES):
        second = fma(load(of_queries, c), load(of_keys, c), second)
    store_scalar(content, 0, load_scalar(content, 0) + sum_lanes(first))
    store_scalar(content, 1, load_scalar(content, 1) + sum_lanes(second))


@kernel
def add_line(rows: Pointer, line: Pointer, length: int, head_dim: int) -> None:
    """Add rows (L, D) and their outer products to the sums of a line."""
    pitch = whole_vectors(head_dim)
    for c in range(0, pitch, LANES):
        total = load(line, c)
        for i in range(length):
            total = add(total, load(rows, i * pitch + c))
        store(line, c, total)
        for d in range(head_dim):
            total = load(line, (d + 1) * pitch + c)
            for i in range(length):
                total = fma(fill(rows, load_scalar(rows, i * pitch + d)), load(rows, i * pitch + c), total)
            store(line, (d + 1) * pitch + c, total)


@kernel
def differentiate_rows(
    rows: Pointer,
    other: Pointer,
    grad_moments: Pointer,
    content: Pointer,
    target: Pointer,
    length: int,
    head_dim: int,
) -> None:
    """The gradients of rows (L, D): by the content's moments with the `other` line, and by their own."""
    pitch = whole_vectors(head_dim)
    by_first = fill(rows, load_scalar(content, 0))
    by_second = fill(rows, 2.0 * load_scalar(content, 1))
    products = advance(grad_moments, length * pitch)
    for i in range(length):
        for c in range(0, pitch, LANES):
            total = fma(by_first, load(other, c), load(grad_moments, i * pitch + c))
            for d in range(head_dim):
                matrix = fma(
                    by_second,
                    load(other, (d + 1) * pitch + c),
                    load(products, (i * head_dim + d) * pitch + c),
                )
                total = fma(fill(rows, load_scalar(rows, i * pitch + d)), matrix, total)
            store(target, i * pitch + c, total)


@merged
def differentiate_line(
    arguments: Pointer, image: int, line: int, head: int, scratch: Pointer, like: Scalar
) -> None:
    """The gradients of a line's queries and keys of one head; MOMENTS has those of products G as G + Gᵀ."""
    length, head_dim = load_scalar(arguments, LENGTH), load_scalar(arguments, HEAD_DIM)
    pitch = whole_vectors(head_dim)
    line_size = (head_dim + 1) * pitch
    grads = pointer_like(load_scalar(arguments, MOMENTS), like)
    grads = advance(grads, head * moments_size(length, head_dim))
    content = advance(grads, 2 * length * line_size)
    of_queries = scratch
    of_keys = advance(of_queries, line_size)
    queries = advance(of_keys, line_size)
    keys = advance(queries, length * pitch)
    target = advance(keys, length * pitch)
    clear(scratch, 2 * line_size)
    for tensor, rows, of_line in ((Q, queries, of_queries), (K, keys, of_keys)):
        source = tensor_of_unit(arguments, tensor, image, line, head, like)
        copy_rows(source, position_stride(arguments, tensor), rows, pitch, length, head_dim)
        add_line(rows, of_line, length, head_dim)
    for tensor, rows, other, start in (
        (GRAD_Q, queries, of_keys, 0),
        (GRAD_K, keys, of_queries, length * line_size),
    ):
        differentiate_rows(rows, other, advance(grads, start), content, target, length, head_dim)
        result = tensor_of_unit(arguments, tensor, image, line, head, like)
        copy_rows(target, pitch, result, position_stride(arguments, tensor), length, head_dim)


@merged
def moments(address: int, like: Scalar) -> None:
    """What one thread does: take groups of heads until none is left."""
    arguments = pointer_like(address, address)
    scratch = scratch_of_thread(arguments, like)
    heads, groups = load_scalar(arguments, HEADS), load_scalar(arguments, CHUNKS)
    size = moments_size(load_scalar(arguments, LENGTH), load_scalar(arguments, HEAD_DIM))
    group = take_ticket(advance(arguments, NEXT_CHUNK))
    while group < groups:
        first, behind = heads * group // groups, heads * (group + 1) // groups
        target = advance(pointer_like(load_scalar(arguments, MOMENTS), like), first * size)
        clear(target, (behind - first) * size)
        for image in range(load_scalar(arguments, BATCH)):
            for line in range(load_scalar(arguments, LINES)):
                for head in range(first, behind):
                    moments_of_line(arguments, image, line, head, scratch, like)
        group = take_ticket(advance(arguments, NEXT_CHUNK))


@merged
def moments_backward(address: int, like: Scalar) -> None:
    """The same for the gradients."""
    arguments = pointer_like(address, address)
    scratch = scratch_of_thread(arguments, like)
    heads, groups = load_scalar(arguments, HEADS), load_scalar(arguments, CHUNKS)
    group = take_ticket(advance(arguments, NEXT_CHUNK))
    while group < groups:
        first, behind = heads * group // groups, heads * (group + 1) // groups
        for image in range(load_scalar(arguments, BATCH)):
            for line in range(load_scalar(arguments, LINES)):
                for head in range(first, behind):
                    differentiate_line(arguments, image, line, head, scratch, like)
        group = take_ticket(advance(arguments, NEXT_CHUNK))
