"""The motions of the studio: 40 to train on and 15 gestures to test on (paper section 8.1).

A gesture depends on the person, the seed, its number and the number of frames alone. So does a
training motion, except that none of its frames is near a frame of the gestures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from data_prep.studio.anatomy.proportions import Proportions
from data_prep.studio.anatomy.rig import axis_rotation
from data_prep.studio.motion.paths import (
    DrawKey,
    Schedule,
    acceptable_path,
    common_schedule,
    extreme_digit,
    open_hand,
    own_schedules,
    perturb,
    random_hand,
)
from data_prep.studio.motion.poses import POSES, solve_pose
from data_prep.studio.motion.spheres import sphere_hand
from dhm.errors import BadInputError
from dhm.geometry.hand_rig import FINGERS

# Poses of the gestures alone. "two" is one of them because it is too similar to "victory".
HELD_OUT_POSES = (
    "thumbs_up", "gun", "shaka", "horns", "victory", "two", "three", "pinch_ring", "five_pinch",
    "tabletop", "ball",
)  # fmt: skip
_TRAINING_POSES = tuple(name for name in POSES if name not in HELD_OUT_POSES)
_GESTURES = (
    *((name, name) for name in HELD_OUT_POSES),
    ("victory", "thumbs_up"), ("gun", "shaka"), ("three", "two"), ("ball", "five_pinch"),
)  # fmt: skip
_TOURS = (
    ("fist", "spread"), ("point", "open"), ("open", "cylinder"), ("pinch_index", "flat"),
    ("hook", "fist"), ("relaxed", "key"), ("precision", "open"), ("pinch_middle", "spread"),
    ("thumb_and_two", "flat"), ("four", "pinch_pinky"), ("cylinder", "relaxed"), ("key", "point"),
)  # fmt: skip
_WAVES = (("spread", "hook"), ("open", "fist"), ("relaxed", "cylinder"))
_NUM_FREE = 20
# Length of a free motion relative to the others: an encoder generalizes to new gestures better
# from free fingers than from as many frames of whole-hand poses.
_FREE_SHARE = 3
_WAVE_LAG = 3.0  # thirtieths of a second from finger to finger

TRAINING_NAMES = (
    *(f"range_of_{finger}" for finger in FINGERS),
    *(f"{first}_to_{second}" for first, second in _TOURS),
    *(f"wave_{first}_to_{second}" for first, second in _WAVES),
    *(f"free_{number:02d}" for number in range(1, _NUM_FREE + 1)),
)
HELD_OUT_NAMES = tuple(
    f"gesture_{one}" if one == other else f"gesture_{one}_to_{other}" for one, other in _GESTURES
)
# From these versions on a key is any pose of the tour, and finally an open hand.
_OTHER_POSE, _WAY_OUT = 3, 6

Poses = Mapping[str, Float[np.ndarray, " 28"]]
"""A person's angles for each named pose, radians."""


@dataclass(frozen=True)
class Motion:
    """A sequence of the capture.

    Attributes:
        name: Sequence name in the released layout, right-handed for every subject.
        theta: Angles, radians.
        T_world_hand: Pose of the hand relative to the studio's centre, mm.
    """

    name: str
    theta: Float[np.ndarray, "n 28"]
    T_world_hand: Float[np.ndarray, "n 4 4"]


def sequence_names() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the sequence names of the training motions and of the held-out gestures."""
    names = [f"{i:04d}_RT_{name}" for i, name in enumerate((*TRAINING_NAMES, *HELD_OUT_NAMES), 1)]
    return tuple(names[: len(TRAINING_NAMES)]), tuple(names[len(TRAINING_NAMES) :])


def training_motion(
    index: int,
    proportions: Proportions,
    seed: int,
    num_frames: int,
    frame_step: int,
    gestures: Sequence[Motion],
    poses: Poses,
) -> Motion:
    """Returns a training motion.

    Args:
        index: Its index in `TRAINING_NAMES`.
        proportions: Measures of the person.
        seed: Selects the motions.
        num_frames: Number of frames of this motion.
        frame_step: Thirtieths of a second from frame to frame.
        gestures: The held-out gestures, whose neighbourhood is left out.
        poses: The person's named poses.
    """
    rng = np.random.default_rng([seed, index])
    schedule, draw = _training_plan(index, poses, seed, num_frames, frame_step, rng)
    avoid = np.concatenate([gesture.theta for gesture in gestures])
    hand = sphere_hand(proportions)
    theta = acceptable_path(hand, schedule, draw, num_frames, frame_step, avoid)
    return Motion(sequence_names()[0][index], theta, _hand_path(rng, num_frames, frame_step))


def held_out_gesture(
    index: int,
    proportions: Proportions,
    seed: int,
    num_frames: int,
    frame_step: int,
    poses: Poses,
) -> Motion:
    """Returns a gesture by its index in `HELD_OUT_NAMES`; the rest as for `training_motion`."""
    seeds = [seed, len(TRAINING_NAMES) + index]
    rng = np.random.default_rng(seeds)
    draw = _gesture_keys(*_GESTURES[index], poses, seeds)
    schedule = common_schedule(rng, num_frames, frame_step, rng.uniform(0.0, 2.0, len(FINGERS)))
    hand, nothing = sphere_hand(proportions), np.zeros((0, 28))
    theta = acceptable_path(hand, schedule, draw, num_frames, frame_step, nothing)
    return Motion(sequence_names()[1][index], theta, _hand_path(rng, num_frames, frame_step))


def training_lengths(num_frames: int) -> list[int]:
    """Returns the number of frames of each training motion; the free ones are the longest.

    Raises:
        BadInputError: There are fewer frames than motions.
    """
    others = len(TRAINING_NAMES) - _NUM_FREE
    return _lengths(num_frames, [1] * others + [_FREE_SHARE] * _NUM_FREE)


def gesture_lengths(num_frames: int) -> list[int]:
    """Returns the number of frames of each gesture, about the same for all.

    Raises:
        BadInputError: There are fewer frames than gestures.
    """
    return _lengths(num_frames, [1] * len(HELD_OUT_NAMES))


def _lengths(num_frames: int, shares: list[int]) -> list[int]:
    """One frame each, and the rest in proportion to the shares."""
    if num_frames < len(shares):
        raise BadInputError("frames", str(num_frames), f"at least one for each of {len(shares)}")
    ends = np.cumsum(shares) * (num_frames - len(shares)) // sum(shares)
    return [1 + int(own) for own in np.diff(ends, prepend=0)]


def named_pose(proportions: Proportions, name: str) -> Float[np.ndarray, " 28"]:
    """Returns a person's angles for a named pose, radians."""
    return solve_pose(sphere_hand(proportions), name)


def _training_plan(
    index: int,
    poses: Poses,
    seed: int,
    num_frames: int,
    frame_step: int,
    rng: np.random.Generator,
) -> tuple[Schedule, DrawKey]:
    """The schedule of a motion, and its keys."""
    keys = [seed, index]
    if index < len(FINGERS):
        return own_schedules(rng, num_frames, frame_step), _range_keys(index, poses, keys)
    index -= len(FINGERS)
    if index < len(_TOURS):
        lags = rng.uniform(0.0, 2.0, len(FINGERS))
        draw = _tour_keys(_TOURS[index], _TRAINING_POSES, poses, keys)
        return common_schedule(rng, num_frames, frame_step, lags), draw
    index -= len(_TOURS)
    if index < len(_WAVES):
        lags = _WAVE_LAG * np.arange(len(FINGERS))[:: 1 if index % 2 else -1]
        draw = _tour_keys(_WAVES[index], _WAVES[index], poses, keys)
        return common_schedule(rng, num_frames, frame_step, lags), draw
    if index % 2:  # keys that all digits reach together show each digit beside the others
        lags = rng.uniform(0.0, 2.0, len(FINGERS))
        return common_schedule(rng, num_frames, frame_step, lags), _free_keys(keys)
    return own_schedules(rng, num_frames, frame_step), _free_keys(keys)


def _free_keys(seeds: list[int]) -> DrawKey:
    def draw(number: int, version: int) -> np.ndarray:
        rng = np.random.default_rng([*seeds, number, version])
        return open_hand(rng) if version >= _WAY_OUT else random_hand(rng)

    return draw


def _range_keys(digit: int, poses: Poses, seeds: list[int]) -> DrawKey:
    """One digit goes through its range, the others rest in some pose."""
    rests = [poses[name] for name in ("relaxed", "open", "spread")]

    def draw(number: int, version: int) -> np.ndarray:
        rng = np.random.default_rng([*seeds, number, version])
        if version >= _WAY_OUT:
            return open_hand(rng)
        rest = perturb(rng, rests[rng.integers(len(rests))], 0.12)
        return extreme_digit(rng, rest, digit)

    return draw


def _tour_keys(
    first: tuple[str, str], others: tuple[str, ...], poses: Poses, seeds: list[int]
) -> DrawKey:
    """From the first named pose to the second, then to any of the others, each with variations."""

    def draw(number: int, version: int) -> np.ndarray:
        rng = np.random.default_rng([*seeds, number, version])
        if version >= _WAY_OUT:
            return open_hand(rng)
        name = others[rng.integers(len(others))]
        if version < _OTHER_POSE:
            if others == first:
                name = first[number % 2]
            elif number < 2:
                name = first[number]
        return perturb(rng, poses[name], 0.06)

    return draw


def _gesture_keys(one: str, other: str, poses: Poses, seeds: list[int]) -> DrawKey:
    """From a half-formed hand into the gesture's pose and back, or into its other pose."""
    half, full = 0.55, 1.0

    def draw(number: int, version: int) -> np.ndarray:
        rng = np.random.default_rng([*seeds, number, version])
        name = (one, one, other, other)[number % 4]
        share = (half, full, full, half)[number % 4] * (0.5 if version >= _WAY_OUT else 1.0)
        relaxed = poses["relaxed"]
        return perturb(rng, relaxed + share * (poses[name] - relaxed), 0.06)

    return draw


def _hand_path(
    rng: np.random.Generator, num_frames: int, frame_step: int
) -> Float[np.ndarray, "n 4 4"]:
    """Fingers to +z, palm to -y; rotates and drifts slowly about the middle of the hand."""
    upright = np.array([[0.0, 0.0, 1.0], [0.0, -1.0, 0.0], [1.0, 0.0, 0.0]])
    times = np.arange(num_frames) * frame_step
    swings = _slow_waves(rng, times, (0.35, 0.35, 0.8), (0.25, 0.25, 0.4))
    drift = _slow_waves(rng, times, (10.0, 10.0, 10.0), (8.0, 8.0, 8.0))
    T_world_hand = np.tile(np.eye(4), (num_frames, 1, 1))
    for T, (x, y, z), at in zip(T_world_hand, swings, drift, strict=True):
        turn = axis_rotation(2, z) @ axis_rotation(1, y) @ axis_rotation(0, x)
        T[:3, :3] = turn @ upright
        T[:3, 3] = at - T[:3, :3] @ np.array([80.0, 0.0, 0.0])
    return T_world_hand


def _slow_waves(
    rng: np.random.Generator, times: np.ndarray, spread: tuple, swing: tuple
) -> Float[np.ndarray, "n 3"]:
    """Three sine waves of 2.7 to 5.3 s about means within a spread."""
    mean, size = rng.uniform(-1.0, 1.0, 3) * spread, rng.uniform(0.3, 1.0, 3) * swing
    period, phase = rng.uniform(80.0, 160.0, 3), rng.uniform(0.0, 2 * np.pi, 3)
    return mean + size * np.sin(2 * np.pi * times[:, None] / period + phase)
