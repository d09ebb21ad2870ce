"""The model of a run, and the records that it was measured on, by its config and its workdir."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from data_prep.sources import linear_model_file
from dhm.data.prepared_data import PreparedData
from dhm.errors import BadInputError
from dhm.evaluation.metrics_file import METRICS_FILE, MissingData, read_metrics
from dhm.formats.mano_pickle import read_mano
from dhm.networks.build import build_linear_model, build_model
from dhm.networks.hand_model import HandModel
from dhm.networks.linear_hand_model import LinearHandModel
from dhm.networks.pretrained import load_backbone
from dhm.runs import config as configuration
from dhm.runs.trained_decoder import decoder_template, general_settings, with_trained_decoder
from dhm.runs.workdir import noted_config, trained_variables
from dhm.training.parallel import axis_over
from dhm.training.state import initial_variables

log = logging.getLogger(__name__)


def model_in_training(config: ConfigDict, data: PreparedData) -> HandModel | LinearHandModel:
    """The model of a config over all devices, its encoder with training's kind of numbers."""
    dtype = configuration.encoder_dtype(config, jax.default_backend())
    return model_of(config, data, axis_over(jax.device_count()), dtype)


def model_of(
    config: ConfigDict,
    data: PreparedData,
    axis_name: str | None = None,
    encoder_dtype: Any = jnp.float32,
) -> HandModel | LinearHandModel:
    """The model of a config for its data.

    Args:
        config: Of the run.
        data: Its records, which bring the hand.
        axis_name: Devices' axis that BatchNorm's statistics are of, or None.
        encoder_dtype: Numbers of the encoder's activations.

    Raises:
        BadInputError: If a file that the config names cannot be used.
    """
    settings = general_settings(config)
    if config.decoder.kind == "linear":
        linear = read_mano(linear_model_file(config))
        return build_linear_model(linear, data.template, settings, axis_name, encoder_dtype)
    template = decoder_template(config, data.template)
    return build_model(template, settings, axis_name, encoder_dtype)


def load_run(
    workdir: Path,
) -> tuple[HandModel | LinearHandModel, dict[str, Any], PreparedData]:
    """The model of a run that was evaluated, its variables, and the records it was measured on.

    Raises:
        DhmError: If the workdir has no checkpoint, or its data are gone.
    """
    noted = noted_config(workdir)
    data = measured_data(workdir, None)
    if isinstance(data, MissingData):
        raise BadInputError(workdir, data.reason, "the data of the run")
    model = model_of(_of_plain(noted), data)
    return model, trained_variables(workdir, model.template.num_vertices)[1], data


def _of_plain(noted: Mapping[str, Any]) -> ConfigDict:
    """A noted config as it was: JSON has lists for tuples."""
    config = ConfigDict()
    for key, value in noted.items():
        if isinstance(value, Mapping):
            config[key] = _of_plain(value)
        else:
            config[key] = tuple(value) if isinstance(value, list) else value
    return config


def measured_data(workdir: Path, config: ConfigDict | None) -> PreparedData | MissingData:
    """Opens the records that a run's errors were measured on, or says why they cannot be used.

    Args:
        workdir: Of the run.
        config: Says by `prepared` where they are now; None: where metrics.json says.

    Raises:
        BadInputError: If metrics.json is damaged.
    """
    path = workdir / METRICS_FILE
    if not path.is_file():
        return MissingData(f"There is no {METRICS_FILE}, which names the data: evaluate the run.")
    noted = read_metrics(path).get("data")
    if not isinstance(noted, dict) or not isinstance(noted.get("folder"), str):
        return MissingData(f"{METRICS_FILE} does not name the data: evaluate the run again.")
    folder = Path(config.prepared if config is not None and config.prepared else noted["folder"])
    if not folder.is_dir():
        return MissingData(f"They need the data, and {folder} is gone.")
    try:
        data = PreparedData(folder)
    except BadInputError as error:
        return MissingData(f"They need the data, which cannot be used: {error}.")
    if data.info.fingerprint != noted.get("fingerprint"):
        return MissingData(
            f"They need the data, and those in {folder} are others than were measured on."
        )
    return data


def first_variables(config: ConfigDict, model: HandModel | LinearHandModel) -> dict[str, Any]:
    """What a training starts from: drawn from the seed, or read from files that the config names.

    Raises:
        BadInputError: If such a file cannot be used.
    """
    variables = initial_variables(
        model,
        seed=config.train.seed,
        subject=config.subject,
        image_size=config.data.image_size,
    )
    variables = with_trained_decoder(variables, config)
    if not config.encoder.weights:
        log.info("the ResNet starts from random weights (config.encoder.weights is empty)")
        return variables
    params, stats = variables["params"]["encoder"], variables["batch_stats"]["encoder"]
    params["backbone"], stats["backbone"] = load_backbone(
        Path(config.encoder.weights), params["backbone"], stats["backbone"]
    )
    return variables
