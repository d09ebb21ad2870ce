"""Joints that stand for "not measured" without saying so, such as 0 0 0 or a place twice."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

# mm from the middle of the joints: all of a hand is within the first, none of it beyond the second.
_NEAR, _FAR = 250.0, 400.0
_HOW_TO_SAY = "null or a confidence of 0 stands for what was not measured."


def without_far_joints(
    joints: Float[np.ndarray, "j 3"], confidence: Float[np.ndarray, " j"], names: Sequence[str]
) -> tuple[Float[np.ndarray, " j"], tuple[str, ...]]:
    """Leaves out joints that lie far from the others, which together are as large as a hand.

    Args:
        joints: World mm.
        confidence: Of each; 0 for those that are not known.
        names: Of the joints.

    Returns:
        The confidence, 0 for what is left out, and sentences about what was found.
    """
    known = confidence > 0
    if not known.any():
        return confidence, ()
    distance = np.linalg.norm(joints - np.median(joints[known], axis=0), axis=1)
    far, near = known & (distance > _FAR), known & (distance < _NEAR)
    doubts = []
    if far.any() and near.sum() > far.sum() and (far | near)[known].all():
        found = f"{_listed(names, far)} more than {_FAR:.0f} mm from the other joints"
        doubts.append(f"What lies far off was left out ({found}): {_HOW_TO_SAY}")
        confidence = np.where(far, 0, confidence)
    doubts += [
        f"Joints in one place ({_listed(names, group)}): {_HOW_TO_SAY}"
        for group in _coincident(joints, confidence > 0)
    ]
    return confidence, tuple(doubts)


def _coincident(
    joints: Float[np.ndarray, "j 3"], known: Bool[np.ndarray, " j"]
) -> list[Bool[np.ndarray, " j"]]:
    """Returns the groups of known joints with exactly the same coordinates."""
    places = np.unique(joints[known], axis=0)
    groups = [known & (joints == place).all(axis=1) for place in places]
    return [group for group in groups if group.sum() > 1]


def _listed(names: Sequence[str], chosen: Bool[np.ndarray, " j"]) -> str:
    return ", ".join(name for name, is_chosen in zip(names, chosen, strict=True) if is_chosen)
