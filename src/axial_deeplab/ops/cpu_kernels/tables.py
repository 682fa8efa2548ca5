"""Relative tables: cut and padded before a kernel runs; their gradients added up after it."""

from axial_deeplab.ops.cpu_kernels.layout import (
    CHUNKS,
    GRAD_REL_Q,
    GRAD_SCALE,
    HEAD_DIM,
    HEADS,
    MARGIN,
    MAX_DISTANCE,
    REACH,
    REL_Q,
    REL_V,
    TABLE_GRADS,
    TABLE_GRADS_SIZE,
    TABLES,
    VALUE_DIM,
    Pointer,
    Scalar,
    clear,
    kernel,
    table_rows,
    whole_vectors,
)
from axial_deeplab.ops.cpu_kernels.simd import (
    LANES,
    add,
    advance,
    load,
    load_scalar,
    pointer_like,
    store,
    store_scalar,
)


@kernel
def expand_table(
    table: Pointer, present: bool, width: int, max_distance: int, reach: int, columns: Pointer, rows: Pointer
) -> None:
    """Copy the rows of the distances -reach ... reach, as (width, distances) and as rows."""
    pitch = table_rows(reach)
    padded = whole_vectors(width)
    clear(columns, width * pitch)
    clear(rows, padded * pitch)
    if present:
        for t in range(2 * reach + 1):
            row = min(max(t - reach, -max_distance), max_distance) + max_distance
            for i in range(width):
                number = load_scalar(table, row * width + i)
                store_scalar(columns, i * pitch + t + MARGIN, number)
                store_scalar(rows, (t + MARGIN) * padded + i, number)


@kernel
def expand_tables(address: int, like: Scalar) -> None:
    """Fill TABLES: r^q, r^k, r^v as columns, then as rows, each with margins of zeros."""
    arguments = pointer_like(address, address)
    reach = load_scalar(arguments, REACH)
    max_distance = load_scalar(arguments, MAX_DISTANCE)
    columns = pointer_like(load_scalar(arguments, TABLES), like)
    head_dim, value_dim = load_scalar(arguments, HEAD_DIM), load_scalar(arguments, VALUE_DIM)
    rows = advance(columns, table_rows(reach) * (2 * head_dim + value_dim))
    for table in range(REL_Q, REL_V + 1):
        width = value_dim if table == REL_V else head_dim
        source = load_scalar(arguments, table)
        expand_table(pointer_like(source, like), source != 0, width, max_distance, reach, columns, rows)
        columns = advance(columns, table_rows(reach) * width)
        rows = advance(rows, table_rows(reach) * whole_vectors(width))


@kernel
def collect_table_grads(address: int, like: Scalar) -> None:
    """Add the gradients of all chunks, in their order, to the zeroed gradients of the tables and scales."""
    arguments = pointer_like(address, address)
    grads = pointer_like(load_scalar(arguments, TABLE_GRADS), like)
    size = load_scalar(arguments, TABLE_GRADS_SIZE)
    for chunk in range(1, load_scalar(arguments, CHUNKS)):
        for i in range(0, size, LANES):
            store(grads, i, add(load(grads, i), load(grads, chunk * size + i)))
    reach, max_distance = load_scalar(arguments, REACH), load_scalar(arguments, MAX_DISTANCE)
    for table in range(3):
        width = load_scalar(arguments, VALUE_DIM) if table == 2 else load_scalar(arguments, HEAD_DIM)
        padded = whole_vectors(width)
        target = load_scalar(arguments, GRAD_REL_Q + table)
        if target != 0:
            add_table(grads, pointer_like(target, like), width, padded, max_distance, reach)
        grads = advance(grads, table_rows(reach) * padded)
    target = load_scalar(arguments, GRAD_SCALE)
    if target != 0:
        scales = pointer_like(target, like)
        for i in range(3 * load_scalar(arguments, HEADS)):
            store_scalar(scales, i, load_scalar(grads, i))


@kernel
def add_table(
    grads: Pointer, target: Pointer, width: int, padded: int, max_distance: int, reach: int
) -> None:
    """Add the gradients of the distances -reach ... reach to the rows of the table that they came from."""
    for t in range(2 * reach + 1):
        row = min(max(t - reach, -max_distance), max_distance) + max_distance
        for i in range(width):
            grad = load_scalar(target, row * width + i) + load_scalar(grads, (t + MARGIN) * padded + i)
            store_scalar(target, row * width + i, grad)
