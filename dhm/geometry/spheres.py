"""Spheres along a hand's bones, as large as fit into its zero-pose mesh (paper section 6)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dhm.geometry.hand_rig import FINGERTIPS, PALM_JOINTS, joint_indices
from dhm.geometry.mesh import dominant_joint
from dhm.geometry.transforms import einsum
from dhm.types import HandTemplate

SPHERES_PER_BONE = 10


@dataclass(frozen=True)
class PenetrationParts:
    """The bones and vertices of a template that may penetrate each other. Static.

    Attributes:
        bones: (parent, child) joints of each bone.
        pairs: Indices of two bones that share no joint.
        tips: Bones that end in a fingertip. The thumb's is left out: its base is part of the palm.
        palm_vertices: Vertices whose dominant joint belongs to the palm.
    """

    bones: tuple[tuple[int, int], ...]
    pairs: tuple[tuple[int, int], ...]
    tips: tuple[int, ...]
    palm_vertices: tuple[int, ...]


def penetration_parts(template: HandTemplate) -> PenetrationParts:
    """Finds the bones, pairs, fingertips and palm vertices of a template.

    Raises:
        ValueError: If the rig lacks a fingertip or a joint of the palm.
    """
    bones = tuple((parent, child) for child, parent in enumerate(template.parents) if parent >= 0)
    pairs = tuple(
        (a, b)
        for a in range(len(bones))
        for b in range(a + 1, len(bones))
        if not set(bones[a]) & set(bones[b])
    )
    fingertips = joint_indices(template.joint_names, FINGERTIPS[1:])
    palm = joint_indices(template.joint_names, PALM_JOINTS)
    on_palm = np.isin(dominant_joint(template.lbs_weights), palm)
    return PenetrationParts(
        bones=bones,
        pairs=pairs,
        tips=tuple(b for b, (_, child) in enumerate(bones) if child in fingertips),
        palm_vertices=tuple(np.flatnonzero(on_palm).tolist()),
    )


def sphere_centers(
    joints: Float[Array, "*b j 3"], parts: PenetrationParts, num_spheres: int = SPHERES_PER_BONE
) -> Float[Array, "*b s k 3"]:
    """Computes K centres on each bone, from the parent to the child, both included (mm)."""
    parents, children = np.array(parts.bones).T
    t = jnp.linspace(0, 1, num_spheres, dtype=joints.dtype)[:, None]
    return joints[..., parents, None, :] * (1 - t) + joints[..., children, None, :] * t


def sphere_radii(
    centers: Float[Array, "*b s k 3"], v_zero: Float[Array, "*b v 3"]
) -> Float[Array, "*b s k"]:
    """Computes the distance (mm) of zero-pose centres to the closest vertex of the zero-pose mesh.

    A constant for the optimiser: no gradient flows through it, as in the released code.
    """
    centers, v_zero = jax.lax.stop_gradient((centers, v_zero))
    # |c|^2 - 2 c.v + |v|^2 is one matrix product; about the mesh's mean the squares stay near
    # 1e4 mm^2, so that float32 leaves 1e-3 mm^2.
    mean = jnp.mean(v_zero, axis=-2, keepdims=True)
    v_zero, flat = v_zero - mean, centers.reshape(*centers.shape[:-3], -1, 3) - mean
    cross = einsum("...si,...vi->...sv", flat, v_zero)
    squared = jnp.min(jnp.sum(v_zero**2, axis=-1)[..., None, :] - 2 * cross, axis=-1)
    squared = squared + jnp.sum(flat**2, axis=-1)
    return jnp.sqrt(jnp.maximum(squared, 0)).reshape(centers.shape[:-1])


def sphere_overlaps(
    centers: Float[Array, "*b s k 3"], radii: Float[Array, "*b s k"], parts: PenetrationParts
) -> Float[Array, "*b p k k"]:
    """Computes how deep (mm) the spheres of two bones that share no joint are in each other.

    Negative for spheres that are apart. The gradient is 0 where two centres coincide.
    """
    first, second = np.array(parts.pairs).T
    offset = centers[..., first, :, None, :] - centers[..., second, None, :, :]
    reach = radii[..., first, :, None] + radii[..., second, None, :]
    return reach - safe_norm(offset)


def safe_norm(x: Float[Array, "*s 3"]) -> Float[Array, "*s"]:
    """Computes the Euclidean norm with gradient 0, not NaN, at the origin."""
    squared = jnp.sum(x**2, axis=-1)
    return jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1)), 0)
