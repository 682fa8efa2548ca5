"""Relative tables: cut and padded before a kernel runs; their gradients added up after it."""

from axial_deeplab.ops.numba.layout import (
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
    kernel,
    table_rows,
)
from axial_deeplab.ops.numba.simd import (
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
    table: Pointer, present: bool, width: int, max_distance: int, reach: int, target: Pointer
) -> None:
    """Set (width, distances) to the rows of the distances -reach ... reach, zeros around them."""
    pitch = table_rows(reach)
    for i in range(pitch * width):
        store_scalar(target, i, 0.0)
    if present:
        for t in range(2 * reach + 1):
            row = min(max(t - reach, -max_distance), max_distance) + max_distance
            for i in range(width):
                store_scalar(target, i * pitch + t + MARGIN, load_scalar(table, row * width + i))


@kernel
def expand_tables(address: int, like: Scalar) -> None:
    """Fill TABLES: r^q, r^k and r^v by channel and distance, each with margins of zeros."""
    arguments = pointer_like(address, address)
    reach = load_scalar(arguments, REACH)
    max_distance = load_scalar(arguments, MAX_DISTANCE)
    target = pointer_like(load_scalar(arguments, TABLES), like)
    for table in range(REL_Q, REL_V + 1):
        width = load_scalar(arguments, VALUE_DIM if table == REL_V else HEAD_DIM)
        source = load_scalar(arguments, table)
        expand_table(pointer_like(source, like), source != 0, width, max_distance, reach, target)
        target = advance(target, table_rows(reach) * width)


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
        width = load_scalar(arguments, VALUE_DIM if table == 2 else HEAD_DIM)
        target = load_scalar(arguments, GRAD_REL_Q + table)
        if target != 0:
            add_table(grads, pointer_like(target, like), width, max_distance, reach)
        grads = advance(grads, (2 * reach + 1) * width)
    target = load_scalar(arguments, GRAD_SCALE)
    if target != 0:
        scales = pointer_like(target, like)
        for i in range(3 * load_scalar(arguments, HEADS)):
            store_scalar(scales, i, load_scalar(grads, i))


@kernel
def add_table(grads: Pointer, target: Pointer, width: int, max_distance: int, reach: int) -> None:
    """Add the gradients of the distances -reach ... reach to the rows of the table that they came from."""
    for t in range(2 * reach + 1):
        row = min(max(t - reach, -max_distance), max_distance) + max_distance
        for i in range(width):
            grad = load_scalar(target, row * width + i) + load_scalar(grads, t * width + i)
            store_scalar(target, row * width + i, grad)
