"""A hand of spheres: quick to pose, with derivatives, and close enough to its surface to keep
fingers from passing through each other.

Only the palm's cupping is left out of the derivatives: it moves the knuckles by a few mm at most.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from data_prep.studio.anatomy.joint_tree import rig_parents
from data_prep.studio.anatomy.parts import PALM, PART_JOINTS, neighbours
from data_prep.studio.anatomy.proportions import Proportions
from data_prep.studio.anatomy.rig import CUPPED, FULL_FLEXION, FULL_OPPOSITION, rig_transforms
from data_prep.studio.anatomy.vectors import cross
from dhm.geometry.hand_rig import FINGERS, JOINT_NAMES, dof_indices, dof_names
from dhm.geometry.kinematics import tree_levels

_PER_BONE = 6
# Flesh over the bones: a factor on the radius and a shift to the palmar side, mm.
_FLESH, _PALMAR = 1.08, 0.9
_WEB = 1.2  # mm that two fingers may overlap in the web
_METACARPAL_BASES = ((22.0, 2.0, 11.0), (20.0, 0.0, 2.0), (20.0, 1.0, -7.0), (18.0, 3.0, -15.0))
_FIRST_PHALANGES = [PART_JOINTS.index(f"{finger}1") for finger in FINGERS[1:]]
_DOFS = dof_indices(JOINT_NAMES)
_DOF_NAMES = dof_names(JOINT_NAMES)
_TURNED, _AXES = np.array(_DOFS).T
_PARENTS = np.array(rig_parents())
_LEVELS = [np.array(level) for level in tree_levels(rig_parents())]


@dataclass(frozen=True)
class SphereHand:
    """Spheres of a person's hand; each centre is a weighted mean of two points of joint frames.

    Attributes:
        proportions: Whose hand it is.
        parts: Part of each sphere, as in `parts.PART_JOINTS`.
        joints: The two joints that carry each sphere.
        points: The two points in their frames, mm.
        weights: Their weights, which sum to 1.
        radii: mm.
        pairs: The pairs of spheres that must not overlap.
        allowances: By how much each pair may overlap before it counts, mm: where webs join two
            fingers, as much as at rest; a little where fingers lie side by side.
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
    """Spheres on the line between two points, each given by its joint and its place in it."""

    part: int
    start: tuple[str, tuple[float, float, float]]
    end: tuple[str, tuple[float, float, float]]
    radii: tuple[float, float]
    count: int = _PER_BONE


def sphere_hand(proportions: Proportions) -> SphereHand:
    """Returns the spheres along a person's digits and in the palm."""
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
        sphere_centres(hand, pose_joints(proportions, np.zeros((1, 28)))), hand.radii, pairs
    )[0]
    return replace(hand, allowances=np.where(webbed, np.maximum(at_rest, _WEB), 0.0))


def overlaps(
    centres: Float[np.ndarray, "n s 3"],
    radii: Float[np.ndarray, " s"],
    pairs: Int[np.ndarray, "p 2"],
) -> Float[np.ndarray, "n p"]:
    """Returns by how much pairs of spheres overlap, mm; negative where they are apart."""
    one, other = pairs.T
    gaps = centres[:, one] - centres[:, other]
    return (radii[one] + radii[other]) - np.sqrt(np.einsum("npc,npc->np", gaps, gaps))


def pose_joints(
    proportions: Proportions, theta: Float[np.ndarray, "n 28"]
) -> Float[np.ndarray, "n 22 4 4"]:
    """Returns T_hand_joint of several poses: `rig.pose_rig`, but for all of them at once."""
    local = np.tile(rig_transforms(proportions), (len(theta), 1, 1, 1))
    opposition = np.clip(theta[:, _DOF_NAMES.index("thumb1_y")] / FULL_OPPOSITION, 0.0, 1.0)
    for name, share in CUPPED.items():
        own = np.clip(theta[:, _DOF_NAMES.index(f"{name}_z")] / FULL_FLEXION, 0.0, 1.0)
        turn = _rotations(2, proportions.cupping * share * (own + opposition) / 2)
        joint = JOINT_NAMES.index(name)
        local[:, joint, :3] = turn @ local[:, joint, :3]
    local[..., :3, :3] = local[..., :3, :3] @ _joint_rotations(theta)
    for level in _LEVELS[1:]:
        local[:, level] = local[:, _PARENTS[level]] @ local[:, level]
    return local


def _joint_angles(theta: Float[np.ndarray, "n 28"]) -> Float[np.ndarray, "n 22 3"]:
    """The rotations of every joint about x, y and z, 0 where the rig has none."""
    angles = np.zeros((len(theta), len(JOINT_NAMES), 3))
    angles[:, _TURNED, _AXES] = theta
    return angles


def _joint_rotations(theta: Float[np.ndarray, "n 28"]) -> Float[np.ndarray, "n 22 3 3"]:
    """Rz Ry Rx of every joint."""
    angles = np.moveaxis(_joint_angles(theta), -1, 0)
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    entries = (
        cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx,
        sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx,
        -sy, cy * sx, cy * cx,
    )  # fmt: skip
    return np.stack(entries, axis=-1).reshape(*cx.shape, 3, 3)


def _rotations(axis: int, angles: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 3 3"]:
    """One rotation about a coordinate axis for each angle."""
    one, other = (axis + 1) % 3, (axis + 2) % 3
    rotations = np.tile(np.eye(3), (len(angles), 1, 1))
    rotations[:, one, one] = rotations[:, other, other] = np.cos(angles)
    rotations[:, other, one] = np.sin(angles)
    rotations[:, one, other] = -np.sin(angles)
    return rotations


def carried_points(
    T_hand_joint: Float[np.ndarray, "n 22 4 4"],
    joints: Int[np.ndarray, "*p"],
    points: Float[np.ndarray, "*p 3"],
) -> Float[np.ndarray, "n *p 3"]:
    """Returns where points of joint frames lie in the hand's frame, mm."""
    T = T_hand_joint[:, joints]
    return np.einsum("n...ij,...j->n...i", T[..., :3, :3], points) + T[..., :3, 3]


def sphere_centres(
    hand: SphereHand, T_hand_joint: Float[np.ndarray, "n 22 4 4"]
) -> Float[np.ndarray, "n s 3"]:
    """Returns the centres of the spheres in the hand's frame, mm."""
    ends = carried_points(T_hand_joint, hand.joints, hand.points)
    return np.einsum("nskc,sk->nsc", ends, hand.weights)


def rotation_screws(
    theta: Float[np.ndarray, "n 28"], T_hand_joint: Float[np.ndarray, "n 22 4 4"]
) -> Float[np.ndarray, "n 28 6"]:
    """Returns each rotation as a screw in the hand's frame: its axis a and its moment c x a, mm.

    c is the joint's position: a point p moves by a x p + c x a a radian. A joint turns by Rz Ry
    Rx, so x is an axis of the turned frame, y one of the frame before Rx, z one of the frame
    before Ry Rx.
    """
    angles = _joint_angles(theta)[:, _TURNED]
    (cx, cy), (sx, sy) = (f(np.moveaxis(angles[..., :2], -1, 0)) for f in (np.cos, np.sin))
    none, one = np.zeros_like(cx), np.ones_like(cx)
    about = np.array([(one, none, none), (none, cx, -sx), (-sy, cy * sx, cy * cx)])
    local = about[_AXES, :, :, np.arange(len(_AXES))]  # [rotation, component, pose]
    T = T_hand_joint[:, _TURNED]
    axes = np.einsum("ndij,djn->ndi", T[..., :3, :3], local)
    return np.concatenate([axes, cross(T[..., :3, 3], axes)], axis=-1)


def point_velocities(
    positions: Float[np.ndarray, "m 3"],
    joints: Int[np.ndarray, " m"],
    screws: Float[np.ndarray, "m 28 6"],
) -> Float[np.ndarray, "m 28 3"]:
    """Returns how points move per radian of each rotation, mm.

    Args:
        positions: The points in the hand's frame, mm.
        joints: The joint that carries each.
        screws: The rotations in each point's pose.
    """
    moved = cross(screws[..., :3], positions[:, None]) + screws[..., 3:]
    return moved * _MOVES[joints][..., None]


def point_gradients(
    positions: Float[np.ndarray, "m 3"],
    joints: Int[np.ndarray, " m"],
    directions: Float[np.ndarray, "m 3"],
    screws: Float[np.ndarray, "m 28 6"],
) -> Float[np.ndarray, "m 28"]:
    """Returns the part of `point_velocities` along a direction for each point, mm / rad."""
    wrenches = np.concatenate([cross(positions, directions), directions], axis=-1)
    return (screws @ wrenches[..., None])[..., 0] * _MOVES[joints]


def _ancestry() -> Bool[np.ndarray, "22 28"]:
    """Which rotations move the frame of each joint."""
    parents, moves = rig_parents(), np.zeros((len(JOINT_NAMES), len(_DOFS)), bool)
    for joint in range(len(JOINT_NAMES)):
        above = joint
        while above >= 0:
            moves[joint] |= [above == turned for turned, _ in _DOFS]
            above = parents[above]
    return moves


_MOVES = _ancestry()


def _bone_rows(proportions: Proportions) -> list[_Row]:
    """One row a phalanx; the last sphere of a digit ends with its tip."""
    rows = []
    for part, joint in enumerate(PART_JOINTS):
        if part == PALM:
            continue
        digit, bone = joint[:-1], int(joint[-1])
        finger = FINGERS.index(digit)
        # Counted from the tip: the thumb has a bone more, and no radius at its base.
        length = proportions.lengths[finger][bone - 4]
        start, end = (proportions.radii[finger][bone - k] * _FLESH for k in (5, 4))
        stop = length - end if bone == 3 else length
        line = (joint, (0.0, _PALMAR, 0.0)), (joint, (stop, _PALMAR, 0.0))
        rows.append(_Row(part, *line, (start, end)))
    return rows


def _metacarpal_rows(proportions: Proportions) -> list[_Row]:
    """The palm below the four fingers."""
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
    """The thumb's metacarpal, the muscle on it, and the flesh of its web."""
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
    """Parts that are no neighbours.

    The thumb's first phalanx is the palm's neighbour only by its base: its outer half must not
    enter the palm below the fingers.
    """
    apart = ~neighbours()[parts[:, None], parts[None]]
    outer_thumb = (parts == PART_JOINTS.index("thumb2")) & (share > 0.5)
    thumb_in_palm = outer_thumb[:, None] & of_fingers[None]
    return apart | thumb_in_palm | thumb_in_palm.T
