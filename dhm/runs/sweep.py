"""Runs of several configs, queued over the devices of this machine."""

import logging
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from dhm.errors import BadInputError, DhmError, Interrupted
from dhm.evaluation.metrics_file import METRICS_FILE, OVERALL, read_metrics
from dhm.formats.paths import name_key, require_folder
from dhm.runs.folder import SWEEP_LOG_FILE
from dhm.training.interrupt import on_signal

log = logging.getLogger(__name__)

_PAUSE = 0.2  # seconds between looks at the processes
_DEVICES = (
    "import jax; device = jax.local_devices()[0]; "
    "print(jax.local_device_count() if 'cuda' in device.client.platform_version else 0)"
)
_SHARE, _TAKEN = "XLA_CLIENT_MEM_FRACTION", 0.75  # of a device's memory, JAX's default
_FORMER_SHARE = "XLA_PYTHON_CLIENT_MEM_FRACTION"  # JAX refuses both at once


class Job(NamedTuple):
    """A run to start.

    Attributes:
        name: Of its workdir and in messages.
        arguments: Of the launcher, but for `--workdir`.
    """

    name: str
    arguments: Sequence[str]


class Outcome(NamedTuple):
    """How a run ended.

    Attributes:
        name: The job's.
        exit_code: Of its process; negative: the signal that killed it.
        seconds: Its running time.
        workdir: Its folder.
    """

    name: str
    exit_code: int
    seconds: float
    workdir: Path


def sweep(
    launcher: Sequence[str],
    configs: Sequence[Path],
    runs: Path,
    arguments: Sequence[str] = (),
    slots: Sequence[Mapping[str, str]] | None = None,
    each: int = 1,
) -> list[Outcome]:
    """Runs a process for each config, as many at a time as the devices take.

    The output of a process goes to sweep.log in its workdir. One that fails does not stop the
    others.

    Args:
        launcher: The command that gets `--config FILE --workdir DIR`.
        configs: Config files with different names.
        runs: Folder of the workdirs.
        arguments: More arguments for each.
        slots: Environment variables for each of the processes that run at a time; by default
            `device_slots`.
        each: Processes at a time on each device, for `device_slots`.

    Returns:
        How each ended, in the order of `configs`.

    Raises:
        BadInputError: If a config is missing, two have one name, or `runs` is a file.
        Interrupted: After SIGINT or SIGTERM, which each process got too.
    """
    _check(configs)
    require_folder("--workdir", runs)
    jobs = [Job(config.stem, ("--config", str(config), *arguments)) for config in configs]
    return run_jobs(launcher, jobs, runs, slots, each)


def run_jobs(
    launcher: Sequence[str],
    jobs: Sequence[Job],
    runs: Path,
    slots: Sequence[Mapping[str, str]] | None = None,
    each: int = 1,
) -> list[Outcome]:
    """Starts a process for each job, as `sweep` does for configs.

    Returns:
        How each ended, in the order of `jobs`.

    Raises:
        Interrupted: After SIGINT or SIGTERM, which each process got too.
    """
    free = list(device_slots(each=each) if slots is None else slots)
    log.info("%d runs, %d at a time", len(jobs), min(len(free), len(jobs)))
    waiting, running, ended = deque(jobs), {}, {}
    with _passed_on(running) as received:
        while running or (waiting and not received):
            while waiting and free and not received:
                job, slot = waiting.popleft(), free.pop(0)
                workdir = runs / job.name
                command = (*launcher, *job.arguments, "--workdir", workdir)
                log.info("%s: begins; its output is in %s", job.name, workdir / SWEEP_LOG_FILE)
                process = _start(command, workdir, slot)
                running[process] = job, slot, time.monotonic()
                if received:  # while it was started
                    process.send_signal(received[-1])
            time.sleep(_PAUSE)
            for process in [process for process in running if process.poll() is not None]:
                job, slot, began = running.pop(process)
                free.append(slot)
                seconds = time.monotonic() - began
                outcome = Outcome(job.name, process.returncode, seconds, runs / job.name)
                log.info("%s: %s", job.name, describe(outcome))
                ended[job.name] = outcome
    if received:
        left = len(jobs) - sum(outcome.exit_code == 0 for outcome in ended.values())
        raise Interrupted(received[0], f": {left} runs are not done; the same command goes on")
    return [ended[job.name] for job in jobs]


def _check(configs: Sequence[Path]) -> None:
    if not configs:
        raise BadInputError("sweep", "no config", "files, e.g. configs/subject*.py")
    for config in configs:
        if not config.is_file():
            raise BadInputError(config, "no such file", "a config file")
        if sum(name_key(other.stem) == name_key(config.stem) for other in configs) > 1:
            raise BadInputError(config, "two configs of this name", "one: it names the workdir")


def device_slots(environ: Mapping[str, str] = os.environ, each: int = 1) -> list[dict[str, str]]:
    """Returns environment variables for as many processes as may run at a time.

    Each gives its process one CUDA device; without CUDA there is one empty set. The devices are
    counted in a process of its own: JAX in this one would take their memory.

    Args:
        environ: The environment of this process.
        each: Processes on each device. JAX takes three quarters of a CUDA device's memory when it
            starts; several processes get equal parts of that, unless `environ` sets a share.

    Raises:
        DhmError: If JAX cannot count them.
    """
    counted = subprocess.run(
        [sys.executable, "-c", _DEVICES], env=dict(environ), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if counted.returncode:
        raise DhmError(f"JAX finds no device: {counted.stderr.strip().splitlines()[-1]}")
    names = environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    count = int(counted.stdout)
    if len(names) != count:
        names = [str(index) for index in range(count)]
    slots = [{"CUDA_VISIBLE_DEVICES": name} for name in names] if count else [{}]
    if count and each > 1 and not {_SHARE, _FORMER_SHARE} & environ.keys():
        slots = [{**slot, _SHARE: f"{_TAKEN / each:.3f}"} for slot in slots]
    return [dict(slot) for _ in range(each) for slot in slots]


def _start(command: Sequence[str], workdir: Path, slot: Mapping[str, str]) -> subprocess.Popen:
    workdir.mkdir(parents=True, exist_ok=True)
    with (workdir / SWEEP_LOG_FILE).open("ab") as output:
        # A session of its own: Ctrl-C reaches it once, by this process.
        return subprocess.Popen(
            [str(part) for part in command], env={**os.environ, **slot}, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip


@contextmanager
def _passed_on(running: Mapping[subprocess.Popen, object]) -> Iterator[list[int]]:
    """Passes SIGINT and SIGTERM on to the processes; yields the list of those received."""
    received: list[int] = []

    def pass_on(signum, _frame):
        received.append(signum)
        for process in list(running):
            process.send_signal(signum)

    with on_signal(pass_on):
        yield received


def describe(outcome: Outcome) -> str:
    """Describes how a run ended: its errors, or the last line of its output."""
    time_taken = f"{outcome.seconds / 60:.1f} min"
    if outcome.exit_code:
        lines = (outcome.workdir / SWEEP_LOG_FILE).read_text(errors="replace").strip().splitlines()
        last = lines[-1].rsplit("\r", 1)[-1] if lines else "no output"
        return f"failed after {time_taken} with exit code {outcome.exit_code}: {last}"
    path = outcome.workdir / METRICS_FILE
    if not path.is_file():
        return f"done in {time_taken}"
    metrics = read_metrics(path)
    shown = [f"done in {time_taken}"]
    for title, key in (("", "errors"), (" with fitted angles", "errors_fitted")):
        overall = metrics[key][OVERALL]
        known = [name for name in ("P_err", "M_err") if overall.get(name) is not None]
        errors = [f"{name} {overall[name]:.2f}" for name in known]
        shown.append(f"{', '.join(errors)} mm{title}")
    return "; ".join(shown)
