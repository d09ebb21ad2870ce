"""Damaged files for every reader; `python -m tests.fuzz --files 10000` has more of them."""

import subprocess
import sys

from tests.conftest import REPOSITORY
from tests.fuzz.bombs import bombs
from tests.fuzz.damage import feed
from tests.fuzz.readers import readers


def test_damaged_files_are_read_or_refused_and_nothing_else(tmp_path):
    for name, reader in readers(tmp_path).items():
        try:
            reader.read() if reader.content is None else None
            refused, _ = feed(reader, count=80)
        except Exception as error:
            error.add_note(f"reader of: {name}")
            raise
        assert refused > 0, name


def test_small_files_that_ask_for_gigabytes_are_refused():
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.bombs"], cwd=REPOSITORY, capture_output=True, text=True,
        check=False, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("\n") == 2 + len(bombs())
