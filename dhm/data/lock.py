"""Locks between processes: a file that one process holds until it lets go or ends.

A workdir is locked while it is trained in, a folder of data while it is made.
"""

import errno
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dhm.errors import DhmError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

log = logging.getLogger(__name__)


class InUseError(DhmError):
    """Another process holds a lock."""


@contextmanager
def hold(file: Path, *, wait: bool = True) -> Iterator[None]:
    """Holds a lock file, which is made if it is missing, for this process alone.

    The system releases the lock when the process ends, however it ends. A system without flock,
    Windows, locks nothing, with a warning.

    Args:
        file: The lock file; says which process holds it.
        wait: Whether to wait for another process that holds it. A folder that is read-only needs
            no lock then: nobody can change it.

    Raises:
        InUseError: Another process holds the file, and `wait` is False.
        OSError: The file cannot be made.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        stream = file.open("a+")
    except OSError as error:
        if not (wait and error.errno in (errno.EROFS, errno.EACCES)):
            raise
        yield
        return
    with stream:
        if fcntl is None:
            log.warning("this system cannot lock %s: start no second process here", file.parent)
            yield
            return
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.seek(0)
            holder = stream.read().strip() or "another process"
            if not wait:
                found = f"{file.parent}: {holder} is at work here"
                raise InUseError(f"{found}; wait until it ends, or use another folder") from error
            log.info("waiting for %s, which holds %s", holder, file)
            fcntl.flock(stream, fcntl.LOCK_EX)
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {socket.gethostname()}")
        stream.flush()
        yield
