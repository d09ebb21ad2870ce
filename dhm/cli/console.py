"""What a command shows: the messages of this project, and of other packages only warnings."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PACKAGES = ("dhm", "data_prep")


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
