"""Removes penetration from a motion by damped least squares over all its frames at once.

The correction of each frame is small, and so is its second difference in time: the repaired motion
is as smooth as the wanted one. Goals pull pairs of points on the hand together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from scipy.linalg import solveh_banded

from data_prep.studio.anatomy.rig import DOF_NAMES, JOINT_LIMITS
from data_prep.studio.motion.kinematics import (
    point_velocities,
    points_in_hand,
    pose_rigs,
    rotation_screws,
)
from data_prep.studio.motion.spheres import SphereHand, find_contacts

NUM_DOFS = len(DOF_NAMES)
TOLERANCE = 0.7
"""Largest overlap of the spheres that counts as contact, mm."""

_SLACK = 0.3  # overlap that the least squares aim at, so that they stop inside the tolerance
_STEPS = 40
_GOAL_REACHED = 1.0  # mm along each axis
_LONGEST_STEP = 0.2  # rad; beyond it the linear model of the contacts is wrong
_DAMPING = 6.0  # mm^2 / rad^2
_SMOOTHNESS = 60.0  # mm^2 / rad^2, of squared second differences of the correction over 1/15 s
_GOAL_WEIGHT = 0.6
IS_THUMB = np.array([name.startswith("thumb") for name in DOF_NAMES])
# The thumb yields first; fingers spread before they bend, and hardly roll.
_STIFFNESS = np.array(
    [0.5 if thumb else {"1_x": 2.0, "1_y": 0.3, "3_z": 1.5}.get(name[-3:], 1.0)
     for name, thumb in zip(DOF_NAMES, IS_THUMB, strict=True)]
)  # fmt: skip


@dataclass(frozen=True)
class Goal:
    """Two points of the hand that should meet.

    Attributes:
        joints: Indices of the joints to whose frames they are fixed.
        points: Positions in the joints' frames, mm.
    """

    joints: tuple[int, int]
    points: tuple[tuple[float, float, float], tuple[float, float, float]]


def repair(
    hand: SphereHand,
    wanted: Float[np.ndarray, "n 28"],
    goals: Sequence[Goal] = (),
    stiffness: Float[np.ndarray, " 28"] | None = None,
    frame_step: int = 1,
) -> Float[np.ndarray, "n 28"]:
    """Returns a motion near the wanted one, within the limits and without penetration.

    The weight of the wanted angles decreases from step to step, so contacts prevail in the end. If
    the iteration gets stuck, the result still penetrates; check it with `penetration_depth`.

    Args:
        hand: The spheres.
        wanted: Angles of consecutive frames, radians.
        goals: Pairs of points that should meet in every frame.
        stiffness: Relative resistance of each rotation; by default that of a relaxed hand.
        frame_step: Thirtieths of a second from frame to frame.
    """
    low, high = JOINT_LIMITS.T
    wanted = np.clip(wanted, low, high)
    resists = (_STIFFNESS if stiffness is None else stiffness) ** 2
    smoothness = _SMOOTHNESS / frame_step**4
    theta = wanted
    for step in range(_STEPS):
        T_hand_joint = pose_rigs(hand.proportions, theta)
        contacts = find_contacts(hand, theta, T_hand_joint, _SLACK)
        gaps, slopes = _goal_residuals(goals, theta, T_hand_joint)
        deepest = contacts.depths.max(initial=0.0) + _SLACK
        farthest = np.abs(gaps).max(initial=0.0) / _GOAL_WEIGHT
        if deepest < 0.9 * TOLERANCE and farthest < _GOAL_REACHED:
            break
        hessian = np.einsum("ngd,nge->nde", slopes, slopes)
        slope = -np.einsum("ngd,ng->nd", slopes, gaps)
        starts = np.searchsorted(contacts.frames, np.arange(len(theta) + 1))
        for frame, (start, stop) in enumerate(pairwise(starts)):
            gradients = contacts.gradients[start:stop]
            hessian[frame] += gradients.T @ gradients
            slope[frame] -= contacts.depths[start:stop] @ gradients
        pull = max(16.0 * 0.8**step, 0.15) * resists
        slope -= pull * (theta - wanted)
        damping = pull + _DAMPING * resists
        theta = theta + _bounded_step(hessian, slope, theta, wanted, damping, smoothness * resists)
    return theta


def goal_distances(
    hand: SphereHand, theta: Float[np.ndarray, " 28"], goals: Sequence[Goal]
) -> Float[np.ndarray, " g"]:
    """Returns the distance between the points of each goal in a pose, mm."""
    T_hand_joint = pose_rigs(hand.proportions, theta[None])
    ends = [
        points_in_hand(T_hand_joint, np.array(goal.joints), np.array(goal.points))[0]
        for goal in goals
    ]
    return np.array([np.linalg.norm(one - other) for one, other in ends])


def _goal_residuals(
    goals: Sequence[Goal], theta: np.ndarray, T_hand_joint: np.ndarray
) -> tuple[Float[np.ndarray, "n g"], Float[np.ndarray, "n g 28"]]:
    """Weighted differences of the goals' points along x, y and z, and their derivatives."""
    n = len(theta)
    screws = rotation_screws(theta, T_hand_joint)
    gaps, slopes = np.zeros((n, 3 * len(goals))), np.zeros((n, 3 * len(goals), NUM_DOFS))
    for index, goal in enumerate(goals):
        for joint, point, sign in zip(goal.joints, goal.points, (1.0, -1.0), strict=True):
            at = points_in_hand(T_hand_joint, np.array(joint), np.array(point))
            moved = point_velocities(at, np.full(n, joint), screws)
            own = slice(3 * index, 3 * index + 3)
            gaps[:, own] += sign * _GOAL_WEIGHT * at
            slopes[:, own] += sign * _GOAL_WEIGHT * moved.transpose(0, 2, 1)
    return gaps, slopes


def _bounded_step(
    hessian: np.ndarray,
    slope: np.ndarray,
    theta: np.ndarray,
    wanted: np.ndarray,
    damping: np.ndarray,
    smoothness: np.ndarray,
) -> Float[np.ndarray, "n 28"]:
    """The damped step. Rotations that would pass a limit stop there and the others compensate."""
    low, high = JOINT_LIMITS.T
    bands = _banded(hessian, damping, smoothness)
    pull = slope - smoothness * _rough(theta - wanted)
    step = solveh_banded(bands, pull.ravel(), lower=True).reshape(theta.shape)
    stopped = np.clip(theta + step, low, high) - theta
    held = stopped != step
    if held.any():
        hold = 1e6 * held
        bands[0] += hold.ravel()
        pull = pull + hold * stopped
        step = solveh_banded(bands, pull.ravel(), lower=True).reshape(theta.shape)
    longest = np.abs(step).max(axis=1, keepdims=True)
    step = step * np.minimum(_LONGEST_STEP / np.maximum(longest, _LONGEST_STEP), 1.0)
    return np.clip(theta + step, low, high) - theta


def _rough(correction: np.ndarray) -> np.ndarray:
    """Half the gradient of the summed squares of second differences."""
    bent = np.zeros_like(correction)
    if len(correction) > 2:
        second = correction[:-2] - 2 * correction[1:-1] + correction[2:]
        bent[:-2] += second
        bent[1:-1] -= 2 * second
        bent[2:] += second
    return bent


def _banded(
    hessian: Float[np.ndarray, "n 28 28"], damping: np.ndarray, smoothness: np.ndarray
) -> Float[np.ndarray, "57 n*28"]:
    """The normal matrix as lower bands: contacts couple a frame's angles, smoothness the frames."""
    n, d = len(hessian), NUM_DOFS
    bands = np.zeros((2 * d + 1, n, d))
    for below in range(d):
        bands[below, :, : d - below] = np.diagonal(hessian, -below, 1, 2)
    bands[0] += damping
    for shift, counts in _smoothness_bands(n).items():
        bands[shift * d] += counts[:, None] * smoothness
    return bands.reshape(2 * d + 1, n * d)


def _smoothness_bands(n: int) -> dict[int, Float[np.ndarray, " n"]]:
    """Bands of D'D, D the second differences over n frames."""
    bands = {shift: np.zeros(n) for shift in range(3)}
    for first in range(n - 2):
        for i, one in enumerate((1.0, -2.0, 1.0)):
            for j, other in enumerate((1.0, -2.0, 1.0)[: i + 1]):
                bands[i - j][first + j] += one * other
    return bands
