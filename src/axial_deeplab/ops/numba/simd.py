"""Explicit vectors and tiles of vectors for Numba kernels.

Numba leaves vectorization to LLVM's heuristics, which fail on the short, runtime-sized loops of axial
attention. The functions here are one or a few LLVM instructions on vectors of eight numbers (sixteen where
the processor has such registers for fp32), or on tiles of four vectors (rows), typed after the pointer that
they load from (fp32 or fp64). LLVM maps a vector to whatever the processor has: one AVX register, two SSE or
NEON registers. Where a function
takes several operands, a vector stands for a tile of equal rows.

They can be called from compiled code only.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from llvmlite import binding, ir  # type: ignore[import-untyped]
from llvmlite.ir import IRBuilder as Builder  # type: ignore[import-untyped]
from llvmlite.ir import Value
from numba import extending, types
from numba.core import config
from numba.extending import models, register_model
from numpy.polynomial import Chebyshev, Polynomial

intrinsic: Any = extending.intrinsic  # Calls of its results have other arguments than the definitions.


# LLVM's names of processors on which vectors of 16 numbers are faster. Zen 4 splits such vectors; others with
# AVX-512 were not measured, nor was Sapphire Rapids, whose cores are nearly those of Emerald Rapids.
_WIDE = ("znver5", "sapphirerapids", "emeraldrapids")


def _lanes() -> int:
    """The numbers in a vector: as many float32 as the processor computes at once.

    A virtual machine may hide AVX-512.
    """
    has_avx512 = binding.get_host_cpu_features().get("avx512f")
    name = getattr(config, "CPU_NAME", None) or (binding.get_host_cpu_name() if has_avx512 else "")
    return 16 if name in _WIDE else 8


LANES = _lanes()
SQUARE = 8  # Channels that are turned at once, and neighboring heads that are loaded at once.
HALF_SQUARE = 4
ROWS = 4  # A tile: enough independent sums to hide the latency of a fused multiply-add.
TILE = ROWS * LANES
_INDEX = ir.IntType(64)


class VectorType(types.Type):
    """The Numba type of a vector of `LANES` numbers."""

    def __init__(self, dtype: types.Float) -> None:
        self.dtype = dtype
        super().__init__(name=f"vector({LANES} x {dtype})")


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector_type: VectorType) -> None:
        super().__init__(manager, vector_type, _ir_vector(vector_type.dtype))


class TileType(types.Type):
    """The Numba type of `ROWS` vectors."""

    def __init__(self, dtype: types.Float) -> None:
        self.dtype = dtype
        super().__init__(name=f"tile({ROWS} x {LANES} x {dtype})")


@register_model(TileType)
class _TileModel(models.PrimitiveModel):
    def __init__(self, manager: Any, tile_type: TileType) -> None:
        super().__init__(manager, tile_type, ir.ArrayType(_ir_vector(tile_type.dtype), ROWS))


def _ir_float(dtype: types.Float) -> ir.Type:
    return ir.DoubleType() if dtype == types.float64 else ir.FloatType()


def _ir_vector(dtype: types.Float, size: int = LANES) -> ir.VectorType:
    return ir.VectorType(_ir_float(dtype), size)


def _item_size(dtype: types.Float) -> int:
    return int(dtype.bitwidth) // 8


def _repeat(builder: Builder, scalar: Value) -> Value:
    """A vector of `LANES` equal numbers."""
    vector_type = ir.VectorType(scalar.type, LANES)
    first = builder.insert_element(
        ir.Constant(vector_type, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0)
    )
    mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(first, ir.Constant(vector_type, ir.Undefined), mask)


def _constant(vector_type: ir.VectorType, number: float) -> ir.Constant:
    return ir.Constant(vector_type, [number] * LANES)


def _call(builder: Builder, name: str, result: ir.Type, *arguments: Value, **options: Any) -> Value:
    function_type = ir.FunctionType(result, [argument.type for argument in arguments])
    function = builder.module.globals.get(name) or ir.Function(builder.module, function_type, name)
    return builder.call(function, arguments, **options)


def _suffix(dtype: types.Float) -> str:
    return f"v{LANES}f{dtype.bitwidth}"


def _fma(builder: Builder, dtype: types.Float, a: Value, b: Value, c: Value) -> Value:
    # fmuladd, not fma: a processor without the instruction multiplies and adds instead of calling a function.
    return _call(builder, f"llvm.fmuladd.{_suffix(dtype)}", _ir_vector(dtype), a, b, c)


def _rows(builder: Builder, value: Value) -> list[Value]:
    """The vectors of a tile; those of a vector are `ROWS` times itself."""
    if isinstance(value.type, ir.ArrayType):
        return [builder.extract_value(value, row) for row in range(ROWS)]
    return [value] * ROWS


def _tile(builder: Builder, rows: list[Value]) -> Value:
    tile = ir.Constant(ir.ArrayType(rows[0].type, ROWS), ir.Undefined)
    for index, row in enumerate(rows):
        tile = builder.insert_value(tile, row, index)
    return tile


# --- how a function becomes instructions --------------------------------------------------------------------


def _instruction(signature: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator for a function that generates the code of what it then is in compiled code.

    The function gets the builder, the type of the numbers (that of its first argument that has one) and the
    values of the arguments. It returns the result, None for nothing.

    Args:
        signature: returns the Numba signature for the types of the arguments.
    """

    def decorate(generate: Callable[..., Any]) -> Any:
        def typed(typing_context: Any, *operands: Any) -> Any:
            dtype = getattr(operands[0], "dtype", None)

            def code(context: Any, builder: Builder, _: Any, arguments: Any) -> Value:
                result = generate(builder, dtype, *arguments)
                return context.get_dummy_value() if result is None else result

            return signature(*operands), code

        first, _, *others = inspect.signature(generate).parameters.values()
        named: Any = wraps(generate)(typed)
        named.__signature__ = inspect.Signature([first, *others])
        return intrinsic(named)

    return decorate


def _elementwise(operation: Callable[..., Value], summary: str) -> Any:
    """What applies `operation(builder, dtype, *vectors)` to vectors, or to each row of tiles."""

    def result(*operands: Any) -> Any:
        return next((each for each in operands if isinstance(each, TileType)), operands[0])(*operands)

    @wraps(operation)
    def apply(builder: Builder, dtype: Any, *values: Value) -> Value:
        if not any(isinstance(value.type, ir.ArrayType) for value in values):
            return operation(builder, dtype, *values)
        rows = zip(*(_rows(builder, value) for value in values), strict=True)
        return _tile(builder, [operation(builder, dtype, *row) for row in rows])

    apply.__doc__ = summary
    return _instruction(result)(apply)


# --- pointers and scalars -----------------------------------------------------------------------------------


@intrinsic
def pointer_like(typing_context: Any, address: Any, like: Any) -> Any:
    """The integer `address` as a pointer to numbers of the type of the scalar `like`."""

    def generate(context: Any, builder: Builder, signature: Any, arguments: Any) -> Value:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(like)(types.int64, like), generate


@_instruction(lambda pointer, _: pointer(pointer, types.int64))
def advance(builder: Builder, dtype: Any, pointer: Value, count: Value) -> Value:
    """The pointer `count` numbers further."""
    return builder.gep(pointer, [count])


@_instruction(lambda pointer, _: pointer.dtype(pointer, types.int64))
def load_scalar(builder: Builder, dtype: Any, pointer: Value, index: Value) -> Value:
    """The number at `pointer[index]`."""
    return builder.load(builder.gep(pointer, [index]))


@_instruction(lambda pointer, *_: types.void(pointer, types.int64, pointer.dtype))
def store_scalar(builder: Builder, dtype: Any, pointer: Value, index: Value, number: Value) -> None:
    """Set `pointer[index]`."""
    builder.store(number, builder.gep(pointer, [index]))


@_instruction(lambda pointer, _: types.void(pointer, types.int64))
def prefetch(builder: Builder, dtype: Any, pointer: Value, index: Value) -> None:
    """Bring `pointer[index]` into the cache while other work goes on."""
    narrow = ir.IntType(32)
    address = builder.bitcast(builder.gep(pointer, [index]), ir.IntType(8).as_pointer())
    kind = ir.FunctionType(ir.VoidType(), [address.type, narrow, narrow, narrow])
    function = builder.module.declare_intrinsic("llvm.prefetch", [address.type], kind)
    read, near, data = (ir.Constant(narrow, option) for option in (0, 3, 1))
    builder.call(function, [address, read, near, data])


@_instruction(lambda pointer: types.int64(pointer))
def take_ticket(builder: Builder, dtype: Any, pointer: Value) -> Value:
    """Return the int64 at `pointer` and increment it atomically: the next piece of work of a shared list."""
    return builder.atomic_rmw("add", pointer, ir.Constant(_INDEX, 1), "seq_cst")


# --- loads and stores ---------------------------------------------------------------------------------------


def _row_elements(builder: Builder, pointer: Value, index: Value, pitch: Value) -> list[Value]:
    """The addresses of `pointer[index + row * pitch]`."""
    indices = [builder.add(index, builder.mul(pitch, ir.Constant(_INDEX, row))) for row in range(ROWS)]
    return [builder.gep(pointer, [row_index]) for row_index in indices]


def _load(builder: Builder, dtype: types.Float, element: Value, size: int = LANES) -> Value:
    pointer = builder.bitcast(element, _ir_vector(dtype, size).as_pointer())
    return builder.load(pointer, align=_item_size(dtype))


def _store(builder: Builder, dtype: types.Float, vector: Value, element: Value) -> None:
    builder.store(vector, builder.bitcast(element, vector.type.as_pointer()), align=_item_size(dtype))


@_instruction(lambda pointer, _: VectorType(pointer.dtype)(pointer, types.int64))
def load(builder: Builder, dtype: Any, pointer: Value, index: Value) -> Value:
    """The vector `pointer[index : index + LANES]`."""
    return _load(builder, dtype, builder.gep(pointer, [index]))


@_instruction(lambda pointer, _, vector: types.void(pointer, types.int64, vector))
def store(builder: Builder, dtype: Any, pointer: Value, index: Value, vector: Value) -> None:
    """Set `pointer[index : index + LANES]`."""
    _store(builder, dtype, vector, builder.gep(pointer, [index]))


@_instruction(lambda pointer, *_: TileType(pointer.dtype)(pointer, types.int64, types.int64))
def load_rows(builder: Builder, dtype: Any, pointer: Value, index: Value, pitch: Value) -> Value:
    """The tile whose row i is the vector at `pointer[index + i * pitch]`."""
    elements = _row_elements(builder, pointer, index, pitch)
    return _tile(builder, [_load(builder, dtype, element) for element in elements])


@_instruction(lambda pointer, *_: TileType(pointer.dtype)(pointer, types.int64, types.int64))
def splat_rows(builder: Builder, dtype: Any, pointer: Value, index: Value, pitch: Value) -> Value:
    """The tile whose row i is the number `pointer[index + i * pitch]` in every lane."""
    elements = _row_elements(builder, pointer, index, pitch)
    return _tile(builder, [_repeat(builder, builder.load(element)) for element in elements])


@_instruction(lambda pointer, index, pitch, tile: types.void(pointer, types.int64, types.int64, tile))
def store_rows(builder: Builder, dtype: Any, pointer: Value, index: Value, pitch: Value, tile: Value) -> None:
    """Store row i of the tile at `pointer[index + i * pitch]`."""
    elements = _row_elements(builder, pointer, index, pitch)
    for element, vector in zip(elements, _rows(builder, tile), strict=True):
        _store(builder, dtype, vector, element)


def _lane_elements(builder: Builder, pointer: Value, starts: Value, index: Value) -> list[Value]:
    """The addresses of `pointer[starts[i] + index]`."""
    lanes = [builder.load(builder.gep(starts, [ir.Constant(_INDEX, lane)])) for lane in range(LANES)]
    return [builder.gep(pointer, [builder.add(start, index)]) for start in lanes]


def _shuffled(builder: Builder, a: Value, b: Value, order: Sequence[int]) -> Value:
    """The elements of two vectors, counted through, in an order."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(order)), list(order)))


def _transposed(builder: Builder, vectors: list[Value], rows: int) -> list[Value]:
    """Turn a matrix of so many rows, a power of two, whose numbers lie in vectors one after the other.

    Each step interleaves the first half of the numbers with the second one: a row becomes a column after as
    many steps as its index has bits. Vectors grow up to `LANES` numbers.
    """
    for _ in range(rows.bit_length() - 1):
        size, half = vectors[0].type.count, len(vectors) // 2
        order = [i // 2 + size * (i % 2) for i in range(2 * size)]
        parts = [order] if 2 * size <= LANES else [order[:size], order[size:]]
        pairs = [(vectors[i], vectors[i + half]) for i in range(half)]
        vectors = [_shuffled(builder, a, b, part) for a, b in pairs for part in parts]
    return vectors


@_instruction(lambda pointer, starts, _: VectorType(pointer.dtype)(pointer, starts, types.int64))
def load_lanes(builder: Builder, dtype: Any, pointer: Value, starts: Value, index: Value) -> Value:
    """The vector whose lane i is the number `pointer[starts[i] + index]`."""
    vector = ir.Constant(_ir_vector(dtype), ir.Undefined)
    for lane, element in enumerate(_lane_elements(builder, pointer, starts, index)):
        number = builder.load(element)
        vector = builder.insert_element(vector, number, ir.Constant(ir.IntType(32), lane))
    return vector


def _gather_square(size: int) -> Any:
    """What sets vectors j < `size` at `target[target_index]` to what `load_lanes` returns for index + j."""

    def gather(
        builder: Builder,
        dtype: Any,
        source: Value,
        starts: Value,
        index: Value,
        target: Value,
        target_index: Value,
    ) -> None:
        elements = _lane_elements(builder, source, starts, index)
        rows = [_load(builder, dtype, element, size) for element in elements]
        first = builder.gep(target, [target_index])
        for row, vector in enumerate(_transposed(builder, rows, LANES)):
            _store(builder, dtype, vector, builder.gep(first, [ir.Constant(_INDEX, row * LANES)]))

    return _instruction(
        lambda source, starts, _, target, __: types.void(source, starts, types.int64, target, types.int64)
    )(gather)


def _scatter_square(size: int) -> Any:
    """What sets `target[starts[i] + index + j]` to lane i of vector j < `size` at `source[source_index]`."""

    def scatter(
        builder: Builder,
        dtype: Any,
        source: Value,
        source_index: Value,
        target: Value,
        starts: Value,
        index: Value,
    ) -> None:
        first = builder.gep(source, [source_index])
        rows = [builder.gep(first, [ir.Constant(_INDEX, row * LANES)]) for row in range(size)]
        vectors = _transposed(builder, [_load(builder, dtype, row) for row in rows], size)
        for lane, element in enumerate(_lane_elements(builder, target, starts, index)):
            vector, at = vectors[lane * size // LANES], lane * size % LANES
            part = vector if size == LANES else _shuffled(builder, vector, vector, range(at, at + size))
            _store(builder, dtype, part, element)

    return _instruction(
        lambda source, _, target, starts, __: types.void(source, types.int64, target, starts, types.int64)
    )(scatter)


gather_square, gather_half_square = _gather_square(SQUARE), _gather_square(HALF_SQUARE)
scatter_square, scatter_half_square = _scatter_square(SQUARE), _scatter_square(HALF_SQUARE)


def _part_elements(builder: Builder, pointer: Value, index: Value, pitch: Value) -> list[Value]:
    """The addresses of the parts of a vector, `SQUARE` numbers each."""
    steps = [builder.mul(pitch, ir.Constant(_INDEX, part)) for part in range(LANES // SQUARE)]
    return [builder.gep(pointer, [builder.add(index, step)]) for step in steps]


@_instruction(lambda pointer, *_: VectorType(pointer.dtype)(pointer, types.int64, types.int64))
def load_parts(builder: Builder, dtype: Any, pointer: Value, index: Value, pitch: Value) -> Value:
    """The vector whose part i, `SQUARE` numbers, begins at `pointer[index + i * pitch]`."""
    elements = _part_elements(builder, pointer, index, pitch)
    vector, *others = (_load(builder, dtype, element, SQUARE) for element in elements)
    for other in others:
        vector = _shuffled(builder, vector, other, range(LANES))
    return vector


@_instruction(lambda pointer, index, pitch, vector: types.void(pointer, types.int64, types.int64, vector))
def store_parts(
    builder: Builder, dtype: Any, pointer: Value, index: Value, pitch: Value, vector: Value
) -> None:
    """Store part i of a vector at `pointer[index + i * pitch]`."""
    for part, element in enumerate(_part_elements(builder, pointer, index, pitch)):
        order = range(part * SQUARE, (part + 1) * SQUARE)
        _store(builder, dtype, _shuffled(builder, vector, vector, order), element)


@_instruction(lambda pointer, _: TileType(pointer.dtype)(pointer, pointer.dtype))
def fill_tile(builder: Builder, dtype: Any, pointer: Value, number: Value) -> Value:
    """A tile of the type that `pointer` points to, `number` everywhere."""
    return _tile(builder, [_repeat(builder, number)] * ROWS)


@_instruction(lambda pointer, _: VectorType(pointer.dtype)(pointer, pointer.dtype))
def fill(builder: Builder, dtype: Any, pointer: Value, number: Value) -> Value:
    """A vector of the type that `pointer` points to, `number` in every lane."""
    return _repeat(builder, number)


@_instruction(lambda tile, first: tile(tile, first))
def shift_down(builder: Builder, dtype: Any, tile: Value, first: Value) -> Value:
    """The tile whose row 0 is the vector `first` and whose row i is row i - 1 of `tile`."""
    return _tile(builder, [first, *_rows(builder, tile)[:-1]])


@_instruction(lambda tile, last: tile(tile, last))
def shift_up(builder: Builder, dtype: Any, tile: Value, last: Value) -> Value:
    """The tile whose last row is the vector `last` and whose row i is row i + 1 of `tile`."""
    return _tile(builder, [*_rows(builder, tile)[1:], last])


# --- arithmetic ---------------------------------------------------------------------------------------------


def _maximum(builder: Builder, dtype: types.Float, a: Value, b: Value) -> Value:
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def _reciprocal(builder: Builder, dtype: types.Float, a: Value) -> Value:
    return builder.fdiv(_constant(a.type, 1.0), a)


def _nonzero(builder: Builder, dtype: types.Float, a: Value) -> Value:
    smallest = _constant(a.type, 1e-12)
    is_small = builder.fcmp_ordered("<", _maximum(builder, dtype, a, builder.fneg(a)), smallest)
    return builder.select(is_small, smallest, a)


add = _elementwise(lambda builder, dtype, a, b: builder.fadd(a, b), "a + b")
subtract = _elementwise(lambda builder, dtype, a, b: builder.fsub(a, b), "a - b")
multiply = _elementwise(lambda builder, dtype, a, b: builder.fmul(a, b), "a * b")
fma = _elementwise(_fma, "a * b + c")
maximum = _elementwise(_maximum, "The larger of a and b; b if either is NaN.")
reciprocal = _elementwise(_reciprocal, "1 / a")
nonzero = _elementwise(_nonzero, "a; 1e-12 where it is nearer to zero, NaN for NaN.")


@_instruction(lambda vector: vector.dtype(vector))
def sum_lanes(builder: Builder, dtype: Any, vector: Value) -> Value:
    """The sum of the lanes of a vector."""
    scalar = _ir_float(dtype)
    name = f"llvm.vector.reduce.fadd.{_suffix(dtype)}"
    return _call(builder, name, scalar, ir.Constant(scalar, 0.0), vector, fastmath=("reassoc",))


@_instruction(lambda tile: VectorType(tile.dtype)(tile))
def sum_rows(builder: Builder, dtype: Any, tile: Value) -> Value:
    """The vector that is the sum of the rows of a tile."""
    total, *others = _rows(builder, tile)
    for row in others:
        total = builder.fadd(total, row)
    return total


@_instruction(lambda tile, *_: tile(tile, types.int64, types.int64, types.int64))
def keep_rows(builder: Builder, dtype: Any, tile: Value, first: Value, step: Value, last: Value) -> Value:
    """Set row i to -inf unless first - i * step is in 0 ... last."""
    outside = _constant(_ir_vector(dtype), float("-inf"))
    rows = []
    for row, vector in enumerate(_rows(builder, tile)):
        index = builder.sub(first, builder.mul(step, ir.Constant(_INDEX, row)))
        # An unsigned comparison also refuses what is negative.
        rows.append(builder.select(builder.icmp_unsigned("<=", index, last), vector, outside))
    return _tile(builder, rows)


# 2^f on [-1/2, 1/2] as a polynomial; interpolation at the Chebyshev points of these degrees leaves a
# relative error below 1e-8 (fp32) and 1e-17 (fp64).
_EXP2_DEGREE = {32: 6, 64: 12}
# The exponent whose bits are those of zero: what lies below counts as this one.
_EXP2_LOWEST = {32: -127.0, 64: -1023.0}
# Adding 1.5 * 2^(bits of the mantissa) rounds to an integer, which then stands in the low bits.
_EXP2_ROUNDER = {32: 1.5 * 2.0**23, 64: 1.5 * 2.0**52}


def _exp2_coefficients(degree: int) -> list[float]:
    """The coefficients of the polynomial, highest power first."""
    series = Chebyshev.interpolate(lambda x: 2.0**x, degree, domain=[-0.5, 0.5])
    return [float(number) for number in series.convert(kind=Polynomial).coef[::-1]]


@_instruction(lambda operand: operand(operand))
def exp2(builder: Builder, dtype: Any, operand: Value) -> Value:
    """2^x for x <= 0; 0 below the normal numbers; NaN for NaN.

    Each step is done for all rows of a tile before the next one: a processor looks ahead too little to see
    the next row behind the long chain of operations of the first.
    """
    bits = int(dtype.bitwidth)
    vector, integers = _ir_vector(dtype), ir.VectorType(ir.IntType(bits), LANES)
    rounder, lowest = (_constant(vector, table[bits]) for table in (_EXP2_ROUNDER, _EXP2_LOWEST))
    first, *others = (_constant(vector, number) for number in _exp2_coefficients(_EXP2_DEGREE[bits]))
    mantissa_bits, bias = (23, 127) if bits == 32 else (52, 1023)

    rows = _rows(builder, operand) if isinstance(operand.type, ir.ArrayType) else [operand]
    rows = [_maximum(builder, dtype, lowest, x) for x in rows]
    shifted = [builder.fadd(x, rounder) for x in rows]
    nearest = [builder.fsub(x, rounder) for x in shifted]
    fractions = [builder.fsub(x, n) for x, n in zip(rows, nearest, strict=True)]
    mantissas = [first] * len(rows)
    for coefficient in others:
        mantissas = [
            _fma(builder, dtype, mantissa, fraction, coefficient)
            for mantissa, fraction in zip(mantissas, fractions, strict=True)
        ]
    exponents = [builder.add(builder.bitcast(x, integers), _constant(integers, bias)) for x in shifted]
    powers = [builder.shl(exponent, _constant(integers, mantissa_bits)) for exponent in exponents]
    # A product, not an addition of exponents: NaN must stay NaN.
    results = [
        builder.fmul(mantissa, builder.bitcast(power, vector))
        for mantissa, power in zip(mantissas, powers, strict=True)
    ]
    return _tile(builder, results) if isinstance(operand.type, ir.ArrayType) else results[0]
