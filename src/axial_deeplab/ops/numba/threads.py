"""Running a C function on PyTorch's own threads.

A second pool of threads beside PyTorch's would fight with it: OpenMP threads spin for a while after
each parallel region, on the very cores that the second pool wants. So the function is handed to the
OpenMP runtime that PyTorch has loaded. Where there is none to be found, short-lived Python threads run
the function, which works without the lock of the interpreter.
"""

import ctypes
import os
import threading
from functools import cache
from pathlib import Path
from typing import Any

import torch

_forked = False


def _remember_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_remember_fork)


def run_in_threads(function: Any, address: int, threads: int) -> None:
    """Call the compiled `function(address)` once on each of at most `threads` threads and wait for all.

    A forked child runs it once: the threads of its parent do not exist there.
    """
    if threads == 1 or _forked:
        function.ctypes(address)
    elif _openmp_parallel() is not None:
        _openmp_parallel()(function.address, address, threads, 0)
    else:
        others = [threading.Thread(target=function.ctypes, args=(address,)) for _ in range(threads - 1)]
        for thread in others:
            thread.start()
        function.ctypes(address)
        for thread in others:
            thread.join()


@cache
def _openmp_parallel() -> Any:
    """The entry of PyTorch's OpenMP runtime that starts a parallel region, or None."""
    if "OpenMP" not in torch.__config__.parallel_info().split("ATen parallel backend:")[-1]:
        return None
    for library in (Path(torch.__file__).parent / "lib").glob("libtorch_cpu.*"):
        try:
            # Symbols are looked up in what the library depends on, too: libgomp, libiomp5 and libomp
            # have this one.
            start = ctypes.CDLL(str(library)).GOMP_parallel
        except (OSError, AttributeError):
            continue
        start.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        start.restype = None
        return start
    return None
