"""Key poses of a motion, drawn at random around named poses, and the smooth path between them.

Each draw depends on its seed, its number and its version alone, so a key that leads to trouble
can be drawn anew without touching the others.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from data_prep.studio.anatomy.rig import JOINT_LIMITS
from data_prep.studio.motion.poses import DOFS, FINGER_SHAPES, THUMB_SHAPES
from data_prep.studio.motion.repair import IS_THUMB
from dhm.geometry.hand_rig import FINGERS

# Which digit each rotation belongs to.
DIGIT_OF = np.array([next(i for i, f in enumerate(FINGERS) if dof.startswith(f)) for dof in DOFS])
SHORTEST, LONGEST = 10, 15
"""Thirtieths of a second from key to key: the largest change, 1.9 rad, then needs 0.29 rad each."""

_DIP_PER_PIP = 0.65
_Z = {bone: np.array([DOFS.index(f"{f}{bone}_z") for f in FINGERS[1:]]) for bone in (1, 2, 3)}
_SIDEWAYS = np.array([DOFS.index(f"{f}1_y") for f in FINGERS[1:]])
_ROLL = np.array([DOFS.index(f"{f}1_x") for f in FINGERS[1:]])

DrawKey = Callable[[int, int], Float[np.ndarray, " 28"]]
"""Returns the key pose of a number and a version."""


@dataclass(frozen=True)
class Schedule:
    """When each digit arrives at each key.

    Attributes:
        times: Frames, increasing along the keys; the first is at most 0.
    """

    times: Float[np.ndarray, "5 k"]

    def keys_around(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the keys that each digit leaves and approaches at a frame."""
        before = (self.times <= frame).sum(axis=1) - 1
        return before, np.minimum(before + 1, self.times.shape[1] - 1)


def common_schedule(
    rng: np.random.Generator, num_frames: int, frame_step: int, lags: Float[np.ndarray, " 5"]
) -> Schedule:
    """Returns keys that all digits reach together, but for constant lags in thirtieths of 1 s."""
    steps = rng.uniform(SHORTEST, LONGEST, _num_keys(num_frames, frame_step))
    times = np.cumsum(steps)[None] - steps[0] - (lags.max() - lags)[:, None]
    return Schedule(times / frame_step)


def own_schedules(rng: np.random.Generator, num_frames: int, frame_step: int) -> Schedule:
    """Returns keys that each digit reaches at its own pace."""
    steps = rng.uniform(SHORTEST, LONGEST, (len(FINGERS), _num_keys(num_frames, frame_step)))
    first = steps[:, :1] * rng.uniform(0.0, 1.0, (len(FINGERS), 1))
    return Schedule((np.cumsum(steps, axis=1) - steps[:, :1] - first) / frame_step)


def _num_keys(num_frames: int, frame_step: int) -> int:
    return num_frames * frame_step // SHORTEST + 3


def smooth_path(
    schedule: Schedule, keys: Float[np.ndarray, "k 28"], num_frames: int
) -> Float[np.ndarray, "n 28"]:
    """Returns the angles of each frame: from key to key with the speed 0 at each, in C1."""
    frames = np.arange(num_frames)
    path = np.empty((num_frames, len(DOFS)))
    for digit, times in enumerate(schedule.times):
        mine = digit == DIGIT_OF
        after = np.clip(np.searchsorted(times, frames, side="right"), 1, len(times) - 1)
        share = (frames - times[after - 1]) / (times[after] - times[after - 1])
        ease = (share**2 * (3.0 - 2.0 * share))[:, None]
        path[:, mine] = keys[after - 1][:, mine] * (1.0 - ease) + keys[after][:, mine] * ease
    return path


def vary(rng: np.random.Generator, theta: Float[np.ndarray, " 28"], amount: float) -> np.ndarray:
    """Returns a pose near another; the fingers curl and open together more than on their own."""
    varied = theta + rng.normal(0.0, 0.5 * amount, len(DOFS))
    together = rng.normal(0.0, amount)
    for bone, share in ((1, 1.0), (2, 1.0), (3, _DIP_PER_PIP)):
        varied[_Z[bone]] += share * together
    return _natural(varied)


def random_hand(rng: np.random.Generator) -> Float[np.ndarray, " 28"]:
    """Returns a pose whose digits know nothing of each other.

    In every other hand each finger is about straight or about folded, as in counting: between
    their extremes fingers would seldom be folded far enough to hide.
    """
    shapes, limits = np.array(list(FINGER_SHAPES.values())), JOINT_LIMITS
    counting = rng.random() < 0.5
    if counting:
        shapes = np.array([FINGER_SHAPES[name] for name in ("straight", "folded")])
    theta = np.zeros(len(DOFS))
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
    """Returns a pose with one digit's rotations anywhere between their limits, often at one."""
    low, high = JOINT_LIMITS.T
    share = np.clip(rng.uniform(-0.4, 1.4, len(DOFS)), 0.02, 0.98)
    moved = np.where(digit == DIGIT_OF, low + share * (high - low), theta)
    return _natural(moved)


def open_hand(rng: np.random.Generator) -> Float[np.ndarray, " 28"]:
    """Returns an open hand, which touches itself nowhere: the way out of any trouble."""
    theta = np.zeros(len(DOFS))
    theta[IS_THUMB] = THUMB_SHAPES["up"]
    theta[_SIDEWAYS] = (-0.15, -0.03, 0.10, 0.22)
    theta[_Z[1]], theta[_Z[2]] = rng.uniform(-0.2, 0.1), rng.uniform(0.0, 0.2)
    return theta + rng.normal(0.0, 0.03, len(DOFS))


def _natural(theta: Float[np.ndarray, " 28"]) -> Float[np.ndarray, " 28"]:
    """Inside the limits; a flexed finger hardly moves sideways."""
    theta = theta.copy()
    theta[_SIDEWAYS] *= 1.0 - 0.75 * np.clip(theta[_Z[1]] / 1.4, 0.0, 1.0)
    return np.clip(theta, *JOINT_LIMITS.T)
