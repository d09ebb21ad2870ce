"""Where to start: a root transform for given angles, from joints that are known in 3D or seen."""

import itertools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dhm.fitting.evidence import Evidence
from dhm.fitting.rig import HandPose, Rig, posed_joints
from dhm.geometry.alignment import rigid_alignment
from dhm.geometry.cameras import project_points, world_to_camera
from dhm.geometry.transforms import einsum, make_transform
from dhm.types import Camera

# mm; a triangulated joint that its views miss by more hardly counts.
_MISS = 10.0
_NEAR = 50.0  # mm; no hand is closer to a camera


def starts_in_space(rig: Rig, evidence: Evidence, theta: Float[Array, "b n d"]) -> HandPose:
    """Aligns poses to the given joints, and to those that two or more cameras see.

    Args:
        rig: The rig.
        evidence: Frames with three or more such joints each.
        theta: Angles to start from.

    Returns:
        Poses [b n].
    """
    points, weights = known_joints(evidence)
    joints = posed_joints(rig, theta)
    T = rigid_alignment(
        joints,
        jnp.broadcast_to(points[:, None], joints.shape),
        jnp.broadcast_to(weights[:, None], joints.shape[:-1]),
    )
    return HandPose(theta, T, jnp.ones(theta.shape[:-1]))


def known_joints(evidence: Evidence) -> tuple[Float[Array, "b j 3"], Float[Array, "b j"]]:
    """Joints in 3D and their weights: those given, else those triangulated."""
    given = evidence.joint_weight > 0
    if evidence.keypoints.shape[1] < 2:
        return jnp.where(given[..., None], evidence.joints, 0), evidence.joint_weight
    points, weights = triangulate(evidence.keypoints, evidence.keypoint_weight, evidence.camera)
    return (
        jnp.where(given[..., None], evidence.joints, points),
        jnp.where(given, evidence.joint_weight, weights),
    )


def triangulate(
    keypoints: Float[Array, "b c j 2"], weights: Float[Array, "b c j"], camera: Camera
) -> tuple[Float[Array, "b j 3"], Float[Array, "b j"]]:
    """Points that several cameras see, by linear least squares.

    Args:
        keypoints: Pixels.
        weights: Confidences; 0: not seen.
        camera: The cameras [b c].

    Returns:
        World points, mm, and their weights: 0 for what fewer than two cameras see, little for
        what they do not see in one place.
    """
    keypoints = jnp.where(weights[..., None] > 0, keypoints, 0)
    P = einsum("bcik,bckl->bcil", camera.K, camera.T_camera_world[..., :3, :])
    # (P_i - u_i P_2) (x, 1) = 0 for i = 0, 1; over the focal length, numbers about 1.
    rows = P[..., None, :2, :] - keypoints[..., None] * P[..., None, 2:, :]
    rows = rows / camera.K[..., None, None, :1, 0]
    A, b = rows[..., :3], -rows[..., 3]
    normal = einsum("bcj,bcjri,bcjrk->bjik", weights, A, A)
    right = einsum("bcj,bcjri,bcjr->bji", weights, A, b)
    views = jnp.sum(weights > 0, axis=1)
    seen = views >= 2
    normal = jnp.where(seen[..., None, None], normal, jnp.eye(3))
    points = jnp.linalg.solve(normal + 1e-9 * jnp.eye(3), right[..., None])[..., 0]
    at = world_to_camera(points[:, None], camera.T_camera_world)
    depth = jnp.maximum(at[..., 2], _NEAR)
    missed = jnp.linalg.norm(project_points(at, camera.K) - keypoints, axis=-1)
    missed = missed * depth / camera.K[..., 0, 0][..., None]
    miss = jnp.sum(weights * missed, axis=1) / jnp.maximum(jnp.sum(weights, axis=1), 1e-6)
    share = (_MISS**2 / (_MISS**2 + miss**2)) ** 2
    usable = seen & (jnp.min(jnp.where(weights > 0, at[..., 2], jnp.inf), axis=1) > 0)
    mean = jnp.sum(weights, axis=1) / jnp.maximum(views, 1)
    return jnp.where(usable[..., None], points, 0), jnp.where(usable, mean * share, 0)


def starts_in_one_view(rig: Rig, evidence: Evidence, theta: Float[Array, "b d"]) -> HandPose:
    """The 24 rotations of a cube, each with the best place for it, for frames seen by one camera.

    With a known rotation the place is linear in the keypoints; which rotation is right shows in
    the fit.

    Args:
        rig: The rig.
        evidence: Frames with four or more keypoints in their first camera.
        theta: Angles to start from.

    Returns:
        Poses [b 24].
    """
    joints = posed_joints(rig, theta)
    K, T_camera_world = (x[:, 0] for x in evidence.camera)
    weights, uv = evidence.keypoint_weight[:, 0], evidence.keypoints[:, 0]
    y = (uv[..., 1] - K[:, None, 1, 2]) / K[:, None, 1, 1]
    x = (uv[..., 0] - K[:, None, 0, 2] - K[:, None, 0, 1] * y) / K[:, None, 0, 0]
    rotations = jnp.asarray(_cube_rotations())  # camera from model
    turned = einsum("rik,bjk->brji", rotations, joints)
    rays = jnp.stack([x, y], axis=-1)[:, None]
    # t_xy - ray t_z = ray q_z - q_xy
    zero, one = jnp.zeros_like(rays[..., 0]), jnp.ones_like(rays[..., 0])
    A = jnp.stack(
        [
            jnp.stack([one, zero, -rays[..., 0]], axis=-1),
            jnp.stack([zero, one, -rays[..., 1]], axis=-1),
        ],
        axis=-2,
    )
    A = jnp.broadcast_to(A, (*turned.shape[:-1], 2, 3))
    b = rays * turned[..., 2:] - turned[..., :2]
    normal = einsum("bj,brjia,brjic->brac", weights, A, A)
    right = einsum("bj,brjia,brji->bra", weights, A, b)
    place = jnp.linalg.solve(normal + 1e-6 * jnp.eye(3), right[..., None])[..., 0]
    # The wrong way round the best place may be behind the camera: there as far in front of it.
    place = place * jnp.where(place[..., 2:] < 0, -1, 1)
    place = place.at[..., 2].max(_NEAR + jnp.max(jnp.abs(turned[..., 2]), axis=-1))
    R, t = T_camera_world[:, None, :3, :3], T_camera_world[:, None, :3, 3]
    world = make_transform(
        einsum("bzki,brkj->brij", R, jnp.broadcast_to(rotations, (len(theta), *rotations.shape))),
        einsum("bzki,brk->bri", R, place - t),
    )
    size = world.shape[:2]
    return HandPose(
        jnp.broadcast_to(theta[:, None], (*size, theta.shape[-1])), world, jnp.ones(size)
    )


def _cube_rotations() -> Float[np.ndarray, "24 3 3"]:
    matrices = [
        np.diag(signs)[list(order)]
        for order in itertools.permutations(range(3))
        for signs in itertools.product((1.0, -1.0), repeat=3)
    ]
    return np.stack([m for m in matrices if np.linalg.det(m) > 0]).astype(np.float32)
