"""Named poses: angles by the name of the rotation, and pairs of points that touch.

Angles are of the average hand. `solve_pose` adapts them to a person: penetration is removed, and
points that should touch are brought together.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from data_prep.studio.anatomy.proportions import Proportions
from data_prep.studio.anatomy.rig import DOF_NAMES
from data_prep.studio.motion.repair import IS_THUMB, TOLERANCE, Goal, goal_distances, repair
from data_prep.studio.motion.spheres import SphereHand, penetration_depth
from dhm.geometry.hand_rig import FINGERS, JOINT_NAMES

CONTACT_DISTANCE = 4.5
"""Largest distance of points that should touch, mm."""

_STARTS = 16
_NEARLY_GOOD = 10.0  # mm of error, below which a second run usually succeeds

# Flexion of a finger's three joints.
FINGER_SHAPES: dict[str, tuple[float, float, float]] = {
    "straight": (-0.02, 0.05, 0.03),
    "raised": (-0.28, 0.02, 0.0),
    "loose": (0.35, 0.45, 0.28),
    "bent": (0.60, 0.90, 0.58),
    "round": (0.90, 1.10, 0.65),
    "to_thumb": (0.75, 0.80, 0.45),
    "to_far_thumb": (1.00, 1.00, 0.60),
    "hooked": (0.10, 1.50, 0.95),
    "flat": (1.35, 0.10, 0.05),
    "tucked": (1.20, 1.40, 0.80),
    "folded": (1.56, 1.80, 1.10),
}
# The thumb's eight rotations, in their order.
THUMB_SHAPES: dict[str, tuple[float, ...]] = {
    "rest": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "out": (0.0, -0.05, -0.10, 0.0, -0.25, -0.25, -0.05, -0.05),
    "up": (-0.10, -0.10, -0.10, -0.10, -0.15, -0.25, -0.05, -0.20),
    "parked": (-0.10, -0.20, -0.15, -0.10, -0.35, -0.35, -0.10, -0.20),
    "beside": (0.0, 0.0, 0.0, 0.25, -0.15, 0.10, 0.15, 0.15),
    "loose": (0.0, 0.0, 0.05, 0.20, 0.10, 0.10, 0.20, 0.20),
    "over_fingers": (0.0, -0.15, 0.15, 0.30, -0.30, 0.45, 0.60, 0.65),
    "opposed": (0.10, 0.10, 0.15, 0.55, 0.30, 0.15, 0.25, 0.30),
    "far": (0.20, 0.30, 0.25, 0.80, 0.55, 0.40, 0.45, 0.40),
    "in_palm": (0.10, 0.20, 0.30, 0.80, 0.50, 0.40, 0.60, 0.70),
    "around": (0.10, 0.10, 0.10, 0.45, 0.25, 0.10, 0.30, 0.40),
}
Touch = tuple[str, float, float, float]
"""A point on the surface: joint, share of the bone's length, and shares of the finger's radius to
the palmar side (y) and to the thumb's side (z)."""


@dataclass(frozen=True)
class Pose:
    """A named pose.

    Attributes:
        angles: Radians by the name of the rotation; 0 where none is given.
        contacts: Pairs of points that should meet.
        stiff_fingers: Whether only the thumb moves to make them meet.
    """

    angles: dict[str, float]
    contacts: tuple[tuple[Touch, Touch], ...] = ()
    stiff_fingers: bool = False


def _hand(default: str, thumb: str = "rest", side=(0.0, 0.0, 0.0, 0.0), **others: str) -> dict:
    """Angles by name: a shape for all fingers and for some, and their sideways angles."""
    angles = dict(zip(DOF_NAMES, THUMB_SHAPES[thumb], strict=False))
    for finger, sideways in zip(FINGERS[1:], side, strict=True):
        flexions = FINGER_SHAPES[others.get(finger, default)]
        angles |= {f"{finger}{bone}_z": a for bone, a in enumerate(flexions, 1)}
        angles[f"{finger}1_y"] = sideways
    return angles


def _pad(finger: str) -> Touch:
    return f"{finger}3", 0.52, 1.1, 0.0


def _thumb_on(finger: str) -> tuple[tuple[Touch, Touch], ...]:
    """The thumb's pad on the back of a folded finger's middle bone."""
    return ((("thumb3", 0.5, 1.1, 0.0), (f"{finger}2", 0.45, -1.0, 0.0)),)


def _folded(thumb: str, on: str | None = None, side=(0.0, 0.0, 0.0, 0.0), **others: str) -> Pose:
    contacts = _thumb_on(on) if on else ()
    return Pose(_hand("folded", thumb, side, **others), contacts, stiff_fingers=True)


def _pinch(finger: str, thumb: str, default: str = "straight") -> Pose:
    shape = "to_far_thumb" if thumb == "far" else "to_thumb"
    angles = _hand(default, thumb, **{finger: shape})
    return Pose(angles, ((_pad("thumb"), _pad(finger)),))


POSES: dict[str, Pose] = {
    "open": Pose(_hand("straight")),
    "spread": Pose(_hand("straight", "out", (-0.22, -0.04, 0.16, 0.30))),
    "flat": Pose(_hand("straight", "beside", (0.09, 0.01, -0.06, -0.16))),
    "fist": _folded("over_fingers", "middle"),
    "point": _folded("over_fingers", "middle", index="straight"),
    "two": _folded("over_fingers", "ring", index="straight", middle="straight"),
    "three": _folded(
        "in_palm", "pinky", index="straight", middle="straight", ring="straight"
    ),
    "four": Pose(_hand("straight", "in_palm")),
    "thumbs_up": _folded("up"),
    "gun": _folded("up", index="straight"),
    "thumb_and_two": _folded("up", index="straight", middle="straight"),
    "shaka": _folded("out", pinky="straight"),
    "horns": _folded("over_fingers", "middle", index="straight", pinky="straight"),
    "victory": _folded(
        "over_fingers", "ring", (-0.20, 0.15, 0.0, 0.0), index="straight", middle="straight"
    ),
    "pinch_index": _pinch("index", "opposed"),
    "pinch_middle": _pinch("middle", "opposed"),
    "pinch_ring": _pinch("ring", "far"),
    "pinch_pinky": _pinch("pinky", "far"),
    "precision": _pinch("index", "opposed", default="tucked"),
    "five_pinch": Pose(
        _hand("to_thumb", "opposed", (0.06, 0.0, -0.08, -0.15)),
        ((_pad("thumb"), _pad("middle")),),
    ),
    "hook": Pose(_hand("hooked", "beside")),
    "tabletop": Pose(_hand("flat", "beside")),
    "relaxed": Pose(_hand("loose", "loose")),
    "ball": Pose(_hand("bent", "around", (-0.10, 0.0, 0.08, 0.15))),
    "cylinder": Pose(_hand("round", "opposed")),
    "key": Pose(
        _hand("folded", "beside"),
        ((("thumb3", 0.5, 1.1, 0.0), ("index2", 0.6, 0.0, 1.0)),),
        stiff_fingers=True,
    ),
}  # fmt: skip


def pose_angles(name: str) -> Float[np.ndarray, " 28"]:
    """Returns a named pose's angles for the average hand, contacts not solved, radians."""
    return np.array([POSES[name].angles.get(dof, 0.0) for dof in DOF_NAMES])


def contact_goals(proportions: Proportions, name: str) -> tuple[Goal, ...]:
    """Returns the pairs of points of a person's hand that meet in a named pose."""
    return tuple(
        Goal(
            (JOINT_NAMES.index(one[0]), JOINT_NAMES.index(other[0])),
            (_surface_point(proportions, one), _surface_point(proportions, other)),
        )
        for one, other in POSES[name].contacts
    )


def solve_pose(hand: SphereHand, name: str) -> Float[np.ndarray, " 28"]:
    """Returns a person's angles for a named pose, without penetration and with contacts met.

    Fingers that fold are solved first with the thumb out of the way, and the thumb after them.
    Contacts have local optima, with a tip on the wrong side of another: several starts are tried
    until one succeeds. If none does, the best one is repaired without its contacts.

    Args:
        hand: The person's spheres.
        name: A key of POSES.
    """
    pose, wanted = POSES[name], pose_angles(name)
    stiffness = None
    if pose.stiff_fingers:
        parked = wanted.copy()
        parked[IS_THUMB] = THUMB_SHAPES["parked"]
        wanted = np.where(IS_THUMB, wanted, repair(hand, parked[None])[0])
        stiffness = np.where(IS_THUMB, 0.5, 5.0)
    goals = contact_goals(hand.proportions, name)
    rng = np.random.default_rng(sorted(POSES).index(name))
    best, least = wanted, np.inf
    for attempt in range(_STARTS):
        noise = rng.normal(0.0, 0.3, len(DOF_NAMES)) * _in_contact(pose) if attempt else 0.0
        theta = repair(hand, (wanted + noise)[None], goals, stiffness)[0]
        error = _error(hand, theta, goals)
        if 0.0 < error < _NEARLY_GOOD:
            theta = repair(hand, theta[None], goals, stiffness)[0]
            error = _error(hand, theta, goals)
        if error < least:
            best, least = theta, error
        if least == 0.0:
            return best
    return repair(hand, best[None])[0]


def _in_contact(pose: Pose) -> np.ndarray:
    """Mask of the rotations that move a digit that should touch another."""
    digits = {touch[0][:-1] for pair in pose.contacts for touch in pair}
    free = {"thumb"} if pose.stiff_fingers else digits
    return np.array([any(dof.startswith(digit) for digit in free) for dof in DOF_NAMES])


def _error(hand: SphereHand, theta: np.ndarray, goals: tuple[Goal, ...]) -> float:
    """Weighted excess of penetration and of the goals' distances, mm; 0 is a success."""
    depth = penetration_depth(hand, theta[None])[0]
    far = goal_distances(hand, theta, goals).max(initial=0.0)
    return 3.0 * max(depth - TOLERANCE, 0.0) + max(far - CONTACT_DISTANCE, 0.0)


def _surface_point(proportions: Proportions, touch: Touch) -> tuple[float, float, float]:
    joint, along, palmar, radial = touch
    length, near, far = proportions.bone(joint)
    radius = near + (far - near) * along
    return along * length, palmar * radius, radial * radius
