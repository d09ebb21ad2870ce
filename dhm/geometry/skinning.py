"""Linear blend skinning (paper eq. 1)."""

from jaxtyping import Array, Float

from dhm.geometry.transforms import einsum, matmul


def linear_blend_skinning(
    vertices: Float[Array, "*#b v 3"],
    lbs_weights: Float[Array, "v j"],
    T_world_joint: Float[Array, "*#b j 4 4"],
    T_joint_model: Float[Array, "*#b j 4 4"],
) -> Float[Array, "*b v 3"]:
    """Deforms zero-pose vertices by the weighted mean of their joints' transforms.

    Args:
        vertices: Zero-pose vertices in the model's frame, mm.
        lbs_weights: Skinning weights W; rows sum to 1.
        T_world_joint: Posed joints, from `forward_kinematics`.
        T_joint_model: Inverse bind pose: the model's frame in each joint's rest frame.

    Returns:
        Deformed vertices in the frame of `T_world_joint`, mm.
    """
    motion = matmul(T_world_joint, T_joint_model)[..., :3, :]
    blended = einsum("vj,...jr->...vr", lbs_weights, motion.reshape(*motion.shape[:-2], 12))
    blended = blended.reshape(*blended.shape[:-1], 3, 4)
    return einsum("...vij,...vj->...vi", blended[..., :3], vertices) + blended[..., 3]
