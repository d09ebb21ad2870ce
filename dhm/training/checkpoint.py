"""Checkpoints of the training state, sealed with digests so that damage is detected.

A checkpoint is a folder named by its step. Orbax's arrays have no checksums: without the seal a
flipped bit would be restored in silence.
"""

import errno
import hashlib
import json
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
from dhm.files import data_paths, is_data
from dhm.training.state import TrainState

log = logging.getLogger(__name__)

SEAL_FILE = "digests.json"
"""File of a checkpoint with the digests of all others."""

# Suffixes of folders that are not checkpoints.
_UNFINISHED, _DAMAGED = ".unfinished", ".damaged"
_STATE = "state"
_MARGIN = 1 << 20  # bytes of a checkpoint besides its arrays


class CheckpointError(DhmError):
    """A checkpoint could not be written, or there is none that can be read."""


def _tree(state: TrainState) -> dict[str, Any]:
    return {"step": state.step, "opt_state": state.opt_state, **state.variables}


class Checkpoints:
    """Saves and restores training states under one folder; the newest few are kept.

    A checkpoint gets its final name only when all of it is on disk and sealed, so that a process
    killed in the middle leaves the earlier ones intact. Damaged checkpoints are skipped with a
    warning. Only one process may save into a folder; several may read.

    Args:
        folder: Holds one folder a step; made by the first save, its parent must exist.
        keep: Number of checkpoints that are kept.
    """

    def __init__(self, folder: Path, keep: int = 3):
        self._folder, self._keep = Path(folder).resolve(), keep
        # One process writes, however many there are: it must not wait for the others.
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
        """Returns the step of the newest undamaged checkpoint, None if there is no checkpoint.

        Raises:
            CheckpointError: If there are checkpoints and all of them are damaged.
        """
        self.wait()
        steps = self._steps()
        good = next((step for step in reversed(steps) if self._is_good(step)), None)
        if good is None and steps:
            raise CheckpointError(
                f"{self._folder}: all checkpoints ({', '.join(map(str, steps))}) are damaged; "
                "give another --workdir, or move them away to start again"
            )
        return good

    def save(self, state: TrainState) -> None:
        """Copies the state to the host and writes it in the background.

        Does nothing if there is an undamaged checkpoint of this step.

        Raises:
            CheckpointError: If the previous checkpoint could not be written.
        """
        self.wait()
        step = int(state.step)
        if step in self._steps() and self._is_good(step):
            return
        host = jax.device_get(_tree(state))
        self._saving = step, self._writer.submit(self._write, step, host)

    def restore(self, state: TrainState) -> TrainState:
        """Returns the newest checkpoint in the structure of `state`, which must be on the host.

        Raises:
            FileNotFoundError: If there is no checkpoint.
            CheckpointError: If all are damaged, or the newest is of another structure.
        """
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, _tree(state))
        tree = self._read(ocp.args.StandardRestore(abstract))
        self._require_shapes(tree, _tree(state))
        return state.replace(
            step=tree["step"],
            opt_state=tree["opt_state"],
            params=tree["params"],
            batch_stats=tree["batch_stats"],
            identity=tree["identity"],
        )

    def restore_variables(self) -> dict[str, Any]:
        """Returns the model's variables of the newest checkpoint as NumPy arrays.

        Raises:
            FileNotFoundError: If there is no checkpoint.
            CheckpointError: If all are damaged.
        """
        tree = self._read(ocp.args.StandardRestore())
        return {name: tree[name] for name in ("params", "batch_stats", "identity")}

    def clear_damaged(self) -> None:
        """Renames damaged checkpoints newer than the latest good one; deletes unfinished ones.

        For the one process that saves: training then writes these steps again.
        """
        newest = self.latest_step()
        for step in self._steps():
            if newest is not None and step > newest:
                path = self._path(step)
                shutil.rmtree(path.with_suffix(_DAMAGED), ignore_errors=True)
                path.rename(path.with_suffix(_DAMAGED))
        for path in data_paths(self._folder, f"*{_UNFINISHED}*"):
            shutil.rmtree(path, ignore_errors=True)

    def check(self) -> None:
        """Raises the error of the last save, if that is done; does not wait for it.

        Raises:
            CheckpointError: If the last save could not be written.
        """
        if self._saving is not None and self._saving[1].done():
            self.wait()

    def wait(self) -> None:
        """Waits until everything saved so far is on disk.

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
            CheckpointError: If the last save could not be written.
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
        self._require_space(tree)
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
        for old in map(self._path, self._steps()[: -self._keep]):
            discarded = old.rename(old.with_suffix(_UNFINISHED))
            # On NFS files that somebody has open stay as .nfs* until then, and so does the folder.
            shutil.rmtree(discarded, ignore_errors=True)

    def _require_space(self, tree: dict[str, Any]) -> None:
        """Refuses a full disk: Orbax would bury the reason under hundreds of tracebacks."""
        needed = _MARGIN + sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(tree))
        if (free := shutil.disk_usage(self._folder).free) < needed:
            sizes = f"{needed / 1e6:.1f} MB needed, {free / 1e6:.1f} MB free"
            raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {sizes}")

    def _read(self, arguments: ocp.args.StandardRestore) -> dict[str, Any]:
        step = self.latest_step()
        if step is None:
            raise FileNotFoundError(f"no checkpoint under {self._folder}")
        try:
            return self._orbax.restore(self._path(step) / _STATE, args=arguments)
        except (ValueError, KeyError, TypeError) as error:  # it is whole, by its seal
            raise self._unfit(" ".join(str(error).split())[:200]) from error

    def _require_shapes(self, found: Any, expected: Any) -> None:
        """Refuses arrays of other shapes, which Orbax gives without a word."""
        leaves = jax.tree_util.tree_leaves_with_path(found)
        for (path, leaf), wanted in zip(leaves, jax.tree.leaves(expected), strict=True):
            if np.shape(leaf) != np.shape(wanted):
                name = jax.tree_util.keystr(path, simple=True, separator="/")
                raise self._unfit(f"{name} of shape {np.shape(leaf)}, not {np.shape(wanted)}")

    def _unfit(self, found: str) -> CheckpointError:
        return CheckpointError(
            f"{self._path(self.latest_step() or 0)}: does not fit this model, another version of "
            f"dhm may have written it ({found})"
        )

    def _path(self, step: int) -> Path:
        return self._folder / str(step)

    def _steps(self) -> list[int]:
        names = [path.name for path in data_paths(self._folder) if path.is_dir()]
        return sorted(int(name) for name in names if name.isdecimal())

    def _is_good(self, step: int) -> bool:
        """Whether a checkpoint matches its seal; logs a warning once if it does not."""
        if step not in self._good:
            damage = find_damage(self._path(step))
            self._good[step] = damage is None
            if damage is not None:
                log.warning("%s: %s; the checkpoint is skipped", self._path(step), damage)
        return self._good[step]


def seal(folder: Path) -> None:
    """Writes `SEAL_FILE`: the SHA-256 digest of every data file of a folder, and of that list.

    Raises:
        OSError: If a file cannot be read or the list cannot be written.
    """
    files = {name: _digest(folder / name) for name in _files(folder)}
    (folder / SEAL_FILE).write_bytes(_content(files))


def find_damage(folder: Path) -> str | None:
    """Compares a folder with its seal.

    Returns:
        What differs, by the name of the file (one that was added counts too); None if nothing does.
        Files that are no data (`dhm.files`) may come and go.
    """
    path = folder / SEAL_FILE
    try:
        content = path.read_bytes()
        files = dict(json.loads(content)["files"])
    except FileNotFoundError:
        return f"{SEAL_FILE} is missing: the checkpoint is incomplete, or another version wrote it"
    except (ValueError, KeyError, TypeError, OSError) as error:
        return f"{SEAL_FILE} is damaged ({error!r})"
    if content != _content(files):  # to the last byte
        return f"{SEAL_FILE} is damaged (its own digest differs)"
    files = {name: digest for name, digest in files.items() if all(map(is_data, name.split("/")))}
    present = set(_files(folder))
    if missing := sorted(files.keys() - present):
        return f"{missing[0]} is missing"
    if added := sorted(present - files.keys()):
        return f"{added[0]} does not belong to it"
    for name, expected in files.items():
        try:
            found = _digest(folder / name)
        except OSError as error:
            return f"{name} cannot be read ({error})"
        if found != expected:
            return f"{name} is damaged (its digest differs)"
    return None


def _files(folder: Path) -> list[str]:
    """Names of the files that a seal covers: not itself, nor what the system left there."""
    paths = (path for path in data_paths(folder, "**/*") if path.is_file())
    return [p.relative_to(folder).as_posix() for p in paths if p != folder / SEAL_FILE]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _content(files: dict[str, str]) -> bytes:
    digest_of_list = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    return json.dumps({"files": files, "list": digest_of_list}, indent=1).encode()
