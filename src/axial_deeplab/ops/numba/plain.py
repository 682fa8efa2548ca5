"""The debug mode: the kernels as plain Python, with every access to memory checked; see
docs/change_a_kernel.md."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numba.core.dispatcher import Dispatcher
from numpy.typing import NDArray
from torch import Tensor

from axial_deeplab.ops.numba import call, entries, simd
from axial_deeplab.ops.numba.simd import HALF_SQUARE, LANES, ROWS, SQUARE

Numbers = NDArray[Any]  # a vector (LANES,) or a tile (ROWS, LANES)


class Pointer:
    """An address within the numbers of one tensor.

    It may lie beyond them, as in C, but what is beyond can be neither read nor written.

    Args:
        numbers: from the first to the last of the tensor.
        at: index of the number that the address is that of.
        name: column of the table of arguments that has the tensor, for messages.
    """

    def __init__(self, numbers: Numbers, at: int, name: str) -> None:
        self.numbers, self.at, self.name = numbers, at, name

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""
        return self.numbers.dtype

    def __getitem__(self, part: slice) -> Numbers:
        """Return the numbers start ... stop - 1 from the address on.

        Raises:
            IndexError: one of them is not in the tensor.
        """
        first, behind = self.at + int(part.start), self.at + int(part.stop)
        if first < 0 or behind > len(self.numbers):
            raise IndexError(
                f"{self.name} has numbers 0 ... {len(self.numbers) - 1}, got an access to {first} ... "
                f"{behind - 1}; see the kernel in the traceback"
            )
        return self.numbers[first:behind]


_memory: dict[int, list[tuple[str, Numbers]]] = {}
"""What starts at each address that the kernel at work may use."""


def _numbers_of(tensor: Tensor) -> Numbers:
    """The memory between the first and the last number of a tensor with strides."""
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    size = last + 1 if tensor.numel() else 0
    numbers: Numbers = tensor.detach().as_strided((size,), (1,)).numpy()
    return numbers


def launch(
    entry: str, dtype: str, arguments: NDArray[np.int64], threads: int, memory: Mapping[str, Tensor]
) -> None:
    """Do what `call.launch` does, in one thread and in Python.

    Raises:
        IndexError: the kernel reads or writes beyond a tensor.
    """
    _memory.clear()
    address = arguments.ctypes.data
    _memory[address] = [("the table of arguments", arguments)]
    for name, tensor in memory.items():
        _memory.setdefault(tensor.data_ptr(), []).append((name, _numbers_of(tensor)))
    with np.errstate(all="ignore"):
        entries.entry_points(np.dtype(dtype).type(0), 1)[entry](address)


@contextmanager
def python_kernels() -> Iterator[None]:
    """Run the CPU kernels as plain Python while the context is open, in any thread of this process.

    `print`, a debugger and tracebacks work as in any Python. Only tiny sizes are bearable.
    """
    replaced: list[tuple[Any, str, Any]] = [(call, "launch", call.launch)]
    call.launch = launch
    plain = {getattr(simd, name): function for name, function in LANGUAGE.items()}
    package = __name__.rpartition(".")[0]
    for module in [module for name, module in sys.modules.items() if name.startswith(f"{package}.")]:
        for name, value in list(vars(module).items()):
            if isinstance(value, Dispatcher):
                replaced.append((module, name, value))
                setattr(module, name, value.py_func)
            elif module.__name__ != __name__ and getattr(value, "__hash__", None) and value in plain:
                replaced.append((module, name, value))
                setattr(module, name, plain[value])
    try:
        yield
    finally:
        for module, name, value in replaced:
            setattr(module, name, value)


# --- the language of `simd` ---------------------------------------------------------------------------------


def pointer_like(address: int, like: Any) -> Pointer:
    dtype = np.dtype(np.int64 if isinstance(like, int) else type(like))
    found = [(name, x) for name, x in _memory.get(int(address), []) if x.dtype == dtype]
    # Several tensors may start at one address: parts of the same one.
    name, numbers = max(found, key=lambda each: len(each[1]), default=("nothing", np.empty(0, dtype)))
    return Pointer(numbers, 0, name)


def advance(pointer: Pointer, count: int) -> Pointer:
    return Pointer(pointer.numbers, pointer.at + int(count), pointer.name)


def load_scalar(pointer: Pointer, index: int) -> Any:
    number = pointer[index : index + 1][0]
    return int(number) if pointer.dtype == np.int64 else number


def store_scalar(pointer: Pointer, index: int, number: Any) -> None:
    pointer[index : index + 1][0] = number


def prefetch(pointer: Pointer, index: int) -> None:
    """Do nothing: an address beyond the tensor is no fault here."""


def take_ticket(pointer: Pointer) -> int:
    number = load_scalar(pointer, 0)
    store_scalar(pointer, 0, number + 1)
    return int(number)


def load(pointer: Pointer, index: int) -> Numbers:
    return pointer[index : index + LANES].copy()


def store(pointer: Pointer, index: int, vector: Numbers) -> None:
    pointer[index : index + LANES][:] = vector


def load_rows(pointer: Pointer, index: int, pitch: int) -> Numbers:
    return np.stack([load(pointer, index + row * pitch) for row in range(ROWS)])


def splat_rows(pointer: Pointer, index: int, pitch: int) -> Numbers:
    return np.stack([fill(pointer, load_scalar(pointer, index + row * pitch)) for row in range(ROWS)])


def store_rows(pointer: Pointer, index: int, pitch: int, tile: Numbers) -> None:
    for row, vector in enumerate(np.broadcast_to(tile, (ROWS, LANES))):
        store(pointer, index + row * pitch, vector)


def load_lanes(pointer: Pointer, starts: Pointer, index: int) -> Numbers:
    lanes = [load_scalar(pointer, load_scalar(starts, lane) + index) for lane in range(LANES)]
    return np.array(lanes, pointer.dtype)


def gather(
    size: int, source: Pointer, starts: Pointer, index: int, target: Pointer, target_index: int
) -> None:
    for row in range(size):
        store(target, target_index + row * LANES, load_lanes(source, starts, index + row))


def scatter(
    size: int, source: Pointer, source_index: int, target: Pointer, starts: Pointer, index: int
) -> None:
    for lane in range(LANES):
        for row in range(size):
            number = load_scalar(source, source_index + row * LANES + lane)
            store_scalar(target, load_scalar(starts, lane) + index + row, number)


def load_parts(pointer: Pointer, index: int, pitch: int) -> Numbers:
    starts = [index + part * pitch for part in range(LANES // SQUARE)]
    return np.concatenate([pointer[start : start + SQUARE] for start in starts])


def store_parts(pointer: Pointer, index: int, pitch: int, vector: Numbers) -> None:
    for part, numbers in enumerate(vector.reshape(-1, SQUARE)):
        pointer[index + part * pitch : index + part * pitch + SQUARE][:] = numbers


def fill(pointer: Pointer, number: Any) -> Numbers:
    return np.full(LANES, number, pointer.dtype)


def fill_tile(pointer: Pointer, number: Any) -> Numbers:
    return np.full((ROWS, LANES), number, pointer.dtype)


def shift_down(tile: Numbers, first: Numbers) -> Numbers:
    return np.concatenate((first[None], tile[:-1]))


def shift_up(tile: Numbers, last: Numbers) -> Numbers:
    return np.concatenate((tile[1:], last[None]))


def keep_rows(tile: Numbers, first: int, step: int, last: int) -> Numbers:
    index = first - step * np.arange(ROWS)
    return np.where(((index >= 0) & (index <= last))[:, None], tile, tile.dtype.type(-np.inf))


def exp2(x: Numbers) -> Numbers:
    return np.where(x < np.finfo(x.dtype).minexp, x.dtype.type(0), np.exp2(x))


LANGUAGE: dict[str, Any] = {
    function.__name__: function
    for function in (
        *(pointer_like, advance, load_scalar, store_scalar, prefetch, take_ticket),
        *(load, store, load_rows, splat_rows, store_rows, load_lanes, load_parts, store_parts),
        *(fill, fill_tile, shift_down, shift_up, keep_rows, exp2),
    )
} | {
    "gather_square": partial(gather, SQUARE),
    "gather_half_square": partial(gather, HALF_SQUARE),
    "scatter_square": partial(scatter, SQUARE),
    "scatter_half_square": partial(scatter, HALF_SQUARE),
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "fma": lambda a, b, c: a * b + c,
    "maximum": lambda a, b: np.where(a > b, a, b),
    "nonzero": lambda a: np.where(abs(a) < 1e-12, a.dtype.type(1e-12), a),
    "reciprocal": lambda a: 1 / a,
    "sum_lanes": np.sum,
    "sum_rows": lambda tile: tile.sum(0),
}
"""Each function of `simd` as it is defined there, for `Pointer` and NumPy."""
