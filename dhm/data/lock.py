"""One process at a time trains in a workdir, or makes data in a folder."""

import errno
import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from dhm.errors import DhmError

log = logging.getLogger(__name__)

LOCK_FILE = "lock"


class WorkdirInUseError(DhmError):
    """Another process trains in the workdir."""


@contextmanager
def only_one(workdir: Path) -> Iterator[None]:
    """Holds a workdir, which is made if it is missing, for this process alone.

    The system lets go of it when the process ends, however it does.

    Raises:
        WorkdirInUseError: If another process holds it; names the process.
        OSError: If the workdir cannot be made or written to.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    with (workdir / LOCK_FILE).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise WorkdirInUseError(
                f"{workdir}: {holder} is training here; wait for it, or give another --workdir"
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


@contextmanager
def in_turn(folder: Path) -> Iterator[None]:
    """Holds a folder for this process alone, after any other that holds it now.

    A folder that nobody can write to needs no holding.

    Raises:
        OSError: If the system fails otherwise.
    """
    file = _lock_file(folder)
    if file is None:
        yield
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("waiting for another process that makes data in %s", folder)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _lock_file(folder: Path) -> IO[str] | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return (folder / f".{LOCK_FILE}").open("a")
    except OSError as error:
        if error.errno in (errno.EROFS, errno.EACCES):
            return None
        raise
