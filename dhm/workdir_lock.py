"""One process at a time trains in a workdir."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dhm.errors import DhmError

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
