"""Names of the files and folders of a run; `metrics.json` is `dhm.evaluation.metrics_file`'s."""

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
