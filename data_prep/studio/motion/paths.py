"""Paths of the 28 rotations: random key poses, smooth interpolation, and the rules they obey.

Each key pose depends on its seed, number and version alone, so a key that breaks a rule is drawn
again without changing the others.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from data_prep.studio.anatomy.anatomy import pose_anatomy
from data_prep.studio.anatomy.narrow_band import surface_overlap
from data_prep.studio.anatomy.rig import DOF_NAMES, JOINT_LIMITS
from data_prep.studio.motion.poses import FINGER_SHAPES, THUMB_SHAPES
from data_prep.studio.motion.repair import IS_THUMB, NUM_DOFS, TOLERANCE, repair
from data_prep.studio.motion.spheres import SphereHand, penetration_depth
from dhm.geometry.hand_rig import FINGERS

EXCLUSION_RADIUS = 0.3
"""A training frame differs from each frame of the gestures by more in some rotation, rad."""

MAX_OVERLAP = 2.5
"""Largest overlap of the skin of two parts that are not adjacent, mm: firm contact."""

MAX_SPEED = 0.4
"""Largest change of an angle in a thirtieth of a second, rad."""

SHORTEST, LONGEST = 10, 15
"""Thirtieths of a second from key to key. In the shortest, the largest change of 1.9 rad needs at
most 0.29 rad each."""

DrawKey = Callable[[int, int], Float[np.ndarray, " 28"]]
"""Returns the key pose of a number and a version."""

_DIP_PER_PIP = 0.65
_DIGIT = np.array([next(i for i, f in enumerate(FINGERS) if d.startswith(f)) for d in DOF_NAMES])
_Z = {bone: np.array([DOF_NAMES.index(f"{f}{bone}_z") for f in FINGERS[1:]]) for bone in (1, 2, 3)}
_SIDEWAYS = np.array([DOF_NAMES.index(f"{f}1_y") for f in FINGERS[1:]])
_ROLL = np.array([DOF_NAMES.index(f"{f}1_x") for f in FINGERS[1:]])
_ROUNDS = 40
_CLOSE, _TOUCHING = 0.5, 0.05  # mm: gap and overlap of spheres from which on skin is evaluated
# Two digits of 100 mm whose joints all rotate by this angle approach each other by 0.05 mm.
_SAME_POSE, _MARGIN = 5e-5, 0.05  # rad, mm


@dataclass(frozen=True)
class Schedule:
    """The times at which each digit reaches each key.

    Attributes:
        times: In frames, increasing along the keys; the first is at most 0.
    """

    times: Float[np.ndarray, "5 k"]

    def keys_around(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the keys that each digit leaves and approaches at a frame."""
        before = (self.times <= frame).sum(axis=1) - 1
        return before, np.minimum(before + 1, self.times.shape[1] - 1)


def common_schedule(
    rng: np.random.Generator, num_frames: int, frame_step: int, lags: Float[np.ndarray, " 5"]
) -> Schedule:
    """Returns a schedule with one pace for all digits, with constant lags in thirtieths of 1 s."""
    steps = rng.uniform(SHORTEST, LONGEST, _num_keys(num_frames, frame_step))
    times = np.cumsum(steps)[None] - steps[0] - (lags.max() - lags)[:, None]
    return Schedule(times / frame_step)


def own_schedules(rng: np.random.Generator, num_frames: int, frame_step: int) -> Schedule:
    """Returns a schedule with a pace of its own for each digit."""
    steps = rng.uniform(SHORTEST, LONGEST, (len(FINGERS), _num_keys(num_frames, frame_step)))
    first = steps[:, :1] * rng.uniform(0.0, 1.0, (len(FINGERS), 1))
    return Schedule((np.cumsum(steps, axis=1) - steps[:, :1] - first) / frame_step)


def _num_keys(num_frames: int, frame_step: int) -> int:
    return num_frames * frame_step // SHORTEST + 3


def smooth_path(
    schedule: Schedule, keys: Float[np.ndarray, "k 28"], num_frames: int
) -> Float[np.ndarray, "n 28"]:
    """Returns the angles of each frame: C1 interpolation with speed 0 at each key."""
    frames = np.arange(num_frames)
    path = np.empty((num_frames, len(DOF_NAMES)))
    for digit, times in enumerate(schedule.times):
        mine = digit == _DIGIT
        after = np.clip(np.searchsorted(times, frames, side="right"), 1, len(times) - 1)
        share = (frames - times[after - 1]) / (times[after] - times[after - 1])
        ease = (share**2 * (3.0 - 2.0 * share))[:, None]
        path[:, mine] = keys[after - 1][:, mine] * (1.0 - ease) + keys[after][:, mine] * ease
    return path


def perturb(rng: np.random.Generator, theta: Float[np.ndarray, " 28"], amount: float) -> np.ndarray:
    """Returns a random pose near another; most of the change is common to all fingers."""
    varied = theta + rng.normal(0.0, 0.5 * amount, len(DOF_NAMES))
    together = rng.normal(0.0, amount)
    for bone, share in ((1, 1.0), (2, 1.0), (3, _DIP_PER_PIP)):
        varied[_Z[bone]] += share * together
    return _natural(varied)


def random_hand(rng: np.random.Generator) -> Float[np.ndarray, " 28"]:
    """Returns a random pose with independent digits.

    In half of the poses each finger is nearly straight or nearly folded, as in counting: uniform
    angles would seldom fold a finger far enough to be hidden.
    """
    shapes, limits = np.array(list(FINGER_SHAPES.values())), JOINT_LIMITS
    counting = rng.random() < 0.5
    if counting:
        shapes = np.array([FINGER_SHAPES[name] for name in ("straight", "folded")])
    theta = np.zeros(len(DOF_NAMES))
    for finger in range(4):
        flexions = shapes[rng.integers(len(shapes))] + rng.normal(0.0, 0.12, 3)
        if not counting and rng.random() < 0.5:
            mcp, pip = rng.uniform(-0.35, 1.55), rng.uniform(-0.05, 1.8)
            flexions = np.array([mcp, pip, _DIP_PER_PIP * pip + rng.normal(0.0, 0.12)])
        for bone, angle in enumerate(flexions, 1):
            theta[_Z[bone][finger]] = angle
    theta[_SIDEWAYS] = rng.uniform(-0.34, 0.34, 4)
    theta[_ROLL] = rng.normal(0.0, 0.07, 4)
    if rng.random() < 0.5:
        thumb = list(THUMB_SHAPES.values())[rng.integers(len(THUMB_SHAPES))]
        theta[IS_THUMB] = np.array(thumb) + rng.normal(0.0, 0.12, IS_THUMB.sum())
    else:
        theta[IS_THUMB] = rng.uniform(*limits[IS_THUMB].T)
    return _natural(theta)


def extreme_digit(
    rng: np.random.Generator, theta: Float[np.ndarray, " 28"], digit: int
) -> Float[np.ndarray, " 28"]:
    """Returns a pose with random rotations of one digit, often near a limit."""
    low, high = JOINT_LIMITS.T
    share = np.clip(rng.uniform(-0.4, 1.4, len(DOF_NAMES)), 0.02, 0.98)
    moved = np.where(digit == _DIGIT, low + share * (high - low), theta)
    return _natural(moved)


def open_hand(rng: np.random.Generator) -> Float[np.ndarray, " 28"]:
    """Returns a random open hand that touches itself nowhere: the fallback that obeys all rules."""
    theta = np.zeros(len(DOF_NAMES))
    theta[IS_THUMB] = THUMB_SHAPES["up"]
    theta[_SIDEWAYS] = (-0.15, -0.03, 0.10, 0.22)
    theta[_Z[1]], theta[_Z[2]] = rng.uniform(-0.2, 0.1), rng.uniform(0.0, 0.2)
    return theta + rng.normal(0.0, 0.03, len(DOF_NAMES))


def _natural(theta: Float[np.ndarray, " 28"]) -> Float[np.ndarray, " 28"]:
    """Clips a pose to the limits and reduces the sideways angle of flexed fingers."""
    theta = theta.copy()
    theta[_SIDEWAYS] *= 1.0 - 0.75 * np.clip(theta[_Z[1]] / 1.4, 0.0, 1.0)
    return np.clip(theta, *JOINT_LIMITS.T)


def acceptable_path(
    hand: SphereHand,
    schedule: Schedule,
    draw: DrawKey,
    num_frames: int,
    frame_step: int,
    avoid: Float[np.ndarray, "m 28"],
) -> Float[np.ndarray, "n 28"]:
    """Returns a path that obeys the rules: no penetration, not too fast, away from some poses.

    The interpolated path is repaired; keys near frames that break a rule are drawn again.

    Args:
        hand: The person's spheres.
        schedule: Times at which each digit reaches each key.
        draw: Draws the keys.
        num_frames: Number of frames.
        frame_step: Thirtieths of a second from frame to frame.
        avoid: Poses that no frame may be near, radians.

    Raises:
        RuntimeError: No draw of the keys gives frames that all obey the rules.
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
    raise RuntimeError(f"frames {bad.tolist()} of a motion break a rule after {_ROUNDS} draws")


def _breaks_a_rule(
    hand: SphereHand, theta: np.ndarray, frame_step: int, avoid: np.ndarray
) -> Bool[np.ndarray, " n"]:
    """Mask of the frames that penetrate, are reached too fast, or are near a pose to avoid."""
    steps = np.abs(np.diff(theta, axis=0, prepend=theta[:1])).max(axis=1)
    deep = penetration_depth(hand, theta) > TOLERANCE
    return deep | (steps > MAX_SPEED * frame_step) | near_any(theta, avoid, EXCLUSION_RADIUS)


def _surfaces_overlap(
    hand: SphereHand, theta: np.ndarray, passed: np.ndarray
) -> Bool[np.ndarray, " n"]:
    """Mask of the frames in which the skin itself, not only its spheres, overlaps by too much.

    `passed` holds the pose in which each frame last passed, and is updated. A pose that is nearly
    equal is not evaluated again, which the margin below the limit allows.
    """
    bad = (penetration_depth(hand, theta) > _TOUCHING) | (_gap(hand, theta) < _CLOSE)
    bad &= np.abs(theta - passed).max(axis=1) > _SAME_POSE
    for frame in np.flatnonzero(bad):
        overlap = surface_overlap(pose_anatomy(hand.proportions, theta[frame]))
        bad[frame] = overlap > MAX_OVERLAP - _MARGIN
        if not bad[frame]:
            passed[frame] = theta[frame]
    return bad


def _gap(hand: SphereHand, theta: np.ndarray) -> Float[np.ndarray, " n"]:
    """Distance of the nearest pair of spheres that is not in a web, mm."""
    free = hand.allowances == 0.0
    spheres = replace(hand, pairs=hand.pairs[free], allowances=hand.allowances[free])
    return -penetration_depth(spheres, theta)


def near_any(
    theta: Float[np.ndarray, "n 28"], others: Float[np.ndarray, "m 28"], distance: float
) -> Bool[np.ndarray, " n"]:
    """Returns which poses are within a distance (rad, in every rotation) of any of the others."""
    near = np.zeros(len(theta), bool)
    for frame, pose in enumerate(theta):
        near[frame] = (np.abs(others - pose) <= distance).all(axis=1).any()
    return near
