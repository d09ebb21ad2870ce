import errno
import os
import subprocess
import sys

import pytest

from dhm.data.lock import WorkdirInUseError, in_turn, only_one

_HOLD = """
import sys, time
from pathlib import Path
from dhm.data.lock import only_one
with only_one(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_second_process_is_refused_until_the_first_is_dead(tmp_path):
    workdir = tmp_path / "a" / "run"
    command = [sys.executable, "-c", _HOLD, str(workdir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            with (
                pytest.raises(WorkdirInUseError, match=rf"run: process {holder.pid} on .* is tr"),
                only_one(workdir),
            ):
                pass
        finally:
            holder.kill()
    with only_one(workdir):
        assert f"process {os.getpid()} on " in (workdir / "lock").read_text()


def test_it_is_free_after_use_and_after_an_error(tmp_path):
    with pytest.raises(RuntimeError), only_one(tmp_path):
        raise RuntimeError
    for _ in range(2):
        with only_one(tmp_path):
            pass


def test_makers_of_data_wait_for_each_other(tmp_path):
    """Four processes read a number, wait and write it back one higher: none is lost."""
    code = (
        "import sys, time; from pathlib import Path; from dhm.data.lock import in_turn\n"
        "with in_turn(Path(sys.argv[1])):\n"
        "    file = Path(sys.argv[1]) / 'n'; n = int(file.read_text()) if file.exists() else 0\n"
        "    time.sleep(0.3); file.write_text(str(n + 1))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "data")]
    processes = [subprocess.Popen(command) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert (tmp_path / "data" / "n").read_text() == "4"


def test_where_nobody_can_write_nobody_waits(tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    entered = False
    with in_turn(tmp_path):
        entered = True
    assert entered
