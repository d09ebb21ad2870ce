"""The skin: coordinates that move with it, and its relief as a displacement in mm.

The relief (creases, palm lines, wrinkles, nails, tendons, veins, pores) depends on the place on the
skin, the person and the flexion of the joint nearby, and on nothing else of the pose.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from data_prep.studio.anatomy.anatomy import Anatomy
from data_prep.studio.anatomy.array_math import row_norms, smoothstep, value_noise
from data_prep.studio.anatomy.primitives import PALM, PART_JOINTS, adjacent_parts, digit_parts
from data_prep.studio.anatomy.proportions import Proportions
from data_prep.studio.anatomy.rig import rest_frames

# Coordinates, in mm: the transition from part to part, that of the palm from the index finger's to
# the thumb's metacarpal, and the distance to the nearest non-adjacent part from which on skin is
# free.
_STRETCH, _THUMB_BALL, _CONTACT = 1.5, 16.0, 1.2
_LEAST_SHARE = 1e-3
# Wavelength in mm and amplitude in mm: shape of the person, folds, pores.
_OCTAVES = ((17.0, 0.30), (6.0, 0.10), (2.4, 0.06))
_WRINKLE_SPACING = 2.3  # mm
_BASE_CREASE = 0.5  # place of a finger's first crease along its first bone
# Corners (x, z) of the palm's three main lines, in units of the middle knuckle's distance from the
# wrist.
_LINES = (
    ((0.78, 0.25), (0.71, 0.15), (0.58, 0.06), (0.42, 0.025), (0.24, 0.045)),
    ((0.78, 0.26), (0.70, 0.10), (0.63, -0.07), (0.53, -0.23)),
    ((0.95, 0.13), (0.86, 0.05), (0.80, -0.12), (0.73, -0.41)),
)
_LINE_DEPTH, _LINE_WIDTH = 0.65, 1.1  # mm
_TENDON_BASE = (26.0, 0.35)  # where tendons meet: x in mm, z as a share of the knuckle's
_TENDON_HEIGHT, _TENDON_WIDTH, _VEIN_HEIGHT = 0.45, 2.6, 0.28  # mm


class SkinCoordinates(NamedTuple):
    """Coordinates on the skin that do not depend on the pose.

    Attributes:
        part: Part of the hand, an index into PART_JOINTS.
        rest: Position at rest in the hand's frame, mm: the parts' rigid motions are undone, with
            a smooth transition between adjacent parts.
        free: 1 on free skin, 0 where the part touches one that is not adjacent.
    """

    part: Int[np.ndarray, " v"]
    rest: Float[np.ndarray, "v 3"]
    free: Float[np.ndarray, " v"]


def skin_coordinates(
    anatomy: Anatomy, points: Float[np.ndarray, "v 3"], distances: Float[np.ndarray, "p v"]
) -> SkinCoordinates:
    """Returns the skin coordinates of points on the surface.

    Args:
        anatomy: The hand in its pose.
        points: In the hand's frame, mm.
        distances: Signed distance from each point to each part, mm.
    """
    near = adjacent_parts()
    part = distances.argmin(axis=0)
    rest, shares = np.zeros_like(points), np.zeros(len(points))
    closest = distances.min(axis=0)
    for index in range(len(PART_JOINTS)):
        share = np.exp(-(distances[index] - closest) / _STRETCH) * near[index][part]
        chosen = np.flatnonzero(share > _LEAST_SHARE)
        # Less the threshold, so that a part's share begins at 0.
        share = share[chosen] - _LEAST_SHARE
        rest[chosen] += share[:, None] * _unposed(anatomy, index, points[chosen])
        shares[chosen] += share
    other = np.where(~near[:, part], distances, np.inf).min(axis=0) - closest
    return SkinCoordinates(part, rest / shares[:, None], smoothstep(other / _CONTACT))


def _unposed(anatomy: Anatomy, part: int, points: np.ndarray) -> Float[np.ndarray, "v 3"]:
    """Undoes the rigid motion of a part; near the thumb the palm's skin follows its metacarpal."""

    def undo(joint: str) -> np.ndarray:
        T_rest_posed = anatomy.rest[joint] @ np.linalg.inv(anatomy.frames[joint])
        return points @ T_rest_posed[:3, :3].T + T_rest_posed[:3, 3]

    own = undo(PART_JOINTS[part])
    if part != PALM:
        return own
    follows = smoothstep(thumb_nearness(anatomy.frames, points) / _THUMB_BALL + 0.5)[:, None]
    return own + follows * (undo("thumb1") - own)


def thumb_nearness(
    frames: dict[str, Float[np.ndarray, "4 4"]], points: Float[np.ndarray, "v 3"]
) -> Float[np.ndarray, " v"]:
    """Returns the distance to the palm's metacarpals less that to the thumb's, mm."""

    def from_bone(start: str, end: str) -> np.ndarray:
        origin = frames[start][:3, 3]
        axis = frames[end][:3, 3] - origin
        along = np.clip((points - origin) @ axis / (axis @ axis), 0.0, 1.0)
        return row_norms(points - origin - along[:, None] * axis)

    metacarpus = np.minimum(from_bone("wrist", "index1"), from_bone("wrist", "middle1"))
    return metacarpus - from_bone("thumb1", "thumb2")


def skin_relief(
    proportions: Proportions, coordinates: SkinCoordinates, flexions: dict[str, float]
) -> Float[np.ndarray, " v"]:
    """Returns the displacement of the skin along its normal, mm.

    Args:
        proportions: Measures of the hand.
        coordinates: Points on the skin.
        flexions: Flexion of the digits' joints in radians, by name.
    """
    relief = np.zeros(len(coordinates.part))
    for number, (wavelength, amplitude) in enumerate(_OCTAVES):
        seed = 10 * proportions.seed + number
        relief += amplitude * value_noise(coordinates.rest, wavelength, seed)
    wobble = 0.5 * value_noise(coordinates.rest, 4.0, 10 * proportions.seed + 5)
    palm = np.flatnonzero(coordinates.part == PALM)
    relief[palm] += _palm_relief(proportions, coordinates.rest[palm], wobble[palm])
    frames = rest_frames(proportions)
    for part, joint in enumerate(PART_JOINTS[1:], start=1):
        length, radius, tip_radius = proportions.bone(joint)
        before = PALM if part == digit_parts(joint[:-1])[0] else part - 1
        chosen = np.flatnonzero((coordinates.part == part) | (coordinates.part == before))
        local = in_joint_frame(coordinates.rest[chosen], frames[joint])
        relief[chosen] += _joint_relief(joint, local, length, radius, wobble[chosen], flexions)
        if joint[-1] == "3":
            tip = coordinates.part[chosen] == part
            relief[chosen[tip]] += _nail_relief(local[tip], length, tip_radius)
    return relief * coordinates.free


def in_joint_frame(
    rest: Float[np.ndarray, "v 3"], T_rest: Float[np.ndarray, "4 4"]
) -> Float[np.ndarray, "v 3"]:
    """Returns points at rest in a joint's rest frame: x along its bone, y palmar, z radial."""
    return (rest - T_rest[:3, 3]) @ T_rest[:3, :3]


def nail_distance(
    local: Float[np.ndarray, "v 3"], length: float, radius: float
) -> Float[np.ndarray, " v"]:
    """Returns the distance from the nail's middle, seen from the back: 1 on the nail's edge.

    Args:
        local: Positions in the rest frame of the last joint, mm.
        length: Length of the last bone, mm.
        radius: Half-width of the fingertip, mm.
    """
    along = np.abs((local[:, 0] - 0.68 * length) / (0.27 * length))
    across = np.abs(local[:, 2] / (0.74 * radius))
    return (along**3.5 + across**3.5) ** (1 / 3.5)


def _nail_relief(
    local: Float[np.ndarray, "v 3"], length: float, radius: float
) -> Float[np.ndarray, " v"]:
    """A plate with a fold of skin around it."""
    distance = nail_distance(local, length, radius)
    plate = 0.30 * smoothstep((1.05 - distance) / 0.10)
    at_root = np.where(local[:, 0] < 0.68 * length, 1.0, 0.7)
    fold = 0.38 * at_root * np.exp(-(((distance - 1.10) / 0.08) ** 2))
    return (plate - fold) * smoothstep((-local[:, 1] - 0.15 * radius) / (0.2 * radius))


def _joint_relief(joint, local, length, radius, wobble, flexions) -> np.ndarray:
    """Palmar creases, which flexion deepens, and wrinkles on the back, which it removes.

    A finger's first joint lies within the palm and has its only crease further along the bone.
    """
    x, y, z = local.T
    # Only near the bone: the joint's plane also crosses the palm and the other fingers.
    close = smoothstep((1.6 - np.hypot(y, z) / radius) / 0.3)
    if joint[-1] == "1":
        crease = _groove(x - _BASE_CREASE * length + wobble, 1.1)
        return -0.5 * close * _palmar(y) * crease
    angle = flexions[joint]
    # The flesh of the thumb's ball hides its middle joint in part.
    strength = 0.5 if joint == "thumb2" else 1.0
    depth = strength * (0.42 + 0.30 * np.clip(angle, 0.0, 1.6))
    creases = _groove(x + wobble, 0.9) + 0.45 * _groove(x + 2.8 + wobble, 0.7)
    # Wrinkles are lens-shaped: they converge towards the finger's sides.
    bent = x * (1.0 + 0.5 * (z / radius) ** 2) + wobble
    window = np.exp(-((x / 4.2) ** 2) - (z / (0.62 * radius)) ** 2)
    waves = 0.5 - 0.5 * np.cos(2 * np.pi * bent / _WRINKLE_SPACING)
    smoothed = np.clip(1.0 - angle / 1.1, 0.0, 1.0)
    wrinkles = 0.42 * strength * smoothed * window * waves * smoothstep((-y - 1.0) / 4.0)
    return -close * (depth * _palmar(y) * creases + wrinkles)


def _groove(x: np.ndarray, width: float) -> np.ndarray:
    return np.exp(-((x / width) ** 2))


def _palmar(y: np.ndarray) -> np.ndarray:
    """1 on the palmar side; fades well before the back, so that no crease runs all around."""
    return smoothstep((y - 0.5) / 4.5)


def _palm_relief(
    proportions: Proportions, local: Float[np.ndarray, "v 3"], wobble: Float[np.ndarray, " v"]
) -> Float[np.ndarray, " v"]:
    """Lines inside, tendons and veins on the back, creases at the wrist.

    Args:
        proportions: Measures of the hand.
        local: Positions at rest in the hand's frame, mm.
        wobble: Irregularity of the lines, mm.
    """
    x, y, z = local.T
    flat = np.stack([x + wobble, z + wobble], axis=1)
    inside, back = smoothstep((y - 2.0) / 4.0), smoothstep((-y - 1.0) / 5.0)
    size = proportions.roots[2][0]
    lines = np.zeros(len(local))
    for corners in _LINES:
        distance, along = _distance_to_path(flat, np.array(corners) * size)
        fading = smoothstep(along / 0.12) * smoothstep((1.0 - along) / 0.25)
        lines = np.maximum(lines, np.exp(-((distance / _LINE_WIDTH) ** 2)) * fading)
    bracelet = x + 1.0 - 0.008 * z**2
    wrist = 0.30 * np.exp(-(((bracelet + 2.0 * wobble) / 1.0) ** 2))
    wrist += 0.20 * np.exp(-(((bracelet + 5.5 + 3.0 * wobble) / 0.9) ** 2))
    relief = -inside * (_LINE_DEPTH * lines + wrist)
    return relief + back * (_tendons(proportions, flat) + _veins(proportions, local))


def _tendons(proportions: Proportions, flat: np.ndarray) -> np.ndarray:
    relief = np.zeros(len(flat))
    for x, _, z in proportions.roots[1:]:
        base = (_TENDON_BASE[0], _TENDON_BASE[1] * z)
        distance, along = _distance_to_path(flat, np.array([base, (x - 4.0, z)]))
        fading = smoothstep(along / 0.35) * smoothstep((1.0 - along) / 0.1)
        relief = np.maximum(relief, np.exp(-((distance / _TENDON_WIDTH) ** 2)) * fading)
    return _TENDON_HEIGHT * relief


def _veins(proportions: Proportions, local: np.ndarray) -> np.ndarray:
    """Soft ridges along the zero lines of noise that is stretched along the hand."""
    seed = 10 * proportions.seed + 7
    stretched = np.stack([local[:, 0] / 2.2, np.zeros(len(local)), local[:, 2]], axis=1)
    ridge = np.exp(-((value_noise(stretched, 13.0, seed) / 0.16) ** 2))
    patches = smoothstep(0.5 + value_noise(local, 21.0, seed + 1))
    x, z = local[:, 0], local[:, 2]
    # They fade towards wrist, knuckles and thumb.
    knuckles = min(root[0] for root in proportions.roots[1:])
    fading = smoothstep((x - 8.0) / 15.0) * smoothstep((knuckles + 8.0 - x) / 15.0)
    return _VEIN_HEIGHT * ridge * patches * fading * smoothstep((30.0 - z) / 12.0)


def _distance_to_path(
    points: Float[np.ndarray, "v 2"], corners: Float[np.ndarray, "c 2"]
) -> tuple[np.ndarray, np.ndarray]:
    """Distance to a polyline in mm, and the closest point's place along it from 0 to 1."""
    lengths = np.linalg.norm(np.diff(corners, axis=0), axis=1)
    travelled = np.cumsum([0.0, *lengths])
    distance, along = np.full(len(points), np.inf), np.zeros(len(points))
    for i, (start, end) in enumerate(pairwise(corners)):
        axis = end - start
        share = np.clip((points - start) @ axis / (axis @ axis), 0.0, 1.0)
        here = row_norms(points - start - share[:, None] * axis)
        along = np.where(here < distance, travelled[i] + share * lengths[i], along)
        distance = np.minimum(distance, here)
    return distance, along / travelled[-1]
