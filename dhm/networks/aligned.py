"""Decoding at the root transform that fits given joints best (paper section 5.2)."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from dhm.geometry.alignment import rigid_alignment
from dhm.geometry.bone_lengths import adjust_bone_lengths
from dhm.geometry.hand_rig import ALIGNMENT_JOINTS, joint_indices
from dhm.geometry.transforms import transform_points
from dhm.networks.hand_model import HandModel
from dhm.types import Batch, HandOutput, HandTemplate

# Fewer points do not fix a rotation.
_MIN_ALIGNMENT_JOINTS = 3


def of_known_joints(model: HandModel, batch: Batch) -> Batch:
    """The batch with only those joints valid that the model has."""
    return batch._replace(joint_valid=batch.joint_valid & model.known_joints)


def align_to_joints(
    template: HandTemplate,
    joints: Float[Array, "b j 3"],
    target: Float[Array, "b j 3"],
    valid: Bool[Array, "b j"],
) -> tuple[Float[Array, "b 4 4"], Bool[Array, " b"]]:
    """Rigid transform of the model to the target's wrist and finger roots (section 5.2).

    Args:
        template: For its joint names.
        joints: Posed joints in the model's frame, mm.
        target: Target joints, world mm.
        valid: Which of the targets were annotated.

    Returns:
        T_world_model, and whether at least three of the joints were there to align with.
    """
    used = np.array(joint_indices(template.joint_names, ALIGNMENT_JOINTS))
    weights = valid[:, used].astype(jnp.float32)
    T_world_model = rigid_alignment(joints[:, used], target[:, used], weights)
    return T_world_model, jnp.sum(weights, axis=-1) >= _MIN_ALIGNMENT_JOINTS


def joints_aligned(
    model: HandModel,
    variables: dict[str, Any],
    theta: Float[Array, "b d"],
    batch: Batch,
    bone_lengths: bool = False,
) -> tuple[Float[Array, "b j 3"], Bool[Array, " b"]]:
    """The joints alone of `decode_aligned`, world mm: no mesh is made.

    With `bone_lengths` they first get the bone lengths of the batch's joints (section 8.4).
    """
    joints = model.apply(variables, theta, method="pose_joints")[..., :3, 3]
    if bone_lengths:
        joints = adjust_bone_lengths(
            joints, batch.joints, batch.joint_valid, model.template.parents
        )
    T_world_model, aligned = align_to_joints(
        model.template, joints, batch.joints, batch.joint_valid
    )
    return transform_points(T_world_model, joints), aligned


def decode_aligned(
    model: HandModel, variables: dict[str, Any], theta: Float[Array, "b d"], batch: Batch
) -> tuple[HandOutput, Bool[Array, " b"]]:
    """Decodes poses at the root transform that fits the batch's joints best."""
    frames = model.apply(variables, theta, method="pose_joints")
    T_world_model, aligned = align_to_joints(
        model.template, frames[..., :3, 3], batch.joints, batch.joint_valid
    )
    return model.apply(variables, theta, T_world_model, method="decode"), aligned
