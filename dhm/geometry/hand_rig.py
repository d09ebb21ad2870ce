"""The hand's joints by name: degrees of freedom, limits, alignment joints, fingertips, palm.

The joint order belongs to the template's files; only names are known here.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

FINGERS = ("thumb", "index", "middle", "ring", "pinky")

_AXES = "xyz"
_ENABLED = (
    ("thumb0", "xyz"), ("thumb1", "xyz"), ("thumb2", "z"), ("thumb3", "z"),
    *((f"{finger}{i}", axes) for finger in FINGERS[1:]
      for i, axes in ((1, "xyz"), (2, "z"), (3, "z"))),
)  # fmt: skip
JOINT_NAMES = (
    "thumb_null", "thumb3", "thumb2", "thumb1", "thumb0",
    *(f"{finger}{part}" for finger in FINGERS[1:] for part in ("_null", "3", "2", "1")),
    "wrist",
)  # fmt: skip
MANO_JOINTS = (
    "wrist",
    *(f"{finger}{i}" for finger in ("index", "middle", "pinky", "ring", "thumb")
      for i in (1, 2, 3)),
)  # fmt: skip
"""MANO's joints in its order, by this project's names; it has no joint before thumb1."""
ALIGNMENT_JOINTS = ("index1", "middle1", "ring1", "pinky1", "wrist")
PALM_JOINTS = ("thumb1", "wrist")
FINGERTIPS = tuple(f"{finger}_null" for finger in FINGERS)
REQUIRED_JOINTS = tuple(dict.fromkeys(
    (*(joint for joint, _ in _ENABLED), *ALIGNMENT_JOINTS, *PALM_JOINTS, *FINGERTIPS)
))  # fmt: skip
"""What the pose vector, the alignment and the losses refer to by name."""


def joint_indices(joint_names: tuple[str, ...], wanted: tuple[str, ...]) -> tuple[int, ...]:
    """Returns the indices of the wanted joints.

    Raises:
        ValueError: If one is missing; the message names it.
    """
    missing = [name for name in wanted if name not in joint_names]
    if missing:
        raise ValueError(f"the rig has no joint {missing}; it has {list(joint_names)}")
    return tuple(joint_names.index(name) for name in wanted)


def dof_indices(joint_names: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """Returns (joint, axis) of the 28 enabled rotations, thumb to pinky, root to tip, x y z.

    This is the order of the pose vector theta (paper section 4.1).
    """
    return tuple(
        (joint, _AXES.index(axis))
        for name, axes in _ENABLED
        for joint in joint_indices(joint_names, (name,))
        for axis in axes
    )


def dof_names(joint_names: tuple[str, ...]) -> tuple[str, ...]:
    """Returns names such as "index1_z" of the 28 enabled rotations, in the order of theta."""
    return tuple(f"{joint_names[joint]}_{_AXES[axis]}" for joint, axis in dof_indices(joint_names))


def joint_limits(
    joint_names: tuple[str, ...],
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]]:
    """Returns the smallest and largest angle of each enabled rotation, radians, in theta's order.

    Wider than a hand's own range by 0.2 to 0.3 radians: a rig's rest pose is some pose of a
    relaxed hand, and the limits have to hold for all of them.
    """
    low, high = zip(*(_limits(name) for name in dof_names(joint_names)), strict=True)
    return np.array(low), np.array(high)


def _limits(dof: str) -> tuple[float, float]:
    joint, axis = dof.split("_")
    if joint in ("thumb0", "thumb1"):
        return {"x": (-0.8, 1.1), "y": (-0.9, 0.9), "z": (-0.8, 0.9)}[axis]
    if axis != "z":
        return (-0.5, 0.5) if axis == "x" else (-0.6, 0.6)
    if joint.startswith("thumb"):
        return (-0.6, 1.6)
    return {"1": (-0.7, 1.9), "2": (-0.4, 2.1), "3": (-0.5, 1.6)}[joint[-1]]


def pose_to_euler(
    theta: Float[Array, "*b d"], dofs: tuple[tuple[int, int], ...], num_joints: int
) -> Float[Array, "*b j 3"]:
    """Returns the Euler triples of all joints from the enabled rotations; disabled ones are 0.

    Args:
        theta: Enabled rotations in radians.
        dofs: (joint, axis) of each entry of theta, from `dof_indices`. Static.
        num_joints: Number of joints of the rig. Static.
    """
    # A gather from theta padded with one zero: its transpose is a cheap add, a scatter is not.
    source = np.full((num_joints, 3), len(dofs))
    for slot, (joint, axis) in enumerate(dofs):
        source[joint, axis] = slot
    padded = jnp.concatenate([theta, jnp.zeros_like(theta[..., :1])], axis=-1)
    return padded[..., source]
