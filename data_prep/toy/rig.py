"""Proportions and rest frames of a made-up hand, for captures that need no download."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from data_prep.studio.anatomy.joint_tree import axis_rotation, chain_frames, frame_along
from dhm.geometry.hand_rig import FINGERS

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


def rest_frames(proportions: Proportions) -> dict[str, Float[np.ndarray, "4 4"]]:
    """Returns each joint's rest transform in the hand's frame, by name."""
    frames = {"wrist": np.eye(4)}
    thumb = [frame_along(bone, _THUMB_FLEXES_TO) for bone in _THUMB_BONES]
    frames |= chain_frames("thumb", proportions.roots[0], thumb, proportions.lengths[0])
    angles = zip(proportions.splay, proportions.roll, strict=True)
    for finger, (splay, roll) in enumerate(angles, start=1):
        straight = axis_rotation(1, -splay) @ axis_rotation(0, roll)
        bones = [straight @ axis_rotation(2, flexion) for flexion in np.cumsum(_REST_FLEXION)]
        root, lengths = proportions.roots[finger], proportions.lengths[finger]
        frames |= chain_frames(FINGERS[finger], root, bones, lengths)
    return frames


def model_from_hand() -> Float[np.ndarray, "4 4"]:
    """Returns the rest transform of the wrist: from the hand's frame to the model's."""
    T_model_hand = np.eye(4)
    x, y, z = (axis_rotation(axis, angle) for axis, angle in enumerate(_WRIST_ANGLES))
    T_model_hand[:3, :3], T_model_hand[:3, 3] = z @ y @ x, _WRIST_POSITION
    return T_model_hand
