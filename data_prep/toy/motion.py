"""Finger motions for the made-up capture: smooth paths between poses, within the joints' limits."""

import numpy as np
from jaxtyping import Float

from data_prep.studio.anatomy.joint_tree import axis_rotation
from dhm.geometry.hand_rig import FINGERS, JOINT_NAMES, dof_names

_CURLED = {
    f"{finger}{joint}_z": angle
    for finger in FINGERS[1:]
    for joint, angle in (("1", 1.15), ("2", 1.35), ("3", 0.75))
}
_POSES: dict[str, dict[str, float]] = {
    "rest": {},
    "fist": _CURLED | {"thumb1_z": 0.55, "thumb1_y": 0.1, "thumb2_z": 0.65, "thumb3_z": 0.75},
    "spread": {
        "thumb1_y": -0.35, "index1_y": -0.22, "middle1_y": -0.04, "ring1_y": 0.14,
        "pinky1_y": 0.26, **{f"{finger}2_z": -0.15 for finger in FINGERS[1:]},
    },
    "point": {k: v for k, v in _CURLED.items() if not k.startswith("index")},
    "pinch": {
        "thumb1_z": 0.25, "thumb1_x": 0.45, "thumb3_z": 0.35,
        "index1_z": 0.75, "index2_z": 0.75, "index3_z": 0.35,
    },
    "hook": {k: v for k, v in _CURLED.items() if "1_z" not in k},
}  # fmt: skip

TOY_POSES = tuple(_POSES)


def joint_limits() -> tuple[Float[np.ndarray, " 28"], Float[np.ndarray, " 28"]]:
    """Returns the smallest and the largest angle of each degree of freedom, radians."""
    table = {"x": (-0.4, 0.5), "y": (-0.4, 0.4), "z": (-0.25, 1.6)}
    thumb = {"thumb0": (-0.3, 0.3), "thumb1": (-0.5, 0.6), "thumb2": (-0.2, 0.9)}
    rows = []
    for name in dof_names(JOINT_NAMES):
        joint, axis = name.split("_")
        rows.append(thumb.get(joint, table[axis]))
    low, high = np.array(rows).T
    return low, high


def finger_motion(
    pose: str, num_frames: int, rng: np.random.Generator
) -> Float[np.ndarray, "n 28"]:
    """Returns joint angles that go from rest towards a pose, each finger in its own time."""
    names = dof_names(JOINT_NAMES)
    target = np.array([_POSES[pose].get(name, 0.0) for name in names])
    lead_of = dict(zip(FINGERS, rng.uniform(-0.15, 0.15, len(FINGERS)), strict=True))
    lead = np.array([lead_of[next(f for f in FINGERS if name.startswith(f))] for name in names])
    time = np.linspace(0.1, 1.0, num_frames)[:, None]
    progress = np.sin(np.clip(time + lead, 0.0, 1.0) * np.pi / 2) ** 2
    tremble = rng.normal(0.0, 0.06, len(names)) * np.sin(5.0 * time + rng.uniform(0, 6, len(names)))
    return np.clip(progress * target + tremble, *joint_limits())


def hand_motion(num_frames: int, rng: np.random.Generator) -> Float[np.ndarray, "n 4 4"]:
    """Returns world transforms of the hand: upright (fingers to +z), turning and drifting."""
    upright = np.array([[0.0, 0.0, 1.0], [0.0, -1.0, 0.0], [1.0, 0.0, 0.0]])
    time = np.linspace(-1.0, 1.0, num_frames)
    turn, tilt, lean = (a * np.sin(time + b) for a, b in rng.uniform(-0.7, 0.7, (3, 2)))
    drift = rng.uniform(-20.0, 20.0, (2, 3))
    T_world_hand = np.tile(np.eye(4), (num_frames, 1, 1))
    for T, *angles, now in zip(T_world_hand, lean, tilt, turn, time, strict=True):
        x, y, z = (axis_rotation(axis, angle) for axis, angle in enumerate(angles))
        T[:3, :3] = z @ y @ x @ upright
        # About the middle of the hand, which stays near the origin.
        T[:3, 3] = drift[0] + drift[1] * now - T[:3, :3] @ np.array([80.0, 0.0, 0.0])
    return T_world_hand
