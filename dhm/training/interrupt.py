"""SIGINT and SIGTERM end training after the step in flight, with a checkpoint."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dhm.errors import DhmError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TrainingInterrupted(DhmError):  # noqa: N818 (nothing went wrong)
    """A signal ended training; the state was saved."""

    def __init__(self, signum: int, step: int):
        name = signal.Signals(signum).name
        super().__init__(f"{name} at step {step}; saved. The same command goes on from here")
        self.exit_code = 128 + signum


class StopRequest:
    """The signal that asked training to end, or None so far."""

    signum: int | None = None


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Notes the first SIGINT or SIGTERM; a second SIGINT raises KeyboardInterrupt at once.

    Outside the main thread, where Python allows no handlers, signals keep their meaning.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note(signum, _frame):
        if request.signum is not None and signum == signal.SIGINT:
            raise KeyboardInterrupt
        request.signum = signum

    before = {signum: signal.signal(signum, note) for signum in _SIGNALS}
    try:
        yield request
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
