"""The training state: initial parameters, optimiser and learning rate schedule."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax.training import train_state
from jaxtyping import Array, Bool
from optax.contrib import MuonDimensionNumbers, muon

from dhm.networks.hand_model import HandModel

# Three Newton-Schulz steps bring the singular values near enough to 1; five take a third longer.
_NEWTON_SCHULZ_STEPS = 3
_ENCODER = "encoder"


class TrainState(train_state.TrainState):
    """Parameters and optimiser state, the encoder's BatchNorm statistics and the identity code.

    Once `halted`, after a loss or gradient that is not finite, steps change nothing any more: the
    state stays as it was before the bad step.
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
    """Draws random variables of a model.

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
    """Creates a training state at step 0 with the given variables."""
    return TrainState.create(
        apply_fn=model.apply,
        params=variables["params"],
        tx=optimiser,
        batch_stats=variables.get("batch_stats", {}),
        identity=variables["identity"],
        halted=jnp.zeros((), bool),
    )


def step_decay_schedule(
    learning_rate: float, drop_epochs: tuple[int, ...], drop_factor: float, steps_per_epoch: int
) -> optax.Schedule:
    """Constant, multiplied by `drop_factor` at the start of each of `drop_epochs` (section 7)."""
    boundaries = {epoch * steps_per_epoch: drop_factor for epoch in drop_epochs}
    return optax.piecewise_constant_schedule(learning_rate, boundaries)


def with_warmup(schedule: optax.Schedule, num_steps: int) -> optax.Schedule:
    """Multiplies a schedule by a factor that grows linearly to 1 within the first steps."""
    return lambda step: schedule(step) * jnp.minimum((step + 1) / max(num_steps, 1), 1.0)


def make_optimiser(
    name: str, schedule: optax.Schedule, kernel_rate: float
) -> optax.GradientTransformation:
    """Creates Adam for all parameters (section 7), or Muon for the encoder's convolutions.

    Muon (K. Jordan and others, 2024) moves a kernel, as a matrix of inputs by outputs, along the
    semi-orthogonal matrix nearest to its momentum, so that all of its directions learn at the same
    rate. All other parameters then have Adam with Nesterov's momentum.

    Args:
        name: "adam" or "muon".
        schedule: Adam's learning rate by step.
        kernel_rate: Muon's learning rate where `schedule` is at 1; it follows the schedule.
    """
    if name == "adam":
        return optax.adam(schedule)
    return muon(
        lambda step: kernel_rate * schedule(step),
        ns_steps=_NEWTON_SCHULZ_STEPS,
        muon_weight_dimension_numbers=_encoder_kernels,
        adam_learning_rate=schedule,
    )


def encoder_only(optimiser: optax.GradientTransformation) -> optax.GradientTransformation:
    """Updates the encoder's parameters; the others stay, and have no state in the optimiser."""

    def init(params: Any) -> Any:
        return optimiser.init({_ENCODER: params[_ENCODER]})

    def update(gradients: Any, state: Any, params: Any) -> tuple[Any, Any]:
        own_params, own_gradients = ({_ENCODER: tree[_ENCODER]} for tree in (params, gradients))
        changes, state = optimiser.update(own_gradients, state, own_params)
        return jax.tree.map(jnp.zeros_like, gradients) | changes, state

    return optax.GradientTransformation(init, update)


def _encoder_kernels(params: Any) -> Any:
    """Input and output axes of the encoder's convolution kernels; None for other parameters."""
    kernel = MuonDimensionNumbers(reduction_axis=(0, 1, 2), output_axis=3)
    chosen = jax.tree.map(lambda x: None, params)
    chosen[_ENCODER] = jax.tree.map(lambda x: kernel if x.ndim == 4 else None, params[_ENCODER])
    return chosen
