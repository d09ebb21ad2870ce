"""What was seen of some hands: the input of the evidence fit."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dhm.fitting.rig import HandPose
from dhm.types import Camera


class Evidence(NamedTuple):
    """Evidence of b frames, any part of which may be missing: its weights are 0 or its axis is.

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
    """Evidence of nothing in arrays of the right shapes, to fill in with `_replace`."""
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
    """The evidence in a world whose origin is at `origin`, where float32 has digits to spare.

    What has no weight becomes 0, whatever it was.
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
    """The evidence but for the points of the skin."""
    parts = ("points", "normals", "point_weight")
    return evidence._replace(**{name: getattr(evidence, name)[:, :0] for name in parts})


def shift_pose(pose: HandPose, shift: Float[Array, "b 3"]) -> HandPose:
    """Poses moved in the world."""
    return pose._replace(T_world_model=pose.T_world_model.at[..., :3, 3].add(shift))
