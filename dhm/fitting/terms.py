"""The terms of the evidence fit, each as the normal equations of its residuals, in mm."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from dhm.fitting.levenberg_marquardt import Linearised, of_residuals
from dhm.fitting.rig import HandPose, Points, Rig
from dhm.geometry.transforms import einsum, transform_points
from dhm.types import Camera

_MIN_DEPTH = 1.0  # mm; closer than this nothing projects


def angle_bounds(rig: Rig, pose: HandPose, gradient: Float[Array, " p"]) -> Bool[Array, " p"]:
    """Parameters that rest on a limit and would leave it against the gradient."""
    slope = gradient[: rig.num_angles]
    at_limit = ((pose.theta <= rig.low) & (slope > 0)) | ((pose.theta >= rig.high) & (slope < 0))
    return jnp.concatenate([at_limit, jnp.zeros(len(gradient) - rig.num_angles, bool)])


def prior_term(
    pose: HandPose,
    theta: Float[Array, " d"],
    weight: Float[Array, " d"] | float,
    scale_weight: float = 0.0,
) -> Linearised:
    """Pull of the angles towards a pose, and of the scale towards 1.

    Args:
        pose: Where to linearise.
        theta: The pose to pull to, radians.
        weight: mm per radian.
        scale_weight: mm per unit of the scale's logarithm.
    """
    error = jnp.concatenate([pose.theta - theta, jnp.zeros(6), jnp.log(pose.scale)[None]])
    weights = jnp.broadcast_to(weight, theta.shape)
    precision = jnp.concatenate([weights, jnp.zeros(6), jnp.full(1, scale_weight)]) ** 2
    return Linearised(jnp.sum(precision * error**2), precision * error, jnp.diag(precision))


def joint_term(
    joints: Points, target: Float[Array, "j 3"], weights: Float[Array, " j"]
) -> Linearised:
    """Squared distances of joints, mm^2.

    Args:
        joints: The model's, in the world.
        target: Where they should be, mm.
        weights: Of the squared distances; 0 leaves a joint out.
    """
    errors = (joints.position - target).reshape(-1)
    return of_residuals(errors, joints.jacobian.reshape(len(errors), -1), jnp.repeat(weights, 3))


def keypoint_term(
    joints: Points,
    target: Float[Array, "c j 2"],
    weights: Float[Array, "c j"],
    camera: Camera,
    mm_per_pixel: Float[Array, " c"],
    width: Float[Array, ""] | float,
) -> Linearised:
    """Geman-McClure of reprojection errors in several cameras.

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
    return of_residuals(error.reshape(-1), slopes.reshape(len(each), -1), each, cost)


class Matches(NamedTuple):
    """Which point of the skin lies at each observed point, fixed for some steps.

    Attributes:
        vertex: Index of the skin's point.
        normal: Direction in which distance counts: the mean of the two normals.
        weight: Of the squared distance; 0 where nothing lies there.
    """

    vertex: Int[Array, " n"]
    normal: Float[Array, "n 3"]
    weight: Float[Array, " n"]


def surface_term(
    skin: Points,
    target: Float[Array, "n 3"],
    matches: Matches,
    width: Float[Array, ""] | float,
) -> Linearised:
    """Geman-McClure of distances along the mean normal of skin and observation (symmetric ICP).

    Along the observation's normal alone, points of a rounded skin that lie beside the observed
    one count as too deep; the mean of both normals cancels that (Rusinkiewicz 2019).

    Args:
        skin: Points of the model's skin, in the world.
        target: Observed points, mm.
        matches: From `dhm.fitting.surface.match`.
        width: Distance beyond which a match loses its weight, mm.
    """
    offset = skin.position[matches.vertex] - target
    error = jnp.sum(offset * matches.normal, axis=-1)
    slopes = einsum("ni,nip->np", matches.normal, skin.jacobian[matches.vertex])
    influence, costs = _geman_mcclure(error**2, width)
    return of_residuals(error, slopes, matches.weight * influence, jnp.sum(matches.weight * costs))


def _geman_mcclure(
    squared: Float[Array, "*b"], width: Float[Array, ""] | float
) -> tuple[Float[Array, "*b"], Float[Array, "*b"]]:
    """Weight of each squared residual r^2, and its robust cost r^2 w^2 / (r^2 + w^2)."""
    share = width**2 / (squared + width**2)
    return share**2, squared * share
