"""Freed memory is used again, in a process of its own."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = """
import resource, sys, threading
sys.path.insert(0, sys.argv[1])
from dhm.cli.process import keep_freed_memory
assert sys.argv[2] == "as it is" or keep_freed_memory()
def work():
    for _ in range(20):
        b"x" * 50_000_000
work()
thread = threading.Thread(target=work)
thread.start()
thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def _page_faults(mode: str) -> int:
    start = [sys.executable, "-c", _PROGRAM, str(ROOT), mode]
    return int(subprocess.run(start, capture_output=True, check=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_memory_is_found_and_cleared_once():
    """40 times 50 MB, in two threads."""
    before, after = _page_faults("as it is"), _page_faults("keep")
    once = 50_000_000 // 4096
    assert before > 10 * once
    assert after < 3 * once
