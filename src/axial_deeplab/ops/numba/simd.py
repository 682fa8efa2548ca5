"""Explicit vectors and tiles of vectors for Numba kernels.

Numba leaves vectorization to LLVM's heuristics, which fail on the short, runtime-sized loops of axial
attention. The functions here are one or a few LLVM instructions on vectors of eight numbers, or on
tiles of four vectors (rows), typed after the pointer that they load from (fp32 or fp64). LLVM maps a
vector to whatever the processor has: one AVX register, two SSE or NEON registers. Where a function
takes several operands, a vector stands for a tile of equal rows.

They can be called from compiled code only.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import extending, types
from numba.extending import models, register_model
from numpy.polynomial import Chebyshev, Polynomial

intrinsic: Any = extending.intrinsic  # Calls of its results have other arguments than the definitions.

LANES = 8
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


def _ir_vector(dtype: types.Float) -> ir.VectorType:
    return ir.VectorType(_ir_float(dtype), LANES)


def _item_size(dtype: types.Float) -> int:
    return int(dtype.bitwidth) // 8


def _repeat(builder: ir.IRBuilder, scalar: ir.Value) -> ir.Value:
    """A vector of `LANES` equal numbers."""
    vector_type = ir.VectorType(scalar.type, LANES)
    first = builder.insert_element(
        ir.Constant(vector_type, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0)
    )
    mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(first, ir.Constant(vector_type, ir.Undefined), mask)


def _constant(vector_type: ir.VectorType, number: float) -> ir.Constant:
    return ir.Constant(vector_type, [number] * LANES)


def _call(
    builder: ir.IRBuilder, name: str, result: ir.Type, *arguments: ir.Value, **options: Any
) -> ir.Value:
    function_type = ir.FunctionType(result, [argument.type for argument in arguments])
    function = builder.module.globals.get(name) or ir.Function(builder.module, function_type, name)
    return builder.call(function, arguments, **options)


def _suffix(dtype: types.Float) -> str:
    return f"v{LANES}f{dtype.bitwidth}"


def _fma(builder: ir.IRBuilder, dtype: types.Float, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    # fmuladd, not fma: a processor without the instruction multiplies and adds instead of calling a function.
    return _call(builder, f"llvm.fmuladd.{_suffix(dtype)}", _ir_vector(dtype), a, b, c)


def _rows(builder: ir.IRBuilder, value: ir.Value) -> list[ir.Value]:
    """The vectors of a tile; those of a vector are `ROWS` times itself."""
    if isinstance(value.type, ir.ArrayType):
        return [builder.extract_value(value, row) for row in range(ROWS)]
    return [value] * ROWS


def _tile(builder: ir.IRBuilder, rows: list[ir.Value]) -> ir.Value:
    tile = ir.Constant(ir.ArrayType(rows[0].type, ROWS), ir.Undefined)
    for index, row in enumerate(rows):
        tile = builder.insert_value(tile, row, index)
    return tile


# --- pointers and scalars -----------------------------------------------------------------------------------


@intrinsic
def pointer_like(typing_context: Any, address: Any, like: Any) -> Any:
    """The integer `address` as a pointer to numbers of the type of the scalar `like`."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(like)(types.int64, like), generate


@intrinsic
def advance(typing_context: Any, pointer: Any, count: Any) -> Any:
    """The pointer `count` numbers further."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        return builder.gep(arguments[0], [arguments[1]])

    return pointer(pointer, types.int64), generate


@intrinsic
def load_scalar(typing_context: Any, pointer: Any, index: Any) -> Any:
    """The number at `pointer[index]`."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        return builder.load(builder.gep(arguments[0], [arguments[1]]))

    return pointer.dtype(pointer, types.int64), generate


@intrinsic
def store_scalar(typing_context: Any, pointer: Any, index: Any, number: Any) -> Any:
    """Set `pointer[index]`."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        builder.store(arguments[2], builder.gep(arguments[0], [arguments[1]]))
        return context.get_dummy_value()

    return types.void(pointer, types.int64, pointer.dtype), generate


@intrinsic
def prefetch(typing_context: Any, pointer: Any, index: Any) -> Any:
    """Bring `pointer[index]` into the cache while other work goes on."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        narrow = ir.IntType(32)
        address = builder.bitcast(builder.gep(arguments[0], [arguments[1]]), ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [address.type, narrow, narrow, narrow])
        function = builder.module.declare_intrinsic("llvm.prefetch", [address.type], kind)
        read, near, data = (ir.Constant(narrow, option) for option in (0, 3, 1))
        builder.call(function, [address, read, near, data])
        return context.get_dummy_value()

    return types.void(pointer, types.int64), generate


@intrinsic
def take_ticket(typing_context: Any, pointer: Any) -> Any:
    """Return the int64 at `pointer` and increment it atomically: the next piece of work of a shared list."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        return builder.atomic_rmw("add", arguments[0], ir.Constant(_INDEX, 1), "seq_cst")

    return types.int64(pointer), generate


# --- loads and stores ---------------------------------------------------------------------------------------


def _row_elements(
    builder: ir.IRBuilder, pointer: ir.Value, index: ir.Value, pitch: ir.Value
) -> list[ir.Value]:
    """The addresses of `pointer[index + row * pitch]`."""
    indices = [builder.add(index, builder.mul(pitch, ir.Constant(_INDEX, row))) for row in range(ROWS)]
    return [builder.gep(pointer, [row_index]) for row_index in indices]


def _load(builder: ir.IRBuilder, dtype: types.Float, element: ir.Value) -> ir.Value:
    return builder.load(builder.bitcast(element, _ir_vector(dtype).as_pointer()), align=_item_size(dtype))


def _store(builder: ir.IRBuilder, dtype: types.Float, vector: ir.Value, element: ir.Value) -> None:
    builder.store(vector, builder.bitcast(element, _ir_vector(dtype).as_pointer()), align=_item_size(dtype))


@intrinsic
def load(typing_context: Any, pointer: Any, index: Any) -> Any:
    """The vector `pointer[index : index + LANES]`."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        return _load(builder, pointer.dtype, builder.gep(arguments[0], [arguments[1]]))

    return VectorType(pointer.dtype)(pointer, types.int64), generate


@intrinsic
def store(typing_context: Any, pointer: Any, index: Any, vector: Any) -> Any:
    """Set `pointer[index : index + LANES]`."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        _store(builder, pointer.dtype, arguments[2], builder.gep(arguments[0], [arguments[1]]))
        return context.get_dummy_value()

    return types.void(pointer, types.int64, vector), generate


@intrinsic
def load_rows(typing_context: Any, pointer: Any, index: Any, pitch: Any) -> Any:
    """The tile whose row i is the vector at `pointer[index + i * pitch]`."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        elements = _row_elements(builder, *arguments)
        return _tile(builder, [_load(builder, pointer.dtype, element) for element in elements])

    return TileType(pointer.dtype)(pointer, types.int64, types.int64), generate


@intrinsic
def splat_rows(typing_context: Any, pointer: Any, index: Any, pitch: Any) -> Any:
    """The tile whose row i is the number `pointer[index + i * pitch]` in every lane."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        elements = _row_elements(builder, *arguments)
        return _tile(builder, [_repeat(builder, builder.load(element)) for element in elements])

    return TileType(pointer.dtype)(pointer, types.int64, types.int64), generate


@intrinsic
def store_rows(typing_context: Any, pointer: Any, index: Any, pitch: Any, tile: Any) -> Any:
    """Store row i of the tile at `pointer[index + i * pitch]`."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        elements = _row_elements(builder, *arguments[:3])
        for element, vector in zip(elements, _rows(builder, arguments[3]), strict=True):
            _store(builder, pointer.dtype, vector, element)
        return context.get_dummy_value()

    return types.void(pointer, types.int64, types.int64, tile), generate


def _lane_elements(
    builder: ir.IRBuilder, pointer: ir.Value, starts: ir.Value, index: ir.Value
) -> list[ir.Value]:
    """The addresses of `pointer[starts[i] + index]`."""
    lanes = [builder.load(builder.gep(starts, [ir.Constant(_INDEX, lane)])) for lane in range(LANES)]
    return [builder.gep(pointer, [builder.add(start, index)]) for start in lanes]


def _transposed(builder: ir.IRBuilder, vectors: list[ir.Value]) -> list[ir.Value]:
    """Element i of vector j is element j of vector i: in three steps, each of which pairs vectors up."""
    narrow = ir.IntType(32)
    half = LANES // 2
    low = [lane // 2 + LANES * (lane % 2) for lane in range(LANES)]
    masks = [ir.Constant(ir.VectorType(narrow, LANES), [lane + shift for lane in low]) for shift in (0, half)]
    for _ in range(LANES.bit_length() - 1):
        pairs = [(vectors[i], vectors[i + half]) for i in range(half)]
        vectors = [builder.shuffle_vector(a, b, mask) for a, b in pairs for mask in masks]
    return vectors


@intrinsic
def load_lanes(typing_context: Any, pointer: Any, starts: Any, index: Any) -> Any:
    """The vector whose lane i is the number `pointer[starts[i] + index]`."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        vector = ir.Constant(_ir_vector(pointer.dtype), ir.Undefined)
        for lane, element in enumerate(_lane_elements(builder, *arguments)):
            number = builder.load(element)
            vector = builder.insert_element(vector, number, ir.Constant(ir.IntType(32), lane))
        return vector

    return VectorType(pointer.dtype)(pointer, starts, types.int64), generate


@intrinsic
def gather_square(
    typing_context: Any, source: Any, starts: Any, index: Any, target: Any, target_index: Any
) -> Any:
    """Set vector j at `target[target_index]` to what `load_lanes` returns for index + j, `LANES` times."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        elements = _lane_elements(builder, *arguments[:3])
        vectors = _transposed(builder, [_load(builder, source.dtype, element) for element in elements])
        first = builder.gep(arguments[3], [arguments[4]])
        for row, vector in enumerate(vectors):
            _store(builder, source.dtype, vector, builder.gep(first, [ir.Constant(_INDEX, row * LANES)]))
        return context.get_dummy_value()

    return types.void(source, starts, types.int64, target, types.int64), generate


@intrinsic
def scatter_square(
    typing_context: Any, source: Any, source_index: Any, target: Any, starts: Any, index: Any
) -> Any:
    """Set `target[starts[i] + index + j]` to lane i of vector j at `source[source_index]`."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        first = builder.gep(arguments[0], [arguments[1]])
        rows = [builder.gep(first, [ir.Constant(_INDEX, row * LANES)]) for row in range(LANES)]
        vectors = _transposed(builder, [_load(builder, source.dtype, row) for row in rows])
        for vector, element in zip(vectors, _lane_elements(builder, *arguments[2:]), strict=True):
            _store(builder, source.dtype, vector, element)
        return context.get_dummy_value()

    return types.void(source, types.int64, target, starts, types.int64), generate


@intrinsic
def fill_tile(typing_context: Any, pointer: Any, number: Any) -> Any:
    """A tile of the type that `pointer` points to, `number` everywhere."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        return _tile(builder, [_repeat(builder, arguments[1])] * ROWS)

    return TileType(pointer.dtype)(pointer, pointer.dtype), generate


@intrinsic
def fill(typing_context: Any, pointer: Any, number: Any) -> Any:
    """A vector of the type that `pointer` points to, `number` in every lane."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        return _repeat(builder, arguments[1])

    return VectorType(pointer.dtype)(pointer, pointer.dtype), generate


@intrinsic
def shift_down(typing_context: Any, tile: Any, first: Any) -> Any:
    """The tile whose row 0 is the vector `first` and whose row i is row i - 1 of `tile`."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        return _tile(builder, [arguments[1], *_rows(builder, arguments[0])[:-1]])

    return tile(tile, first), generate


@intrinsic
def shift_up(typing_context: Any, tile: Any, last: Any) -> Any:
    """The tile whose last row is the vector `last` and whose row i is row i + 1 of `tile`."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        return _tile(builder, [*_rows(builder, arguments[0])[1:], arguments[1]])

    return tile(tile, last), generate


# --- arithmetic ---------------------------------------------------------------------------------------------


def _elementwise(operation: Callable[..., ir.Value], summary: str, operands: int) -> Any:
    """An intrinsic that applies `operation(builder, dtype, *vectors)` to vectors, or to each row of tiles."""

    def typed(operand_types: tuple[Any, ...]) -> Any:
        tiles = [operand for operand in operand_types if isinstance(operand, TileType)]
        result = tiles[0] if tiles else operand_types[0]

        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
            if not tiles:
                return operation(builder, result.dtype, *arguments)
            rows = zip(*(_rows(builder, argument) for argument in arguments), strict=True)
            return _tile(builder, [operation(builder, result.dtype, *row) for row in rows])

        return result(*operand_types), generate

    def unary(typing_context: Any, a: Any) -> Any:
        return typed((a,))

    def binary(typing_context: Any, a: Any, b: Any) -> Any:
        return typed((a, b))

    def ternary(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
        return typed((a, b, c))

    function = (unary, binary, ternary)[operands - 1]
    function.__doc__ = summary
    return intrinsic(function)


def _maximum(builder: ir.IRBuilder, dtype: types.Float, a: ir.Value, b: ir.Value) -> ir.Value:
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def _reciprocal(builder: ir.IRBuilder, dtype: types.Float, a: ir.Value) -> ir.Value:
    return builder.fdiv(_constant(a.type, 1.0), a)


def _sum_lanes(builder: ir.IRBuilder, dtype: types.Float, a: ir.Value) -> ir.Value:
    scalar = _ir_float(dtype)
    name = f"llvm.vector.reduce.fadd.{_suffix(dtype)}"
    return _call(builder, name, scalar, ir.Constant(scalar, 0.0), a, fastmath=("reassoc",))


add = _elementwise(lambda builder, dtype, a, b: builder.fadd(a, b), "a + b", 2)
subtract = _elementwise(lambda builder, dtype, a, b: builder.fsub(a, b), "a - b", 2)
multiply = _elementwise(lambda builder, dtype, a, b: builder.fmul(a, b), "a * b", 2)
fma = _elementwise(_fma, "a * b + c", 3)
maximum = _elementwise(_maximum, "The larger of a and b; b if either is NaN.", 2)
reciprocal = _elementwise(_reciprocal, "1 / a", 1)


@intrinsic
def sum_lanes(typing_context: Any, vector: Any) -> Any:
    """The sum of the lanes of a vector."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        return _sum_lanes(builder, vector.dtype, arguments[0])

    return vector.dtype(vector), generate


@intrinsic
def sum_rows(typing_context: Any, tile: Any) -> Any:
    """The vector that is the sum of the rows of a tile."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        total, *others = _rows(builder, arguments[0])
        for row in others:
            total = builder.fadd(total, row)
        return total

    return VectorType(tile.dtype)(tile), generate


@intrinsic
def keep_rows(typing_context: Any, tile: Any, first: Any, step: Any, last: Any) -> Any:
    """Set row i to -inf unless first - i * step is in 0 ... last."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        value, first, step, last = arguments
        outside = _constant(_ir_vector(tile.dtype), float("-inf"))
        rows = []
        for row, vector in enumerate(_rows(builder, value)):
            index = builder.sub(first, builder.mul(step, ir.Constant(_INDEX, row)))
            # An unsigned comparison also refuses what is negative.
            rows.append(builder.select(builder.icmp_unsigned("<=", index, last), vector, outside))
        return _tile(builder, rows)

    return tile(tile, types.int64, types.int64, types.int64), generate


# 2^f on [-1/2, 1/2] as a polynomial; interpolation at the Chebyshev points of these degrees leaves a
# relative error below 1e-8 (fp32) and 1e-17 (fp64).
_EXP2_DEGREE = {32: 6, 64: 12}
# The smallest exponent of a normal number; what lies below becomes zero.
_EXP2_LOWEST = {32: -126.0, 64: -1022.0}
# Adding 1.5 * 2^(bits of the mantissa) rounds to an integer, which then stands in the low bits.
_EXP2_ROUNDER = {32: 1.5 * 2.0**23, 64: 1.5 * 2.0**52}


def _exp2_coefficients(degree: int) -> list[float]:
    """The coefficients of the polynomial, highest power first."""
    series = Chebyshev.interpolate(lambda x: 2.0**x, degree, domain=[-0.5, 0.5])
    return [float(number) for number in series.convert(kind=Polynomial).coef[::-1]]


def _exp2(builder: ir.IRBuilder, dtype: types.Float, x: ir.Value) -> ir.Value:
    bits = int(dtype.bitwidth)
    integers = ir.VectorType(ir.IntType(bits), LANES)
    lowest = _constant(x.type, _EXP2_LOWEST[bits])
    rounder = _constant(x.type, _EXP2_ROUNDER[bits])
    vanishes = builder.fcmp_ordered("<", x, lowest)
    clamped = builder.select(vanishes, lowest, x)
    shifted = builder.fadd(clamped, rounder)
    fraction = builder.fsub(clamped, builder.fsub(shifted, rounder))
    coefficients = _exp2_coefficients(_EXP2_DEGREE[bits])
    mantissa = _constant(x.type, coefficients[0])
    for coefficient in coefficients[1:]:
        mantissa = _fma(builder, dtype, mantissa, fraction, _constant(x.type, coefficient))
    mantissa_bits, bias = (23, 127) if bits == 32 else (52, 1023)
    exponent = builder.add(builder.bitcast(shifted, integers), _constant(integers, bias))
    power = builder.bitcast(builder.shl(exponent, _constant(integers, mantissa_bits)), x.type)
    # A product, not an addition of exponents: NaN must stay NaN.
    return builder.select(vanishes, _constant(x.type, 0.0), builder.fmul(mantissa, power))


exp2 = _elementwise(_exp2, "2^x for x <= 0; 0 below the normal numbers; NaN for NaN.", 1)
