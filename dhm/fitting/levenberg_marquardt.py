"""Levenberg-Marquardt on normal equations, with a fixed number of steps, which a batch shares."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from dhm.geometry.transforms import einsum

# Damping relative to the diagonal: at the start, after a step that helped and after one that did
# not, and its range.
_START, _LESS, _MORE, _RANGE = 1e-2, 0.2, 5.0, (1e-6, 1e6)
# Keeps what no residual sees (the root, where there is no evidence at all) solvable.
_FLOOR = 1e-6


class NormalEquations(NamedTuple):
    """The Gauss-Newton normal equations of residuals r(x + d) ~ r + J d about some x.

    Those of a sum of costs are their sum.

    Attributes:
        cost: Sum of r^2, or of a robust function of it.
        gradient: J^T r; for robust costs of the reweighted residuals.
        hessian: J^T J, likewise.
    """

    cost: Float[Array, ""]
    gradient: Float[Array, " p"]
    hessian: Float[Array, "p p"]

    def __add__(self, other: "NormalEquations") -> "NormalEquations":
        return NormalEquations(*(a + b for a, b in zip(self, other, strict=True)))


def normal_equations(
    residuals: Float[Array, " n"],
    jacobian: Float[Array, "n p"],
    weights: Float[Array, " n"] | float = 1.0,
    cost: Float[Array, ""] | None = None,
) -> NormalEquations:
    """Builds the normal equations of weighted residuals.

    Args:
        residuals: r.
        jacobian: Their derivatives.
        weights: Of r^2.
        cost: The cost where it is not the weighted sum of squares.
    """
    weighted = residuals * weights
    scaled = jacobian * jnp.broadcast_to(weights, residuals.shape)[:, None]
    return NormalEquations(
        jnp.sum(weighted * residuals) if cost is None else cost,
        einsum("np,n->p", jacobian, weighted),
        einsum("np,nq->pq", jacobian, scaled),
    )


def minimise(
    linearise: Callable[[Any], NormalEquations],
    move: Callable[[Any, Float[Array, " p"]], Any],
    fixed: Callable[[Any, Float[Array, " p"]], Bool[Array, " p"]],
    start: Any,
    num_steps: int,
) -> tuple[Any, Float[Array, ""]]:
    """Minimises a sum of squares; a step that does not lower it is taken back.

    Args:
        linearise: Returns the normal equations about a point.
        move: Moves a point by a step, within its limits.
        fixed: Returns, for a point and the gradient there, which parameters must not move: those
            at a limit that would leave it, and those that are not fitted.
        start: Where to start, any tree of arrays.
        num_steps: Steps tried; the problem is linearised once for each, and at the start.

    Returns:
        The best point and its cost.
    """

    def step(_, state):
        x, at, damping = state
        free = (~fixed(x, at.gradient)).astype(jnp.float32)
        hessian = at.hessian * free[:, None] * free
        diagonal = damping * jnp.diagonal(hessian) + _FLOOR + (1 - free)
        factor = jnp.linalg.cholesky(hessian + jnp.diag(diagonal))
        change = jax.scipy.linalg.cho_solve((factor, True), -at.gradient * free)
        moved = move(x, change)
        there = linearise(moved)
        better = there.cost < at.cost  # not where it is NaN
        x, at = jax.tree.map(lambda new, old: jnp.where(better, new, old), (moved, there), (x, at))
        return x, at, jnp.clip(damping * jnp.where(better, _LESS, _MORE), *_RANGE)

    # The start comes in as the outcome of an empty step, for the compiler's sake: every copy of
    # the linearisation costs it a second.
    size = jax.eval_shape(linearise, start).gradient.shape[0]
    nothing = NormalEquations(jnp.float32(jnp.inf), jnp.zeros(size), jnp.zeros((size, size)))
    state = (start, nothing, jnp.float32(_START / _LESS))
    x, at, _ = jax.lax.fori_loop(0, num_steps + 1, step, state)
    return x, at.cost
