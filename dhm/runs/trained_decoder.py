"""The decoder of an exported model, kept while a new encoder learns before it (section 8.4)."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from dhm.errors import BadInputError
from dhm.export.package import LINEAR_FILE, MODEL_FILE, TEMPLATE_FILE, load_model, read_description
from dhm.formats.hand_template import read_template
from dhm.networks.build import ModelSettings
from dhm.networks.hand_model import HandModel
from dhm.runs import config as configuration
from dhm.runs.config_file import load_config
from dhm.runs.folder import EXPORT_FOLDER
from dhm.types import HandTemplate

log = logging.getLogger(__name__)

_ENCODER = "encoder"


def make_missing_decoder(config: ConfigDict, train: Callable[[ConfigDict, Path], None]) -> None:
    """Trains the decoder that a config keeps, if it is missing and its own config is named.

    Args:
        config: Of the run that keeps it.
        train: Trains and exports a config's model in a workdir.

    Raises:
        BadInputError: If the export is missing and nothing says how to make it.
    """
    folder = _folder(config)
    if folder is None or (folder / MODEL_FILE).is_file():
        return
    maker = config.decoder.trained_by
    if not maker or folder.name != EXPORT_FOLDER or jax.process_count() > 1:
        expected = "the export/ of a trained run, e.g. runs/demo/export after "
        command = f"python launch.py --config {maker or 'configs/demo.py'} --workdir RUN"
        raise BadInputError("config.decoder.trained", f"{folder}, no model", expected + command)
    log.info("%s is missing: %s trains in %s first", folder, maker, folder.parent)
    train(load_config(Path(maker)), folder.parent)


def _folder(config: ConfigDict) -> Path | None:
    """The export that the decoder comes from, if the run keeps one."""
    is_kept = configuration.mode(config) is configuration.Mode.ENCODER
    return Path(config.decoder.trained) if is_kept else None


def network_settings(config: ConfigDict) -> ModelSettings:
    """Returns the sizes of a run's networks: of a kept decoder those that it was trained with.

    Raises:
        BadInputError: If there is no such model, or its decoder is linear.
    """
    folder = _folder(config)
    if folder is None:
        return configuration.model_settings(config)
    if not (folder / MODEL_FILE).is_file():
        raise BadInputError("config.decoder.trained", f"{folder}, no model", "an exported model")
    if (folder / LINEAR_FILE).exists():
        expected = "one of this project's hand model"
        raise BadInputError("config.decoder.trained", f"{folder}, a linear decoder", expected)
    return configuration.model_settings(config, read_description(folder / MODEL_FILE)[0])


def decoder_template(config: ConfigDict, data: HandTemplate) -> HandTemplate:
    """Returns the hand of a run's model: the trained decoder's, if it has one.

    Args:
        config: Of the run.
        data: The hand that came with the data.

    Raises:
        BadInputError: If the decoder's joints are not the data's.
    """
    folder = _folder(config)
    if folder is None:
        return data
    path = folder / TEMPLATE_FILE
    template = read_template(path)
    for name, found, expected in (
        ("joint_names", template.joint_names, data.joint_names),
        ("parents", template.parents, data.parents),
    ):
        if found != expected:
            raise BadInputError(path, f"{name} {found}", f"{expected}, those of the data")
    return template


def with_trained_decoder(variables: dict[str, Any], config: ConfigDict) -> dict[str, Any]:
    """Puts the variables of the trained decoder beside a new encoder's, if the config names one.

    Raises:
        BadInputError: If its files are missing or damaged.
    """
    if _folder(config) is None:
        return variables
    _, trained = trained_model(config)
    params = trained["params"] | {_ENCODER: variables["params"][_ENCODER]}
    return variables | {"params": params, "identity": trained["identity"]}


def trained_model(config: ConfigDict) -> tuple[HandModel, dict[str, Any]]:
    """Loads the model that the decoder comes from, with the encoder that it was trained with.

    Raises:
        BadInputError: If its files are missing or damaged.
    """
    return load_model(config.decoder.trained)


def require_same_decoder(variables: dict[str, Any], config: ConfigDict, workdir: Path) -> None:
    """Refuses to go on with a run whose decoder is not the one in the export that the config names.

    Args:
        variables: Of the run's newest checkpoint.
        config: Of the run.
        workdir: Its folder, for the message.

    Raises:
        BadInputError: If a number differs.
    """
    expected = with_trained_decoder(variables, config)
    same = jax.tree.map(np.array_equal, variables, expected)
    if not all(jax.tree.leaves(same)):
        found = f"the decoder of another training than that in {config.decoder.trained}"
        raise BadInputError(workdir, found, "the same; give another --workdir, or remove it")
