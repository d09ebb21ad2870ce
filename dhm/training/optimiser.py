"""What turns gradients into updates."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax.contrib import MuonDimensionNumbers, muon

# Three Newton-Schulz steps bring the singular values near enough to 1; five are a third more time.
_NEWTON_SCHULZ_STEPS = 3
_ENCODER = "encoder"


def make_optimiser(
    name: str, schedule: optax.Schedule, kernel_rate: float
) -> optax.GradientTransformation:
    """Adam for all parameters (section 7), or Muon for the encoder's convolutions beside it.

    Muon (K. Jordan and others, 2024) moves a kernel, as a matrix of inputs by outputs, along the
    nearest semi-orthogonal matrix to its momentum, so that every direction of it learns at one
    pace. All other parameters then have Adam with Nesterov's momentum.

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
        muon_weight_dimension_numbers=_convolutions_of_the_encoder,
        adam_learning_rate=schedule,
    )


def for_the_encoder_alone(
    optimiser: optax.GradientTransformation,
) -> optax.GradientTransformation:
    """Updates the encoder's parameters; the others stay, and have no state in the optimiser."""

    def init(params: Any) -> Any:
        return optimiser.init({_ENCODER: params[_ENCODER]})

    def update(gradients: Any, state: Any, params: Any) -> tuple[Any, Any]:
        own, of_own = ({_ENCODER: tree[_ENCODER]} for tree in (params, gradients))
        changes, state = optimiser.update(of_own, state, own)
        return jax.tree.map(jnp.zeros_like, gradients) | changes, state

    return optax.GradientTransformation(init, update)


def _convolutions_of_the_encoder(params: Any) -> Any:
    """Which axes of a kernel are its inputs and its outputs, None for all that is no kernel."""
    kernel = MuonDimensionNumbers(reduction_axis=(0, 1, 2), output_axis=3)
    chosen = jax.tree.map(lambda x: None, params)
    chosen[_ENCODER] = jax.tree.map(lambda x: kernel if x.ndim == 4 else None, params[_ENCODER])
    return chosen
