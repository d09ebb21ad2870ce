"""SIGKILL and SIGTERM at random times."""

import signal
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests.faults.runs import NUM_STEPS, Reference, Run, wait_until


class Kills(NamedTuple):
    """How many processes were killed, by what they did."""

    starting: int = 0
    training: int = 0
    saving: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self)

    def plus(self, phase: str) -> "Kills":
        """One more."""
        return self._replace(**{phase: getattr(self, phase) + 1})


def kill_and_resume(reference: Reference, folder: Path, count: int, seed: int = 0) -> Kills:
    """Kills runs again and again, and ends each in the same state as the reference.

    Every other process is killed at any time, the others while they write a checkpoint.
    """
    rng, kills, number = np.random.default_rng(seed), Kills(), 0
    while kills.total < count:
        run = Run(reference.home, folder / f"killed_{number}")
        while kills.total < count and (phase := _kill(run, reference, kills.total % 2 == 0, rng)):
            kills = kills.plus(phase)
        run.finish()
        reference.require_same(run)
        number += 1
    return kills


def _kill(run: Run, reference: Reference, in_a_save: bool, rng: np.random.Generator) -> str | None:
    """Starts a run again and kills it; None if it had ended before."""
    logged = len(run.logs)
    with run.process() as process:
        if in_a_save:
            for _ in range(rng.integers(1, 6)):  # which of its saves
                wait_until(process, lambda: not run.is_saving)
                wait_until(process, lambda: run.is_saving)
            time.sleep(rng.uniform(0, 0.04))
        else:
            time.sleep(rng.uniform(0, reference.seconds))
        if process.poll() is not None:
            assert process.returncode == 0, run.saying
            return None
        process.send_signal(signal.SIGKILL)
        process.wait()
    if run.is_saving:
        return "saving"
    return "training" if len(run.logs) > logged else "starting"


def terminate_and_resume(
    reference: Reference, folder: Path, count: int, seed: int = 0
) -> dict[str, list[float]]:
    """Ends runs by SIGTERM and SIGINT in turn, at random times in training.

    Returns:
        Times from the signal to the end of the process, seconds, by the signal's name.
    """
    rng, times, number = np.random.default_rng(seed), {"SIGTERM": [], "SIGINT": []}, 0
    left = [list(times)[i % 2] for i in range(count)]
    while left:
        run = Run(reference.home, folder / f"ended_{number}")
        while left and (seconds := _terminate(run, signal.Signals[left[-1]], rng)) is not None:
            times[left.pop()].append(seconds)
        run.finish()
        reference.require_same(run)
        number += 1
    return times


def _terminate(run: Run, signum: signal.Signals, rng: np.random.Generator) -> float | None:
    """Starts a run again and asks it to end; None if it had ended before."""
    before = run.newest
    with run.process() as process:
        wait_until(process, lambda: run.newest > before)
        time.sleep(rng.uniform(0, 1))
        if process.poll() is not None:
            assert process.returncode == 0, run.saying
            return None
        began = time.monotonic()
        process.send_signal(signum)
        code = process.wait()
        seconds = time.monotonic() - began
    if run.newest == NUM_STEPS:  # the signal came after the last step: all is saved
        return None
    assert code == 128 + signum, run.saying
    assert f"{signum.name} at step {run.newest}; saved" in run.saying, run.saying
    return seconds
