"""The losses of joints, depth maps, surface and skeleton (paper section 6), not yet reduced."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from dhm.arguments import require_shapes
from dhm.geometry.mesh import Neighbours


def joint_loss(
    joints: Float[Array, "*b j 3"],
    target: Float[Array, "*b j 3"],
    valid: Bool[Array, "*b j"],
) -> Float[Array, "*b j"]:
    """Computes the L1 norm of each joint's error in mm, 0 where the target is not valid.

    The paper's L_pose before its mean over the joints.

    Raises:
        BadInputError: The shapes do not fit each other.
    """
    require_shapes(joints=(joints, "... j 3"), target=(target, "... j 3"), valid=(valid, "... j"))
    error = jnp.where(valid[..., None], joints - target, 0)
    return jnp.sum(jnp.abs(error), axis=-1)


def smooth_l1(error: Float[Array, "*s"], beta: float = 1.0) -> Float[Array, "*s"]:
    """Computes the smooth L1: e^2 / (2 beta) within `beta` of zero, |e| - beta / 2 beyond."""
    magnitude = jnp.abs(error)
    return jnp.where(magnitude < beta, 0.5 * error**2 / beta, magnitude - 0.5 * beta)


def depth_loss(
    rendered: Float[Array, "*b h w"],
    target: Float[Array, "*b h w"],
    beta: float = 1.0,
) -> tuple[Float[Array, "*b h w"], Bool[Array, "*b h w"]]:
    """Computes the smooth L1 between depth maps in mm where both see the hand.

    Args:
        rendered: Depth of the model's mesh, 0 = background.
        target: Depth of the capture, 0 = background.
        beta: Width of the quadratic part, mm.

    Returns:
        The loss of each pixel (0 outside the mask) and the paper's delta, the common foreground.
        NaN is background too; other marks for it, such as 65535, are taken as depths.

    Raises:
        BadInputError: The shapes do not fit each other.
    """
    require_shapes(rendered=(rendered, "... h w"), target=(target, "... h w"))
    foreground = (rendered > 0) & (target > 0)
    return smooth_l1(jnp.where(foreground, rendered - target, 0), beta), foreground


def laplacian_loss(
    vertices: Float[Array, "*b v 3"], neighbours: Neighbours
) -> Float[Array, "*b v"]:
    """Computes each vertex's squared distance to its neighbours' mean, mm^2.

    The paper's L_lap before its mean over the vertices. Its formula has no norm; the released
    code squares.

    Raises:
        BadInputError: The neighbours are those of another mesh.
    """
    require_shapes(
        **{"neighbours.index": (neighbours.index, "v n")}, vertices=(vertices, "... v 3")
    )
    return jnp.sum(laplacian_coordinates(vertices, neighbours) ** 2, axis=-1)


def laplacian_coordinates(
    vertices: Float[Array, "*b v 3"], neighbours: Neighbours
) -> Float[Array, "*b v 3"]:
    """Computes each vertex minus the mean of its neighbours, mm; 0 for a vertex without any.

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


def skeleton_loss(change: Float[Array, "*b j 3"]) -> Float[Array, "*b j"]:
    """Computes the squared change of each joint's offset from its parent, mm^2. Not in the paper.

    Joint positions do not tell a bone that is bent at rest from one that the pose bends, nor how a
    length is shared about a joint that nobody annotated. Without this term the rest pose drifts
    there as far as the optimiser's noise takes it, and the angles lose their meaning.

    Raises:
        BadInputError: The last axis is none of three.
    """
    require_shapes(change=(change, "... j 3"))
    return jnp.sum(change**2, axis=-1)
