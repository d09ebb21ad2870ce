"""MANO: a hand from a few shape and pose coefficients (Romero and others, SIGGRAPH Asia 2017).

    model = dhm.formats.mano_pickle.read_mano("MANO_RIGHT.pkl")
    pose = mano_pose_vector(model, coefficients, pca=True, flat_hand_mean=False)
    vertices, joints = mano(model, betas, pose)

Pure functions of a model's arrays, for jit, vmap and grad. The model itself is static: close over
it, or make it a static argument. Millimetres, whatever the file had.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dhm.arguments import require_shapes
from dhm.errors import BadInputError
from dhm.geometry.hand_rig import FINGERTIPS, MANO_JOINTS
from dhm.geometry.kinematics import forward_kinematics, linear_blend_skinning
from dhm.geometry.transforms import axis_angle_to_matrix, einsum, make_transform
from dhm.types import ManoModel

OUTPUT_NAMES = (*MANO_JOINTS, *FINGERTIPS)
"""Names of `ManoOutput.joints`."""


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
    """Computes the vertices and joints of a shape at zero pose, mm.

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
    """Converts MANO's pose parametrisations to the vector that `mano` takes.

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


def pose_mano(
    model: ManoModel,
    v_shaped: Float[Array, "*#b v 3"],
    joints: Float[Array, "*#b 16 3"],
    pose: Float[Array, "*#b 45"],
    global_orient: Float[Array, "*#b 3"] | None = None,
    vertex_ids: tuple[int, ...] | None = None,
) -> tuple[Float[Array, "*b 16 4 4"], Float[Array, "*b n 3"]]:
    """Poses a shape: pose blend shapes, forward kinematics and skinning.

    Args:
        model: The linear model.
        v_shaped: Vertices of the shape at zero pose, from `mano_shape`.
        joints: Its joints.
        pose: Axis-angle vectors of the finger joints.
        global_orient: Axis-angle rotation of the whole hand about its wrist joint; None is none.
        vertex_ids: The vertices that are wanted; None are all. Static.

    Returns:
        Transforms of the 16 joints, and the posed vertices, mm.
    """
    chosen = slice(None) if vertex_ids is None else np.array(vertex_ids)
    fingers = axis_angle_to_matrix(pose.reshape(*pose.shape[:-1], -1, 3))
    # The pose blend shapes depend on the finger joints alone, not on the wrist.
    feature = (fingers - jnp.eye(3, dtype=fingers.dtype)).reshape(*pose.shape[:-1], -1)
    posedirs = _constant(model.posedirs[chosen])
    v_posed = v_shaped[..., chosen, :] + einsum("vcp,...p->...vc", posedirs, feature)
    root = jnp.zeros_like(pose[..., :3]) if global_orient is None else global_orient
    wrist = axis_angle_to_matrix(root)[..., None, :, :]
    batch = jnp.broadcast_shapes(wrist.shape[:-3], fingers.shape[:-3], joints.shape[:-2])
    rotations = jnp.concatenate(
        [jnp.broadcast_to(part, (*batch, *part.shape[-3:])) for part in (wrist, fingers)], axis=-3
    )
    T_world_joint = forward_kinematics(_offsets(joints, model.parents), rotations, model.parents)
    weights = _constant(model.lbs_weights[chosen])
    return T_world_joint, linear_blend_skinning(v_posed, weights, T_world_joint, _upright(-joints))


def mano(
    model: ManoModel,
    betas: Float[Array, "*#b s"],
    pose: Float[Array, "*#b 45"],
    global_orient: Float[Array, "*#b 3"] | None = None,
    translation: Float[Array, "*#b 3"] | None = None,
) -> ManoOutput:
    """Computes the posed hand of a shape, in the model's frame.

    A left hand takes the left hand's model (`model.side`), whose shape directions
    `dhm.formats.mano_pickle.read_mano` checks.

    Args:
        model: The linear model.
        betas: Leading shape coefficients.
        pose: Axis-angle vectors of the finger joints, from `mano_pose_vector`.
        global_orient: Axis-angle rotation of the whole hand about its wrist joint; None is none.
        translation: Added to everything after that, mm; None is none.

    Raises:
        BadInputError: A shape is another, such as that of a pose with the wrist's rotation in it.
        ValueError: There are more shape coefficients than the model has.
    """
    given = {
        "betas": (betas, "... s"),
        "pose": (pose, "... n"),
        "global_orient": (global_orient, "... 3"),
        "translation": (translation, "... 3"),
    }
    require_shapes(**{name: one for name, one in given.items() if one[0] is not None})
    if pose.shape[-1] != len(model.hands_mean):
        expected = (
            f"[..., {len(model.hands_mean)}], the finger joints' axis-angle vectors, as "
            "mano_pose_vector returns; the wrist's is global_orient"
        )
        raise BadInputError("pose", f"shape {list(pose.shape)}", expected)
    T_world_joint, vertices = pose_mano(model, *mano_shape(model, betas), pose, global_orient)
    tips = vertices[..., np.array(model.tip_vertices), :]
    joints = jnp.concatenate([T_world_joint[..., :3, 3], tips], axis=-2)
    if translation is not None:
        vertices, joints = vertices + translation[..., None, :], joints + translation[..., None, :]
    return ManoOutput(vertices, joints)


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
