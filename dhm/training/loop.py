"""The training loop: runs the step on batches, logs, saves checkpoints, resumes."""

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import optax

from dhm.training.checkpoint import Checkpoints
from dhm.training.interrupt import TrainingInterrupted, stop_on_signal
from dhm.training.logbook import Logbook, Profiler
from dhm.training.processes import all_are_needed, is_first, make_vote, wait_for_all
from dhm.training.replay import Replay, non_finite_loss
from dhm.training.state import TrainState
from dhm.training.step import ParallelStep, StepSpec, make_parallel_step, replicate, shard
from dhm.types import Batch

log = logging.getLogger(__name__)


class TrainFolders(NamedTuple):
    """Folders that training writes to; their parents must exist.

    Attributes:
        checkpoints: The training state, by step.
        tensorboard: Event files.
        replay: Steps that are not finite.
        profile: The profiler trace.
    """

    checkpoints: Path
    tensorboard: Path
    replay: Path
    profile: Path


class LoopSettings(NamedTuple):
    """Plain numbers of a run.

    Attributes:
        num_steps: Steps in all.
        steps_per_epoch: Steps of one pass over the training records.
        batch_size: Global batch size.
        checkpoint_every_epochs: Epochs between checkpoints.
        keep_checkpoints: Number of checkpoints that are kept.
        log_every: Steps between points in TensorBoard.
        profile_steps: (first, last) step of a profiler trace, or () for none.
    """

    num_steps: int
    steps_per_epoch: int
    batch_size: int
    checkpoint_every_epochs: int
    keep_checkpoints: int
    log_every: int
    profile_steps: tuple[int, ...]


def train(
    state: TrainState,
    spec: StepSpec,
    batches_from: Callable[[int], Iterable[Batch]],
    schedule: optax.Schedule,
    settings: LoopSettings,
    folders: TrainFolders,
    devices: Sequence[jax.Device] | None = None,
    name_of: Callable[[int], str] = "record {}".format,
) -> TrainState:
    """Trains to the last step, from the newest checkpoint on if there is one.

    Args:
        state: Initial state, used if there is no checkpoint.
        spec: Static data of the step.
        batches_from: Returns this process's batches from a global step on.
        schedule: Learning rate by step; the optimiser's own, for the log.
        settings: Plain numbers.
        folders: To write to; checkpoints are also read.
        devices: To train on, of all processes; all available ones by default.
        name_of: Returns the name of a record for messages.

    Returns:
        The state after the last step, on the host.

    Raises:
        TrainingInterrupted: After SIGINT or SIGTERM, with the state saved.
        NonFiniteLossError: If a loss or the gradient is NaN or infinite; names the first such term
            and its samples. The step is saved in the replay folder.
        CheckpointError: If a checkpoint cannot be written, or all of them are damaged.
        ProcessLostError: If a process that trains with this one is gone.
        BadInputError: If a process's batch does not divide by its devices.
    """
    devices = devices or jax.devices()
    checkpoints = Checkpoints(folders.checkpoints, settings.keep_checkpoints)
    is_main = is_first()
    if is_main:
        checkpoints.clear_damaged()
    wait_for_all("damaged checkpoints put aside")
    if checkpoints.latest_step() is not None:
        state = checkpoints.restore(state)
    start = int(state.step)
    logbook = Logbook(
        folders.tensorboard if is_main else None,
        first_step=start,
        num_steps=settings.num_steps,
        batch_size=settings.batch_size,
        every=settings.log_every,
        quiet=not is_main,
    )
    if settings.profile_steps and not start <= settings.profile_steps[0] < settings.num_steps:
        log.warning(
            "no profiler trace: steps %s are outside this run's, %d to %d",
            settings.profile_steps, start, settings.num_steps - 1,
        )  # fmt: skip
    step = make_parallel_step(spec, devices)
    num_local = len(devices) // jax.process_count()
    run = _Run(step, num_local, schedule, settings, checkpoints, logbook, folders.profile)
    try:
        with all_are_needed():
            state = run(replicate(state, devices), start, batches_from(start))
    except _HaltedError as halt:
        names = tuple(map(name_of, halt.batch.record.ravel().tolist()))
        replay = Replay(halt.step, jax.device_get(halt.state.variables), halt.batch, names)
        raise non_finite_loss(spec, replay, folders.replay) from None
    finally:
        logbook.close()
        checkpoints.close()
    return jax.device_get(state)


class _HaltedError(Exception):
    """A step was not finite: its number, the state before it, and its batch."""

    def __init__(self, step: int, state: TrainState, batch: Batch):
        self.step, self.state, self.batch = step, state, batch


class _Run(NamedTuple):
    """A run's parts; calling it trains."""

    step: ParallelStep
    num_devices: int
    schedule: optax.Schedule
    settings: LoopSettings
    checkpoints: Checkpoints
    logbook: Logbook
    profile_folder: Path

    def __call__(self, state: TrainState, start: int, batches: Iterable[Batch]) -> TrainState:
        # The metrics of a step are fetched when the next one is already queued on the devices.
        pending = None
        profiled = self.settings.profile_steps if is_first() else ()
        with (
            stop_on_signal() as stop,
            Profiler(self.profile_folder, profiled) as profiler,
        ):
            vote = make_vote()
            steps = range(start, self.settings.num_steps)
            for done, batch in zip(steps, self._timed(batches), strict=False):
                profiler.before_step(done, state)
                self.checkpoints.check()
                state, metrics = self.step(state, shard(batch, self.num_devices))
                stop.anything_to_save = True
                self._log(pending, state)
                pending = (done + 1, metrics, batch)
                signum = vote(stop.signum)
                if signum is not None or self._is_checkpoint(done + 1):
                    self._log(pending, state)
                    pending = None
                    self.logbook.flush()
                    if is_first():
                        self.checkpoints.save(state)
                if signum is not None:
                    self.checkpoints.wait()
                    raise TrainingInterrupted(signum, done + 1)
            self.checkpoints.wait()  # the last one is not lost to a signal
            if stop.signum is not None:
                raise TrainingInterrupted(stop.signum, self.settings.num_steps)
        return state

    def _timed(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yields the batches and records in the logbook how long each was waited for."""
        batches = iter(batches)
        while True:
            began = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                return
            self.logbook.add_waiting(time.perf_counter() - began)
            yield batch

    def _is_checkpoint(self, step: int) -> bool:
        period = self.settings.steps_per_epoch * self.settings.checkpoint_every_epochs
        return step % period == 0 or step == self.settings.num_steps

    def _log(self, pending: tuple[int, dict, Batch] | None, state: TrainState) -> None:
        if pending is None:
            return
        step, metrics, batch = pending
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        if not all(map(math.isfinite, values.values())):
            # The state is that before the bad step: a halted step changes nothing.
            raise _HaltedError(step, state, batch)
        self.logbook.record(step, values, float(self.schedule(step - 1)))
