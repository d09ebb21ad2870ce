"""The skin's relief: creases, lines, wrinkles, nails, tendons and pores, as a displacement in mm.

All of it depends on the place on the skin, the person and the flexion of the joint nearby, and on
nothing else of the pose.
"""

import numpy as np
from jaxtyping import Float

from data_prep.studio.anatomy.field import smoothstep
from data_prep.studio.anatomy.noise import value_noise
from data_prep.studio.anatomy.palm_lines import palm_relief
from data_prep.studio.anatomy.parts import PALM, PART_JOINTS, digit_parts
from data_prep.studio.anatomy.proportions import Proportions
from data_prep.studio.anatomy.rig import rest_frames
from data_prep.studio.anatomy.skin_coordinates import SkinCoordinates
from dhm.geometry.hand_rig import FINGERS

# Wavelength in mm and amplitude in mm: shape of the person, folds, pores.
_OCTAVES = ((17.0, 0.30), (6.0, 0.10), (2.4, 0.06))
_WRINKLE_SPACING = 2.3
_BASE_CREASE = 0.5  # where a finger's first crease lies on its first bone


def skin_relief(
    proportions: Proportions, coordinates: SkinCoordinates, flexions: dict[str, float]
) -> Float[np.ndarray, " v"]:
    """Returns how far the skin stands out at each point, mm.

    Args:
        proportions: Whose skin.
        coordinates: Where on it.
        flexions: Flexion of the digits' joints in radians, by name.
    """
    relief = np.zeros(len(coordinates.part))
    for number, (wavelength, amplitude) in enumerate(_OCTAVES):
        seed = 10 * proportions.seed + number
        relief += amplitude * value_noise(coordinates.rest, wavelength, seed)
    wobble = 0.5 * value_noise(coordinates.rest, 4.0, 10 * proportions.seed + 5)
    palm = np.flatnonzero(coordinates.part == PALM)
    relief[palm] += palm_relief(proportions, coordinates.rest[palm], wobble[palm])
    frames = rest_frames(proportions)
    for part, joint in enumerate(PART_JOINTS[1:], start=1):
        length, radius, tip_radius = digit_measures(proportions, joint)
        before = PALM if part == digit_parts(joint[:-1])[0] else part - 1
        chosen = np.flatnonzero((coordinates.part == part) | (coordinates.part == before))
        local = at_joint(coordinates.rest[chosen], frames[joint])
        relief[chosen] += _joint_relief(joint, local, length, radius, wobble[chosen], flexions)
        if joint[-1] == "3":
            tip = coordinates.part[chosen] == part
            relief[chosen[tip]] += nail_relief(local[tip], length, tip_radius)
    return relief * coordinates.free


def at_joint(
    rest: Float[np.ndarray, "v 3"], T_rest: Float[np.ndarray, "4 4"]
) -> Float[np.ndarray, "v 3"]:
    """Returns skin coordinates in a joint's rest frame: x along its bone, y palmar, z radial."""
    return (rest - T_rest[:3, 3]) @ T_rest[:3, :3]


def digit_measures(proportions: Proportions, joint: str) -> tuple[float, float, float]:
    """Returns the length of the bone after a digit's joint and its radii at both ends, mm."""
    finger, bone = FINGERS.index(joint[:-1]), int(joint[-1]) - 1
    thumb = joint[:-1] == "thumb"
    start, end = proportions.radii[finger][bone - thumb : bone - thumb + 2]
    return proportions.lengths[finger][bone + thumb], start, end


def nail_distance(
    local: Float[np.ndarray, "v 3"], length: float, radius: float
) -> Float[np.ndarray, " v"]:
    """Returns where points lie about the nail, seen from the back: 0 its middle, 1 its edge.

    Args:
        local: Positions in the rest frame of the last joint, mm.
        length: Length of the last bone.
        radius: Half-width of the fingertip.
    """
    along = np.abs((local[:, 0] - 0.68 * length) / (0.27 * length))
    across = np.abs(local[:, 2] / (0.74 * radius))
    return (along**3.5 + across**3.5) ** (1 / 3.5)


def nail_relief(
    local: Float[np.ndarray, "v 3"], length: float, radius: float
) -> Float[np.ndarray, " v"]:
    """Returns a nail's relief in mm: a plate with a fold of skin around it."""
    distance = nail_distance(local, length, radius)
    plate = 0.30 * smoothstep((1.05 - distance) / 0.10)
    at_root = np.where(local[:, 0] < 0.68 * length, 1.0, 0.7)
    fold = 0.38 * at_root * np.exp(-(((distance - 1.10) / 0.08) ** 2))
    return (plate - fold) * smoothstep((-local[:, 1] - 0.15 * radius) / (0.2 * radius))


def _joint_relief(joint, local, length, radius, wobble, flexions) -> np.ndarray:
    """Creases on the inside, which deepen; wrinkles on the back, which flexion smooths away.

    A finger's first joint lies within the palm and has its only crease further along.
    """
    x, y, z = local.T
    # What crosses the joint's plane elsewhere, on the palm or on other fingers, has no part in it.
    close = smoothstep((1.6 - np.hypot(y, z) / radius) / 0.3)
    if joint[-1] == "1":
        crease = _groove(x - _BASE_CREASE * length + wobble, 1.1)
        return -0.5 * close * _palmar(y) * crease
    angle = flexions[joint]
    # The thumb's middle joint lies in the flesh of its ball, which shows it but faintly.
    strength = 0.5 if joint == "thumb2" else 1.0
    depth = strength * (0.42 + 0.30 * np.clip(angle, 0.0, 1.6))
    creases = _groove(x + wobble, 0.9) + 0.45 * _groove(x + 2.8 + wobble, 0.7)
    # Wrinkles are lens shaped: they crowd together towards the finger's sides.
    bent = x * (1.0 + 0.5 * (z / radius) ** 2) + wobble
    window = np.exp(-((x / 4.2) ** 2) - (z / (0.62 * radius)) ** 2)
    waves = 0.5 - 0.5 * np.cos(2 * np.pi * bent / _WRINKLE_SPACING)
    smoothed = np.clip(1.0 - angle / 1.1, 0.0, 1.0)
    wrinkles = 0.42 * strength * smoothed * window * waves * smoothstep((-y - 1.0) / 4.0)
    return -close * (depth * _palmar(y) * creases + wrinkles)


def _groove(x: np.ndarray, width: float) -> np.ndarray:
    return np.exp(-((x / width) ** 2))


def _palmar(y: np.ndarray) -> np.ndarray:
    """1 on the palm's side; fades well before the back, so that no crease runs all around."""
    return smoothstep((y - 0.5) / 4.5)
