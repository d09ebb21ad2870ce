"""What a task says at its end of the files that it was given."""

import logging
from collections.abc import Sequence
from pathlib import Path

from dhm.errors import DhmError

log = logging.getLogger(__name__)


def say_done(total: int, refused: Sequence[DhmError], out: Path) -> int:
    """Says how many of the files were done, and once more which were refused and why.

    Args:
        total: How many there were.
        refused: Why some were not used.
        out: Folder of the results.

    Returns:
        How many were refused.
    """
    log.info("%d of %d done, in %s", total - len(refused), total, out)
    if refused:
        log.warning("%d refused:", len(refused))
        for error in refused:
            log.warning("  %s", error)
    return len(refused)
