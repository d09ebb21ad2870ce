"""Disks that are full, cannot be written to, or vanish while a run trains on them."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.runs import PATIENCE, Reference, Run, wait_until


def can_mount() -> bool:
    """Whether this process may mount file systems and make folders immutable (root, on Linux)."""
    return os.geteuid() == 0 and bool(shutil.which("mount")) and bool(shutil.which("chattr"))


def fill_and_resume(reference: Reference, folder: Path) -> str:
    """A disk with room for two and a half checkpoints and the logs; then a larger one.

    This and the others return what the launcher said.
    """
    newest = reference.checkpoints / str(reference.newest)
    one = sum(path.stat().st_size for path in newest.rglob("*"))
    with _small_disk(folder / "disk", 2.5 * one + 200_000) as disk:
        run = Run(reference.home, disk / "run")
        with run.process() as process:
            said = _message(run, process, "No space left on device")
        assert run.newest > 0, "no checkpoint is left"
        _remount(disk, f"size={20 * one}")
        run.finish()
        reference.require_same(run)
    return said


def forbid_and_resume(reference: Reference, folder: Path) -> str:
    """Checkpoints cannot be written for a while."""
    run = Run(reference.home, folder / "forbidden")
    with run.process() as process:
        wait_until(process, lambda: run.newest > 0)
        subprocess.run(["chattr", "+i", run.checkpoints], check=True)
        try:
            said = _message(run, process, "Operation not permitted")
        finally:
            subprocess.run(["chattr", "-i", run.checkpoints], check=True)
    run.finish()
    reference.require_same(run)
    return said


def refuse_a_read_only_disk(reference: Reference, folder: Path) -> str:
    """A workdir that is write-protected from the start, and one during training."""
    with _small_disk(folder / "read_only", 100_000_000) as disk:
        run, unborn = Run(reference.home, disk / "run"), Run(reference.home, disk / "unborn")
        with run.process() as process:
            wait_until(process, lambda: run.newest > 0)
        _remount(disk, "ro")
        for refused in (run, unborn):
            with refused.process() as process:
                said = _message(refused, process, "Read-only file system")
        _remount(disk, "rw")
        run.finish()
        reference.require_same(run)
    return said


def remove_and_resume(reference: Reference, folder: Path) -> str:
    """The workdir is taken away while a run trains in it, and comes back."""
    run = Run(reference.home, folder / "vanished")
    with run.process() as process:
        wait_until(process, lambda: run.newest > 0)
        run.workdir.rename(folder / "elsewhere")
        said = _message(run, process, "No such file or directory")
    assert not run.workdir.exists(), "it was made again"
    (folder / "elsewhere").rename(run.workdir)
    run.finish()
    reference.require_same(run)
    return said


def _message(run: Run, process: subprocess.Popen, expected: str) -> str:
    """The last line that a process says, which must be an error message, at its end."""
    assert process.wait(PATIENCE) == 1, run.saying
    said = run.saying
    assert "Traceback" not in said, said
    line = said.strip().splitlines()[-1]
    assert "error: " in line and expected in line, said
    return line[line.index("error: ") :]  # after the progress of one that was killed


@contextmanager
def _small_disk(place: Path, size: float) -> Iterator[Path]:
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={int(size)}", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def _remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", disk], check=True)
