"""Strands, the round cones that a hand is made of, and how a pose places them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from data_prep.studio.anatomy.proportions import Proportions

_SWELLING = (0.8, 1.4)  # least and largest factor on a muscle's radius
_END_JITTER = 15.0  # mm for a relative jitter of 1

Point = tuple[str, tuple[float, float, float]]


@dataclass(frozen=True)
class Strand:
    """A round cone of bone, fat or muscle between two points of a hand.

    Attributes:
        part: The part it belongs to.
        start: Joint, and a point in its frame, mm.
        end: Likewise; a muscle's lies in another joint's frame.
        radii: At the start and at the end, mm.
        blend: Width of the smooth minimum with the part's strands before it, mm.
        tone: Exponent of the swelling: a muscle of length L, at rest L0, has radius
            r (L0 / L) ** tone.
        flatness: Factor on its thickness along the y axis of its start's frame, at most 1.
    """

    part: int
    start: Point
    end: Point
    radii: tuple[float, float]
    blend: float
    tone: float = 0.0
    flatness: float = 1.0


@dataclass(frozen=True)
class Cones:
    """Strands in a pose: `to_axis @ p - offset` puts a point p before a cone along x.

    Attributes:
        parts: Part of each cone.
        blends: Width of its smooth minimum, mm.
        to_axis: Linear map from the hand's frame into the cone's.
        offsets: Where its start comes to lie under that map.
        lengths: Distance of its ends in its own frame.
        radii: At start and end.
        scales: Smallest factor by which `to_axis` shrinks a distance to the cone's true one.
    """

    parts: Int[np.ndarray, " n"]
    blends: Float[np.ndarray, " n"]
    to_axis: Float[np.ndarray, "n 3 3"]
    offsets: Float[np.ndarray, "n 3"]
    lengths: Float[np.ndarray, " n"]
    radii: Float[np.ndarray, "n 2"]
    scales: Float[np.ndarray, " n"]


def jittered(strands: list[Strand], proportions: Proportions) -> list[Strand]:
    """Returns the strands with each one's own small deviation, drawn from the person's seed."""
    rng = np.random.default_rng(1000 + proportions.seed)

    def moved(point: Point) -> Point:
        shift = rng.normal(0.0, _END_JITTER * proportions.jitter, 3)
        return point[0], tuple(np.add(point[1], shift))

    return [
        Strand(
            strand.part,
            moved(strand.start),
            moved(strand.end),
            tuple(np.multiply(strand.radii, 1.0 + rng.normal(0.0, proportions.jitter))),
            strand.blend,
            strand.tone,
            strand.flatness,
        )
        for strand in strands
    ]


def pose_strands(
    strands: list[Strand], frames: dict[str, np.ndarray], rest: dict[str, np.ndarray]
) -> Cones:
    """Places strands by the frames of a pose and lets the muscles swell.

    Args:
        strands: What the hand is made of.
        frames: Frames of the pose in the hand's frame, by name.
        rest: The same frames at rest.
    """
    starts, ends = _ends(strands, frames)
    rest_starts, rest_ends = _ends(strands, rest)
    length = np.linalg.norm(ends - starts, axis=1)
    rest_length = np.linalg.norm(rest_ends - rest_starts, axis=1)
    tone = np.array([strand.tone for strand in strands])
    swelling = np.clip((rest_length / np.maximum(length, 1.0)) ** tone, *_SWELLING)
    flatness = np.array([strand.flatness for strand in strands])
    orientation = np.stack([frames[strand.start[0]][:3, :3] for strand in strands])
    squash = np.tile(np.eye(3), (len(strands), 1, 1))
    squash[:, 1, 1] = 1.0 / flatness
    scaled = squash @ orientation.transpose(0, 2, 1)
    axes = np.einsum("nij,nj->ni", scaled, ends - starts)
    lengths = np.linalg.norm(axes, axis=1)
    to_axis = _turn_to_x(axes, lengths) @ scaled
    return Cones(
        parts=np.array([strand.part for strand in strands]),
        blends=np.array([strand.blend for strand in strands]),
        to_axis=to_axis,
        offsets=np.einsum("nij,nj->ni", to_axis, starts),
        lengths=lengths,
        radii=np.array([strand.radii for strand in strands]) * swelling[:, None],
        scales=flatness,
    )


def _ends(strands: list[Strand], frames: dict[str, np.ndarray]) -> np.ndarray:
    """Start and end points of all strands in the hand's frame, [2 n 3]."""
    points = [[strand.start for strand in strands], [strand.end for strand in strands]]
    return np.array([[frames[joint] @ (*point, 1.0) for joint, point in side] for side in points])[
        ..., :3
    ]


def _turn_to_x(axes: np.ndarray, lengths: np.ndarray) -> Float[np.ndarray, "n 3 3"]:
    """Rotations that turn each axis onto +x."""
    x = axes / lengths[:, None]
    helper = np.where(np.abs(x[:, :1]) < 0.8, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    y = np.cross(x, helper)
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    return np.stack([x, y, np.cross(x, y)], axis=1)
