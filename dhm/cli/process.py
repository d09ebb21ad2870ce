"""What the process of a command sets up: messages, memory, and the cache of compiled programs."""

import ctypes
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PACKAGES = ("dhm", "data_prep")  # whose messages are shown
# Names and numbers of glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8


@contextmanager
def own_messages() -> Iterator[None]:
    """Prints what this project logs, as plain lines."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    loggers = [logging.getLogger(name) for name in _PACKAGES]
    before = [(one.level, one.propagate) for one in loggers]
    for one in loggers:
        one.addHandler(handler)
        one.propagate = False
        one.setLevel(logging.INFO)
    try:
        yield
    finally:
        for one, (level, propagate) in zip(loggers, before, strict=True):
            one.removeHandler(handler)
            one.setLevel(level)
            one.propagate = propagate


def quiet() -> None:
    """Prints warnings only: of several processes the first alone tells how it goes."""
    for name in _PACKAGES:
        logging.getLogger(name).setLevel(logging.WARNING)


def keep_compiled_programs(workdir: Path) -> None:
    """Lets JAX keep what it compiles beside a run, for the next command; its own setting wins."""
    import jax

    folder = workdir.resolve().parent
    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(folder / ".jax_cache"))


def keep_freed_memory() -> bool:
    """Lets glibc reuse freed memory, instead of giving it back to the system.

    XLA's CPU backend allocates the activations anew at each step; the system then maps and clears
    every page of them, which is a tenth of a training step's time. The process never shrinks.
    Threads share one heap, as separate ones hold 64 MB each.

    Returns:
        Whether this C library can; any other stays as it is.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1, _TOP_PAD: 64 << 20, _ARENA_MAX: 1}
    taken = [mallopt(name, value) for name, value in settings.items()]
    return all(taken)
