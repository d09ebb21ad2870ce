"""An output folder that is there completely or not at all."""

import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path

from dhm.data.schema import INFO_FILE
from dhm.errors import BadInputError


@contextlib.contextmanager
def exclusive(out: Path) -> Iterator[None]:
    """Lets one process at a time work on a folder; the others wait."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with (out.parent / f".{out.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def replaced_when_done(out: Path) -> Iterator[Path]:
    """Gives an empty sibling to build in, which takes the folder's place in the end.

    When the body raises, the folder stays as it was. Call it inside `exclusive`.

    Args:
        out: The folder. It may exist if it is empty or was prepared before.

    Raises:
        BadInputError: If the folder holds something else.
    """
    if out.exists() and not out.is_dir():
        raise BadInputError(out, "a file", "a folder to write, or none yet")
    if out.is_dir() and not (out / INFO_FILE).is_file() and any(out.iterdir()):
        raise BadInputError(
            out, "a folder with other contents", "a prepared folder, an empty one or none yet"
        )
    building, old = (out.parent / f".{out.name}.{suffix}" for suffix in ("building", "old"))
    for leftover in (building, old):
        _remove(leftover)
    building.mkdir()
    try:
        yield building
    except BaseException:
        _remove(building)
        raise
    if out.exists():
        out.rename(old)
    building.rename(out)
    _remove(old)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
