import os
import subprocess
import sys

import pytest

from dhm.workdir_lock import WorkdirInUseError, only_one

_HOLD = """
import sys, time
from pathlib import Path
from dhm.workdir_lock import only_one
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
