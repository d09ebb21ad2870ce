"""How the command lines of data_prep end: what went wrong in one line, and the exit code."""

import sys
from collections.abc import Callable
from typing import Any

from dhm.errors import DISK_ERRORS, DhmError


def run(work: Callable[[], Any], interrupted: str = "interrupted") -> int:
    """Does the work of a command.

    Args:
        work: The work.
        interrupted: What to say after Ctrl-C.

    Returns:
        The exit code: 0; 1 for input that cannot be used, or a disk that fails; 130 after Ctrl-C.
    """
    try:
        work()
    except (DhmError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in DISK_ERRORS:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return 130
    return 0
