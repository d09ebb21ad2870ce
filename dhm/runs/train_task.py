"""Training as a task: from a config and its records to checkpoints; and the replay of a step."""

import logging
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dhm.data.augmentation import Augmentation
from dhm.data.input_pipeline import make_dataset
from dhm.data.prepared_data import PreparedData
from dhm.data.schema import TRAIN
from dhm.errors import BadInputError
from dhm.networks.encoder import ImageEncoder
from dhm.networks.hand_model import HandModel
from dhm.networks.linear_hand_model import LinearHandModel
from dhm.runs import config as configuration
from dhm.runs.folder import (
    CHECKPOINTS_FOLDER,
    CONFIG_FILE,
    PROFILE_FOLDER,
    REPLAY_FOLDER,
    TENSORBOARD_FOLDER,
)
from dhm.runs.model import first_variables, make_training_model
from dhm.runs.records import DataSource, open_records
from dhm.runs.trained_decoder import require_same_decoder
from dhm.runs.workdir import (
    changed_settings,
    claim_data,
    newest_step,
    trained_variables,
    was_trained_on,
)
from dhm.training.loop import TrainFolders, train
from dhm.training.processes import is_first
from dhm.training.replay import (
    describe,
    find_non_finite,
    format_terms,
    read_replay,
    step_terms,
)
from dhm.training.state import create_train_state
from dhm.training.step import StepSpec, axis_over, make_step_spec

log = logging.getLogger(__name__)

_TRIAL = 2  # images; a step's time grows in proportion to them
_REPEATS = 3
_LONG = 2e15  # operations from which on the measurement is short beside the training


def train_task(config: ConfigDict, workdir: Path, data: PreparedData, source: DataSource) -> None:
    """Trains a model, from the workdir's newest checkpoint on if there is one.

    Args:
        config: Of the run.
        workdir: Its folder.
        data: Its records.
        source: As in `make_model`.

    Raises:
        BadInputError: If a file the config names cannot be used, or the workdir's run was begun
            on other data, or is past the last step.
        TrainingInterrupted: After SIGINT or SIGTERM, with the state saved.
    """
    if is_first():
        if was_trained_on(workdir, data.info.fingerprint):
            require_steps(config, data, workdir, newest_step(workdir))
        claim_data(config, workdir, data.info.fingerprint)
        for note in settings_notes(config, data):
            log.warning("%s", note)
    model = make_training_model(config, data, source)
    keeps_decoder = configuration.mode(config) is configuration.Mode.ENCODER
    if keeps_decoder and newest_step(workdir) is not None:
        _, variables = trained_variables(workdir, model)
        require_same_decoder(variables, config, workdir)
    schedule = configuration.schedule(config, data.num_train)
    optimiser = configuration.optimiser(config, schedule)
    state = create_train_state(model, first_variables(config, model), optimiser)

    def batches_from(step: int):
        return make_dataset(
            data,
            "train",
            batch_size=config.train.batch_size,
            num_views=configuration.num_views(config),
            seed=config.train.seed,
            shuffle=True,
            start_step=step,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            augmentation=Augmentation(**config.augment),
            **config.input,
            target_stride=configuration.mesh_stride(config, jax.device_count()),
        )

    train(
        state,
        _step_spec(config, model),
        batches_from,
        schedule,
        configuration.loop_settings(config, data.num_train),
        TrainFolders(
            checkpoints=workdir / CHECKPOINTS_FOLDER,
            tensorboard=workdir / TENSORBOARD_FOLDER,
            replay=workdir / REPLAY_FOLDER,
            profile=workdir / PROFILE_FOLDER,
        ),
        name_of=partial(data.describe, "train"),
    )


def require_steps(config: ConfigDict, data: PreparedData, workdir: Path, step: int | None) -> None:
    """Refuses a training that ends before the step at which it would go on.

    Args:
        config: Of the run.
        data: Its records.
        workdir: Its folder, for the message.
        step: Of its newest checkpoint, if there is one.

    Raises:
        BadInputError: If it does.
    """
    num_steps = configuration.loop_settings(config, data.num_train).num_steps
    if step is not None and step > num_steps:
        found = f"{config.train.epochs}, which end at step {num_steps}"
        expected = f"more, as {workdir} is at step {step}; or give another --workdir"
        raise BadInputError("config.train.epochs", found, expected)


def settings_notes(config: ConfigDict, data: PreparedData) -> list[str]:
    """Returns what of a config will not happen in a training, as sentences for the user.

    Args:
        config: Of the run.
        data: Its records.
    """
    train = config.train
    num_steps = configuration.loop_settings(config, data.num_train).num_steps
    notes = []
    late = [epoch for epoch in train.lr_drop_epochs if epoch >= train.epochs]
    if late and train.lr_decay == "drops":
        notes.append(
            f"the learning rate does not drop at {late} (config.train.lr_drop_epochs): there are "
            f"{train.epochs} epochs, counted from 0"
        )
    if train.warmup_steps >= num_steps:
        notes.append(
            "the learning rate does not reach its value: config.train.warmup_steps = "
            f"{train.warmup_steps} of {num_steps} steps"
        )
    draws = configuration.num_views(config) and config.loss.depth
    if draws and data.info.num_without_depth.get(TRAIN) == data.num_train:
        notes.append(
            "no training record has a depth map: the depth loss is 0, and joints alone say "
            "nothing of the skin"
        )
    return notes


def _step_spec(config: ConfigDict, model: HandModel | LinearHandModel) -> StepSpec:
    settings = configuration.objective_settings(config)
    axis_name = axis_over(jax.device_count())
    fixed_decoder = configuration.mode(config) is configuration.Mode.ENCODER
    return make_step_spec(model, settings, axis_name, config.train.mesh_pose, fixed_decoder)


def replay(config: ConfigDict, path: Path, source: DataSource) -> None:
    """Calculates a step again that training stopped at, and prints each sample's terms.

    Args:
        config: Of the run that saved it.
        path: The file in its workdir's replay/.
        source: As in `make_model`.

    Raises:
        BadInputError: If the file is none, or does not fit the config's model.
    """
    configuration.check_config(config)
    saved, workdir = read_replay(path), path.resolve().parent.parent
    if (workdir / CONFIG_FILE).is_file() and (changed := changed_settings(config, workdir)):
        log.warning("the run had other values of config.%s", ", config.".join(changed))
    model = make_training_model(config, open_records(config, source), source)
    spec = _step_spec(config, model)
    print(format_terms(step_terms(spec, saved), saved))
    print(f"step {saved.step}: {describe(find_non_finite(spec, saved), saved.samples)}")


def long_training_notice(config: ConfigDict, num_train: int) -> str | None:
    """Estimates how long a training takes, if that is long and there is no accelerator.

    The encoder alone is timed, on a few images: the true time is longer.

    Args:
        config: Of the run.
        num_train: Training images.

    Returns:
        A message for the user, or None.
    """
    if jax.default_backend() != "cpu" or _operations(config, num_train) < _LONG:
        return None
    steps = configuration.loop_settings(config, num_train).num_steps
    seconds = encoder_seconds(config) * config.train.batch_size * steps
    return (
        f"This machine has no accelerator: {config.train.epochs} epochs of {num_train} images will "
        f"take more than {_readable(seconds)} here (the encoder alone, measured just now). "
        "configs/demo.py is the version for a laptop: python launch.py --config configs/demo.py"
    )


def encoder_seconds(config: ConfigDict) -> float:
    """Measures the encoder's forward and backward pass for an image, seconds."""
    size, settings = config.data.image_size, config.encoder
    encoder = ImageEncoder(depth=settings.depth, width=settings.width)
    images = jnp.zeros((_TRIAL, size, size, 3), jnp.uint8)
    variables = encoder.init(jax.random.key(0), images)

    @jax.jit
    def gradient(params):
        def loss(params):
            theta, _ = encoder.apply(
                {**variables, "params": params}, images, train=True, mutable=["batch_stats"]
            )
            return jnp.sum(theta**2)

        return jax.grad(loss)(params)

    jax.block_until_ready(gradient(variables["params"]))
    start = time.perf_counter()
    for _ in range(_REPEATS):
        jax.block_until_ready(gradient(variables["params"]))
    return (time.perf_counter() - start) / _REPEATS / _TRIAL


def _operations(config: ConfigDict, num_train: int) -> float:
    """Rough count: a ResNet-50 of width 64 takes 8e9 operations an image of 224 pixels."""
    one = 8e9 * (config.encoder.depth / 50) * (config.encoder.width / 64) ** 2
    one *= (config.data.image_size / 224) ** 2
    return 3 * one * num_train * config.train.epochs


def _readable(seconds: float) -> str:
    for size, name in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} seconds"
