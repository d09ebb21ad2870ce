"""MANO: a hand from a few shape and pose coefficients (Romero and others, SIGGRAPH Asia 2017).

Pure functions of a model's arrays, for jit, vmap and grad. The model itself is static: close over
it, or make it a static argument. Millimetres, whatever the file had.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dhm.geometry.hand_rig import FINGERTIPS, MANO_JOINTS
from dhm.geometry.kinematics import forward_kinematics
from dhm.geometry.rotations import axis_angle_to_matrix
from dhm.geometry.skinning import linear_blend_skinning
from dhm.geometry.transforms import einsum, make_transform
from dhm.types import ManoModel

TIP_NAMES = FINGERTIPS
"""The fingertips that follow the joints: thumb, index, middle, ring, pinky."""
OUTPUT_NAMES = (*MANO_JOINTS, *TIP_NAMES)
"""Of `ManoOutput.joints`."""


class ManoOutput(NamedTuple):
    """A posed hand, mm.

    Attributes:
        vertices: Posed mesh.
        joints: The 16 joints in MANO's order, then the fingertips' vertices (`OUTPUT_NAMES`).
    """

    vertices: Float[Array, "*b v 3"]
    joints: Float[Array, "*b 21 3"]


def mano_shape(
    model: ManoModel, betas: Float[Array, "*b s"]
) -> tuple[Float[Array, "*b v 3"], Float[Array, "*b 16 3"]]:
    """A shape's vertices and joints at zero pose, mm.

    Args:
        model: The linear model.
        betas: Leading shape coefficients, in standard deviations; those left out are 0.

    Raises:
        ValueError: There are more than the model has.
    """
    count = betas.shape[-1]
    if count > model.shapedirs.shape[-1]:
        raise ValueError(f"{count} shape coefficients for a model of {model.shapedirs.shape[-1]}")
    shapedirs = model.shapedirs[..., :count]
    # The regressor is applied once and in float64: float32 sums of 778 terms are coarser.
    regressor = np.asarray(model.J_regressor, np.float64)
    joints = _constant(regressor @ model.v_template)
    joint_directions = _constant(np.einsum("jv,vcs->jcs", regressor, shapedirs))
    v_shaped = _constant(model.v_template) + einsum("vcs,...s->...vc", _constant(shapedirs), betas)
    return v_shaped, joints + einsum("jcs,...s->...jc", joint_directions, betas)


def mano_pose_vector(
    model: ManoModel,
    components_or_axis_angle: Float[Array, "*b n"],
    *,
    pca: bool,
    flat_hand_mean: bool,
) -> Float[Array, "*b 45"]:
    """The pose that `mano` takes, from MANO's parametrisations.

    Args:
        model: The linear model.
        components_or_axis_angle: Coefficients of the leading principal components, 45 at most, or
            the axis-angle vectors themselves.
        pca: Whether they are coefficients.
        flat_hand_mean: Whether 0 is the flat hand; otherwise it is the mean pose, with axis-angle
            vectors too.

    Returns:
        Axis-angle vectors of the 15 finger joints in MANO's order, radians.

    Raises:
        ValueError: Their number does not fit.
    """
    given, count = components_or_axis_angle, components_or_axis_angle.shape[-1]
    most = len(model.hands_mean)
    if count > most or (count != most and not pca):
        raise ValueError(f"a pose of {count} numbers, expected {most}{' at most' * pca}")
    if pca:
        given = einsum("...n,nd->...d", given, _constant(model.hands_components[:count]))
    return given if flat_hand_mean else given + _constant(model.hands_mean)


def mano(
    model: ManoModel,
    betas: Float[Array, "*#b s"],
    pose: Float[Array, "*#b 45"],
    global_orient: Float[Array, "*#b 3"] | None = None,
    translation: Float[Array, "*#b 3"] | None = None,
) -> ManoOutput:
    """The posed hand of a shape, in the model's frame. A left hand is a left hand's model.

    Args:
        model: The linear model.
        betas: Leading shape coefficients.
        pose: Axis-angle vectors of the finger joints, from `mano_pose_vector`.
        global_orient: Axis-angle rotation of the whole hand about its wrist joint; None is none.
        translation: Added to everything after that, mm; None is none.

    Raises:
        ValueError: There are more shape coefficients than the model has.
    """
    v_shaped, joints = mano_shape(model, betas)
    fingers = axis_angle_to_matrix(pose.reshape(*pose.shape[:-1], -1, 3))
    # The pose's change of shape depends on the finger joints alone, not on the wrist.
    feature = (fingers - jnp.eye(3, dtype=fingers.dtype)).reshape(*pose.shape[:-1], -1)
    v_posed = v_shaped + einsum("vcp,...p->...vc", _constant(model.posedirs), feature)
    root = jnp.zeros_like(pose[..., :3]) if global_orient is None else global_orient
    wrist = axis_angle_to_matrix(root)[..., None, :, :]
    batch = jnp.broadcast_shapes(wrist.shape[:-3], fingers.shape[:-3], joints.shape[:-2])
    rotations = jnp.concatenate(
        [jnp.broadcast_to(part, (*batch, *part.shape[-3:])) for part in (wrist, fingers)], axis=-3
    )
    T_world_joint = forward_kinematics(_offsets(joints, model.parents), rotations, model.parents)
    vertices = linear_blend_skinning(
        v_posed, _constant(model.lbs_weights), T_world_joint, _upright(-joints)
    )
    tips = vertices[..., np.array(model.tip_vertices), :]
    posed = jnp.concatenate([T_world_joint[..., :3, 3], tips], axis=-2)
    if translation is not None:
        vertices, posed = vertices + translation[..., None, :], posed + translation[..., None, :]
    return ManoOutput(vertices, posed)


def _offsets(
    joints: Float[Array, "*b 16 3"], parents: tuple[int, ...]
) -> Float[Array, "*b 16 4 4"]:
    """Rest transform of each joint in its parent's frame: MANO's frames are all upright."""
    # The root, whose parent is -1, is taken from the origin that follows the joints.
    origins = jnp.concatenate([joints, jnp.zeros_like(joints[..., :1, :])], axis=-2)
    return _upright(joints - origins[..., np.array(parents), :])


def _upright(translation: Float[Array, "*b 3"]) -> Float[Array, "*b 4 4"]:
    unit = jnp.eye(3, dtype=translation.dtype)
    return make_transform(jnp.broadcast_to(unit, (*translation.shape, 3)), translation)


def _constant(array: np.ndarray) -> Float[Array, "..."]:
    return jnp.asarray(array, jnp.float32)
