"""What PyTorch's counter of operations (`torch.utils.flop_counter`) counts for operations of ours."""

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_COUNTER = "torch.utils.flop_counter"
_waiting: list[tuple[Any, Callable[..., int]]] = []


def count_products(operation: Any, multiply_adds: Callable[..., int]) -> None:
    """Let the counter count an operation, as it counts matrix products: two for each multiply-add.

    The counter's module imports Triton where there is one, which takes a quarter of a second and serves few:
    the formula waits until somebody imports it.

    Args:
        operation: `torch.ops.axial_deeplab.NAME`.
        multiply_adds: how many an operation with these arguments has.
    """

    def formula(*arguments: Any, out_val: Any = None) -> int:
        return 2 * multiply_adds(*arguments)

    _waiting.append((operation, formula))
    if _COUNTER in sys.modules:
        _register_all(sys.modules[_COUNTER])


def _register_all(counter: ModuleType) -> None:
    while _waiting:
        operation, formula = _waiting.pop()
        counter.register_flop_formula(operation, get_raw=True)(formula)


class _WhenImported(MetaPathFinder):
    """Finds the counter's module where it is, and registers what waits for it once it is imported."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: object = None) -> ModuleSpec | None:
        if name != _COUNTER:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader
            execute = loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                execute(module)
                _register_all(module)

            loader.exec_module = execute_and_register
        return spec


if _COUNTER not in sys.modules:
    sys.meta_path.insert(0, _WhenImported())
