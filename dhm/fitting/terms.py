"""The terms of the evidence fit, each as the normal equations of its residuals, in mm."""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from dhm.fitting.levenberg_marquardt import NormalEquations, normal_equations
from dhm.fitting.rig import HandPose, Points, Rig
from dhm.geometry.spheres import (
    PenetrationParts,
    penetration_parts,
    sphere_centers,
    sphere_overlaps,
    sphere_radii,
)
from dhm.geometry.transforms import einsum, matmul, transform_points
from dhm.types import Camera, HandTemplate

_MIN_DEPTH = 1.0  # mm; closer than this nothing projects
# mm that two points with normals at a right angle are set apart, when the closest is looked for:
# of the two sides of a finger the one that faces the observer is meant.
_TURN = 20.0
_SAME_SIDE = 0.3  # smallest cosine between the normals of a match
_SPHERES = 5  # on a bone


def angle_bounds(rig: Rig, pose: HandPose, gradient: Float[Array, " p"]) -> Bool[Array, " p"]:
    """Returns which parameters are at a limit that a descent step would leave."""
    slope = gradient[: rig.num_angles]
    at_limit = ((pose.theta <= rig.low) & (slope > 0)) | ((pose.theta >= rig.high) & (slope < 0))
    return jnp.concatenate([at_limit, jnp.zeros(len(gradient) - rig.num_angles, bool)])


def prior_term(
    pose: HandPose,
    theta: Float[Array, " d"],
    weight: Float[Array, " d"] | float,
    scale_weight: float = 0.0,
) -> NormalEquations:
    """Pulls the angles towards a pose, and of the scale towards 1.

    Args:
        pose: Where to linearise.
        theta: The pose to pull to, radians.
        weight: mm per radian.
        scale_weight: mm per unit of the scale's logarithm.
    """
    error = jnp.concatenate([pose.theta - theta, jnp.zeros(6), jnp.log(pose.scale)[None]])
    weights = jnp.broadcast_to(weight, theta.shape)
    precision = jnp.concatenate([weights, jnp.zeros(6), jnp.full(1, scale_weight)]) ** 2
    return NormalEquations(jnp.sum(precision * error**2), precision * error, jnp.diag(precision))


def joint_term(
    joints: Points, target: Float[Array, "j 3"], weights: Float[Array, " j"]
) -> NormalEquations:
    """Linearises squared distances of joints, mm^2.

    Args:
        joints: The model's, in the world.
        target: Where they should be, mm.
        weights: Of the squared distances; 0 leaves a joint out.
    """
    errors = (joints.position - target).reshape(-1)
    return normal_equations(
        errors, joints.jacobian.reshape(len(errors), -1), jnp.repeat(weights, 3)
    )


def keypoint_term(
    joints: Points,
    target: Float[Array, "c j 2"],
    weights: Float[Array, "c j"],
    camera: Camera,
    mm_per_pixel: Float[Array, " c"],
    width: Float[Array, ""] | float,
) -> NormalEquations:
    """Linearises the Geman-McClure cost of reprojection errors in several cameras.

    Args:
        joints: The model's, in the world.
        target: Keypoints, pixels.
        weights: Confidences; 0 leaves one out.
        camera: The cameras.
        mm_per_pixel: Size of a pixel at the hand, a constant of the fit, so that pictures of any
            resolution weigh as much as joints in mm.
        width: Error beyond which a keypoint loses its weight, mm.
    """
    at = transform_points(camera.T_camera_world, joints.position)  # c j 3
    turned = einsum("cik,jkp->cjip", camera.T_camera_world[:, :3, :3], joints.jacobian)
    seen = at[..., 2] > _MIN_DEPTH
    z = jnp.where(seen, at[..., 2], 1)[..., None]
    pixels = einsum("cik,cjk->cji", camera.K[:, :2], at) / z
    by_pixel = einsum("cik,cjkp->cjip", camera.K[:, :2], turned)
    slopes = (by_pixel - pixels[..., None] * turned[:, :, 2:]) / z[..., None]
    size = mm_per_pixel[:, None, None]
    # A point behind a camera costs what one costs that is infinitely far off.
    counts = jnp.where(seen, weights, 0)
    error = jnp.where(seen[..., None], (pixels - target) * size, 0)
    influence, costs = _geman_mcclure(jnp.sum(error**2, axis=-1), width)
    cost = jnp.sum(counts * costs) + jnp.sum((weights - counts) * width**2)
    each = jnp.repeat((counts * influence).reshape(-1), 2)
    slopes = jnp.where(seen[..., None, None], slopes * size[..., None], 0)
    return normal_equations(error.reshape(-1), slopes.reshape(len(each), -1), each, cost)


class Matches(NamedTuple):
    """The point of the skin matched with each observed point, fixed for some steps.

    Attributes:
        vertex: Index of the skin's point.
        normal: Direction in which distance counts: the mean of the two normals.
        weight: Of the squared distance; 0 without a match.
    """

    vertex: Int[Array, " n"]
    normal: Float[Array, "n 3"]
    weight: Float[Array, " n"]


def match(
    position: Float[Array, "s 3"],
    normals: Float[Array, "s 3"],
    inner: Bool[np.ndarray, " s"],
    points: Float[Array, "n 3"],
    point_normals: Float[Array, "n 3"],
    weights: Float[Array, " n"],
    reach: Float[Array, ""] | float,
) -> Matches:
    """Matches each observed point with a close point of the model that faces the same way.

    Args:
        position: The model's points, mm.
        normals: Their unit normals.
        inner: Which of them may be matched with.
        points: The observed points, mm.
        point_normals: Their unit normals.
        weights: Their weights.
        reach: Largest distance of a match, mm.
    """
    alike = matmul(point_normals, normals.T)
    squared = jnp.sum(position**2, axis=-1) - 2 * matmul(points, position.T)
    vertex = jnp.argmin(squared - _TURN**2 * alike, axis=1)
    offset = position[vertex] - points
    cosine = jnp.sum(normals[vertex] * point_normals, axis=-1)
    usable = (cosine > _SAME_SIDE) & (jnp.sum(offset**2, axis=-1) < reach**2)
    usable &= jnp.asarray(inner)[vertex]
    middle = normals[vertex] + point_normals
    length = jnp.maximum(jnp.linalg.norm(middle, axis=-1, keepdims=True), 1e-6)
    return Matches(vertex, middle / length, jnp.where(usable, weights, 0))


def surface_term(
    skin: Points,
    target: Float[Array, "n 3"],
    matches: Matches,
    width: Float[Array, ""] | float,
) -> NormalEquations:
    """Linearises the Geman-McClure cost of distances along mean normals (symmetric ICP).

    Along the observation's normal alone, points of a rounded skin that lie beside the observed
    one count as too deep; the mean of both normals cancels that (Rusinkiewicz 2019).

    Args:
        skin: Points of the model's skin, in the world.
        target: Observed points, mm.
        matches: From `match`.
        width: Distance beyond which a match loses its weight, mm.
    """
    offset = skin.position[matches.vertex] - target
    error = jnp.sum(offset * matches.normal, axis=-1)
    slopes = einsum("ni,nip->np", matches.normal, skin.jacobian[matches.vertex])
    influence, costs = _geman_mcclure(error**2, width)
    return normal_equations(
        error, slopes, matches.weight * influence, jnp.sum(matches.weight * costs)
    )


@dataclass(frozen=True, eq=False)
class BoneSpheres:
    """Spheres along the bones, at zero pose.

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
    """Computes spheres as large as fit into the zero-pose mesh.

    Args:
        template: For its bones.
        joints_zero: Joints at zero pose, mm.
        v_zero: Mesh at zero pose, mm.
    """
    parts = penetration_parts(template)
    centers = sphere_centers(joints_zero, parts, _SPHERES)
    radii = sphere_radii(centers, v_zero)
    return BoneSpheres(parts, radii, jnp.maximum(sphere_overlaps(centers, radii, parts), 0))


def penetration_term(joints: Points, spheres: BoneSpheres, weight: float) -> NormalEquations:
    """Linearises the squared deepest overlap (mm) of every two bones that share no joint (eq. 2).

    Args:
        joints: The model's, in the world; the spheres keep their size when the hand grows.
        spheres: Along the bones.
        weight: Of the squares.
    """
    parts = spheres.parts
    first, second = np.array(parts.pairs).T
    pair = np.arange(len(first))
    centers = sphere_centers(joints.position, parts, _SPHERES)
    depth = sphere_overlaps(centers, spheres.radii, parts) - spheres.allowed
    depth = depth.reshape(len(pair), -1)
    deepest = jnp.argmax(depth, axis=1)
    one, other = deepest // _SPHERES, deepest % _SPHERES
    residual = jnp.maximum(depth[pair, deepest], 0)
    offset = centers[second, other] - centers[first, one]
    distance = jnp.sqrt(jnp.maximum(jnp.sum(offset**2, axis=-1, keepdims=True), 1e-6))
    slope = _slope(joints, parts, second, other) - _slope(joints, parts, first, one)
    jacobian = -einsum("pi,pix->px", offset / distance, slope) * (residual > 0)[:, None]
    return normal_equations(residual, jacobian, jnp.full(len(pair), weight))


def _slope(joints: Points, parts: PenetrationParts, bones: np.ndarray, sphere: Array) -> Array:
    """Returns the derivatives of the centres of one sphere on each of some bones."""
    parents, children = np.array(parts.bones)[bones].T
    share = (sphere / (_SPHERES - 1))[:, None, None]
    return joints.jacobian[parents] * (1 - share) + joints.jacobian[children] * share


def _geman_mcclure(
    squared: Float[Array, "*b"], width: Float[Array, ""] | float
) -> tuple[Float[Array, "*b"], Float[Array, "*b"]]:
    """Returns the weights of squared residuals r^2, and their costs r^2 w^2 / (r^2 + w^2)."""
    share = width**2 / (squared + width**2)
    return share**2, squared * share
