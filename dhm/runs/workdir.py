"""The folder of a run: which config and data it belongs to, and its newest checkpoint."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dhm.data.schema import INFO_FILE
from dhm.errors import BadInputError, DhmError
from dhm.export.package import MODEL_FILE, check_fit
from dhm.formats.json_file import flat_fields, write_json
from dhm.formats.paths import refuse_overwriting, refuse_removing, require_folder
from dhm.networks.hand_model import HandModel
from dhm.networks.linear_hand_model import LinearHandModel
from dhm.runs.config_file import noted_config, plain_config
from dhm.runs.folder import CHECKPOINTS_FOLDER, CONFIG_FILE, DATA_FILE, RESULT_FOLDERS
from dhm.training.checkpoint import Checkpoints

_SECTIONS = {"data", "encoder", "decoder", "loss", "train"}  # of every config
_OTHER = "a folder for the results of a run; give another --workdir"
# A run may be continued with other values of these.
_FREE_ON_RESUME = ("train.epochs", "train.log_every", "train.keep_checkpoints", "input", "eval",
                   "export", "profile")  # fmt: skip
# Each of several processes may have its own.
_FREE_BY_PROCESS = ("capture", "prepared", "input", "eval", "export", "profile", "encoder.weights",
                    "decoder.trained", "decoder.trained_by", "mano.path",
                    "augment.backgrounds")  # fmt: skip
# A trained model may be measured and exported with other values of everything but these.
_SHAPES_THE_MODEL = ("subject", "encoder", "decoder", "mano", "data.image_size")


def require_run_folder(config: ConfigDict, workdir: Path) -> None:
    """Refuses a workdir that is no place for a run, or whose results would replace its inputs.

    Raises:
        BadInputError: If it is a file, the folder of something else, one of the config's folders,
            or has one of these in a folder of its own.
    """
    require_folder("--workdir", workdir)
    for name, content in ((MODEL_FILE, "an exported model"), (INFO_FILE, "prepared records")):
        if (workdir / name).exists():
            raise BadInputError(workdir / name, content, _OTHER)
    path = workdir / CONFIG_FILE
    if path.exists() and not noted_config(workdir).keys() >= _SECTIONS:
        raise BadInputError(path, "no config of a run", _OTHER)
    named = (config.capture, config.prepared, config.encoder.weights, config.decoder.trained,
             config.mano.path, config.augment.backgrounds)  # fmt: skip
    inputs = [Path(name) for name in named if name]
    refuse_overwriting("--workdir", [workdir], inputs)
    for folder in RESULT_FOLDERS:
        refuse_removing("--workdir", workdir / folder, inputs)


def claim_workdir(config: ConfigDict, workdir: Path) -> None:
    """Writes the config into a new workdir; if something is trained there already, compares.

    Raises:
        BadInputError: If a setting that shapes the training differs from the workdir's, or there
            are checkpoints and no config.
    """
    if newest_step(workdir) is not None:
        free = (*_FREE_ON_RESUME, *_moved(config, workdir))
        _compare(workdir, config, lambda key: not _within(key, free))
        return
    workdir.mkdir(parents=True, exist_ok=True)
    write_json(workdir / CONFIG_FILE, plain_config(config))


def _moved(config: ConfigDict, workdir: Path) -> list[str]:
    """Settings whose folder in the workdir's config is missing; `claim_data` compares the data."""
    before = noted_config(workdir)
    return [
        key
        for key in ("capture", "prepared")
        if before.get(key) and config[key] and not Path(before[key]).exists()
    ]


def claim_data(config: ConfigDict, workdir: Path, fingerprint: str) -> None:
    """Writes into a workdir which records it is trained on; after the first checkpoint compares.

    The config is written too, with the values of a resumed run that may change: the records may
    have moved.

    Args:
        config: Of the run.
        workdir: Folder of the run.
        fingerprint: `PreparedInfo.fingerprint`.

    Raises:
        BadInputError: If the run was begun on other records.
    """
    path = workdir / DATA_FILE
    if newest_step(workdir) is not None and not was_trained_on(workdir, fingerprint):
        before = path.read_text().strip()
        raise BadInputError(
            path,
            f"records {before[:12]}",
            f"{fingerprint[:12]}, those of this config; give another --workdir",
        )
    write_json(workdir / CONFIG_FILE, plain_config(config))
    path.write_text(fingerprint + "\n")


def was_trained_on(workdir: Path, fingerprint: str) -> bool:
    """Whether a run was begun on records of this fingerprint, as far as its workdir tells."""
    path = workdir / DATA_FILE
    return not path.is_file() or path.read_text().strip() == fingerprint


def require_same_model(config: ConfigDict, workdir: Path) -> None:
    """Compares a config with the one that a workdir's model was trained with.

    Raises:
        BadInputError: If a setting that shapes the model differs, or the noted config is gone.
    """
    _compare(workdir, config, lambda key: _within(key, _SHAPES_THE_MODEL))


def common_settings(config: ConfigDict) -> bytes:
    """The settings that all processes of a training must have, to be compared."""
    fields = flat_fields(plain_config(config)).items()
    common = {key: value for key, value in fields if not _within(key, _FREE_BY_PROCESS)}
    return json.dumps(common, sort_keys=True).encode()


def changed_settings(config: ConfigDict, workdir: Path) -> list[str]:
    """Names of the settings that shape a training and are not those that a workdir notes.

    Raises:
        BadInputError: If the noted config is missing or damaged.
    """
    changed = _changed(workdir, config, lambda key: not _within(key, _FREE_ON_RESUME))
    return [key for key, _, _ in changed]


def _compare(workdir: Path, config: ConfigDict, matters: Callable[[str], bool]) -> None:
    for key, before, now in _changed(workdir, config, matters):
        raise BadInputError(
            workdir / CONFIG_FILE,
            f"config.{key} = {before!r}",
            f"{now!r} as asked for now; give another --workdir, or remove it",
        )


def _changed(
    workdir: Path, config: ConfigDict, matters: Callable[[str], bool]
) -> Iterator[tuple[str, Any, Any]]:
    """Yields each setting that differs, with the noted value and that of now."""
    before, now = flat_fields(noted_config(workdir)), flat_fields(plain_config(config))
    for key in filter(matters, sorted(before.keys() | now.keys())):
        if before.get(key) != now.get(key):
            yield key, before.get(key), now.get(key)


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


def trained_variables(
    workdir: Path, model: HandModel | LinearHandModel
) -> tuple[int, dict[str, Any]]:
    """Reads the newest checkpoint of a workdir: its step, and the variables of the model.

    Args:
        workdir: Folder of the run.
        model: What the variables are for.

    Raises:
        DhmError: If there is no checkpoint.
        BadInputError: If it was trained on another template, or is of another model.
    """
    step = require_checkpoint(workdir)
    with closing(Checkpoints(workdir / CHECKPOINTS_FOLDER)) as checkpoints:
        variables = checkpoints.restore_variables()
    found, num_vertices = _num_vertices(variables["params"]), model.template.num_vertices
    if found not in (None, num_vertices):
        expected = f"{num_vertices}, those of the data's hand model"
        raise BadInputError(workdir, f"a model of {found} vertices", expected)
    source = "the config's model; another version of dhm may have written it"
    check_fit(model, variables, workdir / CHECKPOINTS_FOLDER / str(step), source)
    return step, jax.tree.map(jnp.asarray, variables)


def _num_vertices(params: dict[str, Any]) -> int | None:
    """Vertices that the parameters of the correctives are for; None if there are none."""
    for name in ("identity_corrective", "pose_corrective"):
        if name in params:
            return len(params[name]["Dense_1"]["bias"]) // 3
    return None
