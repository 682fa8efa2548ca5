"""Ctrl-C ends a training after its step, so that nothing learned is lost."""

import signal
import sys
from contextlib import AbstractContextManager
from typing import Any

import lightning

from axial_deeplab.util.termination import signal_handler


class EndedAfterStep(KeyboardInterrupt):
    """Ctrl-C was pressed, and the step that ran is done."""


class Interruption(lightning.Callback):
    """End a training after its step, validated where it is due, on Ctrl-C; pressed again, end at once."""

    def __init__(self) -> None:
        self._asked = False

    def handled(self) -> AbstractContextManager[None]:
        """Handle Ctrl-C in a block."""
        return signal_handler(signal.SIGINT, self._ask)

    def _ask(self, *_: Any) -> None:
        self._asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        print(
            "\naxial-deeplab: ends after this step and its validation, if any; Ctrl-C again ends at once",
            file=sys.stderr,
        )

    def on_train_batch_start(self, *_: Any) -> None:
        """End the training where that was asked for.

        Raises:
            EndedAfterStep: Ctrl-C was pressed.
        """
        if self._asked:
            raise EndedAfterStep
