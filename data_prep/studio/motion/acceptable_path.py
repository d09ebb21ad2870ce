"""Paths that keep the rules: no penetration, not too fast, not too near to poses to avoid."""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from data_prep.studio.anatomy.anatomy import pose_anatomy
from data_prep.studio.anatomy.overlap import surface_overlap
from data_prep.studio.motion.collision import penetration_depth
from data_prep.studio.motion.keys import DrawKey, Schedule, smooth_path
from data_prep.studio.motion.repair import NUM_DOFS, TOLERANCE, repair
from data_prep.studio.motion.spheres import SphereHand

EXCLUSION = 0.3
"""A training frame differs from each frame of the gestures by more in some rotation, rad."""

DEEPEST = 2.5
"""How far two surfaces that are no neighbours may overlap, mm: that is firm contact."""

FASTEST = 0.4
"""Largest change of an angle in a thirtieth of a second, rad."""

_ROUNDS = 40
_CLOSE, _TOUCHING = 0.5, 0.05  # mm: gap and overlap of spheres whose skin is looked at
# Two digits of 100 mm that turn by this in all their joints come 0.05 mm nearer to each other.
_AS_GOOD_AS_EQUAL, _MARGIN = 5e-5, 0.05  # rad, mm


def acceptable_path(
    hand: SphereHand,
    schedule: Schedule,
    draw: DrawKey,
    num_frames: int,
    frame_step: int,
    avoid: Float[np.ndarray, "m 28"],
) -> Float[np.ndarray, "n 28"]:
    """Returns the repaired path; keys around frames that still break a rule are drawn anew.

    Args:
        hand: Whose motion, as spheres.
        schedule: When each digit reaches each key.
        draw: Gives the keys.
        num_frames: Length of the path.
        frame_step: Thirtieths of a second from frame to frame.
        avoid: Poses to which no frame may come near, radians.

    Raises:
        RuntimeError: No draw helped.
    """
    versions = np.zeros(schedule.times.shape[1], int)
    passed = np.full((num_frames, NUM_DOFS), np.inf)
    for attempt in range(_ROUNDS):
        keys = np.stack([draw(number, version) for number, version in enumerate(versions)])
        theta = repair(hand, smooth_path(schedule, keys, num_frames), frame_step=frame_step)
        bad = np.flatnonzero(_breaks_a_rule(hand, theta, frame_step, avoid))
        if not len(bad):
            bad = np.flatnonzero(_surfaces_overlap(hand, theta, passed))
        if not len(bad):
            return theta
        around = [schedule.keys_around(frame)[(attempt + 1) % 2] for frame in bad]
        versions[np.unique(around)] += 1
    raise RuntimeError(f"frames {bad.tolist()} of a motion stay out of bounds")


def _breaks_a_rule(
    hand: SphereHand, theta: np.ndarray, frame_step: int, avoid: np.ndarray
) -> Bool[np.ndarray, " n"]:
    """Frames that penetrate, are reached too fast, or come too near to poses to avoid."""
    steps = np.abs(np.diff(theta, axis=0, prepend=theta[:1])).max(axis=1)
    deep = penetration_depth(hand, theta) > TOLERANCE
    return deep | (steps > FASTEST * frame_step) | near_any(theta, avoid, EXCLUSION)


def _surfaces_overlap(
    hand: SphereHand, theta: np.ndarray, passed: np.ndarray
) -> Bool[np.ndarray, " n"]:
    """Frames in which the skin overlaps by too much: the spheres are quick, but not all of it.

    `passed` holds the pose in which each frame last passed and is brought up to date. A pose as
    good as equal to it is not looked at again; for that a frame passes a little below the limit.
    """
    bad = (penetration_depth(hand, theta) > _TOUCHING) | (_gap(hand, theta) < _CLOSE)
    bad &= np.abs(theta - passed).max(axis=1) > _AS_GOOD_AS_EQUAL
    for frame in np.flatnonzero(bad):
        overlap = surface_overlap(pose_anatomy(hand.proportions, theta[frame]))
        bad[frame] = overlap > DEEPEST - _MARGIN
        if not bad[frame]:
            passed[frame] = theta[frame]
    return bad


def _gap(hand: SphereHand, theta: np.ndarray) -> Float[np.ndarray, " n"]:
    """How far apart the nearest spheres are that do not sit side by side in a web, mm."""
    free = hand.allowances == 0.0
    spheres = replace(hand, pairs=hand.pairs[free], allowances=hand.allowances[free])
    return -penetration_depth(spheres, theta)


def near_any(
    theta: Float[np.ndarray, "n 28"], others: Float[np.ndarray, "m 28"], distance: float
) -> Bool[np.ndarray, " n"]:
    """Returns which poses differ from some other pose by at most a distance in every rotation."""
    near = np.zeros(len(theta), bool)
    for frame, pose in enumerate(theta):
        near[frame] = (np.abs(others - pose) <= distance).all(axis=1).any()
    return near
