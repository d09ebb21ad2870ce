"""Proportions and rest frames of a made-up hand, for captures that need no download.

In the hand's own frame the wrist is the origin, x points to the fingers, y out of the palm and z
to the thumb; every joint's x axis runs along its bone and its positive z rotation is flexion.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from dhm.geometry.hand_rig import FINGERS, JOINT_NAMES

# The wrist's rest transform is no identity, as in the released rig.
_WRIST_ANGLES = (0.25, -0.35, 0.45)
_WRIST_POSITION = (12.0, -8.0, 20.0)
_REST_FLEXION = (0.15, 0.22, 0.15)
_THUMB_BONES = ((0.66, 0.25, 0.70), (0.72, 0.30, 0.62), (0.80, 0.25, 0.54), (0.84, 0.20, 0.50))
_THUMB_FLEXES_TO = (0.05, 0.62, -0.78)


@dataclass(frozen=True)
class Proportions:
    """Measures of a hand in mm, one row a finger from thumb to pinky.

    Attributes:
        lengths: Bone lengths from the root to the tip (the thumb has one more).
        radii: Half-thickness at the joints and at the tip (the thumb has one more).
        roots: Position of the thumb's base and of the four knuckles in the hand's frame.
        splay: Sideways angle of the four fingers, radians, positive to the thumb.
        roll: Rotation of the four fingers about their own axis, radians.
        thickness: Factor on the palm's thickness.
    """

    lengths: tuple[tuple[float, ...], ...] = (
        (17.0, 45.0, 32.5, 28.5),
        (43.0, 25.0, 22.5),
        (48.0, 29.0, 24.0),
        (44.5, 28.0, 24.0),
        (35.0, 20.5, 21.0),
    )
    radii: tuple[tuple[float, ...], ...] = (
        (16.0, 16.5, 11.8, 10.6, 8.2),
        (11.0, 9.6, 8.4, 6.8),
        (11.2, 9.8, 8.6, 7.0),
        (10.6, 9.2, 8.1, 6.6),
        (9.4, 8.0, 7.1, 5.8),
    )
    roots: tuple[tuple[float, float, float], ...] = (
        (12.0, 5.0, 14.0),
        (91.0, -2.5, 23.0),
        (89.5, -4.5, 1.5),
        (83.0, -3.0, -18.0),
        (75.0, 1.5, -35.0),
    )
    splay: tuple[float, ...] = (0.12, 0.01, -0.10, -0.22)
    roll: tuple[float, ...] = (-0.10, 0.0, 0.10, 0.21)
    thickness: float = 1.0


def vary_proportions(proportions: Proportions, seed: int) -> Proportions:
    """Returns another person's hand: lengths and thickness differ by up to 10 %, one by one."""
    rng = np.random.default_rng(seed)
    size, fat = rng.uniform(0.94, 1.06), rng.uniform(0.93, 1.07)

    def scaled(rows: tuple, factor: float) -> tuple:
        return tuple(tuple(x * factor * rng.uniform(0.97, 1.03) for x in row) for row in rows)

    return replace(
        proportions,
        lengths=scaled(proportions.lengths, size),
        radii=scaled(proportions.radii, fat),
        roots=scaled(proportions.roots, size),
        splay=tuple(angle + rng.uniform(-0.03, 0.03) for angle in proportions.splay),
        thickness=proportions.thickness * fat,
    )


def digit_joints(finger: str) -> tuple[str, ...]:
    """Returns the names of a finger's joints from its root to its tip."""
    parts = ("0", "1", "2", "3", "_null") if finger == "thumb" else ("1", "2", "3", "_null")
    return tuple(finger + part for part in parts)


def axis_rotation(axis: int, angle: float) -> Float[np.ndarray, "3 3"]:
    """Returns the right-handed rotation by an angle about a coordinate axis."""
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = np.eye(3)
    one, other = (axis + 1) % 3, (axis + 2) % 3
    rotation[[one, one, other, other], [one, other, one, other]] = cos, -sin, sin, cos
    return rotation


def rest_frames(proportions: Proportions) -> dict[str, Float[np.ndarray, "4 4"]]:
    """Returns each joint's rest transform in the hand's frame, by name."""
    frames = {"wrist": np.eye(4)}
    thumb = [_frame_along(bone, _THUMB_FLEXES_TO) for bone in _THUMB_BONES]
    _add_chain(frames, 0, thumb, proportions)
    for finger, (splay, roll) in enumerate(zip(proportions.splay, proportions.roll, strict=True)):
        straight = axis_rotation(1, -splay) @ axis_rotation(0, roll)
        bones = [straight @ axis_rotation(2, flexion) for flexion in np.cumsum(_REST_FLEXION)]
        _add_chain(frames, finger + 1, bones, proportions)
    return frames


def _add_chain(frames: dict, finger: int, bones: list, proportions: Proportions) -> None:
    position = np.array(proportions.roots[finger])
    lengths = (*proportions.lengths[finger], 0.0)
    names = digit_joints(FINGERS[finger])
    for name, rotation, length in zip(names, [*bones, bones[-1]], lengths, strict=True):
        frames[name] = np.eye(4)
        frames[name][:3, :3], frames[name][:3, 3] = rotation, position
        position = position + rotation[:, 0] * length


def _frame_along(bone: tuple, flexes_to: tuple) -> np.ndarray:
    x = np.array(bone) / np.linalg.norm(bone)
    y = np.array(flexes_to) - x * (x @ np.array(flexes_to))
    y /= np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], axis=1)


def rig_parents() -> tuple[int, ...]:
    """Returns the parent of each of the 22 joints; the wrist is the root."""
    above = {"wrist": -1}
    for finger in FINGERS:
        chain = ("wrist", *digit_joints(finger))
        above |= {name: JOINT_NAMES.index(parent) for parent, name in pairwise(chain)}
    return tuple(above[name] for name in JOINT_NAMES)


def model_from_hand() -> Float[np.ndarray, "4 4"]:
    """Returns the rest transform of the wrist: from the hand's frame to the model's."""
    T_model_hand = np.eye(4)
    x, y, z = (axis_rotation(axis, angle) for axis, angle in enumerate(_WRIST_ANGLES))
    T_model_hand[:3, :3], T_model_hand[:3, 3] = z @ y @ x, _WRIST_POSITION
    return T_model_hand


def rest_transforms(frames: dict[str, np.ndarray]) -> Float[np.ndarray, "22 4 4"]:
    """Returns each joint's rest transform in its parent's frame, in the order of JOINT_NAMES."""
    transforms = []
    for name, parent in zip(JOINT_NAMES, rig_parents(), strict=True):
        above = frames[JOINT_NAMES[parent]] if parent >= 0 else np.linalg.inv(model_from_hand())
        transforms.append(np.linalg.inv(above) @ frames[name])
    return np.stack(transforms)
