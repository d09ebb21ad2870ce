"""Pose, root transform and optionally scale of hands from evidence, frame by frame or in films."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from dhm.arguments import require_shapes
from dhm.fitting.evidence import Evidence, about_origin, without_points
from dhm.fitting.joint_fit import PRIOR
from dhm.fitting.levenberg_marquardt import NormalEquations, minimise
from dhm.fitting.rig import (
    HandPose,
    Points,
    Rig,
    SkinSample,
    joint_points,
    move_pose,
    pose_rig,
    posed_joints,
    shift_pose,
    skin_normals,
    skin_points,
)
from dhm.fitting.terms import (
    BoneSpheres,
    angle_bounds,
    joint_term,
    keypoint_term,
    match,
    penetration_term,
    prior_term,
    surface_term,
)
from dhm.geometry.cameras import project_points, world_to_camera
from dhm.geometry.transforms import transform_points


class FitSettings(NamedTuple):
    """Weights and steps.

    Attributes:
        fit_scale: Whether the scale is fitted; otherwise that of the start is kept. May be traced,
            like every number except those of steps and rounds.
        prior: Smallest pull of the angles to the prior's pose, mm per radian.
        prior_width: Standard deviation of the angles about the prior's pose, as a share of their
            range; the noise of the evidence over it is the pull, see `fit_evidence`.
        scale_prior: Pull of the scale to 1, mm per unit of its logarithm.
        keypoint_width: Reprojection error, in mm at the hand, beyond which a keypoint loses its
            weight (Geman-McClure).
        surface: Weight of all points of the skin together, in coordinates of exact joints; the
            noisier the joints are, the more it is.
        surface_width: Distance beyond which a point of the skin loses its weight, mm.
        penetration: Weight of the squared overlaps.
        steps: Levenberg-Marquardt steps on joints and keypoints, from every start, in each of
            three stages: far off, nearby, and with the prior that the noise asks for.
        rounds: Times that the skin is matched anew.
        round_steps: Steps after each.
    """

    fit_scale: Bool[Array, ""] | bool = False
    prior: float = PRIOR
    prior_width: float = 0.2
    scale_prior: float = 20.0
    keypoint_width: float = 15.0
    surface: float = 20.0
    surface_width: float = 5.0
    penetration: float = 0.1
    steps: int = 14
    rounds: int = 6
    round_steps: int = 3


DEFAULTS = FitSettings()
# The first steps on keypoints use a width so much larger: from afar all are off.
_WIDER = 5.0
_MAX_NOISE = 6.0  # mm
# Largest distance of a match with the skin in the first round and in the last, mm.
_REACH = (40.0, 12.0)


class FittedHand(NamedTuple):
    """The best pose for the evidence; errors are NaN where there is no such evidence.

    Attributes:
        pose: Angles within the limits, root transform and scale.
        cost: What was minimised, mm^2.
        joint_error: Mean distance of the joints given in 3D, mm.
        pixel_error: Mean distance of the keypoints, pixels.
        surface_error: Mean distance of the matched points of the skin along their normals, mm.
        matched: Share of the points of the skin with a match on the model.
    """

    pose: HandPose
    cost: Float[Array, " b"]
    joint_error: Float[Array, " b"]
    pixel_error: Float[Array, " b"]
    surface_error: Float[Array, " b"]
    matched: Float[Array, " b"]


class _Frame(NamedTuple):
    """One frame's evidence and constants; `noise` is the standard deviation of joints, mm."""

    evidence: Evidence
    mm_per_pixel: Float[Array, " c"]
    prior_pose: Float[Array, " d"]
    noise: Float[Array, ""]


def fit_evidence(
    rig: Rig,
    evidence: Evidence,
    starts: HandPose,
    settings: FitSettings = DEFAULTS,
    *,
    prior_pose: Float[Array, "b d"] | None = None,
    surface: SkinSample | None = None,
    spheres: BoneSpheres | None = None,
) -> FittedHand:
    """Fits by Levenberg-Marquardt, to joints and keypoints from every start, then to the skin.

    The residuals of joints and keypoints tell their noise, which sets the weight of the prior:
    exact joints are followed closely, noisy ones do not bend fingers into unlikely poses.

    The derivatives through skinning hold the correctives fixed; they are evaluated anew whenever
    the skin is matched anew.

    Args:
        rig: Rest transforms, tree and limits.
        evidence: Of b frames.
        starts: Poses [b n] to start from, see `dhm.fitting.evidence`; the best result is kept.
        settings: Weights and steps.
        prior_pose: Angles to stay near to; the middle of their range, a relaxed hand, by default.
        surface: The model's skin, needed to use points of the skin.
        spheres: Along the bones; without them nothing keeps parts from penetrating each other.

    Returns:
        The best pose of each frame.

    Raises:
        BadInputError: If arrays have other shapes.
    """
    require_shapes(
        parents=(np.asarray(rig.parents), "j"),
        theta=(starts.theta, f"b n {rig.num_angles}"),
        T_world_model=(starts.T_world_model, "b n 4 4"),
        scale=(starts.scale, "b n"),
        joints=(evidence.joints, "b j 3"),
        joint_weight=(evidence.joint_weight, "b j"),
        keypoints=(evidence.keypoints, "b c j 2"),
        keypoint_weight=(evidence.keypoint_weight, "b c j"),
        points=(evidence.points, "b p 3"),
        point_weight=(evidence.point_weight, "b p"),
    )
    size = len(starts.theta)
    origin = jnp.mean(_centres(rig, starts), axis=1)
    evidence = about_origin(evidence, origin)
    starts = shift_pose(starts, -origin[:, None])
    middle = jnp.broadcast_to((rig.low + rig.high) / 2, (size, rig.num_angles))
    prior = middle if prior_pose is None else prior_pose
    frames = _Frame(
        evidence,
        _mm_per_pixel(rig, evidence, starts),
        prior,
        jnp.zeros(size),
    )
    fit = partial(_fit_joints, rig, settings, spheres)
    from_starts = jax.vmap(jax.vmap(fit, in_axes=(None, 0)))
    pose, cost, noise = from_starts(frames._replace(evidence=without_points(evidence)), starts)
    best = jnp.arange(size), jnp.argmin(cost, axis=1)
    pose, cost, noise = jax.tree.map(lambda x: x[best], (pose, cost, noise))
    frames = frames._replace(noise=noise)
    surface_error = matched = jnp.full(size, jnp.nan)
    if surface is not None and evidence.points.shape[1]:
        fit = partial(_fit_surface, rig, settings, spheres, surface)
        pose, cost, surface_error, matched = jax.vmap(fit)(frames, pose)
    errors = jax.vmap(partial(_errors, rig))(frames, pose)
    return FittedHand(shift_pose(pose, origin), cost, *errors, surface_error, matched)


def fit_sequence(
    rig: Rig,
    evidence: Evidence,
    starts: HandPose,
    settings: FitSettings = DEFAULTS,
    *,
    surface: SkinSample | None = None,
    spheres: BoneSpheres | None = None,
) -> FittedHand:
    """Fits the frames of a film; each starts from the previous one's pose as well.

    That pose is also the prior, so that whatever a frame's evidence leaves open stays as it is.

    Args:
        rig: As in `fit_evidence`, like all others.
        evidence: Of t frames in a row.
        starts: Further poses [t n] to start from.
        settings: Weights and steps.
        surface: The model's skin.
        spheres: Along the bones.

    Returns:
        The best pose of each frame.
    """
    single = partial(fit_evidence, rig, settings=settings, surface=surface, spheres=spheres)

    def one(tree):
        return jax.tree.map(lambda x: x[None], tree)

    def follow(before: FittedHand, frame: tuple[Evidence, HandPose]):
        seen, starts = frame
        chosen = jax.tree.map(
            lambda a, b: jnp.concatenate([a[:, None], b[None]], axis=1), before.pose, starts
        )
        found = single(one(seen), chosen, prior_pose=before.pose.theta)
        return found, jax.tree.map(lambda x: x[0], found)

    first = single(*jax.tree.map(lambda x: x[:1], (evidence, starts)))
    rest = jax.tree.map(lambda x: x[1:], (evidence, starts))
    _, others = jax.lax.scan(follow, first, rest)
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, others)


def _centres(rig: Rig, poses: HandPose) -> Float[Array, "b n 3"]:
    centre = jnp.mean(posed_joints(rig, poses.theta), axis=-2) * poses.scale[..., None]
    T = poses.T_world_model
    return jnp.sum(T[..., :3, :3] * centre[..., None, :], axis=-1) + T[..., :3, 3]


def _mm_per_pixel(rig: Rig, evidence: Evidence, starts: HandPose) -> Float[Array, "b c"]:
    """Returns the size of a pixel at the hand, by the median of the starts."""
    at = world_to_camera(_centres(rig, starts)[:, None], evidence.camera.T_camera_world)
    depth = jnp.median(jnp.maximum(at[..., 2], 1.0), axis=-1)
    return depth / evidence.camera.K[..., 0, 0]


def _linearise_joints(
    rig: Rig,
    settings: FitSettings,
    spheres: BoneSpheres | None,
    frame: _Frame,
    joints: Points,
    pose: HandPose,
    width: float,
) -> NormalEquations:
    """Linearises all terms except that of the skin."""
    spread = settings.prior_width * (rig.high - rig.low)
    weight = jnp.maximum(settings.prior, frame.noise / spread)
    total = prior_term(pose, frame.prior_pose, weight, settings.scale_prior)
    total += _evidence_term(frame, joints, width)
    if spheres is not None:
        total += penetration_term(joints, spheres, settings.penetration)
    return total


def _evidence_term(frame: _Frame, joints: Points, width: float) -> NormalEquations:
    """Linearises the terms of joints and keypoints."""
    seen = frame.evidence
    total = joint_term(joints, seen.joints, seen.joint_weight)
    if len(seen.keypoints):
        total += keypoint_term(
            joints, seen.keypoints, seen.keypoint_weight, seen.camera, frame.mm_per_pixel, width
        )
    return total


def _noise(rig: Rig, settings: FitSettings, frame: _Frame, pose: HandPose) -> Float[Array, ""]:
    """Estimates the standard deviation (mm) of joints and keypoints from their residuals."""
    seen = frame.evidence
    joints = joint_points(rig, pose_rig(rig, pose.theta), pose)
    cost = _evidence_term(frame, joints, settings.keypoint_width).cost
    given = 3 * jnp.sum(seen.joint_weight) + 2 * jnp.sum(seen.keypoint_weight)
    surplus = jnp.maximum(given - (rig.num_angles + 6), given / 4)
    return jnp.minimum(jnp.sqrt(cost / jnp.maximum(surplus, 1)), _MAX_NOISE)


def _fixed(rig: Rig, settings: FitSettings, pose: HandPose, gradient: Array) -> Bool[Array, " p"]:
    return angle_bounds(rig, pose, gradient).at[-1].set(jnp.logical_not(settings.fit_scale))


def _fit_joints(
    rig: Rig,
    settings: FitSettings,
    spheres: BoneSpheres | None,
    frame: _Frame,
    start: HandPose,
) -> tuple[HandPose, Float[Array, ""], Float[Array, ""]]:
    """Fits joints and keypoints; returns the pose, its cost, and their noise in mm."""
    move, fixed = partial(move_pose, rig), partial(_fixed, rig, settings)

    def fit(state, stage: tuple[Array, Array]):
        pose = state[0]
        width, heeds_noise = stage
        noise = jnp.where(heeds_noise, _noise(rig, settings, frame, pose), 0)
        weighted = frame._replace(noise=noise)

        def linearise(pose: HandPose) -> NormalEquations:
            joints = joint_points(rig, pose_rig(rig, pose.theta), pose)
            return _linearise_joints(rig, settings, spheres, weighted, joints, pose, width)

        pose, cost = minimise(linearise, move, fixed, pose, settings.steps)
        return (pose, cost, noise), None

    widths = settings.keypoint_width * jnp.array([_WIDER, 1.0, 1.0])
    state = (start, jnp.float32(0), jnp.float32(0))
    return jax.lax.scan(fit, state, (widths, jnp.array([False, False, True])))[0]


def _fit_surface(
    rig: Rig,
    settings: FitSettings,
    spheres: BoneSpheres | None,
    surface: SkinSample,
    frame: _Frame,
    pose: HandPose,
) -> tuple[HandPose, Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    seen = frame.evidence
    total = jnp.maximum(jnp.sum(seen.point_weight), 1e-6)
    share = settings.surface * (1 + frame.noise**2) / total

    def pair(pose: HandPose, reach: Float[Array, ""] | float):
        skin, posed = surface.skin(pose.theta), pose_rig(rig, pose.theta)
        position = skin_points(rig, posed, pose, skin).position
        normals = skin_normals(posed, pose, skin)
        matches = match(
            position, normals, surface.inner, seen.points, seen.normals, seen.point_weight, reach
        )
        return skin, position, matches

    def match_and_fit(round_, state):
        done = round_ / max(settings.rounds - 1, 1)
        skin, _, matches = pair(state[0], _REACH[0] + done * (_REACH[1] - _REACH[0]))
        scaled = matches._replace(weight=matches.weight * share)

        def linearise(pose: HandPose) -> NormalEquations:
            posed = pose_rig(rig, pose.theta)
            rest = _linearise_joints(
                rig, settings, spheres, frame, joint_points(rig, posed, pose), pose,
                settings.keypoint_width,
            )  # fmt: skip
            points = skin_points(rig, posed, pose, skin)
            return rest + surface_term(points, seen.points, scaled, settings.surface_width)

        move, fixed = partial(move_pose, rig), partial(_fixed, rig, settings)
        return minimise(linearise, move, fixed, state[0], settings.round_steps)

    pose, cost = jax.lax.fori_loop(0, settings.rounds, match_and_fit, (pose, jnp.float32(0)))
    _, position, matches = pair(pose, _REACH[1])
    offset = jnp.sum((position[matches.vertex] - seen.points) * matches.normal, axis=-1)
    matched = jnp.sum(matches.weight)
    error = jnp.sum(jnp.abs(offset) * matches.weight) / matched
    return pose, cost, error, matched / total


def _errors(rig: Rig, frame: _Frame, pose: HandPose) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Returns the mean distance of the joints given in 3D (mm), and of the keypoints (pixels)."""
    seen = frame.evidence
    joints = transform_points(pose.T_world_model, pose.scale * pose_rig(rig, pose.theta).joints)
    distance = jnp.linalg.norm(joints - seen.joints, axis=-1)
    given = seen.joint_weight > 0
    mean = jnp.sum(jnp.where(given, distance, 0)) / jnp.sum(given)
    if not len(seen.keypoints):
        return mean, jnp.float32(jnp.nan)
    pixels = project_points(world_to_camera(joints, seen.camera.T_camera_world), seen.camera.K)
    missed = jnp.linalg.norm(pixels - seen.keypoints, axis=-1)
    marked = seen.keypoint_weight > 0
    return mean, jnp.sum(jnp.where(marked, missed, 0)) / jnp.sum(marked)
