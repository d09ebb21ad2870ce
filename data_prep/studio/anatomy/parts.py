"""The parts of a hand: which joint carries each, and where neighbours melt into each other."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from data_prep.studio.anatomy.proportions import Proportions
from dhm.geometry.hand_rig import FINGERS

PALM = 0
# The joint whose frame carries each part; the thumb's metacarpal belongs to the palm.
PART_JOINTS = (
    "wrist",
    "thumb2",
    "thumb3",
    *(f"{finger}{bone}" for finger in FINGERS[1:] for bone in (1, 2, 3)),
)


@dataclass(frozen=True)
class Seam:
    """Where two neighbouring parts are blended.

    Attributes:
        parts: Indices of the two parts.
        joint: Joint in whose frame the centre is given.
        centre: Middle of the seam, mm.
        width: Width of the smooth minimum at the centre, mm.
        inner: Radius within which the width is kept.
        outer: Radius from which on the parts only touch.
    """

    parts: tuple[int, int]
    joint: str
    centre: tuple[float, float, float]
    width: float
    inner: float
    outer: float


def digit_parts(finger: str) -> tuple[int, ...]:
    """Returns the parts of a digit from its base to its tip."""
    return tuple(part for part, joint in enumerate(PART_JOINTS) if joint[:-1] == finger)


def hand_seams(proportions: Proportions) -> tuple[Seam, ...]:
    """Returns the seams of a hand: palm to digits, and along each digit."""
    first, second = digit_parts("thumb")
    seams = [
        Seam((PALM, first), "thumb2", (2.0, 0.0, 0.0), 7.0, 13.0, 26.0),
        Seam((first, second), "thumb3", (0.0, 0.0, 0.0), 4.0, 10.0, 22.0),
    ]
    for finger, lengths in zip(FINGERS[1:], proportions.lengths[1:], strict=True):
        first, second, third = digit_parts(finger)
        base = (0.20 * lengths[0], 0.0, 0.0)
        seams += [
            Seam((PALM, first), f"{finger}1", base, 6.0, 11.0, 24.0),
            Seam((first, second), f"{finger}2", (0.0, 0.0, 0.0), 3.6, 9.0, 18.0),
            Seam((second, third), f"{finger}3", (0.0, 0.0, 0.0), 3.0, 8.0, 16.0),
        ]
    return tuple(seams)


def neighbours() -> Bool[np.ndarray, "p p"]:
    """Returns which parts share a seam; a part is a neighbour of itself."""
    near = np.eye(len(PART_JOINTS), dtype=bool)
    for seam in hand_seams(Proportions()):
        one, other = seam.parts
        near[one, other] = near[other, one] = True
    return near
