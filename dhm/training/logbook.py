"""Where the numbers of a training run go: the progress line and TensorBoard files."""

import time
from pathlib import Path

from tqdm import tqdm

from dhm.errors import DhmError

_SHORT = {"penetration_rigid": "rigid", "penetration_non_rigid": "palm", "laplacian": "lap"}


class NonFiniteLossError(DhmError):
    """A loss became NaN or infinite; training stops and the last checkpoint stays."""


class Logbook:
    """Progress line with every term, the learning rate, images a second and the time to go.

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
        self._mark, self._images_per_second = (time.perf_counter(), first_step), float("nan")

    def record(self, step: int, metrics: dict[str, float], learning_rate: float) -> None:
        """Takes the metrics of the step that led to `step`.

        Raises:
            NonFiniteLossError: If one of them is NaN or infinite; names it and the step.
        """
        bad = [name for name, value in metrics.items() if not abs(value) < float("inf")]
        if bad:
            raise NonFiniteLossError(
                f"step {step}: {', '.join(f'{name} is {metrics[name]}' for name in bad)}; "
                "training stopped, the last checkpoint is untouched"
            )
        written = step % self._every == 0
        if written:
            seconds, steps = time.perf_counter() - self._mark[0], step - self._mark[1]
            self._images_per_second = steps * self._batch_size / seconds
            self._mark = (time.perf_counter(), step)
        rate = self._images_per_second
        shown = {_SHORT.get(name, name): f"{value:.4g}" for name, value in metrics.items()}
        shown |= {"lr": f"{learning_rate:.1g}", "img/s": f"{rate:.3g}"}
        if not metrics.get("dropped"):
            shown.pop("dropped", None)
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update(1)
        if step % self._every == 0:
            self._write(
                step, {**metrics, "learning_rate": learning_rate, "images_per_second": rate}
            )
            self._mark = (time.perf_counter(), step)

    def _write(self, step: int, values: dict[str, float]) -> None:
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"train/{name}", value, step)

    def close(self) -> None:
        """Flushes the files and ends the progress line."""
        self._bar.close()
        if self._writer is not None:
            self._writer.close()
