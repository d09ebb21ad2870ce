"""A hand of spheres: a fast proxy of the surface that tells how deep its parts penetrate."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from data_prep.studio.anatomy.primitives import PALM, PART_JOINTS, Point, adjacent_parts
from data_prep.studio.anatomy.proportions import Proportions
from data_prep.studio.motion.kinematics import (
    point_gradients,
    points_in_hand,
    pose_rigs,
    rotation_screws,
)
from dhm.geometry.hand_rig import FINGERS, JOINT_NAMES

_PER_BONE = 6
# Flesh over the bones: a factor on the radius and a shift to the palmar side, mm.
_FLESH, _PALMAR = 1.08, 0.9
_WEB = 1.2  # allowed overlap of two fingers in the web, mm
_METACARPAL_BASES = ((22.0, 2.0, 11.0), (20.0, 0.0, 2.0), (20.0, 1.0, -7.0), (18.0, 3.0, -15.0))
_FIRST_PHALANGES = [PART_JOINTS.index(f"{finger}1") for finger in FINGERS[1:]]


@dataclass(frozen=True)
class SphereHand:
    """The spheres of a hand; each centre is a weighted mean of two points in joint frames.

    Attributes:
        proportions: Measures of the hand.
        parts: Part of each sphere, an index into PART_JOINTS.
        joints: Joints of the two points.
        points: The two points in their joints' frames, mm.
        weights: Weights of the two points, which sum to 1.
        radii: Radius of each sphere, mm.
        pairs: Pairs of spheres that must not overlap.
        allowances: Allowed overlap of each pair, mm: in the webs between fingers at least that of
            the rest pose, elsewhere 0.
    """

    proportions: Proportions
    parts: Int[np.ndarray, " s"]
    joints: Int[np.ndarray, "s 2"]
    points: Float[np.ndarray, "s 2 3"]
    weights: Float[np.ndarray, "s 2"]
    radii: Float[np.ndarray, " s"]
    pairs: Int[np.ndarray, "p 2"]
    allowances: Float[np.ndarray, " p"]


@dataclass(frozen=True)
class _Row:
    """Spheres at equal distances on the line between two points."""

    part: int
    start: Point
    end: Point
    radii: tuple[float, float]
    count: int = _PER_BONE


def sphere_hand(proportions: Proportions) -> SphereHand:
    """Returns the spheres along a hand's digits and in its palm."""
    bones, metacarpals = _bone_rows(proportions), _metacarpal_rows(proportions)
    rows = [*bones, *metacarpals, *_pad_rows(proportions), *_thenar_rows(proportions)]
    shares = [np.linspace(0.0, 1.0, row.count) for row in rows]
    counts = [row.count for row in rows]
    ends = np.array([(row.start[1], row.end[1]) for row in rows], float)
    joints = np.array([[JOINT_NAMES.index(end[0]) for end in (r.start, r.end)] for r in rows])
    share = np.concatenate(shares)
    parts = np.repeat([row.part for row in rows], counts)
    of_fingers = np.repeat([row in metacarpals for row in rows], counts)
    pairs = np.argwhere(np.triu(_must_not_overlap(parts, share, of_fingers)))
    webbed = (np.isin(parts, _FIRST_PHALANGES) & (share < 0.5))[pairs].all(axis=1)
    hand = SphereHand(
        proportions,
        parts,
        np.repeat(joints, counts, axis=0),
        np.repeat(ends, counts, axis=0),
        np.stack([1.0 - share, share], axis=1),
        np.concatenate(
            [r.radii[0] + (r.radii[1] - r.radii[0]) * s for r, s in zip(rows, shares, strict=True)]
        ),
        pairs,
        np.zeros(len(pairs)),
    )
    at_rest = overlaps(
        sphere_centres(hand, pose_rigs(proportions, np.zeros((1, 28)))), hand.radii, pairs
    )[0]
    return replace(hand, allowances=np.where(webbed, np.maximum(at_rest, _WEB), 0.0))


def _bone_rows(proportions: Proportions) -> list[_Row]:
    """One row per phalanx; the last sphere of a digit ends at its tip."""
    rows = []
    for part, joint in enumerate(PART_JOINTS[1:], start=1):
        length, *radii = proportions.bone(joint)
        start, end = (radius * _FLESH for radius in radii)
        stop = length - end if joint[-1] == "3" else length
        line = (joint, (0.0, _PALMAR, 0.0)), (joint, (stop, _PALMAR, 0.0))
        rows.append(_Row(part, *line, (start, end)))
    return rows


def _metacarpal_rows(proportions: Proportions) -> list[_Row]:
    """The palm between wrist and the four knuckles."""
    t = proportions.thickness
    return [
        _Row(PALM, ("wrist", base), (f"{finger}1", (0.0, 0.0, 0.0)), (12.0 * t, 11.5 * t))
        for finger, base in zip(FINGERS[1:], _METACARPAL_BASES, strict=True)
    ]


def _pad_rows(proportions: Proportions) -> list[_Row]:
    """The flesh of the palm: below the knuckles, in the middle, on the little finger's side."""
    t, index, pinky = proportions.thickness, proportions.roots[1], proportions.roots[4]
    knuckles = tuple(np.add(index, (-8.0, 6.5, 0.0))), tuple(np.add(pinky, (-8.0, 6.5, 0.0)))
    ball = (12.0, 9.5, -19.0), tuple(np.add(pinky, (-20.0, 9.5, -2.0)))
    lines = [
        (*knuckles, (10.5, 10.5), 8),
        ((40.0, 5.5, 6.0), (62.0, 5.5, 4.0), (11.5, 11.5), 4),
        ((38.0, 5.5, -8.0), (58.0, 5.5, -14.0), (11.5, 11.5), 4),
        (*ball, (15.0, 13.5), 6),
        ((40.0, 9.0, -16.0), (60.0, 9.0, -24.0), (11.5, 11.5), 4),
    ]
    return [
        _Row(PALM, ("wrist", start), ("wrist", end), (t * radii[0], t * radii[1]), count)
        for start, end, radii, count in lines
    ]


def _thenar_rows(proportions: Proportions) -> list[_Row]:
    """The thumb's metacarpal, its muscles, and the flesh of its web."""
    t, length = proportions.thickness, proportions.lengths[0][1]
    reach = length / 45.0
    ball = ("wrist", (17.0, 11.0, 6.0)), ("thumb1", (33.0 * reach, 3.5, -1.0))
    front = ("wrist", (31.0, 9.0, 9.0)), ("thumb1", (38.0 * reach, 4.0, -2.0))
    bone = ("thumb1", (0.0, 0.5, 0.0)), ("thumb1", (length - 3.0, 0.5, 0.0))
    radius = proportions.radii[0][0]
    index = proportions.roots[1]
    web = [
        _Row(
            PALM,
            ("thumb1", (along * reach, 2.5, 0.0)),
            ("wrist", tuple(np.add(index, (back, 3.0, -1.5)))),
            (radii[0] * t, radii[1] * t),
            5,
        )
        for along, back, radii in (
            (20.0, -40.0, (12.0, 11.5)),
            (31.0, -27.0, (10.0, 10.5)),
            (39.0, -16.0, (7.0, 7.5)),
        )
    ]
    muscles = [
        _Row(PALM, *ball, (13.8 * t, 13.8 * t), 6),
        _Row(PALM, *front, (13.4 * t, 12.6 * t), 6),
    ]
    return [*web, *muscles, _Row(PALM, *bone, (12.0 * t, radius))]


def _must_not_overlap(
    parts: np.ndarray, share: np.ndarray, of_fingers: np.ndarray
) -> Bool[np.ndarray, "s s"]:
    """Pairs of spheres in parts that are not adjacent.

    The thumb's first phalanx is adjacent to the palm only at its base: its outer half must not
    enter the palm below the fingers.
    """
    apart = ~adjacent_parts()[parts[:, None], parts[None]]
    outer_thumb = (parts == PART_JOINTS.index("thumb2")) & (share > 0.5)
    thumb_in_palm = outer_thumb[:, None] & of_fingers[None]
    return apart | thumb_in_palm | thumb_in_palm.T


def overlaps(
    centres: Float[np.ndarray, "n s 3"],
    radii: Float[np.ndarray, " s"],
    pairs: Int[np.ndarray, "p 2"],
) -> Float[np.ndarray, "n p"]:
    """Returns the overlap of pairs of spheres, mm; negative where they are apart."""
    one, other = pairs.T
    gaps = centres[:, one] - centres[:, other]
    return (radii[one] + radii[other]) - np.sqrt(np.einsum("npc,npc->np", gaps, gaps))


def sphere_centres(
    hand: SphereHand, T_hand_joint: Float[np.ndarray, "n 22 4 4"]
) -> Float[np.ndarray, "n s 3"]:
    """Returns the centres of the spheres in the hand's frame, mm."""
    ends = points_in_hand(T_hand_joint, hand.joints, hand.points)
    return np.einsum("nskc,sk->nsc", ends, hand.weights)


@dataclass(frozen=True)
class Contacts:
    """Overlapping pairs of spheres.

    Attributes:
        frames: Frame of each pair, ascending.
        depths: Overlap beyond allowance and slack, mm.
        gradients: Derivative of the depth by the frame's rotations, mm / rad.
    """

    frames: Int[np.ndarray, " m"]
    depths: Float[np.ndarray, " m"]
    gradients: Float[np.ndarray, "m 28"]


def penetration_depth(
    hand: SphereHand, theta: Float[np.ndarray, "n 28"]
) -> Float[np.ndarray, " n"]:
    """Returns the deepest overlap beyond the allowances in each pose, mm; 0 or less if none."""
    centres = sphere_centres(hand, pose_rigs(hand.proportions, theta))
    return (overlaps(centres, hand.radii, hand.pairs) - hand.allowances).max(axis=1)


def find_contacts(
    hand: SphereHand,
    theta: Float[np.ndarray, "n 28"],
    T_hand_joint: Float[np.ndarray, "n 22 4 4"],
    slack: float,
) -> Contacts:
    """Returns the pairs that overlap by more than allowance and slack, with derivatives.

    Args:
        hand: The spheres.
        theta: Poses, radians.
        T_hand_joint: `pose_rigs` of the poses.
        slack: Overlap that is tolerated, mm.
    """
    centres = sphere_centres(hand, T_hand_joint)
    depths = overlaps(centres, hand.radii, hand.pairs) - hand.allowances - slack
    frames, pairs = np.nonzero(depths > 0)
    screws = rotation_screws(theta, T_hand_joint)[frames]
    one, other = hand.pairs[pairs].T
    gap = centres[frames, one] - centres[frames, other]
    # Concentric spheres have no direction to separate in; any finite gradient will do.
    away = gap / np.maximum(np.linalg.norm(gap, axis=1, keepdims=True), 1e-9)
    gradients = np.zeros((len(frames), theta.shape[1]))
    for sphere, sign in ((one, -1.0), (other, 1.0)):
        for end in range(2):
            joint = hand.joints[sphere, end]
            T = T_hand_joint[frames, joint]
            ends = np.einsum("mij,mj->mi", T[:, :3, :3], hand.points[sphere, end]) + T[:, :3, 3]
            moved = point_gradients(ends, joint, away, screws)
            gradients += sign * hand.weights[sphere, end][:, None] * moved
    return Contacts(frames, depths[frames, pairs], gradients)
