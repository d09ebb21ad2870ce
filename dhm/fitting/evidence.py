"""Evidence of hands: joints, keypoints and points of the skin; poses to start a fit from."""

import itertools
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from dhm.fitting.rig import HandPose, Rig, posed_joints
from dhm.geometry.alignment import rigid_alignment
from dhm.geometry.cameras import project_points, world_to_camera
from dhm.geometry.transforms import einsum, make_transform
from dhm.types import Camera

# mm of depth between neighbouring pixels for each mm between them, beyond which a surface is seen
# at too grazing an angle, or ends.
_MAX_SLOPE = 3.0
# mm; a triangulated joint that its views miss by more hardly counts.
_MISS = 10.0
_NEAR = 50.0  # mm; no hand is closer to a camera


class Evidence(NamedTuple):
    """Evidence of b frames; parts may be missing, with weights of 0 or axes of length 0.

    Attributes:
        joints: 3D joints, world mm.
        joint_weight: Confidence of each; 0 leaves it out.
        keypoints: 2D joints in each of c cameras, pixels.
        keypoint_weight: Confidence of each; 0 leaves it out.
        camera: The cameras.
        points: Points of the visible skin, world mm, of depth maps or a scan.
        normals: Their unit normals, out of the hand.
        point_weight: Confidence of each; 0 leaves it out.
    """

    joints: Float[Array, "b j 3"]
    joint_weight: Float[Array, "b j"]
    keypoints: Float[Array, "b c j 2"]
    keypoint_weight: Float[Array, "b c j"]
    camera: Camera
    points: Float[Array, "b n 3"]
    normals: Float[Array, "b n 3"]
    point_weight: Float[Array, "b n"]


def no_evidence(size: int, num_joints: int, num_cameras: int = 0, num_points: int = 0) -> Evidence:
    """Returns evidence with all weights 0, to fill in with `_replace`."""
    return Evidence(
        joints=np.zeros((size, num_joints, 3), np.float32),
        joint_weight=np.zeros((size, num_joints), np.float32),
        keypoints=np.zeros((size, num_cameras, num_joints, 2), np.float32),
        keypoint_weight=np.zeros((size, num_cameras, num_joints), np.float32),
        camera=Camera(
            np.tile(np.eye(3, dtype=np.float32), (size, num_cameras, 1, 1)),
            np.tile(np.eye(4, dtype=np.float32), (size, num_cameras, 1, 1)),
        ),
        points=np.zeros((size, num_points, 3), np.float32),
        normals=np.zeros((size, num_points, 3), np.float32),
        point_weight=np.zeros((size, num_points), np.float32),
    )


def about_origin(evidence: Evidence, origin: Float[Array, "b 3"]) -> Evidence:
    """Moves the world's origin to `origin`, near the hand, where float32 rounds least.

    Entries without weight become 0.
    """
    T = jnp.asarray(evidence.camera.T_camera_world)
    shift = jnp.sum(T[..., :3, :3] * origin[:, None, None], axis=-1)
    return evidence._replace(
        joints=jnp.where(
            evidence.joint_weight[..., None] > 0, evidence.joints - origin[:, None], 0
        ),
        keypoints=jnp.where(evidence.keypoint_weight[..., None] > 0, evidence.keypoints, 0),
        camera=Camera(evidence.camera.K, T.at[..., :3, 3].add(shift)),
        points=jnp.where(
            evidence.point_weight[..., None] > 0, evidence.points - origin[:, None], 0
        ),
        normals=jnp.where(evidence.point_weight[..., None] > 0, evidence.normals, 0),
    )


def without_points(evidence: Evidence) -> Evidence:
    """Returns the evidence without the points of the skin."""
    parts = ("points", "normals", "point_weight")
    return evidence._replace(**{name: getattr(evidence, name)[:, :0] for name in parts})


def depth_points(
    depth: Float[np.ndarray, "h w"],
    K: Float[np.ndarray, "3 3"],
    T_camera_world: Float[np.ndarray, "4 4"],
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]:
    """Computes world points and unit normals of a depth map.

    Pixels at the border of a surface, or on one seen at too grazing an angle, are left out.

    Args:
        depth: Along the camera's z, mm; 0: background.
        K: Of the depth map.
        T_camera_world: Of its camera.
    """
    low, depth = _without_background(depth)
    rows, columns = np.indices(depth.shape).astype(float) + low[:, None, None]
    y = (rows - K[1, 2]) / K[1, 1]
    x = (columns - K[0, 2] - K[0, 1] * y) / K[0, 0]
    at = np.stack([x * depth, y * depth, depth], axis=-1)
    right, down = at[1:-1, 2:] - at[1:-1, :-2], at[2:, 1:-1] - at[:-2, 1:-1]
    around = np.stack(
        [depth[1:-1, 2:], depth[1:-1, :-2], depth[2:, 1:-1], depth[:-2, 1:-1], depth[1:-1, 1:-1]]
    )
    whole = (around > 0).all(axis=0)
    for step in (right, down):
        whole &= np.abs(step[..., 2]) < _MAX_SLOPE * np.linalg.norm(step[..., :2], axis=-1)
    normals = np.cross(down, right)[whole]  # towards the camera
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9)
    points = at[1:-1, 1:-1][whole]
    R, t = T_camera_world[:3, :3], T_camera_world[:3, 3]
    return (points - t) @ R, normals @ R


def spread_sample(
    points: Float[np.ndarray, "n 3"], count: int, seed: int = 0
) -> Int[np.ndarray, " m"]:
    """Returns the indices of at most `count` points, evenly spread over space.

    Those of one small cube follow each other in a random order of cubes, and every k-th is taken.
    """
    if len(points) <= count:
        return np.arange(len(points))
    extent = np.ptp(points, axis=0).max()
    cell = max(extent / np.sqrt(count), 1e-6)
    cubes = np.floor((points - points.min(axis=0)) / cell).astype(np.int64)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(points))
    _, cube = np.unique(cubes[order], axis=0, return_inverse=True)
    order = order[np.argsort(cube.reshape(-1), kind="stable")]
    return np.sort(order[np.linspace(0, len(points) - 1, count).round().astype(int)])


def _without_background(
    depth: Float[np.ndarray, "h w"],
) -> tuple[Int[np.ndarray, " 2"], Float[np.ndarray, "h2 w2"]]:
    """Returns the first row and column of the rectangle with all depths, and the rectangle."""
    inside = depth > 0
    low, high = [], []
    for axis in (1, 0):
        filled = np.flatnonzero(inside.any(axis=axis))
        low.append(int(filled[0]) if len(filled) else 0)
        high.append(int(filled[-1]) + 1 if len(filled) else 0)
    return np.array(low), depth[low[0] : high[0], low[1] : high[1]]


def starts_from_joints(rig: Rig, evidence: Evidence, theta: Float[Array, "b n d"]) -> HandPose:
    """Aligns poses to the given joints, and to those that two or more cameras see.

    Args:
        rig: The rig.
        evidence: Frames with three or more such joints each.
        theta: Angles to start from.

    Returns:
        Poses [b n].
    """
    points, weights = joints_in_space(evidence)
    joints = posed_joints(rig, theta)
    T = rigid_alignment(
        joints,
        jnp.broadcast_to(points[:, None], joints.shape),
        jnp.broadcast_to(weights[:, None], joints.shape[:-1]),
    )
    return HandPose(theta, T, jnp.ones(theta.shape[:-1]))


def joints_in_space(evidence: Evidence) -> tuple[Float[Array, "b j 3"], Float[Array, "b j"]]:
    """Returns the joints given in 3D, or else triangulated, and their weights."""
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
    """Triangulates points that several cameras see, by linear least squares.

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


def starts_from_one_view(rig: Rig, evidence: Evidence, theta: Float[Array, "b d"]) -> HandPose:
    """Places the hand in the 24 rotations of a cube, for frames seen by one camera.

    For each rotation the best translation is a linear least-squares problem in the keypoints;
    the fit tells which rotation is right.

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
