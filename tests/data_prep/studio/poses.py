"""Poses and transforms for the tests of the studio."""

import numpy as np

from data_prep.studio.anatomy.rig import DOF_NAMES, JOINT_LIMITS
from dhm.geometry.hand_rig import FINGERS


def pose(**angles: float) -> np.ndarray:
    """Returns the 28 rotations with those named and zeros elsewhere."""
    return np.array([angles.get(name, 0.0) for name in DOF_NAMES])


def random_pose(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(*JOINT_LIMITS.T)


def curled(finger: str, first: float, second: float, third: float) -> dict[str, float]:
    return {f"{finger}1_z": first, f"{finger}2_z": second, f"{finger}3_z": third}


def fist() -> np.ndarray:
    angles = {"thumb0_x": -0.25, "thumb0_y": -0.2, "thumb1_x": -0.5, "thumb1_y": -0.24,
              "thumb1_z": 0.65, "thumb2_z": 0.96}  # fmt: skip
    for finger in FINGERS[1:]:
        angles |= curled(finger, 1.52, 1.83, 1.22)
    return pose(**angles)


def pinch() -> np.ndarray:
    thumb = {"thumb0_x": -0.2, "thumb0_z": 0.29, "thumb1_x": -0.18, "thumb1_y": 0.18,
             "thumb1_z": 0.34, "thumb2_z": -0.19, "thumb3_z": -0.34}  # fmt: skip
    return pose(**thumb, **curled("index", 0.57, 0.9, 1.02))


def transformed(T: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ T[:3, :3].T + T[:3, 3]
