"""The training objective: reduces, weights and names every term (paper section 6)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from dhm.geometry.mesh import Neighbours, vertex_neighbours
from dhm.geometry.spheres import (
    PenetrationParts,
    penetration_parts,
    sphere_centers,
    sphere_radii,
)
from dhm.losses.penetration import non_rigid_penetration_loss, rigid_penetration_loss
from dhm.losses.terms import depth_loss, joint_loss, laplacian_loss
from dhm.types import HandOutput, HandTemplate


class ObjectiveSettings(NamedTuple):
    """Weights and reductions; plain numbers and names.

    Attributes:
        joint: Weight of L_pose.
        depth: Weight of L_depth.
        penetration: Weight of L_penet.
        laplacian: Weight of L_lap, the paper's lambda_lap.
        non_rigid: Weight of the non-rigid part within L_penet, the paper's lambda_nr.
        skeleton: Weight of the mean of `skeleton_loss`, which is not in the paper.
        depth_reduction: "foreground" (mean over the pixels that both maps see) or "image" (mean
            over all pixels, as released).
        penetration_reduction: "mean" over pairs and spheres (as released) or "sum" (eq. 2-3).
        depth_beta: Width of the smooth L1's quadratic part, mm.
        rest_overlap: Whether spheres that overlap at zero pose "count" (eq. 2), or are "allowed" to
            overlap as much in any pose.
    """

    joint: float
    depth: float
    penetration: float
    laplacian: float
    non_rigid: float
    skeleton: float
    depth_reduction: str
    penetration_reduction: str
    depth_beta: float
    rest_overlap: str = "counts"


class ObjectiveTopology(NamedTuple):
    """Static data of the losses, from the template."""

    parts: PenetrationParts
    neighbours: Neighbours


def objective_topology(template: HandTemplate) -> ObjectiveTopology:
    """Builds the static data of the losses once."""
    return ObjectiveTopology(
        penetration_parts(template), vertex_neighbours(template.faces, template.num_vertices)
    )


def reduce_joint(loss: Float[Array, "b j"], valid: Bool[Array, "b j"]) -> Float[Array, " b"]:
    """Averages over the valid joints of each sample."""
    return jnp.sum(loss, axis=-1) / jnp.maximum(jnp.sum(valid, axis=-1), 1)


def reduce_depth(
    loss: Float[Array, "b c h w"], foreground: Bool[Array, "b c h w"], reduction: str
) -> Float[Array, " b"]:
    """Averages over the views and pixels of each sample, by `ObjectiveSettings.depth_reduction`."""
    if reduction == "image":
        return jnp.mean(loss, axis=(1, 2, 3))
    return jnp.sum(loss, axis=(1, 2, 3)) / jnp.maximum(jnp.sum(foreground, axis=(1, 2, 3)), 1)


def _reduce_penetration(loss: Array, reduction: str) -> Float[Array, " b"]:
    return {"mean": jnp.mean, "sum": jnp.sum}[reduction](loss, axis=tuple(range(1, loss.ndim)))


def objective(
    output: HandOutput,
    rendered: Float[Array, "b c h w"],
    joints: Float[Array, "b j 3"],
    joint_valid: Bool[Array, "b j"],
    depth: Float[Array, "b c h w"],
    topology: ObjectiveTopology,
    settings: ObjectiveSettings,
) -> dict[str, Float[Array, " b"]]:
    """Computes every term of the training loss for each sample.

    Args:
        output: The decoded hand, aligned to the target joints.
        rendered: Its depth maps in the target views, mm, 0 = background.
        joints: Target joints, mm.
        joint_valid: Which of them were annotated.
        depth: Target depth maps, mm, 0 = background.
        topology: Static.
        settings: Weights and reductions.

    Returns:
        "joint", "depth", "penetration_rigid", "penetration_non_rigid" and "laplacian", unweighted,
        and "total", their weighted sum.
    """
    terms = {}
    with jax.named_scope("joint_loss"):
        terms["joint"] = reduce_joint(joint_loss(output.joints, joints, joint_valid), joint_valid)
    with jax.named_scope("depth_loss"):
        terms["depth"] = reduce_depth(
            *depth_loss(rendered, depth, settings.depth_beta), settings.depth_reduction
        )
    with jax.named_scope("penetration_loss"):
        terms |= penetration_terms(output, topology.parts, settings)
    with jax.named_scope("laplacian_loss"):
        loss = laplacian_loss(output.vertices, topology.neighbours)
        terms["laplacian"] = jnp.mean(loss, axis=-1)
    return terms | {"total": weighted_total(terms, settings)}


def penetration_terms(
    output: HandOutput, parts: PenetrationParts, settings: ObjectiveSettings
) -> dict[str, Float[Array, " b"]]:
    """Computes both parts of L_penet for each sample (eq. 2 and 3)."""
    zero = output.joints_zero, output.v_zero
    (_, radii), centers = _zero_spheres(*zero, parts), sphere_centers(output.joints, parts)
    non_rigid = non_rigid_penetration_loss(centers, radii, output.vertices, parts)
    return {
        "penetration_rigid": rigid_penetration_term(output.joints, *zero, parts, settings),
        "penetration_non_rigid": _reduce_penetration(non_rigid, settings.penetration_reduction),
    }


def rigid_penetration_term(
    joints: Float[Array, "b j 3"],
    joints_zero: Float[Array, "z j 3"],
    v_zero: Float[Array, "z v 3"],
    parts: PenetrationParts,
    settings: ObjectiveSettings,
) -> Float[Array, " b"]:
    """Computes the rigid part of L_penet for each sample (eq. 2), without a posed mesh.

    Args:
        joints: Posed joints, mm.
        joints_zero: Joints at zero pose, of each sample or one for all, mm.
        v_zero: The refined zero-pose mesh, likewise.
        parts: Static.
        settings: The reduction, and what becomes of the overlap at zero pose.
    """
    zero_centers, zero_radii = _zero_spheres(joints_zero, v_zero, parts)
    radii = jnp.broadcast_to(zero_radii, (len(joints), *zero_radii.shape[1:]))
    rigid = rigid_penetration_loss(sphere_centers(joints, parts), radii, parts)
    if settings.rest_overlap == "allowed":
        at_rest = rigid_penetration_loss(jax.lax.stop_gradient(zero_centers), zero_radii, parts)
        rigid = jnp.maximum(rigid - at_rest, 0)
    return _reduce_penetration(rigid, settings.penetration_reduction)


def _zero_spheres(
    joints_zero: Float[Array, "z j 3"], v_zero: Float[Array, "z v 3"], parts: PenetrationParts
) -> tuple[Float[Array, "z s k 3"], Float[Array, "z s k"]]:
    """Returns centres and radii of the spheres in the refined hand at zero pose."""
    centers = sphere_centers(joints_zero, parts)
    return centers, sphere_radii(centers, v_zero)


def weighted_total(
    terms: dict[str, Float[Array, " b"]], settings: ObjectiveSettings
) -> Float[Array, " b"]:
    """Returns L = L_pose + L_depth + L_penet + lambda_lap L_lap, with a weight on each."""
    penetration = terms["penetration_rigid"] + settings.non_rigid * terms["penetration_non_rigid"]
    return (
        settings.joint * terms["joint"]
        + settings.depth * terms["depth"]
        + settings.penetration * penetration
        + settings.laplacian * terms["laplacian"]
    )
