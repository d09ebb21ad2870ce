"""A short fault campaign; `python -m tests.faults` does the long one."""

import pytest

from tests.faults import disk
from tests.faults.flips import damage_and_read
from tests.faults.kills import kill_and_resume, terminate_and_resume
from tests.faults.runs import Reference
from tests.launcher import make_home

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Reference:
    return Reference(make_home(tmp_path_factory.mktemp("home")))


def test_killed_at_any_time_it_ends_in_the_same_state(reference, tmp_path):
    assert kill_and_resume(reference, tmp_path, count=1).saving == 1


def test_sigterm_and_sigint_save_and_end_soon(reference, tmp_path):
    terminate_and_resume(reference, tmp_path, count=2)


def test_damaged_checkpoints_are_named_and_passed_over(reference, tmp_path):
    assert len(damage_and_read(reference.checkpoints, tmp_path, count=15)) == 5


@pytest.mark.skipif(not disk.can_mount(), reason="a small disk is made by root, on Linux")
def test_a_full_disk_loses_nothing(reference, tmp_path):
    disk.fill_and_resume(reference, tmp_path)
