"""Relative tables: cut and padded before a kernel runs; their gradients added up after it."""

from axial_deeplab.ops.numba import layout, simd
from axial_deeplab.ops.numba.layout import Pointer, Scalar, kernel
from axial_deeplab.ops.numba.simd import LANES


@kernel
def expand_table(
    table: Pointer, present: bool, width: int, max_distance: int, reach: int, target: Pointer
) -> None:
    """Set (width, distances) to the rows of the distances -reach ... reach, zeros around them."""
    pitch = layout.table_rows(reach)
    for i in range(pitch * width):
        simd.store_scalar(target, i, 0.0)
    if present:
        for t in range(2 * reach + 1):
            row = min(max(t - reach, -max_distance), max_distance) + max_distance
            for i in range(width):
                simd.store_scalar(
                    target, i * pitch + t + layout.MARGIN, simd.load_scalar(table, row * width + i)
                )


@kernel
def expand_tables(address: int, like: Scalar) -> None:
    """Fill TABLES: r^q, r^k and r^v by channel and distance, each with margins of zeros."""
    arguments = simd.pointer_like(address, address)
    reach = simd.load_scalar(arguments, layout.REACH)
    max_distance = simd.load_scalar(arguments, layout.MAX_DISTANCE)
    target = layout.tensor_at(arguments, layout.TABLES, like)
    for table in range(layout.REL_Q, layout.REL_V + 1):
        width = simd.load_scalar(arguments, layout.VALUE_DIM if table == layout.REL_V else layout.HEAD_DIM)
        source = simd.load_scalar(arguments, table)
        expand_table(simd.pointer_like(source, like), source != 0, width, max_distance, reach, target)
        target = simd.advance(target, layout.table_rows(reach) * width)


@kernel
def collect_table_grads(address: int, like: Scalar) -> None:
    """Add the gradients of all chunks, in their order, to the zeroed gradients of the tables and scales."""
    arguments = simd.pointer_like(address, address)
    grads = layout.tensor_at(arguments, layout.TABLE_GRADS, like)
    size = simd.load_scalar(arguments, layout.TABLE_GRADS_SIZE)
    for chunk in range(1, simd.load_scalar(arguments, layout.CHUNKS)):
        for i in range(0, size, LANES):
            simd.store(grads, i, simd.add(simd.load(grads, i), simd.load(grads, chunk * size + i)))
    reach = simd.load_scalar(arguments, layout.REACH)
    max_distance = simd.load_scalar(arguments, layout.MAX_DISTANCE)
    for table in range(3):
        width = simd.load_scalar(arguments, layout.VALUE_DIM if table == 2 else layout.HEAD_DIM)
        target = simd.load_scalar(arguments, layout.GRAD_REL_Q + table)
        if target != 0:
            add_table(grads, simd.pointer_like(target, like), width, max_distance, reach)
        grads = simd.advance(grads, (2 * reach + 1) * width)
    target = simd.load_scalar(arguments, layout.GRAD_SCALE)
    if target != 0:
        scales = simd.pointer_like(target, like)
        for i in range(3 * simd.load_scalar(arguments, layout.HEADS)):
            simd.store_scalar(scales, i, simd.load_scalar(grads, i))


@kernel
def add_table(grads: Pointer, target: Pointer, width: int, max_distance: int, reach: int) -> None:
    """Add the gradients of the distances -reach ... reach to the rows of the table that they came from."""
    for t in range(2 * reach + 1):
        row = min(max(t - reach, -max_distance), max_distance) + max_distance
        for i in range(width):
            grad = simd.load_scalar(target, row * width + i) + simd.load_scalar(grads, t * width + i)
            simd.store_scalar(target, row * width + i, grad)
