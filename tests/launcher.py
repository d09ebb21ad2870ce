"""The command line on a small capture, in a process of its own or in this one."""

import contextlib
import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from data_prep.toy.capture import write_toy_capture
from dhm.cli.main import main

ROOT = Path(__file__).resolve().parents[1]
SMALL = (
    "--config.data.image_size=48", "--config.encoder.width=8", "--config.train.batch_size=4",
    "--config.train.epochs=60", "--config.train.lr_drop_epochs=(45,)", "--config.train.log_every=5",
    "--config.train.checkpoint_every_epochs=5", "--config.export.num_poses=2",
    "--config.train.learning_rate=0.001",
)  # fmt: skip


def make_home(folder: Path) -> Path:
    """Writes a capture into a working folder: three sequences of two frames, by three cameras."""
    write_toy_capture(
        folder / "capture", frames_per_sequence=2, num_cameras=3, num_vertices=800, seed=3,
        sequences={"0001_RT_fist": "fist", "0002_RT_spread": "spread", "0003_RT_hook": "hook"},
    )  # fmt: skip
    return folder


def command(*arguments: str) -> list[str]:
    """What starts the launcher."""
    return [sys.executable, str(ROOT / "launch.py"), *arguments]


def environment(**more: str) -> dict[str, str]:
    """One device: the whole batch on it. Programs that compile fast are kept too."""
    cache = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5"}
    return {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu", **cache, **more}


def launch(home: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Runs the launcher in a working folder to its end."""
    return subprocess.run(
        command(*arguments), cwd=home, env=environment(), capture_output=True, text=True,
        timeout=1200, check=False,
    )  # fmt: skip


def launch_here(home: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Runs a command in this process, which is faster: nothing is imported or compiled anew."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(home), redirect_stdout(out), redirect_stderr(err):
        code = main(arguments)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def small_job(workdir: str, *more: str, task: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Arguments of a run on the working folder's capture that takes seconds."""
    config = ("--config", str(ROOT / "configs/tiny.py"), "--config.capture=capture")
    return (*task, *config, *SMALL, *more, "--workdir", workdir)
