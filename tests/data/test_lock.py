"""Locks between processes."""

import errno
import os
import subprocess
import sys

import pytest

from dhm.data.lock import InUseError, hold

_HOLD = """
import sys
from pathlib import Path
from dhm.data.lock import hold
with hold(Path(sys.argv[1]), wait=False):
    print("held", flush=True)
    sys.stdin.read()
"""
_ADD_ONE = """
import sys, time
from pathlib import Path
from dhm.data.lock import hold
file = Path(sys.argv[1])
with hold(file.parent / ".lock"):
    count = int(file.read_text()) if file.exists() else 0
    time.sleep(0.2)
    file.write_text(str(count + 1))
"""


@pytest.mark.mistake("train", "twice at once in one workdir", "refused")
def test_a_second_process_is_refused_until_the_first_is_dead(tmp_path):
    file = tmp_path / "a" / "run" / "lock"
    command = [sys.executable, "-c", _HOLD, str(file)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            with (
                pytest.raises(InUseError, match=rf"run: process {holder.pid} on .* is at"),
                hold(file, wait=False),
            ):
                pass
        finally:
            holder.kill()
    with hold(file, wait=False):
        assert file.read_text().startswith(f"process {os.getpid()} on ")


def test_a_lock_is_free_after_use_and_after_an_error(tmp_path):
    with pytest.raises(RuntimeError), hold(tmp_path / "lock", wait=False):
        raise RuntimeError
    for wait in (False, True):
        with hold(tmp_path / "lock", wait=wait):
            pass


def test_without_flock_a_warning_stands_for_the_lock(tmp_path):
    """As on Windows, where the module cannot be imported."""
    code = """
import sys, logging
sys.modules["fcntl"] = None
logging.basicConfig(format="%(message)s")
from pathlib import Path
from dhm.data.lock import hold
with hold(Path(sys.argv[1]), wait=False):
    print("inside")
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "run" / "lock")],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout == "inside\n"
    assert "this system cannot lock" in done.stderr


def test_processes_wait_for_each_other(tmp_path):
    """Processes read a number and write it back one higher after a while: no increment is lost."""
    command = [sys.executable, "-c", _ADD_ONE, str(tmp_path / "count")]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait() for process in processes] == [0] * 3
    assert (tmp_path / "count").read_text() == "3"


@pytest.mark.mistake(
    "prepared data", "in a folder that is read-only", "understood: nothing is written there"
)
def test_a_read_only_folder_needs_no_lock_unless_it_must_be_written_to(tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    entered = False
    with hold(tmp_path / "lock"):
        entered = True
    assert entered and not (tmp_path / "lock").exists()
    with pytest.raises(OSError, match="read-only"), hold(tmp_path / "lock", wait=False):
        pass
