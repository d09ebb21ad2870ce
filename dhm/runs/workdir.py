"""The folder of a run: which config and data it belongs to, and its newest checkpoint."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dhm.errors import BadInputError, DhmError
from dhm.formats.json_file import flat_fields, write_json
from dhm.formats.paths import refuse_overwriting, refuse_removing
from dhm.runs.config_file import noted_config, plain_config
from dhm.runs.folder import CHECKPOINTS_FOLDER, CONFIG_FILE, DATA_FILE, RESULT_FOLDERS
from dhm.training.checkpoint import Checkpoints

# A run may be continued with other values of these.
_FREE_ON_RESUME = ("train.epochs", "train.log_every", "train.keep_checkpoints", "input", "eval",
                   "export", "profile")  # fmt: skip
# A trained model may be measured and exported with other values of everything but these.
_SHAPES_THE_MODEL = ("subject", "encoder", "decoder", "mano", "data.image_size")


def require_separate(config: ConfigDict, workdir: Path) -> None:
    """Refuses a workdir whose results would replace what the config names.

    Raises:
        BadInputError: If it is one of the config's folders, or has one in a folder of its own.
    """
    named = (config.capture, config.prepared, config.encoder.weights, config.decoder.trained,
             config.mano.path, config.augment.backgrounds)  # fmt: skip
    inputs = [Path(name) for name in named if name]
    refuse_overwriting("--workdir", [workdir], inputs)
    for folder in RESULT_FOLDERS:
        refuse_removing("--workdir", workdir / folder, inputs)


def claim_workdir(config: ConfigDict, workdir: Path) -> None:
    """Writes the config into a workdir; if something is trained there already, compares first.

    Raises:
        BadInputError: If a setting that shapes the training differs from the workdir's.
    """
    path = workdir / CONFIG_FILE
    if path.is_file() and newest_step(workdir) is not None:
        _compare(workdir, config, lambda key: not _within(key, _FREE_ON_RESUME))
    workdir.mkdir(parents=True, exist_ok=True)
    write_json(path, plain_config(config))


def claim_data(workdir: Path, fingerprint: str) -> None:
    """Writes into a workdir which records it is trained on; after the first checkpoint compares.

    Args:
        workdir: Folder of the run.
        fingerprint: `PreparedInfo.fingerprint`.

    Raises:
        BadInputError: If the run was begun on other records.
    """
    path = workdir / DATA_FILE
    if path.is_file() and newest_step(workdir) is not None:
        before = path.read_text().strip()
        if before != fingerprint:
            raise BadInputError(
                path,
                f"records {before[:12]}",
                f"{fingerprint[:12]}, those of this config; give another --workdir",
            )
    path.write_text(fingerprint + "\n")


def require_same_model(config: ConfigDict, workdir: Path) -> None:
    """Compares a config with the one that a workdir's model was trained with.

    Raises:
        BadInputError: If a setting that shapes the model differs, or the noted config is gone.
    """
    _compare(workdir, config, lambda key: _within(key, _SHAPES_THE_MODEL))


def _compare(workdir: Path, config: ConfigDict, matters: Callable[[str], bool]) -> None:
    before, now = flat_fields(noted_config(workdir)), flat_fields(plain_config(config))
    for key in filter(matters, sorted(before.keys() | now.keys())):
        if before.get(key) != now.get(key):
            raise BadInputError(
                workdir / CONFIG_FILE,
                f"config.{key} = {before.get(key)!r}",
                f"{now.get(key)!r} as asked for now; give another --workdir, or remove it",
            )


def _within(key: str, names: tuple[str, ...]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in names)


def newest_step(workdir: Path) -> int | None:
    """Returns the step of the workdir's newest checkpoint, None if there is none."""
    folder = workdir / CHECKPOINTS_FOLDER
    if not folder.is_dir():
        return None
    with closing(Checkpoints(folder)) as checkpoints:
        return checkpoints.latest_step()


def require_checkpoint(workdir: Path) -> int:
    """Returns the step of the workdir's newest checkpoint.

    Raises:
        DhmError: If there is none.
    """
    step = newest_step(workdir)
    if step is None:
        raise DhmError(f"{workdir} holds no checkpoint: train first")
    return step


def trained_variables(workdir: Path, num_vertices: int) -> tuple[int, dict[str, Any]]:
    """Reads the newest checkpoint of a workdir: its step, and the variables of the model.

    Args:
        workdir: Folder of the run.
        num_vertices: Of the template that the variables are for.

    Raises:
        DhmError: If there is no checkpoint.
        BadInputError: If it was trained on another template.
    """
    step = require_checkpoint(workdir)
    with closing(Checkpoints(workdir / CHECKPOINTS_FOLDER)) as checkpoints:
        variables = checkpoints.restore_variables()
    found = _num_vertices(variables["params"])
    if found not in (None, num_vertices):
        expected = f"{num_vertices}, those of the data's hand model"
        raise BadInputError(workdir, f"a model of {found} vertices", expected)
    return step, jax.tree.map(jnp.asarray, variables)


def _num_vertices(params: dict[str, Any]) -> int | None:
    """Vertices that the parameters of the correctives are for; None if there are none."""
    for name in ("identity_corrective", "pose_corrective"):
        if name in params:
            return len(params[name]["Dense_1"]["bias"]) // 3
    return None
