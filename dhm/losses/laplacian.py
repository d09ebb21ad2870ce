"""Laplacian loss (paper section 6), over sparse neighbour lists."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dhm.geometry.topology import Neighbours


def _neighbour_sum(
    neighbours: Neighbours, values: Float[Array, "*b v c"]
) -> Float[Array, "*b v c"]:
    padded = jnp.concatenate([values, jnp.zeros_like(values[..., :1, :])], axis=-2)
    slots = np.where(neighbours.valid, neighbours.index, values.shape[-2])
    # A slot that most vertices fill is one gather over all of them, added up as it comes: the
    # neighbours [v n 3] are never held in memory. The poles of a tube, with ten times the usual
    # degree, would pad every vertex; what few vertices have is added to those few.
    common = int(np.sum(neighbours.valid.mean(axis=0) > 0.5))
    total = sum((padded[..., slots[:, n], :] for n in range(common)), jnp.zeros_like(values))
    few = np.flatnonzero(neighbours.degree > common)
    rest = jnp.sum(padded[..., slots[few, common:], :], axis=-2)
    return total.at[..., few, :].add(rest, unique_indices=True)


def laplacian_coordinates(
    vertices: Float[Array, "*b v 3"], neighbours: Neighbours
) -> Float[Array, "*b v 3"]:
    """Each vertex minus the mean of its neighbours, mm; 0 for a vertex without any.

    The gradient is a gather too: with the symmetric adjacency A and the degrees D, the transpose
    of I - D^-1 A is I - A D^-1. XLA would scatter instead, which costs ten times as much.
    """
    # NumPy: a traced value would leak out of the custom rule under jax.checkpoint.
    degree = neighbours.degree[:, None]
    connected, inverse = degree > 0, np.float32(1) / np.maximum(degree, 1).astype(np.float32)

    @jax.custom_vjp
    def apply(x):
        return jnp.where(connected, x - inverse * _neighbour_sum(neighbours, x), 0)

    def backward(_, cotangent):
        return (
            jnp.where(connected, cotangent, 0) - _neighbour_sum(neighbours, inverse * cotangent),
        )

    apply.defvjp(lambda x: (apply(x), None), backward)
    return apply(vertices)


def laplacian_loss(
    vertices: Float[Array, "*b v 3"], neighbours: Neighbours
) -> Float[Array, "*b v"]:
    """Squared norm of each vertex's distance to its neighbours' mean, mm^2.

    The paper's L_lap before its mean over the vertices. Its formula has no norm; the released
    code squares.
    """
    return jnp.sum(laplacian_coordinates(vertices, neighbours) ** 2, axis=-1)
