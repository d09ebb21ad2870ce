"""What is recorded while a run trains: progress line, TensorBoard files, profiler trace."""

import time
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

_SHORT = {"penetration_rigid": "rigid", "penetration_non_rigid": "palm", "laplacian": "lap"}


class Logbook:
    """Progress line with every term, the learning rate, the speed and the remaining time.

    The speed is in images a second, beside the share of the time spent waiting for input.

    Args:
        folder: Gets the TensorBoard files; None writes none.
        first_step: Step to start counting from.
        num_steps: Last step of the run.
        batch_size: Global; for images a second.
        every: Steps between two points in TensorBoard.
        quiet: No progress line, for processes other than the first.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        first_step: int,
        num_steps: int,
        batch_size: int,
        every: int,
        quiet: bool = False,
    ):
        self._writer = None
        if folder is not None:
            from tensorboardX import SummaryWriter  # Not on every machine that runs the step.

            self._writer = SummaryWriter(str(folder))
        self._bar = tqdm(
            total=num_steps, initial=first_step, desc="train", unit="step", mininterval=0.5,
            dynamic_ncols=True, disable=quiet,
        )  # fmt: skip
        self._batch_size, self._every = batch_size, every
        self._num_steps = num_steps
        self._mark: tuple[float, int] = (time.perf_counter(), first_step)
        self._waited = 0.0
        self._speed: tuple[float, float] | None = None

    def add_waiting(self, seconds: float) -> None:
        """Adds the time that a step waited for its batch."""
        self._waited += seconds

    def record(self, step: int, metrics: dict[str, float], learning_rate: float) -> None:
        """Records the metrics of the step that led to `step`."""
        rate, waiting = self._current_speed(step)
        shown = {_SHORT.get(name, name): f"{value:.4g}" for name, value in metrics.items()}
        shown |= {"lr": f"{learning_rate:.1g}", "img/s": f"{rate:.3g}", "wait": f"{waiting:.0%}"}
        if not metrics.get("dropped"):
            shown.pop("dropped", None)
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update(1)
        if self._writer is not None and (step % self._every == 0 or step == self._num_steps):
            values = {**metrics, "learning_rate": learning_rate, "images_per_second": rate,
                      "waiting_for_input": waiting}  # fmt: skip
            for name, value in values.items():
                self._writer.add_scalar(f"train/{name}", value, step)

    def _current_speed(self, step: int) -> tuple[float, float]:
        """Over the last `every` steps; before there are that many, over all."""
        now, (then, first) = time.perf_counter(), self._mark
        if self._speed is not None and step - first < self._every:
            return self._speed
        speed = (step - first) * self._batch_size / (now - then), self._waited / (now - then)
        if step - first >= self._every:
            self._mark, self._waited, self._speed = (now, step), 0.0, speed
        return speed

    def flush(self) -> None:
        """Writes everything recorded so far to disk."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Flushes the files and ends the progress line."""
        self._bar.close()
        if self._writer is not None:
            self._writer.close()


class Profiler:
    """Traces the steps first..last (inclusive, counted from 0) into a folder.

    Open the trace with TensorBoard's profile plugin, XProf or Perfetto.

    Args:
        folder: Gets the trace.
        steps: (first, last), or () for none.
    """

    def __init__(self, folder: Path, steps: tuple[int, ...]):
        self._folder, self._steps = folder, steps
        self._running = False

    def __enter__(self) -> "Profiler":
        return self

    def before_step(self, step: int, state: Any) -> None:
        """Starts or ends the trace; waits for `state`, so that whole steps are traced."""
        if not self._steps:
            return
        first, last = self._steps
        if step == first:
            jax.block_until_ready(state)
            jax.profiler.start_trace(str(self._folder))
            self._running = True
        elif step == last + 1:
            self._stop(state)

    def _stop(self, state: Any = None) -> None:
        if self._running:
            jax.block_until_ready(state)
            jax.profiler.stop_trace()
            self._running = False

    def __exit__(self, *_) -> None:
        self._stop()
