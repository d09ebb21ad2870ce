"""How long a training would take on a machine without an accelerator, measured, not guessed."""

import time

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dhm.networks.encoder import ImageEncoder
from dhm.runs import config as configuration

_TRIAL = 2  # images; a step's time grows in proportion to them
_REPEATS = 3
_WORTH_IT = 2e15  # operations from which on the measurement is short beside the training


def warning(config: ConfigDict, num_train: int) -> str | None:
    """Returns what to tell the user before a long training, None where it is short or fast.

    The encoder alone is timed, on a few images: the true time is longer.

    Args:
        config: Of the run.
        num_train: Training images.
    """
    if jax.default_backend() != "cpu" or _operations(config, num_train) < _WORTH_IT:
        return None
    steps = configuration.loop_settings(config, num_train).num_steps
    seconds = encoder_seconds(config) * config.train.batch_size * steps
    return (
        f"This machine has no accelerator: {config.train.epochs} epochs of {num_train} images will "
        f"take more than {_readable(seconds)} here (the encoder alone, measured just now). "
        "configs/demo.py is the version for a laptop: python launch.py --config configs/demo.py"
    )


def encoder_seconds(config: ConfigDict) -> float:
    """Returns the time of the encoder's forward and backward pass for an image, seconds."""
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
