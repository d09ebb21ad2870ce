"""How deep the parts of a posed hand penetrate each other, measured on its spheres."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from data_prep.studio.motion.spheres import (
    SphereHand,
    overlaps,
    point_gradients,
    pose_joints,
    rotation_screws,
    sphere_centres,
)


@dataclass(frozen=True)
class Contacts:
    """Overlapping pairs of spheres.

    Attributes:
        frames: Frame of each, ascending.
        depths: Their overlap beyond the slack, mm.
        gradients: Its derivative by the frame's rotations, mm / rad.
    """

    frames: Int[np.ndarray, " m"]
    depths: Float[np.ndarray, " m"]
    gradients: Float[np.ndarray, "m 28"]


def penetration_depth(
    hand: SphereHand, theta: Float[np.ndarray, "n 28"]
) -> Float[np.ndarray, " n"]:
    """Returns the deepest overlap beyond what is allowed in each pose, mm; else 0 or less."""
    centres = sphere_centres(hand, pose_joints(hand.proportions, theta))
    return (overlaps(centres, hand.radii, hand.pairs) - hand.allowances).max(axis=1)


def find_contacts(
    hand: SphereHand,
    theta: Float[np.ndarray, "n 28"],
    T_hand_joint: Float[np.ndarray, "n 22 4 4"],
    slack: float,
) -> Contacts:
    """Returns the pairs that overlap by more than a slack, with derivatives.

    Args:
        hand: The spheres.
        theta: Poses, radians.
        T_hand_joint: Their joints.
        slack: Overlap that is let be, mm.
    """
    centres = sphere_centres(hand, T_hand_joint)
    depths = overlaps(centres, hand.radii, hand.pairs) - hand.allowances - slack
    frames, pairs = np.nonzero(depths > 0)
    screws = rotation_screws(theta, T_hand_joint)[frames]
    one, other = hand.pairs[pairs].T
    gap = centres[frames, one] - centres[frames, other]
    # Concentric spheres have no direction to part in; any gradient but NaN will do.
    away = gap / np.maximum(np.linalg.norm(gap, axis=1, keepdims=True), 1e-9)
    gradients = np.zeros((len(frames), theta.shape[1]))
    for sphere, sign in ((one, -1.0), (other, 1.0)):
        for end in range(2):
            joint = hand.joints[sphere, end]
            T = T_hand_joint[frames, joint]
            ends = np.einsum("mij,mj->mi", T[:, :3, :3], hand.points[sphere, end]) + T[:, :3, 3]
            moved = point_gradients(ends, joint, away, screws)
            gradients += sign * hand.weights[sphere, end][:, None] * moved
    return Contacts(frames, depths[frames, pairs], gradients)
