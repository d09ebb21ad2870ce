"""Parts of the hand do not run through each other: spheres along the bones (paper eq. 2)."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dhm.fitting.levenberg_marquardt import Linearised, of_residuals
from dhm.fitting.rig import Points
from dhm.geometry.transforms import einsum
from dhm.losses.penetration import (
    PenetrationParts,
    penetration_parts,
    rigid_penetration,
    sphere_centers,
    sphere_radii,
)
from dhm.types import HandTemplate

_SPHERES = 5  # on a bone


@dataclass(frozen=True, eq=False)
class BoneSpheres:
    """Spheres along the bones.

    Attributes:
        parts: Bones, and pairs of them that share no joint.
        radii: mm.
        allowed: Overlap (mm) of each two spheres at zero pose, which is no penetration.
    """

    parts: PenetrationParts
    radii: Float[Array, "s k"]
    allowed: Float[Array, "p k k"]


def bone_spheres(
    template: HandTemplate,
    joints_zero: Float[Array, "j 3"],
    v_zero: Float[Array, "v 3"],
) -> BoneSpheres:
    """Spheres as large as fit into the zero-pose mesh.

    Args:
        template: For its bones.
        joints_zero: Joints at zero pose, mm.
        v_zero: Mesh at zero pose, mm.
    """
    parts = penetration_parts(template)
    centers = sphere_centers(joints_zero, parts, _SPHERES)
    radii = sphere_radii(centers, v_zero)
    return BoneSpheres(parts, radii, rigid_penetration(centers, radii, parts))


def penetration_term(joints: Points, spheres: BoneSpheres, weight: float) -> Linearised:
    """Square of the deepest overlap (mm) of every two bones that share no joint.

    Args:
        joints: The model's, in the world; the spheres keep their size when the hand grows.
        spheres: Along the bones.
        weight: Of the squares.
    """
    parts = spheres.parts
    depth, towards = _overlap(
        sphere_centers(joints.position, parts, _SPHERES), spheres.radii, parts
    )
    depth = (depth - spheres.allowed).reshape(len(parts.pairs), -1)
    deepest = jnp.argmax(depth, axis=1)
    pick = np.arange(len(parts.pairs))
    residual = jnp.maximum(depth[pick, deepest], 0)
    normal = towards.reshape(len(pick), -1, 3)[pick, deepest]
    first, second = np.array(parts.pairs).T
    slope = _slope(joints, parts, second, deepest % _SPHERES) - _slope(
        joints, parts, first, deepest // _SPHERES
    )
    jacobian = -einsum("pi,pix->px", normal, slope) * (residual > 0)[:, None]
    return of_residuals(residual, jacobian, jnp.full(len(pick), weight))


def _overlap(
    centers: Float[Array, "s k 3"], radii: Float[Array, "s k"], parts: PenetrationParts
) -> tuple[Float[Array, "p k k"], Float[Array, "p k k 3"]]:
    """How far (mm) two spheres are into each other, negative apart, and the way to the second."""
    first, second = np.array(parts.pairs).T
    offset = centers[second][:, None, :, :] - centers[first][:, :, None, :]
    distance = jnp.sqrt(jnp.maximum(jnp.sum(offset**2, axis=-1), 1e-6))
    depth = radii[first][:, :, None] + radii[second][:, None, :] - distance
    return depth, offset / distance[..., None]


def _slope(joints: Points, parts: PenetrationParts, bones: np.ndarray, sphere: Array) -> Array:
    """Derivatives of the centres of one sphere of each of some bones."""
    parents, children = np.array(parts.bones)[bones].T
    share = (sphere / (_SPHERES - 1))[:, None, None]
    return joints.jacobian[parents] * (1 - share) + joints.jacobian[children] * share
