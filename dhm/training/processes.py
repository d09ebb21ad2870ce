"""Training with several processes, on one machine or many."""

import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from dhm.errors import BadInputError, DhmError

_SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
# Set by Open MPI 4, by which JAX finds the first process; Open MPI 5 has no such variable.
_OPEN_MPI_4 = "OMPI_MCA_orte_hnp_uri"
# Words in errors of collective operations after a process is lost, on CPUs and on GPUs.
_LOST = ("gloo", "nccl", "coordination service", "heartbeat", "unavailable")
_ADDRESS = re.compile(r"\S+:\d+")
_RANK, _SIZE = "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"


class ProcessLostError(DhmError):
    """Another process of the training is gone."""


def join(
    coordinator: str | None = None, process_id: int | None = None, process_count: int | None = None
) -> None:
    """Connects this process with the others of a training; to be called before JAX is used.

    Processes started by SLURM or Open MPI 4 need no arguments. Without arguments any other process
    trains alone.

    Args:
        coordinator: host:port at which the first process listens.
        process_id: This process's index; by default Open MPI's rank.
        process_count: Number of processes; by default Open MPI's.

    Raises:
        BadInputError: If an argument is missing or impossible.
        DhmError: If the processes cannot connect.
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
        if not _ADDRESS.fullmatch(coordinator):
            raise BadInputError("--coordinator", repr(coordinator), "host:port, e.g. node1:1234")
        arguments = (coordinator, *_numbers(process_id, process_count))
    try:
        jax.distributed.initialize(*arguments)
    except (RuntimeError, ValueError) as error:
        where = coordinator or "the cluster"
        raise DhmError(f"the processes at {where} could not connect: {error}") from error


def _detected_count() -> int:
    if all(name in os.environ for name in _SLURM):
        return int(os.environ["SLURM_NTASKS"])
    count = int(os.environ.get(_SIZE, 1))
    if count > 1 and _OPEN_MPI_4 not in os.environ:
        found = f"nothing, and this version of Open MPI does not pass it to its {count} processes"
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
    """Whether this is the first process, which alone writes checkpoints and logs."""
    return jax.process_index() == 0


@contextmanager
def all_are_needed() -> Iterator[None]:
    """Turns errors of collective operations in this block into `ProcessLostError`.

    Raises:
        ProcessLostError: If another process is gone.
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


def wait_for_all(name: str) -> None:
    """Waits until every process has reached the barrier of this name.

    Raises:
        ProcessLostError: If another process is gone.
    """
    if jax.process_count() > 1:
        with all_are_needed():
            multihost_utils.sync_global_devices(name)


def require_equal(what: str, value: bytes) -> None:
    """Refuses to train on where the processes do not agree.

    Args:
        what: What has to be equal, for the message.
        value: This process's.

    Raises:
        DhmError: If another process has another value than the first.
        ProcessLostError: If another process is gone.
    """
    if jax.process_count() == 1:
        return
    digest = np.frombuffer(hashlib.sha256(value).digest(), np.int32)
    with all_are_needed():
        digests = np.asarray(multihost_utils.process_allgather(digest))
    others = np.flatnonzero((digests != digests[0]).any(axis=1)).tolist()
    if others:
        raise DhmError(f"{what} of the processes {others} are not those of process 0")


def end(code: int) -> NoReturn:
    """Ends this process; at once if it is one of several, as JAX would wait for the others.

    The others lose a process and end too.
    """
    if jax.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def leave() -> None:
    """Waits for the other processes, then disconnects: JAX's computations are local again."""
    if jax.process_count() > 1:
        jax.distributed.shutdown()


def make_vote() -> Callable[[int | None], int | None]:
    """Creates a vote by which all processes stop after the same step when one has got a signal.

    Returns:
        A function that each process calls after every step with the signal it has got, or None.
        It returns the argument for a single process; for several, the highest number that any of
        them passed at the previous step, so that none waits for the step in flight.
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
