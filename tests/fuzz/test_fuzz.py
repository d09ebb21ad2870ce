"""Damaged files for every reader; `python -m tests.fuzz --files 10000` feeds more of them."""

import subprocess
import sys

import pytest

from dhm.errors import BadInputError
from tests.conftest import REPOSITORY
from tests.fuzz.bombs import bombs
from tests.fuzz.damage import feed
from tests.fuzz.readers import readers


def test_some_damaged_files_are_read_or_refused(tmp_path):
    for name, reader in readers(tmp_path, with_networks=False).items():
        _feed(name, reader, count=5)


@pytest.mark.slow
def test_many_damaged_files_are_read_or_refused(tmp_path):
    for name, reader in readers(tmp_path).items():
        assert _feed(name, reader, count=80) > 0, name


def _feed(name, reader, count):
    try:
        if reader.content is None:
            reader.read()
        refused, _ = feed(reader, count)
    except Exception as error:
        error.add_note(f"reader of: {name}")
        raise
    return refused


_LARGE_TO_MAKE = ("npz that unpacks", "records' depth")


def test_small_files_that_claim_gigabytes_are_refused(tmp_path):
    for name, (make, read) in bombs().items():
        if not name.startswith(_LARGE_TO_MAKE):
            (tmp_path / "bomb").write_bytes(make())
            with pytest.raises(BadInputError, match="bomb"):
                read(tmp_path / "bomb")


@pytest.mark.slow
def test_refusals_of_files_that_claim_gigabytes_are_fast_and_small():
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.bombs"], cwd=REPOSITORY, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("\n") == 2 + len(bombs())
