"""The anatomy of a hand: the primitives of palm and digits, and their pose.

Frames are named after joints; "index1_head" and the like are frames at a knuckle that do not follow
the finger's own rotation. Lengths are in mm of the average hand.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from data_prep.studio.anatomy.primitives import (
    PALM,
    PART_JOINTS,
    Primitive,
    RoundCones,
    Seam,
    hand_seams,
    jittered,
    pose_primitives,
)
from data_prep.studio.anatomy.proportions import Proportions
from data_prep.studio.anatomy.rig import JOINT_LIMITS, flexion, metacarpal_frames, pose_rig
from dhm.geometry.hand_rig import FINGERS, JOINT_NAMES

_METACARPAL_BASES = ((22.0, -1.0, 11.0), (20.0, -3.0, 2.0), (20.0, -2.0, -7.0), (18.0, 0.0, -15.0))


@dataclass(frozen=True)
class Anatomy:
    """A hand in a pose.

    Attributes:
        proportions: Measures of the hand.
        cones: The posed primitives.
        seams: The blends of adjacent parts.
        frames: The pose's frames in the hand's frame, by name.
        rest: The same frames at rest.
        flexions: Flexion of the digits' joints in radians, by name.
    """

    proportions: Proportions
    cones: RoundCones
    seams: tuple[Seam, ...]
    frames: dict[str, Float[np.ndarray, "4 4"]]
    rest: dict[str, Float[np.ndarray, "4 4"]]
    flexions: dict[str, float]


def pose_anatomy(proportions: Proportions, theta: Float[np.ndarray, " 28"]) -> Anatomy:
    """Returns the anatomy of a hand in a pose, given by the 28 rotations in radians."""
    theta = np.asarray(theta, float)
    frames = _frames(proportions, theta)
    primitives, rest = _resting_anatomy(proportions)
    return Anatomy(
        proportions,
        pose_primitives(primitives, frames, rest),
        hand_seams(proportions),
        frames,
        rest,
        {joint: flexion(theta, joint) for joint in PART_JOINTS[1:]},
    )


@lru_cache(maxsize=16)
def _resting_anatomy(proportions: Proportions) -> tuple[list[Primitive], dict[str, np.ndarray]]:
    """A person's primitives and frames at rest."""
    rest = _frames(proportions, np.zeros(len(JOINT_LIMITS)))
    return jittered(hand_primitives(proportions), proportions), rest


def hand_primitives(proportions: Proportions) -> list[Primitive]:
    """Returns the primitives of palm and digits at rest, mm."""
    primitives = [*_wrist(proportions), *_metacarpus(proportions), *_thumb_base(proportions)]
    primitives += _webs(proportions)
    for part, joint in enumerate(PART_JOINTS[1:], start=1):
        shape = _fingertip if joint[-1] == "3" else _phalanx
        primitives += shape(part, joint, *proportions.bone(joint))
    return primitives


def _frames(proportions: Proportions, theta: np.ndarray) -> dict[str, np.ndarray]:
    frames = dict(zip(JOINT_NAMES, pose_rig(proportions, theta), strict=True))
    heads = metacarpal_frames(proportions, theta)
    return frames | {f"{name}_head": frame for name, frame in heads.items()}


def _palm(start, end, radii, blend, tone=0.0, flatness=1.0) -> Primitive:
    return Primitive(PALM, start, end, radii, blend, tone, flatness)


def _wrist(proportions: Proportions) -> list[Primitive]:
    t = proportions.thickness
    forearm = [
        _palm(
            ("wrist", (-60, 0, 13.5 * side * t)),
            ("wrist", (4, 0.5, 12.0 * side * t)),
            (19.5 * t, 15.3 * t),
            10,
        )
        for side in (1, 0, -1)
    ]
    carpus = _palm(("wrist", (9, 1.5, 9)), ("wrist", (13, 1.5, -12)), (15.5 * t, 15 * t), 12)
    return [*forearm, carpus]


def _metacarpus(proportions: Proportions) -> list[Primitive]:
    """Back and palm from wrist to knuckles, with the muscles of the little finger."""
    t = proportions.thickness
    heads = [f"{finger}1_head" for finger in FINGERS[1:]]
    bones = [
        _palm(("wrist", base), (head, (-1, 0, 0)), (12.0 * t, radii[0]), 9)
        for head, base, radii in zip(heads, _METACARPAL_BASES, proportions.radii[1:], strict=True)
    ]
    pads = [
        _palm((one, (-8, 5.5, 0)), (other, (-8, 5.5, 0)), (9.4 * t, 9.4 * t), 10)
        for one, other in pairwise(heads)
    ]
    # Skin and fat between the knuckles, which would be separate balls without it.
    fills = [
        _palm((one, (-8, -0.8, -4)), (other, (-8, -0.8, 4)), (7.0 * t, 7.0 * t), 8)
        for one, other in pairwise(heads)
    ]
    knuckles = [
        _palm((head, (-22, -1.6, 0)), (head, (-0.5, -2.5, 0)), (r[0] * 0.66, r[0] * 0.74), 5)
        for head, r in zip(heads, proportions.radii[1:], strict=True)
    ]
    fat = [
        _palm(("wrist", (40, 4, 6)), ("wrist", (64, 4, 4)), (11 * t, 10.5 * t), 12),
        _palm(("wrist", (38, 4, -8)), ("wrist", (60, 4, -14)), (11 * t, 10.5 * t), 12),
    ]
    side = [
        _palm(("wrist", (14, 8, -19)), (heads[3], (-22, 7.5, -2)), (12.0 * t, 10.5 * t), 11, 0.6),
        _palm(("wrist", (10, 0, -15)), (heads[3], (-14, 2, -2)), (11.5 * t, 10 * t), 9),
    ]
    # Flesh at the fingers' roots, which a fist presses into the palm.
    roots = [
        _palm(
            (head, (-8, 6, 0)),
            (f"{finger}1", (0.30 * lengths[0], 3, 0)),
            (0.66 * radii[0], 0.66 * radii[0]),
            8,
            0.5,
        )
        for head, finger, lengths, radii in zip(
            heads, FINGERS[1:], proportions.lengths[1:], proportions.radii[1:], strict=True
        )
    ]
    return [*bones, *pads, *fat, *side, *fills, *knuckles, *roots]


def _thumb_base(proportions: Proportions) -> list[Primitive]:
    """The thumb's metacarpal and ball, and the muscle and skin of its web."""
    t, radius = proportions.thickness, proportions.radii[0][0]
    reach = proportions.lengths[0][1] / 45.0

    def along(x: float, y: float, z: float) -> tuple:
        return "thumb1", (x * reach, y, z)

    def index(x: float, y: float, z: float) -> tuple:
        return "index1_head", (x, y, z)

    return [
        _palm(("wrist", (18, 10, 7)), along(33, 3.5, -1), (12.0 * t, 11.5 * t), 10, 0.7),
        _palm(("wrist", (31, 9, 9)), along(38, 4, -2), (11.0 * t, 10.0 * t), 10, 0.7),
        _palm(("thumb0", (0, 0, 0)), ("thumb1", (0, 0, 0)), (12.5 * t, 12.0 * t), 9),
        _palm(along(0, 0, 0), ("thumb2", (-2, 0, 0)), (12.0 * t, radius), 9),
        _palm(along(6, 1, -1), ("wrist", (36, 1, 13)), (10.0 * t, 9.0 * t), 10, 0.5),
        _palm(along(20, 2.5, 0), index(-40, 3, -2), (9.0 * t, 8.5 * t), 10, 0.5),
        _palm(along(31, 2, -1), index(-27, 3, -1), (6.2 * t, 7.0 * t), 10, 0.8),
        _palm(along(39, 1, -2), index(-15, 3.5, 1), (4.6 * t, 5.6 * t), 10, 0.9),
        _palm(along(18, -3, -2), index(-24, -1, 4), (6.0 * t, 6.5 * t), 10, 0.9),
        _palm(along(6, -3, -3), index(-36, -1.5, 1), (8.0 * t, 7.5 * t), 10, 0.6),
    ]


def _webs(proportions: Proportions) -> list[Primitive]:
    t, primitives = proportions.thickness, []
    lengths = [row[0] for row in proportions.lengths[1:]]
    for (one, first), (other, second) in pairwise(zip(FINGERS[1:], lengths, strict=True)):
        primitives += [
            _palm(
                (f"{one}1", (0.30 * first, 2, -4)),
                (f"{other}1", (0.32 * second, 2, 4)),
                (6.4 * t, 6.2 * t),
                6,
            ),
            _palm(
                (f"{one}1", (0.13 * first, 2.5, -4)),
                (f"{other}1", (0.13 * second, 2.5, 4)),
                (8.4 * t, 8.0 * t),
                8,
            ),
        ]
    return primitives


def _phalanx(part: int, joint: str, length: float, start: float, end: float) -> list[Primitive]:
    """A bone with two condyles at its far end, and a muscle on the palmar side."""
    following = f"{joint[:-1]}{int(joint[-1]) + 1}"
    condyle, spread = 0.78 * end, 0.22 * end
    return [
        Primitive(part, (joint, (0, 0, 0)), (joint, (length, 0, 0)), (0.92 * start, 0.88 * end), 4),
        Primitive(
            part,
            (joint, (0.30 * length, 1.2, 0)),
            (joint, (0.70 * length, 1.0, 0)),
            (0.95 * end, 0.90 * end),
            5,
        ),
        Primitive(
            part,
            (joint, (0.34 * length, 1.6, 0)),
            (following, (3.0, 4.0, 0)),
            (0.86 * end, 0.55 * end),
            5,
            0.9,
        ),
        Primitive(
            part,
            (joint, (length - 0.5, -0.8, -spread)),
            (joint, (length - 0.5, -0.8, spread)),
            (condyle, condyle),
            3,
        ),
    ]


def _fingertip(part: int, joint: str, length: float, start: float, tip: float) -> list[Primitive]:
    return [
        Primitive(
            part,
            (joint, (0, 0, 0)),
            (joint, (length - 0.92 * tip, 0.4, 0)),
            (0.88 * start, tip),
            4,
            flatness=0.9,
        ),
        Primitive(
            part,
            (joint, (0.30 * length, 1.6, 0)),
            (joint, (0.64 * length, 1.5, 0)),
            (0.86 * start, 0.99 * tip),
            5,
        ),
    ]
