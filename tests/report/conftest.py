"""A short run that went through to its report, for all tests of the report."""

import shutil
from pathlib import Path

import pytest

from tests.launcher import launch, make_home, small_job


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """The workdir of a run of 18 steps; tests must not change it."""
    home = make_home(tmp_path_factory.mktemp("reported"))
    done = launch(home, *small_job(
        "run", "--config.train.epochs=6",
        "--config.train.log_every=1", "--config.data.test_sequences=hook",
    ))  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Report in run/report.html" in done.stdout
    return home / "run"


@pytest.fixture
def workdir(finished, tmp_path) -> Path:
    """A copy of it without its checkpoints, to be changed."""
    ignored = shutil.ignore_patterns("checkpoints")
    return Path(shutil.copytree(finished, tmp_path / "run", ignore=ignored))
