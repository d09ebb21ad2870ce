"""What training carries from step to step."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax.training import train_state
from jaxtyping import Array, Bool

from dhm.networks.hand_model import HandModel


class TrainState(train_state.TrainState):
    """Parameters and optimiser, with the encoder's BatchNorm statistics and the identity code.

    Once `halted`, after a loss or gradient that is not finite, steps change nothing any more: the
    state stays as the bad step found it.
    """

    batch_stats: Any
    identity: Any
    halted: Bool[Array, ""] | bool = False

    @property
    def variables(self) -> dict[str, Any]:
        """The model's variables, as `HandModel.apply` takes them."""
        return {"params": self.params, "batch_stats": self.batch_stats, "identity": self.identity}


def initial_variables(
    model: HandModel, *, seed: int, subject: int, image_size: int
) -> dict[str, Any]:
    """Random variables of a model.

    Args:
        model: The hand model.
        seed: Of the parameters.
        subject: Its number is the key of the identity code, whatever the seed.
        image_size: Side of the input image, pixels.
    """
    keys = {
        # XLA's own generator: threefry, unrolled over a ResNet's tensors, compiles for a minute.
        "params": jax.random.key(seed, impl="rbg"),
        "identity": jax.random.key(subject, impl="threefry2x32"),
    }
    return jax.jit(model.init)(keys, jnp.zeros((1, image_size, image_size, 3)))


def create_train_state(
    model: HandModel, variables: dict[str, Any], optimiser: optax.GradientTransformation
) -> TrainState:
    """A training state at step 0 with the given variables."""
    return TrainState.create(
        apply_fn=model.apply,
        params=variables["params"],
        tx=optimiser,
        batch_stats=variables.get("batch_stats", {}),
        identity=variables["identity"],
        halted=jnp.zeros((), bool),
    )


def dropping_schedule(
    learning_rate: float, drop_epochs: tuple[int, ...], drop_factor: float, steps_per_epoch: int
) -> optax.Schedule:
    """Constant, multiplied by `drop_factor` at the start of each of `drop_epochs` (section 7)."""
    boundaries = {epoch * steps_per_epoch: drop_factor for epoch in drop_epochs}
    return optax.piecewise_constant_schedule(learning_rate, boundaries)


def warmed_up(schedule: optax.Schedule, num_steps: int) -> optax.Schedule:
    """Returns a schedule times a factor that grows evenly to 1 within the first steps."""
    return lambda step: schedule(step) * jnp.minimum((step + 1) / max(num_steps, 1), 1.0)
