"""What every benchmark shares: fair timing, the rows of a table, and the machine they ran on."""

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import numpy as np


class BenchmarkRow(NamedTuple):
    """One row of a table.

    Attributes:
        name: What was measured.
        value: The result as text.
        must: The requirement, empty if there is none.
        aim: The goal, likewise.
        number: The result as a number, for other programs.
        unit: Unit of `number`, empty for ratios.
    """

    name: str
    value: str
    must: str = ""
    aim: str = ""
    number: float | None = None
    unit: str = ""


def format_table(title: str, rows: Sequence[BenchmarkRow]) -> str:
    """Returns the rows as aligned columns under a heading."""
    lines = [BenchmarkRow(title, "measured", "must", "aim"), *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line[:4], widths, strict=True)).rstrip()
        for line in lines
    )


def plain_rows(rows: Sequence[BenchmarkRow]) -> list[dict[str, Any]]:
    """Returns the rows as plain values for JSON."""
    return [
        row._asdict() | {"number": None if row.number is None else float(row.number)}
        for row in rows
    ]


def machine() -> dict[str, str | int]:
    """Returns the versions and the hardware that a measurement ran on."""
    devices = ", ".join(sorted({device.device_kind for device in jax.devices()}))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "python": platform.python_version(),
        "jax": jax.__version__,
        "devices": f"{jax.device_count()} x {devices}",
        "processor": platform.machine(),
        "cores": cores or 0,
    }


def interleaved(runs: Mapping[Any, Callable], repeats: int) -> dict[Any, list[float]]:
    """Times functions in turns, so that a busy machine slows all of them alike.

    Args:
        runs: The functions by name; what they return is waited for. Each is called once untimed.
        repeats: Rounds.

    Returns:
        Seconds of each function, one entry a round.
    """
    for run in runs.values():
        jax.block_until_ready(run())
    times = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            jax.block_until_ready(run())
            times[name].append(time.perf_counter() - start)
    return times


def median_ms(seconds: Sequence[float]) -> float:
    """Returns the median in milliseconds."""
    return 1e3 * float(np.median(seconds))


def median_ratio(seconds: Sequence[float], others: Sequence[float]) -> float:
    """Returns the median over the rounds of the ratio of one round's two times."""
    return float(np.median(np.divide(seconds, others)))


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
