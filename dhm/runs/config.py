"""Checks a config, and turns it into the plain arguments of the library."""

import enum
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from dhm.data.schema import MAX_IMAGE_SIZE
from dhm.errors import BadInputError
from dhm.formats.json_file import flat_fields
from dhm.losses.objective import ObjectiveSettings
from dhm.networks.build import DECODER_SETTINGS, ModelSettings
from dhm.networks.hand_model import CORRECTIVES
from dhm.networks.resnet import STAGES
from dhm.training.loop import LoopSettings
from dhm.training.state import (
    encoder_only,
    make_optimiser,
    step_decay_schedule,
    with_warmup,
)


class _Rule(NamedTuple):
    accepts: Callable[[Any], bool]
    expected: str


def _at_least(low: float) -> _Rule:
    return _Rule(lambda x: math.isfinite(x) and x >= low, f"{low} or more")


def _between(low: int, high: int) -> _Rule:
    return _Rule(lambda x: low <= x <= high, f"{low} to {high}")


def _whole_numbers(value: Any) -> bool:
    return all(isinstance(x, int) and x >= 0 for x in value)


def _one_of(*values) -> _Rule:
    return _Rule(lambda x: x in values, f"one of {', '.join(map(str, values))}")


def _is_pattern(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(isinstance(name, str) and name for name in value)
    try:
        return isinstance(value, str) and bool(re.compile(value))
    except re.error:
        return False


_PATTERN = _Rule(_is_pattern, "a regular expression or a list of names")
_POSITIVE = _Rule(lambda x: math.isfinite(x) and x > 0, "a positive number")
_SEED = _between(0, 2**32 - 1)  # JAX keeps no more bits
_SORTED_EPOCHS = _Rule(
    lambda x: _whole_numbers(x) and list(x) == sorted(set(x)),
    "increasing whole numbers of epochs",
)

_RULES = {
    "subject": _SEED,  # of the identity code
    "dataset": _one_of("release", "rhd", "freihand", "interhand"),
    "studio.frames": _at_least(0),
    "studio.test_frames": _at_least(1),
    "studio.frame_step": _at_least(1),
    "studio.cameras": _at_least(1),
    "studio.pictures": _at_least(1),
    "studio.depth_maps": _one_of("all", "pictured", "none"),
    "studio.depth_shrink": _one_of(1, 2),
    "studio.scans": _one_of("all", "held_out"),
    "studio.resolution_mm": _POSITIVE,
    "studio.varied": _one_of(False, True),
    "studio.subjects": _Rule(
        lambda x: _whole_numbers(x) and len(set(x)) == len(x), "different whole numbers, or ()"
    ),
    "studio.depth_noise_mm": _at_least(0),
    "studio.joint_noise_mm": _at_least(0),
    "studio.template": _one_of("full", "coarse"),
    "studio.seed": _SEED,
    "data.image_size": _between(32, MAX_IMAGE_SIZE),
    "data.test_sequences": _PATTERN,
    "data.train_sequences": _PATTERN,
    "encoder.depth": _one_of(*sorted(STAGES)),
    "encoder.width": _at_least(1),
    "encoder.head_hidden": _Rule(
        lambda x: len(x) > 0 and _whole_numbers(x) and min(x) > 0,
        "positive whole numbers",
    ),
    "decoder.skeleton_hidden": _at_least(1),
    "decoder.skin_hidden": _at_least(1),
    "decoder.pose_corrective_input": _one_of("enabled", "all"),
    "decoder.correctives": _Rule(
        lambda x: isinstance(x, tuple) and all(name in CORRECTIVES for name in x),
        f"a tuple of {', '.join(CORRECTIVES)}",
    ),
    "decoder.stop_pose_gradient": _one_of(False, True),
    "decoder.kind": _one_of("deephandmesh", "linear"),
    "loss.joint": _at_least(0),
    "loss.depth": _at_least(0),
    "loss.penetration": _at_least(0),
    "loss.laplacian": _at_least(0),
    "loss.non_rigid": _at_least(0),
    "loss.skeleton": _at_least(0),
    "loss.depth_reduction": _one_of("foreground", "image"),
    "loss.penetration_reduction": _one_of("mean", "sum"),
    "loss.rest_overlap": _one_of("counts", "allowed"),
    "train.seed": _SEED,
    "train.batch_size": _at_least(1),
    "train.num_views": _at_least(1),
    "train.mesh_samples": _at_least(0),
    "train.mesh_pose": _one_of("encoder", "fitted"),
    "train.encoder_dtype": _one_of("auto", "float32", "bfloat16"),
    "train.epochs": _at_least(1),
    "train.learning_rate": _POSITIVE,
    "train.warmup_steps": _at_least(0),
    "train.optimiser": _one_of("adam", "muon"),
    "train.lr_decay": _one_of("drops", "cosine"),
    "train.lr_drop_epochs": _SORTED_EPOCHS,
    "train.checkpoint_every_epochs": _at_least(1),
    "train.keep_checkpoints": _at_least(1),
    "train.log_every": _at_least(1),
    "augment.rotation_deg": _between(0, 180),
    "augment.scale": _between(0, 0.5),
    "augment.shift": _between(0, 0.5),
    "augment.brightness": _between(0, 1),
    "augment.contrast": _between(0, 1),
    "augment.gamma": _between(0, 2),
    "augment.channel_gain": _between(0, 1),
    "augment.saturation": _between(0, 1),
    "augment.hue_deg": _between(0, 180),
    "augment.blur_px": _between(0, 64),
    "augment.motion_px": _between(0, 64),
    "augment.jpeg": _between(0, 1),
    "augment.occlusion": _between(0, 1),
    "augment.background": _between(0, 1),
    "input.num_threads": _at_least(0),
    "input.prefetch_batches": _at_least(0),
    "input.damaged_share": _between(0, 1),
    "eval.batch_size": _at_least(1),
    "eval.mesh_stride": _at_least(1),
    "eval.details_stride": _at_least(0),
    "export.num_poses": _at_least(0),
    "profile.steps": _Rule(
        lambda x: len(x) == 0 or (len(x) == 2 and _whole_numbers(x) and x[0] <= x[1]),
        "() or (first, last) step",
    ),
}


# Empty, or something that exists; `prepared` and `decoder.trained` may be about to be made.
_PATHS = {
    "capture": "folder",
    "prepared": "",
    "augment.backgrounds": "folder",
    "encoder.weights": "file",
    "mano.path": "file",
    "decoder.trained": "",
    "decoder.trained_by": "file",
}

_MUON_RATE = 0.02  # of Muon, where Adam's learning rate is `train.learning_rate`
_LR_DROP_FACTOR = 0.1  # section 7
_DEPTH_BETA = 1.0  # half width of the quadratic part of the depth loss, mm


class Mode(enum.Enum):
    """What a run learns, by `config.decoder`."""

    HAND = "an encoder and its decoder"
    LINEAR = "an encoder and the identity's code before a fixed linear decoder (section 8.3)"
    ENCODER = "an encoder alone, before a decoder that is trained already (section 8.4)"


_DECODER = tuple(f"decoder.{name}" for name in DECODER_SETTINGS)
# Settings that have no effect in a mode.
_UNUSED = {
    Mode.HAND: ("mano.path", "decoder.trained_by"),
    Mode.LINEAR: (*_DECODER, "decoder.trained_by"),
    Mode.ENCODER: (
        *_DECODER, "mano.path", "train.num_views", "train.mesh_samples", "train.mesh_pose",
        *(key for key in _RULES if key.startswith("loss.") and key != "loss.joint"),
    ),
}  # fmt: skip


def mode(config: ConfigDict) -> Mode:
    """What the run of a config learns."""
    decoder = config.decoder
    if decoder.get("trained", ""):
        return Mode.ENCODER
    return Mode.LINEAR if decoder.get("kind") == "linear" else Mode.HAND


def check_config(config: ConfigDict, num_devices: int = 1) -> None:
    """Refuses unknown fields and impossible values before anything is loaded.

    Args:
        config: The whole config.
        num_devices: Devices over which training splits a batch, in all processes.

    Raises:
        BadInputError: Names the first field, its value and what is possible.
    """
    fields = flat_fields(config.to_dict())
    for key in sorted(fields.keys() ^ {*_RULES, *_PATHS}):
        found = "a field that nothing reads" if key in fields else "no such field"
        raise BadInputError(f"config.{key}", found, "the fields of configs/default.py")
    for key, rule in _RULES.items():
        if fields[key] is None or not rule.accepts(fields[key]):
            raise BadInputError(f"config.{key}", repr(fields[key]), rule.expected)
    _check_batch(config, num_devices)
    if mode(config) is Mode.ENCODER:
        _check_encoder_mode(config)
    for key, kind in _PATHS.items():
        exists = {"folder": Path.is_dir, "file": Path.is_file}.get(kind)
        if fields[key] and exists is not None and not exists(Path(fields[key])):
            raise BadInputError(f"config.{key}", fields[key], f"an existing {kind}")


def _check_batch(config: ConfigDict, num_devices: int) -> None:
    """The devices share the samples, and those that are drawn, evenly."""
    batch, samples = config.train.batch_size, config.train.mesh_samples
    if batch % num_devices:
        expected = f"a multiple of the {num_devices} devices of this run"
        raise BadInputError("config.train.batch_size", f"{batch}", expected)
    uneven = samples > num_devices and samples % num_devices
    if samples and (batch % samples or uneven):
        raise BadInputError(
            "config.train.mesh_samples",
            f"{samples}",
            f"0, or a divisor of the batch's {batch} that is a multiple of the {num_devices} "
            "devices of this run, or less than one a device",
        )


def _check_encoder_mode(config: ConfigDict) -> None:
    trained = config.decoder.trained
    if config.decoder.kind == "linear":
        expected = "nothing with the linear decoder, which is fixed by itself"
        raise BadInputError("config.decoder.trained", trained, expected)
    if config.loss.joint == 0:
        expected = f"more, as an encoder before the decoder of {trained} learns by nothing else"
        raise BadInputError("config.loss.joint", f"{config.loss.joint}", expected)


def require_used(config: ConfigDict, keys: Iterable[str]) -> None:
    """Refuses settings that were asked for and have no effect on what the config learns.

    Args:
        config: The whole config.
        keys: Names of the settings, such as "loss.depth".

    Raises:
        BadInputError: Names the first of them.
    """
    learned, keys = mode(config), tuple(keys)
    for key in keys:
        if key in _UNUSED[learned]:
            found = "a setting without effect"
            raise BadInputError(f"config.{key}", found, f"none, as this run learns {learned.value}")
    augment = config.augment
    if "augment.backgrounds" in keys and not (augment.background or augment.occlusion):
        expected = "config.augment.background or config.augment.occlusion above 0 as well"
        raise BadInputError("config.augment.backgrounds", "a setting without effect", expected)


def model_settings(config: ConfigDict, decoder: ModelSettings | None = None) -> ModelSettings:
    """Sizes of the networks; pretrained weights bring their normalisation along.

    Args:
        config: Of the run.
        decoder: Of a trained model whose decoder's sizes count instead of the config's.
    """
    fields = {**config.encoder, **config.decoder}
    sizes = {name: fields[name] for name in ModelSettings._fields if name in fields}
    sizes["head_hidden"] = tuple(sizes["head_hidden"])
    settings = ModelSettings(**sizes, imagenet_normalisation=bool(config.encoder.weights))
    if decoder is None:
        return settings
    return settings._replace(**{name: getattr(decoder, name) for name in DECODER_SETTINGS})


def encoder_dtype(config: ConfigDict, backend: str) -> Any:
    """What the encoder calculates with in training on a JAX backend ("cpu", "gpu", ...)."""
    name = config.train.encoder_dtype
    if name == "auto":
        name = "float32" if backend == "cpu" else "bfloat16"
    return jnp.dtype(name)


def objective_settings(config: ConfigDict) -> ObjectiveSettings:
    """Weights and reductions of the losses."""
    return ObjectiveSettings(**config.loss, depth_beta=_DEPTH_BETA)


def steps_per_epoch(config: ConfigDict, num_train: int) -> int:
    """Whole batches in one pass over the training records, at least one."""
    return max(1, num_train // config.train.batch_size)


def loop_settings(config: ConfigDict, num_train: int) -> LoopSettings:
    """The loop's numbers for a training set of `num_train` records."""
    per_epoch = steps_per_epoch(config, num_train)
    return LoopSettings(
        num_steps=config.train.epochs * per_epoch,
        steps_per_epoch=per_epoch,
        profile_steps=tuple(config.profile.steps),
        **{name: config.train[name] for name in LoopSettings._fields if name in config.train},
    )


def num_views(config: ConfigDict) -> int:
    """Target depth maps a sample; none where the encoder alone learns."""
    return 0 if mode(config) is Mode.ENCODER else config.train.num_views


def mesh_stride(config: ConfigDict, num_devices: int) -> int:
    """Every how many samples of a device's shard one is skinned and drawn, at least one of it."""
    if mode(config) is Mode.ENCODER:
        return 1
    samples = config.train.mesh_samples or config.train.batch_size
    return config.train.batch_size // num_devices // max(samples // num_devices, 1)


def schedule(config: ConfigDict, num_train: int) -> optax.Schedule:
    """Learning rate by step."""
    per_epoch, rate = steps_per_epoch(config, num_train), config.train.learning_rate
    if config.train.lr_decay == "cosine":
        decayed = optax.cosine_decay_schedule(rate, config.train.epochs * per_epoch)
    else:
        drops = tuple(config.train.lr_drop_epochs)
        decayed = step_decay_schedule(rate, drops, _LR_DROP_FACTOR, per_epoch)
    return with_warmup(decayed, config.train.warmup_steps)


def optimiser(config: ConfigDict, schedule: optax.Schedule) -> optax.GradientTransformation:
    """The optimiser, whose learning rate follows `schedule`; a trained decoder has none."""
    rate = _MUON_RATE / config.train.learning_rate
    made = make_optimiser(config.train.optimiser, schedule, rate)
    return encoder_only(made) if mode(config) is Mode.ENCODER else made
