"""Checkpoints of the training state, by step."""

from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from dhm.training.state import TrainState


def _tree(state: TrainState) -> dict[str, Any]:
    return {"step": state.step, "opt_state": state.opt_state, **state.variables}


class Checkpoints:
    """Saves and restores training states under one folder; the newest few are kept.

    A save appears under its final name only when it is complete, so that a process killed in the
    middle leaves the one before.
    """

    def __init__(self, folder: Path, keep: int = 3):
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True)
        self._manager = ocp.CheckpointManager(Path(folder).resolve(), options=options)

    def latest_step(self) -> int | None:
        """Step of the newest checkpoint, None if there is none."""
        return self._manager.latest_step()

    def save(self, state: TrainState) -> None:
        """Copies the state to the host and writes it in the background; once a step."""
        step = int(state.step)
        if step != self._manager.latest_step():
            host = jax.device_get(_tree(state))
            self._manager.save(step, args=ocp.args.StandardSave(host))

    def restore(self, state: TrainState) -> TrainState:
        """The newest checkpoint in the structure of `state`, which must be on the host.

        Raises:
            FileNotFoundError: If there is no checkpoint.
        """
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, _tree(state))
        tree = self._manager.restore(self._newest(), args=ocp.args.StandardRestore(abstract))
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
        """
        tree = self._manager.restore(self._newest(), args=ocp.args.StandardRestore())
        return {name: tree[name] for name in ("params", "batch_stats", "identity")}

    def _newest(self) -> int:
        step = self.latest_step()
        if step is None:
            raise FileNotFoundError(f"no checkpoint under {self._manager.directory}")
        return step

    def wait(self) -> None:
        """Returns when everything saved so far is on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, then frees the threads."""
        self._manager.close()
