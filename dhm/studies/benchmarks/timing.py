"""What every benchmark shares: fair timing and the table."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import jax


class BenchmarkRow(NamedTuple):
    """One line of the table.

    Attributes:
        name: What was measured.
        value: What came out, as it is printed.
        must: What it has to be.
        aim: What it should be.
        number: The value as a number, for machines.
        unit: Its unit, empty for ratios.
    """

    name: str
    value: str
    must: str = ""
    aim: str = ""
    number: float | None = None
    unit: str = ""


def format_table(title: str, rows: Sequence[BenchmarkRow]) -> str:
    """The rows as text, in aligned columns under a heading."""
    lines = [BenchmarkRow(title, "measured", "must", "aim"), *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line[:4], widths, strict=True)).rstrip()
        for line in lines
    )


def interleaved(runs: dict[str, Callable], repeats: int) -> dict[str, list[float]]:
    """Seconds of each run, one a round, all runs in every round; compiled beforehand."""
    for run in runs.values():
        jax.block_until_ready(run())
    times = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            jax.block_until_ready(run())
            times[name].append(time.perf_counter() - start)
    return times


@contextmanager
def one_core() -> Iterator[None]:
    """Holds all threads of the process on one core, where the system can and JAX uses the CPU."""
    if jax.default_backend() != "cpu" or not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    _set_affinity({max(allowed)})
    try:
        yield
    finally:
        _set_affinity(allowed)


def _set_affinity(cores):
    for thread in os.listdir("/proc/self/task"):
        try:
            os.sched_setaffinity(int(thread), cores)
        except ProcessLookupError:
            continue  # the thread ended after the listing
