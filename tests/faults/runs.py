"""Training runs that faults happen to, beside one that nothing happened to."""

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

from tests.launcher import command, environment, small_job
from tests.references.tensorboard import read_scalars

NUM_STEPS = 80  # of 18 images in batches of 4, 20 epochs
# Four steps between saves: as many saves as can be, to be killed in.
OFTEN = (
    "--config.train.epochs=20", "--config.train.checkpoint_every_epochs=1",
    "--config.train.log_every=1",
)  # fmt: skip
_OF_THE_CLOCK = {"train/images_per_second", "train/waiting_for_input"}
PATIENCE = 1200  # seconds


class Run:
    """A workdir and the processes that train in it, one after another."""

    def __init__(self, home: Path, workdir: Path):
        self.home, self.workdir = home, workdir
        self.checkpoints = workdir / "checkpoints"
        self._output = Path(tempfile.mkdtemp(prefix=workdir.name, dir=home)) / "output"

    @contextmanager
    def process(self) -> Iterator[subprocess.Popen]:
        """One that begins or goes on; must go on from the newest checkpoint, and does not stay."""
        first, before = self.newest + 1, set(self._event_files())
        with self._output.open("ab") as output:
            process = subprocess.Popen(
                command(*small_job(str(self.workdir), *OFTEN, task=("train",))),
                cwd=self.home, env=environment(), stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            yield process
        finally:
            process.kill()
            process.wait()
        for path in set(self._event_files()) - before:
            steps = read_scalars(path).get("train/total", {first: 0.0})
            assert min(steps) == first, f"{path} begins with {min(steps)}, expected {first}"

    def finish(self) -> None:
        """Begins or goes on, to the end."""
        with self.process() as process:
            assert process.wait(PATIENCE) == 0, self.saying

    @property
    def newest(self) -> int:
        """Step of the newest checkpoint by its name, 0 if there is none."""
        names = [path.name for path in self.checkpoints.glob("*")]
        return max((int(name) for name in names if name.isdecimal()), default=0)

    @property
    def is_saving(self) -> bool:
        """Whether a checkpoint is half written at this moment, or was left so."""
        return any(self.checkpoints.glob("*.unfinished"))

    @property
    def saying(self) -> str:
        """The end of what all the processes have printed."""
        return self._output.read_text(errors="replace")[-3000:]

    @property
    def logs(self) -> list[dict[str, dict[int, float]]]:
        """Values by tag and step, for each process that logged any."""
        return [log for log in map(read_scalars, self._event_files()) if log]

    @property
    def final_state(self) -> list[np.ndarray]:
        """All of the last checkpoint: parameters, optimiser, statistics, step."""
        with ocp.StandardCheckpointer() as reader:
            tree = reader.restore(self.checkpoints / str(NUM_STEPS) / "state")
        return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]

    def _event_files(self) -> list[Path]:
        return sorted((self.workdir / "tensorboard").glob("*"))


class Reference(Run):
    """A run without faults; prepares the data and compiles for those that follow."""

    def __init__(self, home: Path):
        super().__init__(home, home / "reference")
        self.finish()
        (log,) = self.logs
        self._losses = {tag: values for tag, values in log.items() if tag not in _OF_THE_CLOCK}

    @cached_property
    def seconds(self) -> float:
        """What a run takes from its start, with the data and programs there."""
        again, began = Run(self.home, self.home / "again"), time.monotonic()
        again.finish()
        seconds = time.monotonic() - began
        self.require_same(again)
        return seconds

    @cached_property
    def _state(self) -> list[np.ndarray]:
        return self.final_state

    def require_same(self, run: Run) -> None:
        """Every loss that any process of a finished run has logged, and its end, bit for bit."""
        steps = set()
        for log in run.logs:
            for tag in log.keys() - _OF_THE_CLOCK:
                expected = {step: self._losses[tag][step] for step in log[tag]}
                assert log[tag] == expected, f"{run.workdir}: {tag} differs"
            steps |= log["train/total"].keys()
        assert steps == set(range(1, NUM_STEPS + 1)), "a step's loss is missing"
        for found, expected in zip(run.final_state, self._state, strict=True):
            np.testing.assert_array_equal(found, expected)


def wait_until(process: subprocess.Popen, happened: Callable[[], bool]) -> None:
    """Waits for something that a process does, or its end."""
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and not happened():
        assert time.monotonic() < deadline, f"it did not happen within {PATIENCE} s"
        time.sleep(0.001)
