"""The model of a run: its networks by the config, and its variables at the start and at the end."""

import logging
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dhm.data.prepared_data import PreparedData
from dhm.formats.mano_pickle import read_mano
from dhm.formats.mano_side import RIGHT
from dhm.networks.build import build_linear_model, build_model
from dhm.networks.hand_model import HandModel
from dhm.networks.linear_hand_model import LinearHandModel
from dhm.networks.pretrained import load_backbone
from dhm.runs import config as configuration
from dhm.runs.config_file import config_from_plain, noted_config
from dhm.runs.records import DataSource, require_measured_records
from dhm.runs.trained_decoder import decoder_template, network_settings, with_trained_decoder
from dhm.runs.workdir import trained_variables
from dhm.training.state import initial_variables
from dhm.training.step import axis_over

log = logging.getLogger(__name__)


def make_model(
    config: ConfigDict,
    data: PreparedData,
    source: DataSource,
    axis_name: str | None = None,
    encoder_dtype: Any = jnp.float32,
) -> HandModel | LinearHandModel:
    """Builds the model of a config for its data.

    Args:
        config: Of the run.
        data: Its records, which bring the hand.
        source: Makes the linear decoder that the config does not name a file of.
        axis_name: Axis of the devices over which BatchNorm takes its statistics, or None.
        encoder_dtype: Of the encoder's activations.

    Raises:
        BadInputError: If a file that the config names cannot be used.
    """
    settings = network_settings(config)
    if configuration.mode(config) is configuration.Mode.LINEAR:
        file = Path(config.mano.path) if config.mano.path else source.linear_model()
        linear = read_mano(file, RIGHT)  # all records are right hands
        return build_linear_model(linear, data.template, settings, axis_name, encoder_dtype)
    template = decoder_template(config, data.template)
    return build_model(template, settings, axis_name, encoder_dtype)


def make_training_model(
    config: ConfigDict, data: PreparedData, source: DataSource
) -> HandModel | LinearHandModel:
    """Builds the model of a config for training over all devices."""
    dtype = configuration.encoder_dtype(config, jax.default_backend())
    return make_model(config, data, source, axis_over(jax.device_count()), dtype)


def first_variables(config: ConfigDict, model: HandModel | LinearHandModel) -> dict[str, Any]:
    """Returns the variables that a training starts from.

    They are drawn from the seed, or read from the files that the config names.

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


def load_run(
    workdir: Path, source: DataSource
) -> tuple[HandModel | LinearHandModel, dict[str, Any], PreparedData]:
    """Loads the model of a run that was evaluated.

    Args:
        workdir: Of the run.
        source: As in `make_model`.

    Returns:
        The model, its newest variables, and the records that its errors were measured on.

    Raises:
        DhmError: If the workdir has no checkpoint, or its data cannot be used.
    """
    config = config_from_plain(noted_config(workdir))
    data = require_measured_records(workdir)
    model = make_model(config, data, source)
    return model, trained_variables(workdir, model)[1], data
