"""Checkpoints of the training state, by step; a damaged one is seen and passed over."""

import errno
import logging
import os
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from dhm.errors import DhmError
from dhm.training.seal import damage, seal
from dhm.training.state import TrainState

log = logging.getLogger(__name__)

# Suffixes of folders that are no checkpoints.
_UNFINISHED, _DAMAGED = ".unfinished", ".damaged"
_STATE = "state"
_MARGIN = 1 << 20  # bytes of a checkpoint beside its numbers


class CheckpointError(DhmError):
    """A checkpoint could not be written, or there is none that can be read."""


def _tree(state: TrainState) -> dict[str, Any]:
    return {"step": state.step, "opt_state": state.opt_state, **state.variables}


class Checkpoints:
    """Saves and restores training states under one folder; the newest few are kept.

    A save has its final name only when all of it is on disk with its digests, so that a process
    killed in the middle leaves the ones before. Only one process may save into a folder; several
    may read.

    Args:
        folder: Holds one folder a step; made by the first save, its parent must exist.
        keep: How many of the newest are kept.
    """

    def __init__(self, folder: Path, keep: int = 3):
        self._folder, self._keep = Path(folder).resolve(), keep
        # Written by one process alone, whatever their number: the others must not be waited for.
        alone = ocp.options.MultiprocessingOptions(
            primary_host=jax.process_index(),
            active_processes={jax.process_index()},
            barrier_sync_key_prefix=f"process_{jax.process_index()}",
        )
        handler = ocp.StandardCheckpointHandler(multiprocessing_options=alone)
        self._orbax = ocp.Checkpointer(handler, multiprocessing_options=alone)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._saving: tuple[int, Future] | None = None
        self._good: dict[int, bool] = {}

    def latest_step(self) -> int | None:
        """Step of the newest undamaged checkpoint, None if there is no checkpoint at all.

        Raises:
            CheckpointError: If there are checkpoints and all of them are damaged.
        """
        self.wait()
        steps = self._steps()
        good = next((step for step in reversed(steps) if self._is_good(step)), None)
        if good is None and steps:
            raise CheckpointError(
                f"{self._folder}: all checkpoints ({', '.join(map(str, steps))}) are damaged; "
                "give another --workdir, or move them away to begin anew"
            )
        return good

    def save(self, state: TrainState) -> None:
        """Copies the state to the host and writes it in the background; once a step.

        Raises:
            CheckpointError: If the save before could not be written.
        """
        self.wait()
        step = int(state.step)
        if step in self._steps() and self._is_good(step):
            return
        host = jax.device_get(_tree(state))
        self._saving = step, self._writer.submit(self._write, step, host)

    def restore(self, state: TrainState) -> TrainState:
        """The newest checkpoint in the structure of `state`, which must be on the host.

        Raises:
            FileNotFoundError: If there is no checkpoint.
            CheckpointError: If all are damaged.
        """
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, _tree(state))
        tree = self._read(ocp.args.StandardRestore(abstract))
        return state.replace(
            step=tree["step"],
            opt_state=tree["opt_state"],
            params=tree["params"],
            batch_stats=tree["batch_stats"],
            identity=tree["identity"],
        )

    def restore_variables(self) -> dict[str, Any]:
        """The model's variables of the newest checkpoint, as NumPy arrays.

        Raises:
            FileNotFoundError: If there is no checkpoint.
            CheckpointError: If all are damaged.
        """
        tree = self._read(ocp.args.StandardRestore())
        return {name: tree[name] for name in ("params", "batch_stats", "identity")}

    def clear_damaged(self) -> None:
        """Gives damaged checkpoints newer than the good one another name; drops unfinished ones.

        For the one process that saves: training then writes these steps anew.
        """
        newest = self.latest_step()
        for step in self._steps():
            if newest is not None and step > newest:
                path = self._path(step)
                shutil.rmtree(path.with_suffix(_DAMAGED), ignore_errors=True)
                path.rename(path.with_suffix(_DAMAGED))
        for path in self._folder.glob(f"*{_UNFINISHED}*"):
            shutil.rmtree(path)

    def check(self) -> None:
        """Returns at once while a save is under way.

        Raises:
            CheckpointError: If the last save could not be written.
        """
        if self._saving is not None and self._saving[1].done():
            self.wait()

    def wait(self) -> None:
        """Returns when everything saved so far is on disk.

        Raises:
            CheckpointError: If it could not be written.
        """
        if self._saving is None:
            return
        (step, future), self._saving = self._saving, None
        try:
            future.result()
        except Exception as error:
            raise CheckpointError(
                f"{self._path(step)}: cannot be written ({error}); the checkpoints before it are "
                "untouched"
            ) from error

    def close(self) -> None:
        """Waits, then frees the threads.

        Raises:
            CheckpointError: If what was saved last could not be written.
        """
        try:
            self.wait()
        finally:
            self._writer.shutdown()
            self._orbax.close()

    def _write(self, step: int, tree: dict[str, Any]) -> None:
        final = self._path(step)
        unfinished = final.with_suffix(_UNFINISHED)
        self._folder.mkdir(exist_ok=True)
        shutil.rmtree(unfinished, ignore_errors=True)
        self._require_room(tree)
        try:
            unfinished.mkdir()
            self._orbax.save(unfinished / _STATE, args=ocp.args.StandardSave(tree))
            seal(unfinished)
            shutil.rmtree(final, ignore_errors=True)  # of the same step, damaged
            unfinished.rename(final)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        self._good[step] = True
        for old in self._steps()[: -self._keep]:
            shutil.rmtree(self._path(old))

    def _require_room(self, tree: dict[str, Any]) -> None:
        """Orbax, when a disk fills up, buries the reason under hundreds of tracebacks."""
        needed = _MARGIN + sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(tree))
        if (free := shutil.disk_usage(self._folder).free) < needed:
            sizes = f"{needed / 1e6:.1f} MB needed, {free / 1e6:.1f} MB free"
            raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {sizes}")

    def _read(self, arguments: ocp.args.StandardRestore) -> dict[str, Any]:
        step = self.latest_step()
        if step is None:
            raise FileNotFoundError(f"no checkpoint under {self._folder}")
        return self._orbax.restore(self._path(step) / _STATE, args=arguments)

    def _path(self, step: int) -> Path:
        return self._folder / str(step)

    def _steps(self) -> list[int]:
        names = [path.name for path in self._folder.glob("*") if path.is_dir()]
        return sorted(int(name) for name in names if name.isdecimal())

    def _is_good(self, step: int) -> bool:
        """Whether a checkpoint is as it was written; says so once if it is not."""
        if step not in self._good:
            found = damage(self._path(step))
            self._good[step] = found is None
            if found is not None:
                log.warning("%s: %s; the checkpoint is passed over", self._path(step), found)
        return self._good[step]
