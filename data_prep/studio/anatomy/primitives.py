"""The parts of a hand, the seams between them, and the round cones that they consist of."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

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
_SWELLING = (0.8, 1.4)  # least and largest factor on a muscle's radius
_END_JITTER = 15.0  # mm for a relative jitter of 1

Point = tuple[str, tuple[float, float, float]]
"""A joint, and a position in its frame in mm."""


@dataclass(frozen=True)
class Seam:
    """The blend of two adjacent parts.

    Attributes:
        parts: Indices of the two parts.
        joint: Joint in whose frame the centre is given.
        centre: Middle of the seam, mm.
        width: Width of the smooth minimum at the centre, mm.
        inner: Radius within which the width is kept.
        outer: Radius beyond which the parts are not blended.
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


def adjacent_parts() -> Bool[np.ndarray, "p p"]:
    """Returns which pairs of parts share a seam; a part is adjacent to itself."""
    near = np.eye(len(PART_JOINTS), dtype=bool)
    for seam in hand_seams(Proportions()):
        one, other = seam.parts
        near[one, other] = near[other, one] = True
    return near


@dataclass(frozen=True)
class Primitive:
    """A round cone of bone, fat or muscle between two points of a hand.

    Attributes:
        part: The part that it belongs to.
        start: First end.
        end: Second end; a muscle's lies in another joint's frame.
        radii: At the start and at the end, mm.
        blend: Width of the smooth minimum with the part's earlier primitives, mm.
        tone: Exponent of the swelling: a muscle of length L, at rest L0, has the radius
            r (L0 / L) ** tone.
        flatness: Factor on the thickness along the y axis of the start's frame, at most 1.
    """

    part: int
    start: Point
    end: Point
    radii: tuple[float, float]
    blend: float
    tone: float = 0.0
    flatness: float = 1.0


@dataclass(frozen=True)
class RoundCones:
    """Primitives in a pose, each described in a frame in which its axis is +x from the origin.

    Attributes:
        parts: Part of each cone.
        blends: Width of its smooth minimum, mm.
        to_axis: Linear map A of the point p into the cone's frame: A p - offset.
        offsets: Image of its start under A.
        lengths: Distance of its ends in its own frame.
        radii: At start and end.
        scales: Lower bound of true distance over distance in the cone's frame.
    """

    parts: Int[np.ndarray, " n"]
    blends: Float[np.ndarray, " n"]
    to_axis: Float[np.ndarray, "n 3 3"]
    offsets: Float[np.ndarray, "n 3"]
    lengths: Float[np.ndarray, " n"]
    radii: Float[np.ndarray, "n 2"]
    scales: Float[np.ndarray, " n"]


def jittered(primitives: list[Primitive], proportions: Proportions) -> list[Primitive]:
    """Returns primitives with individual small deviations, drawn from the person's seed."""
    rng = np.random.default_rng(1000 + proportions.seed)

    def moved(point: Point) -> Point:
        shift = rng.normal(0.0, _END_JITTER * proportions.jitter, 3)
        return point[0], tuple(np.add(point[1], shift))

    return [
        replace(
            primitive,
            start=moved(primitive.start),
            end=moved(primitive.end),
            radii=tuple(np.multiply(primitive.radii, 1.0 + rng.normal(0.0, proportions.jitter))),
        )
        for primitive in primitives
    ]


def pose_primitives(
    primitives: list[Primitive], frames: dict[str, np.ndarray], rest: dict[str, np.ndarray]
) -> RoundCones:
    """Returns the primitives in a pose, muscles swollen as far as they are shortened.

    Args:
        primitives: Of the hand at rest.
        frames: Frames of the pose in the hand's frame, by name.
        rest: The same frames at rest.
    """
    starts, ends = _ends(primitives, frames)
    rest_starts, rest_ends = _ends(primitives, rest)
    length = np.linalg.norm(ends - starts, axis=1)
    rest_length = np.linalg.norm(rest_ends - rest_starts, axis=1)
    tone = np.array([primitive.tone for primitive in primitives])
    swelling = np.clip((rest_length / np.maximum(length, 1.0)) ** tone, *_SWELLING)
    flatness = np.array([primitive.flatness for primitive in primitives])
    orientation = np.stack([frames[primitive.start[0]][:3, :3] for primitive in primitives])
    squash = np.tile(np.eye(3), (len(primitives), 1, 1))
    squash[:, 1, 1] = 1.0 / flatness
    scaled = squash @ orientation.transpose(0, 2, 1)
    axes = np.einsum("nij,nj->ni", scaled, ends - starts)
    lengths = np.linalg.norm(axes, axis=1)
    to_axis = _turn_to_x(axes, lengths) @ scaled
    return RoundCones(
        parts=np.array([primitive.part for primitive in primitives]),
        blends=np.array([primitive.blend for primitive in primitives]),
        to_axis=to_axis,
        offsets=np.einsum("nij,nj->ni", to_axis, starts),
        lengths=lengths,
        radii=np.array([primitive.radii for primitive in primitives]) * swelling[:, None],
        scales=flatness,
    )


def _ends(primitives: list[Primitive], frames: dict[str, np.ndarray]) -> np.ndarray:
    """Start and end points of all primitives in the hand's frame, [2 n 3]."""
    points = [[p.start for p in primitives], [p.end for p in primitives]]
    ends = [[frames[joint] @ (*point, 1.0) for joint, point in side] for side in points]
    return np.array(ends)[..., :3]


def _turn_to_x(axes: np.ndarray, lengths: np.ndarray) -> Float[np.ndarray, "n 3 3"]:
    """Rotations that turn each axis onto +x."""
    x = axes / lengths[:, None]
    helper = np.where(np.abs(x[:, :1]) < 0.8, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    y = np.cross(x, helper)
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    return np.stack([x, y, np.cross(x, y)], axis=1)
