"""Ending in one line on SIGTERM, which SLURM, Docker and Kubernetes send before they kill."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

EXIT_STATUS = 128 + signal.SIGTERM


class Terminated(SystemExit):
    """The process was asked to end."""

    def __init__(self, message: str = "stopped by SIGTERM") -> None:
        super().__init__(EXIT_STATUS)
        self.message = message


@contextmanager
def signal_handler(number: signal.Signals, handler: Any) -> Iterator[None]:
    """Handle a signal in the block; outside of the main thread, which alone gets them, change nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def terminate(number: int, frame: Any) -> NoReturn:
    """End by an exception, so that temporary files are removed; by default the process just dies."""
    raise Terminated
