"""The palm's relief: lines inside, tendons and veins on the back, creases at the wrist."""

from itertools import pairwise

import numpy as np
from jaxtyping import Float

from data_prep.studio.anatomy.field import smoothstep
from data_prep.studio.anatomy.noise import value_noise
from data_prep.studio.anatomy.proportions import Proportions
from data_prep.studio.anatomy.vectors import row_norms

# Corners (x, z) of the three main lines, in units of the middle knuckle's distance from the wrist.
_LINES = (
    ((0.78, 0.25), (0.71, 0.15), (0.58, 0.06), (0.42, 0.025), (0.24, 0.045)),
    ((0.78, 0.26), (0.70, 0.10), (0.63, -0.07), (0.53, -0.23)),
    ((0.95, 0.13), (0.86, 0.05), (0.80, -0.12), (0.73, -0.41)),
)
_LINE_DEPTH, _LINE_WIDTH = 0.65, 1.1  # mm
_TENDON_BASE = (26.0, 0.35)  # x in mm and z as a share of the knuckle's, where the tendons meet
_TENDON_HEIGHT, _TENDON_WIDTH = 0.45, 2.6  # mm
_VEIN_HEIGHT = 0.28  # mm


def palm_relief(
    proportions: Proportions, local: Float[np.ndarray, "v 3"], wobble: Float[np.ndarray, " v"]
) -> Float[np.ndarray, " v"]:
    """Returns how far the skin of palm and back stands out, mm.

    Args:
        proportions: Whose hand.
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
    """Soft ridges along the zero lines of noise that is drawn out along the hand."""
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
    """Distance to a polyline in mm and the place of the closest point along it, 0 to 1."""
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
