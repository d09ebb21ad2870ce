"""Classes of frames that a model's errors are split by: bent hands, and hands in contact. NumPy."""

import numpy as np
from jaxtyping import Bool, Float

from dhm.geometry.hand_rig import FINGERS, FINGERTIPS, dof_names, joint_indices

FLEXED_DEGREES = 45.0
"""Mean flexion of a finger's joints from which on a hand counts as flexed: half of a right angle.
A hook or a fist is flexed; a relaxed or an open hand is not."""

CONTACT_MM = 18.0
"""Distance of joints below which a fingertip touches, mm: a finger is 15 to 20 mm thick, and its
joints lie in its middle, so that the joints of two fingers that touch are about one thickness
apart. A straight hand with closed fingers has 22 mm, for its fingertips are apart lengthwise."""

_FLEXIONS = tuple(f"{finger}{bone}_z" for finger in FINGERS[1:] for bone in (1, 2, 3))


def mean_flexion(
    theta: Float[np.ndarray, "*b d"], joint_names: tuple[str, ...]
) -> Float[np.ndarray, "*b"]:
    """Mean of the twelve flexions of index to pinky, radians.

    Args:
        theta: Pose vectors, radians.
        joint_names: Of the rig.

    Raises:
        ValueError: If the rig lacks a joint of theta.
    """
    names = dof_names(joint_names)
    return np.asarray(theta)[..., [names.index(name) for name in _FLEXIONS]].mean(axis=-1)


def is_flexed(
    theta: Float[np.ndarray, "*b d"], joint_names: tuple[str, ...]
) -> Bool[np.ndarray, "*b"]:
    """Whether the mean flexion of index to pinky is above `FLEXED_DEGREES`.

    Args:
        theta: Pose vectors, radians; of a capture, `dhm.fitting.fit_pose` of its true joints.
        joint_names: Of the rig.

    Raises:
        ValueError: If the rig lacks a joint of theta.
    """
    return mean_flexion(theta, joint_names) > np.radians(FLEXED_DEGREES)


def contact_distance(
    joints: Float[np.ndarray, "*b j 3"],
    valid: Bool[np.ndarray, "*b j"],
    joint_names: tuple[str, ...],
) -> Float[np.ndarray, "*b"]:
    """Smallest distance of a fingertip to a joint of the palm or of another digit, mm.

    Args:
        joints: True joints, mm.
        valid: False where a joint was not annotated.
        joint_names: Of the rig.

    Returns:
        Infinity without any pair of valid joints.

    Raises:
        ValueError: If the rig lacks a fingertip.
    """
    joints, valid = np.asarray(joints), np.asarray(valid)
    smallest = np.full(joints.shape[:-2], np.inf)
    for finger, tip in zip(FINGERS, joint_indices(joint_names, FINGERTIPS), strict=True):
        others = [j for j, name in enumerate(joint_names) if not name.startswith(finger)]
        distance = np.linalg.norm(joints[..., others, :] - joints[..., tip, None, :], axis=-1)
        counts = valid[..., others] & valid[..., tip, None]
        nearest = np.where(counts, distance, np.inf).min(axis=-1, initial=np.inf)
        smallest = np.minimum(smallest, nearest)
    return smallest


def is_contact(
    joints: Float[np.ndarray, "*b j 3"],
    valid: Bool[np.ndarray, "*b j"],
    joint_names: tuple[str, ...],
    *,
    distance: float = CONTACT_MM,
) -> Bool[np.ndarray, "*b"]:
    """Whether a fingertip touches the palm or another digit, by the true joints.

    It goes by the joints alone: a fingertip that touches halfway between two is missed. On the
    average hand in the studio's named poses, 18 mm finds every folded hand and two of the six
    pinches; 20 mm finds five, and closed fingers of a hook that only lie side by side.

    Args:
        joints: True joints, mm.
        valid: False where a joint was not annotated; such a joint touches nothing.
        joint_names: Of the rig.
        distance: Of joints that touch, mm.

    Raises:
        ValueError: If the rig lacks a fingertip.
    """
    return contact_distance(joints, valid, joint_names) < distance
