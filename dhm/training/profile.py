"""A JAX profiler trace of some training steps."""

from pathlib import Path
from typing import Any

import jax


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
        """Starts or ends the trace; `state` is waited for, so that whole steps are traced."""
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
