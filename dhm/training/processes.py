"""Several processes that train together, on one machine or many."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from dhm.errors import BadInputError, DhmError

_SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
# Open MPI 4 tells its processes where the first is, 5 does not.
_OPEN_MPI_4 = "OMPI_MCA_orte_hnp_uri"
# What errors of collective operations speak of when a process is gone, on CPUs and on GPUs.
_LOST = ("gloo", "nccl", "coordination service", "heartbeat", "unavailable")
_RANK, _SIZE = "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"


class ProcessLostError(DhmError):
    """Another process is gone."""


def join(
    coordinator: str | None = None, process_id: int | None = None, process_count: int | None = None
) -> None:
    """Makes this process one of those that train together; to be called before JAX is used.

    SLURM's and Open MPI 4's processes find each other by themselves. A process of its own stays so.

    Args:
        coordinator: host:port of the first process, where it listens and the others find it.
        process_id: This process's index; by default Open MPI's rank.
        process_count: How many there are; by default Open MPI's number.

    Raises:
        BadInputError: If the arguments do not say what is needed.
        DhmError: If the processes do not find each other.
    """
    if coordinator is None:
        if process_id is not None or process_count is not None:
            expected = "the first process's host:port with --process-id and --process-count"
            raise BadInputError("--coordinator", "nothing", expected)
        count = _detected_count()
        arguments: tuple = ()
        if count < 2:
            return
    else:
        arguments = (coordinator, *_numbers(process_id, process_count))
    try:
        jax.distributed.initialize(*arguments)
    except (RuntimeError, ValueError) as error:
        where = coordinator or "the cluster"
        raise DhmError(f"the processes at {where} did not find each other: {error}") from error


def _detected_count() -> int:
    if all(name in os.environ for name in _SLURM):
        return int(os.environ["SLURM_NTASKS"])
    count = int(os.environ.get(_SIZE, 1))
    if count > 1 and _OPEN_MPI_4 not in os.environ:
        found = f"nothing, and this Open MPI does not tell its {count} processes"
        raise BadInputError("--coordinator", found, "the first process's host:port")
    return count


def _numbers(process_id: int | None, process_count: int | None) -> tuple[int, int]:
    if process_id is None and process_count is None and _RANK in os.environ:
        process_id, process_count = int(os.environ[_RANK]), int(os.environ[_SIZE])
    if process_id is None or process_count is None or not 0 <= process_id < process_count:
        raise BadInputError(
            "--process-id", f"{process_id} of --process-count {process_count}", "0 to the count - 1"
        )
    return process_count, process_id


def is_first() -> bool:
    """Whether this is the process that writes what all share."""
    return jax.process_index() == 0


@contextmanager
def all_are_needed() -> Iterator[None]:
    """What processes do together in this block needs all of them.

    Raises:
        ProcessLostError: If one is gone.
    """
    try:
        yield
    except (ValueError, jax.errors.JaxRuntimeError) as error:
        message = " ".join(str(error).split())
        known = isinstance(error, DhmError) or jax.process_count() == 1
        if known or not any(word in message.lower() for word in _LOST):
            raise
        raise ProcessLostError(
            f"a process that trained with process {jax.process_index()} is gone; the last "
            f"checkpoint is untouched, the same commands go on from it ({message[:200]})"
        ) from error


def wait_for_all(where: str) -> None:
    """Returns when every process is at the same place.

    Raises:
        ProcessLostError: If one is gone.
    """
    if jax.process_count() > 1:
        with all_are_needed():
            multihost_utils.sync_global_devices(where)


def end(code: int) -> NoReturn:
    """Ends this process; at once while it is one of several, as JAX would wait for the others.

    They notice, and end too.
    """
    if jax.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def leave() -> None:
    """Waits for the others and goes on alone; what JAX calculates is this process's own again."""
    if jax.process_count() > 1:
        jax.distributed.shutdown()


def make_vote() -> Callable[[int | None], int | None]:
    """A way for all processes to stop after the same step when one of them got a signal.

    Returns:
        A function for each of them to call after every step, with the signal it got or None. A
        single process gets its own answer back; several get the highest number that any of them
        brought the last time, so that none waits for the step in flight.
    """
    if jax.process_count() == 1:
        return lambda signum: signum
    highest = jax.pmap(lambda x: jax.lax.pmax(x, "processes"), axis_name="processes")
    asked = [None]

    def vote(signum: int | None) -> int | None:
        before, mine = asked[0], np.full(jax.local_device_count(), signum or 0, np.int32)
        asked[0] = highest(mine)
        return None if before is None else int(before[0]) or None

    return vote
