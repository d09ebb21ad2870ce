"""SIGINT and SIGTERM end training after the current step, with a checkpoint."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dhm.errors import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TrainingInterrupted(Interrupted):
    """A signal ended training; the state was saved."""

    def __init__(self, signum: int, step: int):
        super().__init__(signum, f" at step {step}; saved. The same command goes on from here")


@contextmanager
def on_signal(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Calls a handler with the number of each SIGINT and SIGTERM that arrives in the block."""
    before = {signum: signal.signal(signum, handler) for signum in _SIGNALS}
    try:
        yield
    finally:
        for signum, former in before.items():
            signal.signal(signum, former)


class StopRequest:
    """Whether a signal has asked a training run to end.

    Attributes:
        signum: The signal, None before one has arrived.
        anything_to_save: Set by the loop after its first step. Until then a signal ends the
            process at once.
    """

    def __init__(self):
        self.signum: int | None = None
        self.anything_to_save = False


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Records the first SIGINT or SIGTERM; a second SIGINT ends the process at once.

    Outside the main thread, where Python allows no handlers, signals keep their effect.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note(signum, _frame):
        if request.signum is None:
            request.signum = signum

    reader, writer = socket.socketpair()
    writer.setblocking(False)
    watcher = threading.Thread(target=_watch, args=(reader, request), daemon=True)
    watcher.start()
    fd_before = signal.set_wakeup_fd(writer.fileno())
    try:
        with on_signal(note):
            yield request
    finally:
        signal.set_wakeup_fd(fd_before)
        writer.close()
        watcher.join()
        reader.close()


def _watch(reader: socket.socket, request: StopRequest) -> None:
    """Ends the process at once before the first step, or on a second SIGINT.

    Runs in a thread of its own: Python calls no handler before XLA returns, which may compile for
    minutes.
    """
    asked = False
    while received := reader.recv(1):  # the number of any signal; nothing at the end
        signum = received[0]
        if signum not in _SIGNALS:
            continue
        if not request.anything_to_save or (asked and signum == signal.SIGINT):
            name = signal.Signals(signum).name
            print(f"{name}; nothing was saved since the last checkpoint", file=sys.stderr)
            sys.stderr.flush()
            os._exit(128 + signum)
        asked = True
