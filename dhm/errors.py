"""The errors that dhm raises on purpose."""

import errno
import signal
from pathlib import Path


class DhmError(Exception):
    """Base of every error that dhm raises on purpose; its message is meant for the user."""


class BadInputError(DhmError, ValueError):
    """A file, flag or array that cannot be used, said as where, found and expected.

    Args:
        where: The file (with its line where there is one), the flag or the argument.
        found: What was there.
        expected: What has to be there instead.
        line: 1-based line of a text file.
    """

    def __init__(self, where: str | Path, found: str, expected: str, line: int | None = None):
        place = f"{where}:{line}" if line is not None else f"{where}"
        super().__init__(f"{place}: found {found}, expected {expected}")
        self.where, self.found, self.expected, self.line = str(where), found, expected, line


class DamagedRecordError(BadInputError):
    """A prepared record that cannot be read or decoded.

    Args:
        file: That holds it.
        record: Its index in its split.
        found: What was there.
    """

    def __init__(self, file: str | Path, record: int, found: str):
        expected = "what the preparation wrote: prepare it again"
        super().__init__(f"{file}, record {record}", found, expected)
        self.record = record


DISK_ERRORS = (
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOTDIR,
    errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP,
)  # fmt: skip
"""What the system says of a full, read-only, foreign or failing disk, or of a file in the place of
a folder; it needs no traceback."""


class Interrupted(DhmError):  # noqa: N818 (nothing went wrong)
    """A signal ended the work; what was done is saved.

    Args:
        signum: The signal.
        message: What the user should know.
    """

    def __init__(self, signum: int, message: str):
        super().__init__(f"{signal.Signals(signum).name}{message}")
        self.exit_code = 128 + signum
