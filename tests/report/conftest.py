"""A short run, from training to its report, for all tests of the report."""

import contextlib
import shutil
from pathlib import Path

import pytest

from configs import tiny
from data_prep import sources
from dhm.data.lock import hold
from dhm.runs import tasks
from tests.launcher import make_home

SETTINGS = {
    "capture": "capture", "data.image_size": 48, "data.test_sequences": "hook",
    "encoder.width": 8, "train.batch_size": 4, "train.epochs": 6, "train.log_every": 1,
    "train.learning_rate": 1e-3, "train.checkpoint_every_epochs": 5, "export.num_poses": 2,
}  # fmt: skip


@pytest.fixture(scope="session")
def finished(shared_folder) -> Path:
    """The workdir of a run of 18 steps; tests must not change it.

    The first worker that needs it trains for all.
    """
    home = shared_folder / "reported"
    done = home / "done"
    with hold(home / ".lock"):
        if not done.exists():
            make_home(home)
            config = tiny.get_config()
            config.update_from_flattened_dict(SETTINGS)
            with contextlib.chdir(home):
                tasks.run(("train", "evaluate", "export", "report"), config, Path("run"), sources)
            done.touch()
    return home / "run"


@pytest.fixture
def workdir(finished, tmp_path) -> Path:
    """A copy of the workdir without its checkpoints, to be changed."""
    ignored = shutil.ignore_patterns("checkpoints")
    return Path(shutil.copytree(finished, tmp_path / "run", ignore=ignored))
