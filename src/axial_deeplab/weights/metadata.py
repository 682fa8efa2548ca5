"""What the metadata of weights must be before anything believes it: types, ranges, depth, size."""

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from axial_deeplab.util.text import one_line

LARGEST = 2**31 - 1
_DEEPEST = 6
_SANE = f"numbers up to {LARGEST}, no more than {_DEEPEST} deep"
_LARGEST_NETWORK = 2**40, 2**14  # numbers, tensors
_NUMBER = (int, float)
_OR_NULL = (type(None),)
# Section -> its settings and their types; further ones are left to whoever reads them.
_TYPES: dict[str, dict[str, tuple[type, ...]]] = {
    "model": {"norm_eps": _NUMBER, "norm_momentum": _NUMBER, "impl": (str,)},
    "post_processing": {
        **dict.fromkeys(("label_divisor", "nms_kernel", "stuff_area", "thing_area"), (int,)),
        **dict.fromkeys(("strict_top_k", "fill_void"), (bool,)),
        **dict.fromkeys(("grouping", "without_centers"), (str,)),
        "center_threshold": _NUMBER,
        "thing_threshold": _NUMBER + _OR_NULL,
        **dict.fromkeys(("top_k", "top_k_area"), (int, *_OR_NULL)),
        "void_ids": (list, tuple),
    },
    "view": {
        **dict.fromkeys(("max_size", "long_side", "page", "num_channels"), (int, *_OR_NULL)),
        **dict.fromkeys(("scales", "channels"), (list, tuple, *_OR_NULL)),
        "value_range": (str, *_OR_NULL),
    },
    "low_scores": dict.fromkeys(("pixels", "things", "agreement"), _NUMBER),
    "classification": {
        "crop_size": (list, tuple),
        "shorter_side": (int,),
        "page": (int,),
        "value_range": (str,),
    },
}


def check_metadata(source: str, metadata: Mapping[str, Any]) -> None:
    """Refuse metadata with which a network or its use would fail, run for ever or take all memory.

    Raises:
        ValueError: a section is no section, a value has another type, or a number is out of its range.
    """
    model = metadata.get("model")
    if not isinstance(model, Mapping) or not isinstance(model.get("name"), str):
        raise ValueError(
            f"{source}: model must name a network and its arguments, got {str(model)[:80]}; "
            "write the file again"
        )
    for section, types in _TYPES.items():
        settings = metadata.get(section) or {}
        if not isinstance(settings, Mapping):
            raise _wrong(source, section, "settings by their names", settings)
        for name, value in settings.items():
            place = f"{section}.{name}"
            if not _is_sane(value):
                raise _wrong(source, place, _SANE, value)
            if name in types and not isinstance(value, types[name]):
                rule = " or ".join(kind.__name__ for kind in types[name]).replace("NoneType", "null")
                raise _wrong(source, place, f"of type {rule}", value)
            if isinstance(value, list | tuple) and name in types and not all(map(_is_number, value)):
                raise _wrong(source, place, "a list of numbers", value)
    crop_size = (metadata.get("classification") or {}).get("crop_size", [1, 1])
    if len(crop_size) != 2 or min(crop_size) < 1:
        raise _wrong(source, "classification.crop_size", "a height and a width in pixels", crop_size)


def _is_sane(value: Any) -> bool:
    return all(math.isfinite(number) and abs(number) <= LARGEST for number in _numbers(value))


def _numbers(value: Any, depth: int = 0) -> Iterator[float]:
    """Yield the numbers in a value; one of no size for what lies too deep."""
    if depth > _DEEPEST:
        yield math.inf
    elif isinstance(value, Mapping):
        yield from _numbers([*value.values()], depth)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item, depth + 1)
    elif isinstance(value, int | float):
        yield max(-LARGEST - 1, min(value, LARGEST + 1)) if isinstance(value, int) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _wrong(source: str, place: str, rule: str, value: object) -> ValueError:
    return ValueError(f"{source}: {place} must be {rule}, got {str(value)[:80]}; write the file again")


@contextmanager
def arguments_of(name: str, place: str, arguments: Mapping[str, Any]) -> Iterator[None]:
    """Refuse arguments that somebody wrote for the network that is built in the block, if they break it.

    Raises:
        ValueError: they have wrong types, or make a network far beyond the largest that is published.
    """
    for key, value in arguments.items():
        if not _is_sane(value):
            raise ValueError(f"{place}: {key} must be {_SANE}, got {str(value)[:80]}; correct it")
    try:
        with network_at_most(*_LARGEST_NETWORK):
            yield
    except (TypeError, RuntimeError, ArithmeticError, MemoryError) as error:
        # The networks check what their arguments mean, but a text for a number breaks them anywhere.
        raise ValueError(
            f"{place} must be arguments of {name}, got {str(dict(arguments))[:200]} "
            f"({type(error).__name__}: {one_line(error)}); correct types and values"
        ) from None


@contextmanager
def network_at_most(numbers: int, tensors: int) -> Iterator[None]:
    """Stop the construction of modules in the block once their parameters and buffers are more than this.

    A tensor is counted before it is filled, so the memory of one that is too large is never touched.

    Raises:
        ValueError: there are more.
    """
    thread, sizes = threading.get_ident(), [0, 0]

    def count(module: nn.Module, name: str, tensor: Tensor | None) -> None:
        if tensor is None or threading.get_ident() != thread:
            return
        sizes[:] = sizes[0] + tensor.numel(), sizes[1] + 1
        if sizes[0] > numbers or sizes[1] > tensors:
            raise ValueError(
                f"network must have at most {numbers} numbers in {tensors} tensors, got more at {name} of "
                f"shape {tuple(tensor.shape)} in {type(module).__name__}; make it smaller"
            )

    hooks = [
        register(count)
        for register in (
            register_module_parameter_registration_hook,
            register_module_buffer_registration_hook,
        )
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
