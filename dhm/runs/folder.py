"""Names of the files and folders of a run; `metrics.json` is `dhm.evaluation.metrics_file`'s."""

from pathlib import Path

CONFIG_FILE = "config.json"
"""The config that the run is trained with."""

DATA_FILE = "data.fingerprint"
"""Fingerprint of the records that the run is trained on."""

LOCK_FILE = "lock"
"""Held by the process that trains."""

CHECKPOINTS_FOLDER = "checkpoints"
"""The training state, by step."""

TENSORBOARD_FOLDER = "tensorboard"
"""Every loss term, the learning rate, images a second, the share of time spent on waiting."""

REPLAY_FOLDER = "replay"
"""Steps that training stopped at."""

PROFILE_FOLDER = "profile"
"""JAX's trace of some steps."""

EXPORT_FOLDER = "export"
"""The trained model as plain files, with meshes of it."""

REPORT_FILE = "report.html"
"""All of it on one page."""

SWEEP_LOG_FILE = "sweep.log"
"""What the run printed, if a sweep or an ablation started it."""

RESULT_FOLDERS = (
    CHECKPOINTS_FOLDER, TENSORBOARD_FOLDER, REPLAY_FOLDER, PROFILE_FOLDER, EXPORT_FOLDER
)  # fmt: skip
"""All folders of a run."""

_FILES = (CONFIG_FILE, DATA_FILE, LOCK_FILE, REPORT_FILE, SWEEP_LOG_FILE, "metrics.json")


def files_of_run(workdir: Path) -> list[Path]:
    """Returns the files of a run, which no other command may replace."""
    own = (path for name in RESULT_FOLDERS for path in (workdir / name).rglob("*"))
    return [*(workdir / name for name in _FILES), *own]
