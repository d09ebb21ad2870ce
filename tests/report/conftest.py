"""A short run that went through to its report, for all tests of the report."""

import shutil
from pathlib import Path

import pytest

from dhm.data.lock import hold
from tests.launcher import launch, make_home, small_job


@pytest.fixture(scope="session")
def finished(shared_folder) -> Path:
    """The workdir of a run of 18 steps; tests must not change it.

    It takes a minute: the first worker trains for all.
    """
    home = shared_folder / "reported"
    done = home / "done"
    with hold(home / ".lock"):
        if not done.exists():
            _train(make_home(home))
            done.touch()
    return home / "run"


def _train(home: Path) -> None:
    done = launch(home, *small_job(
        "run", "--config.train.epochs=6",
        "--config.train.log_every=1", "--config.data.test_sequences=hook",
    ))  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Report in run/report.html" in done.stdout


@pytest.fixture
def workdir(finished, tmp_path) -> Path:
    """A copy of it without its checkpoints, to be changed."""
    ignored = shutil.ignore_patterns("checkpoints")
    return Path(shutil.copytree(finished, tmp_path / "run", ignore=ignored))
