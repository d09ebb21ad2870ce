"""The colour of skin: pale palms, red fingertips and knuckles, blotches, dark creases, nails."""

import numpy as np
from jaxtyping import Float

from data_prep.studio.anatomy.array_math import smoothstep, value_noise
from data_prep.studio.anatomy.primitives import PALM, PART_JOINTS
from data_prep.studio.anatomy.proportions import Proportions
from data_prep.studio.anatomy.rig import rest_frames
from data_prep.studio.anatomy.skin import in_joint_frame, nail_distance
from data_prep.studio.anatomy.surface import SkinMesh

# Linear RGB of the back of the hand: the template, then the four subjects.
TONES = (
    (0.52, 0.33, 0.24), (0.50, 0.30, 0.21), (0.62, 0.42, 0.33), (0.16, 0.082, 0.052),
    (0.34, 0.185, 0.115),
)  # fmt: skip
_TONE_SPREAD = 0.06  # of the logarithm of each channel
_PALM_DEPTH = 14.0  # mm, half the palm's thickness
_CREASE = 0.9  # optical depth of a crease of 1 mm
_NAIL = np.array([0.62, 0.40, 0.36])


def random_tone(rng: np.random.Generator) -> tuple[float, float, float]:
    """Returns a random tone of skin between the subjects' darkest and lightest, linear RGB."""
    tones = np.log(sorted(TONES))
    place = rng.uniform(0.0, len(tones) - 1.0)
    tone = [np.interp(place, np.arange(len(tones)), channel) for channel in tones.T]
    return tuple(np.exp(tone + rng.normal(0.0, _TONE_SPREAD, 3)).tolist())


def skin_albedo(
    proportions: Proportions, surface: SkinMesh, tone: tuple[float, float, float]
) -> Float[np.ndarray, "v 3"]:
    """Returns the linear RGB albedo of each vertex, in [0, 1].

    Args:
        proportions: Measures of the hand.
        surface: Its skin in a pose; the relief darkens the creases.
        tone: Linear RGB of the back of the hand.
    """
    base, skin = np.array(tone), surface.skin
    palmar = np.zeros(len(skin.part))
    red = np.zeros(len(skin.part))
    nails = np.zeros((len(skin.part), 3))  # plate, moon, free edge
    frames = rest_frames(proportions)
    for part, joint in enumerate(PART_JOINTS):
        chosen = np.flatnonzero(skin.part == part)
        local = in_joint_frame(skin.rest[chosen], frames[joint])
        if part == PALM:
            palmar[chosen] = _palm_side(frames, skin.rest[chosen])
            continue
        length, radius, tip = proportions.bone(joint)
        palmar[chosen] = smoothstep((local[:, 1] / radius + 0.25) / 0.7)
        red[chosen] += 0.8 * np.exp(-((local[:, 0] / 6.0) ** 2)) * (1.0 - palmar[chosen])
        if joint[-1] == "3":
            red[chosen] += palmar[chosen] * smoothstep((local[:, 0] / length - 0.25) / 0.6)
            nails[chosen] = _nail(local, length, tip)
    seed = 10 * proportions.seed
    blotch = value_noise(skin.rest, 11.0, seed + 8) + 0.6 * value_noise(skin.rest, 4.5, seed + 9)
    red += palmar * np.clip(0.25 + 0.45 * blotch, 0.0, 1.0)
    # Palms have little pigment: they differ less between people than backs do.
    palm_tone = 0.55 * base**0.75 + 0.45 * np.array([0.55, 0.33, 0.26])
    colour = base + palmar[:, None] * (palm_tone - base)
    colour = colour * (1.0 - np.clip(red, 0.0, 1.0)[:, None] * np.array([0.0, 0.20, 0.17]))
    colour *= (1.0 + 0.06 * blotch + 0.05 * value_noise(skin.rest, 1.6, seed + 4))[:, None]
    colour = colour * np.exp(_CREASE * np.clip(surface.relief, -1.0, 0.1))[:, None]
    for share, paint in zip(nails.T, _nail_paints(base), strict=True):
        colour += share[:, None] * (paint - colour)
    return np.clip(colour, 0.01, 0.95)


def _palm_side(frames: dict[str, np.ndarray], rest: np.ndarray) -> Float[np.ndarray, " v"]:
    """1 on the palmar side, 0 on the back.

    Near the thumb the thumb's own sides count, so that no edge shows at its next bone.
    """
    flat = smoothstep((rest[:, 1] / _PALM_DEPTH + 0.35) / 0.9)
    x, y, z = in_joint_frame(rest, frames["thumb1"]).T
    around = smoothstep((y / 12.0 + 0.25) / 0.7)
    length = np.linalg.norm(frames["thumb2"][:3, 3] - frames["thumb1"][:3, 3])
    near = smoothstep((x / length + 0.2) / 0.9) * smoothstep((26.0 - np.hypot(y, z)) / 14.0)
    return flat + near * (around - flat)


def _nail(local: np.ndarray, length: float, radius: float) -> Float[np.ndarray, "v 3"]:
    """Shares of plate, moon and free edge at each point of a fingertip."""
    on_back = smoothstep((-local[:, 1] - 0.15 * radius) / (0.2 * radius))
    plate = smoothstep((1.04 - nail_distance(local, length, radius)) / 0.06) * on_back
    along = (local[:, 0] - 0.68 * length) / (0.27 * length)  # -1 at the root, 1 at the edge
    bend = 0.25 * (local[:, 2] / radius) ** 2
    moon = plate * smoothstep((-0.62 - along - bend) / 0.12)
    edge = plate * smoothstep((along + bend - 0.86) / 0.08)
    return np.stack([plate, 0.45 * moon, 0.7 * edge], axis=1)


def _nail_paints(base: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    plate = 0.65 * base + 0.35 * _NAIL
    return plate, 0.4 * plate + 0.6 * np.array([0.75, 0.60, 0.56]), np.array([0.75, 0.68, 0.60])
