"""The hand model: encode an image to a pose, decode a pose to a mesh (paper sections 3-5)."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Bool, Float, UInt8

from dhm.fitting import FittedPose, fit_pose
from dhm.geometry.alignment import rigid_alignment
from dhm.geometry.bone_lengths import adjust_bone_lengths
from dhm.geometry.hand_rig import ALIGNMENT_JOINTS, dof_indices, joint_indices, pose_to_euler
from dhm.geometry.kinematics import forward_kinematics, linear_blend_skinning
from dhm.geometry.transforms import euler_angles_to_matrix, transform_points
from dhm.networks.encoder import ImageEncoder, dense_init
from dhm.types import Batch, HandOutput, HandTemplate

CORRECTIVES = ("skeleton", "identity", "pose")
# Fewer points do not fix a rotation.
_MIN_ALIGNMENT_JOINTS = 3


class _TwoLayers(nn.Module):
    """Two fully connected layers, ReLU between them, to `rows` points."""

    rows: int
    hidden: int = 256

    @nn.compact
    def __call__(self, code: Float[Array, "*b n"]) -> Float[Array, "*b r 3"]:
        dense = partial(nn.Dense, kernel_init=dense_init, precision=jax.lax.Precision.HIGHEST)
        x = nn.relu(dense(self.hidden, name="Dense_0")(code))
        x = dense(3 * self.rows, name="Dense_1")(x)
        return x.reshape(*x.shape[:-1], self.rows, 3)


class SkeletonCorrective(_TwoLayers):
    """Identity code to the change of each joint's offset from its parent, Delta S_beta."""


class IdentityCorrective(_TwoLayers):
    """Identity code to the change of each zero-pose vertex, Delta M_beta."""


class PoseCorrective(_TwoLayers):
    """Pose vector to the change of each zero-pose vertex, Delta M_theta."""


class HandModel(nn.Module):
    """DeepHandMesh: a ResNet encoder and a decoder that refines and skins a template.

    Variables: "params", "batch_stats" (the encoder's BatchNorm) and "identity", whose "code" is
    the subject's fixed identity vector beta (drawn from the "identity" key at initialisation,
    never trained).

    Attributes:
        template: The artist's hand.
        encoder: The image encoder.
        identity_size: Length of beta.
        skeleton_hidden: Hidden size of the skeleton corrective (256 in the paper, 64 as released).
        skin_hidden: Hidden size of the identity and pose correctives.
        pose_corrective_input: "enabled" (the 28 angles, the paper) or "all" (every joint's Euler
            triple, disabled ones 0, as released).
        correctives: Those that the decoder adds, of `CORRECTIVES`; an ablation leaves one out.
        stop_pose_gradient: Whether no gradient reaches theta through the pose corrective (section
            5.1).
    """

    template: HandTemplate
    encoder: ImageEncoder
    identity_size: int = 32
    skeleton_hidden: int = 256
    skin_hidden: int = 256
    pose_corrective_input: str = "enabled"
    correctives: tuple[str, ...] = CORRECTIVES
    stop_pose_gradient: bool = True

    def setup(self):
        template = self.template
        self.dofs = dof_indices(template.joint_names)
        num_joints, num_vertices = template.num_joints, template.num_vertices
        if "skeleton" in self.correctives:
            self.skeleton_corrective = SkeletonCorrective(num_joints, self.skeleton_hidden)
        if "identity" in self.correctives:
            self.identity_corrective = IdentityCorrective(num_vertices, self.skin_hidden)
        if "pose" in self.correctives:
            self.pose_corrective = PoseCorrective(num_vertices, self.skin_hidden)
        self.identity_code = self.variable(
            "identity",
            "code",
            lambda: jax.random.normal(self.make_rng("identity"), (self.identity_size,)),
        )

    @property
    def joint_mask(self) -> Bool[np.ndarray, " j"]:
        """Which of the template's joints the model has; the others count in no loss or error."""
        return np.ones(self.template.num_joints, bool)

    def encode(
        self, images: UInt8[Array, "b h w 3"] | Float[Array, "b h w 3"], train: bool = False
    ) -> Float[Array, "b d"]:
        """Returns pose vectors theta (radians) of RGB images with values 0..255."""
        with jax.named_scope("encode"):
            return self.encoder(images, train)

    def skeleton(self) -> Float[Array, "j 4 4"]:
        """Returns rest transforms with the refined offsets S* = S + Delta S_beta, mm."""
        rest = jnp.asarray(self.template.T_parent_joint, jnp.float32)
        return rest.at[:, :3, 3].add(self.skeleton_change())

    def skeleton_change(self) -> Float[Array, "j 3"]:
        """Returns Delta S_beta, the change of each joint's offset from its parent, mm."""
        if "skeleton" not in self.correctives:
            return jnp.zeros((self.template.num_joints, 3))
        return self.skeleton_corrective(self.identity_code.value)

    def pose_joints(self, theta: Float[Array, "b d"]) -> Float[Array, "b j 4 4"]:
        """Returns posed joint frames T_model_joint in the model's frame."""
        euler = pose_to_euler(theta, self.dofs, self.template.num_joints)
        return forward_kinematics(
            self.skeleton(), euler_angles_to_matrix(euler), self.template.parents
        )

    def refined_mesh(self, theta: Float[Array, "b d"]) -> Float[Array, "b v 3"]:
        """Returns M* = M + Delta M_theta + Delta M_beta, zero-pose vertices in mm.

        No gradient reaches theta through Delta M_theta (section 5.1) with `stop_pose_gradient`.
        """
        pose = jax.lax.stop_gradient(theta) if self.stop_pose_gradient else theta
        if self.pose_corrective_input == "all":
            pose = pose_to_euler(pose, self.dofs, self.template.num_joints)
            pose = pose.reshape(pose.shape[0], -1)
        refined = jnp.asarray(self.template.v_template, jnp.float32)
        if "identity" in self.correctives:
            refined += self.identity_corrective(self.identity_code.value)
        if "pose" in self.correctives:
            return refined + self.pose_corrective(pose)
        return jnp.broadcast_to(refined, (len(theta), *refined.shape))

    def decode(
        self,
        theta: Float[Array, "b d"],
        T_world_model: Float[Array, "b 4 4"] | None = None,
    ) -> HandOutput:
        """Decodes poses to deformed hands.

        Args:
            theta: Pose vectors, radians.
            T_world_model: Root transform; training passes the alignment to the target joints.
                None is the identity.

        Returns:
            Mesh and joints in the world, and the refined zero-pose mesh and joints, mm.
        """
        with jax.named_scope("decode"):
            template = self.template
            T_model_joint = self.pose_joints(theta)
            T_zero = self.zero_pose_joints()
            inverse_bind = jnp.asarray(inverse_bind_pose(template), jnp.float32)
            weights = jnp.asarray(template.lbs_weights, jnp.float32)
            refined = self.refined_mesh(theta)
            vertices = linear_blend_skinning(refined, weights, T_model_joint, inverse_bind)
            joints = T_model_joint[..., :3, 3]
            if T_world_model is not None:
                vertices = transform_points(T_world_model, vertices)
                joints = transform_points(T_world_model, joints)
            return HandOutput(
                vertices=vertices,
                joints=joints,
                v_zero=linear_blend_skinning(refined, weights, T_zero[None], inverse_bind),
                joints_zero=jnp.broadcast_to(T_zero[:, :3, 3], joints.shape),
            )

    def fit(self, joints: Float[Array, "b j 3"], valid: Bool[Array, "b j"]) -> FittedPose:
        """Fits pose vectors to given joints with the refined skeleton; see `fit_pose`."""
        template = self.template
        return fit_pose(self.skeleton(), template.parents, template.joint_names, joints, valid)

    def zero_pose_joints(self) -> Float[Array, "j 4 4"]:
        """Returns joint frames at theta = 0 with the refined skeleton, in the model's frame."""
        identity = jnp.broadcast_to(jnp.eye(3), (self.template.num_joints, 3, 3))
        return forward_kinematics(self.skeleton(), identity, self.template.parents)

    def __call__(
        self, images: UInt8[Array, "b h w 3"] | Float[Array, "b h w 3"], train: bool = False
    ) -> tuple[Float[Array, "b d"], HandOutput]:
        """Encodes and decodes, with the identity as root transform."""
        theta = self.encode(images, train)
        return theta, self.decode(theta)


def inverse_bind_pose(template: HandTemplate) -> np.ndarray:
    """Returns T_joint_model [j 4 4] of the template's own rest pose.

    Skinning uses it whatever the skeleton corrective does, as the released code: a longer bone
    then carries its skin along.
    """
    world: dict[int, np.ndarray] = {}

    def rest(joint: int) -> np.ndarray:
        if joint not in world:
            parent, local = template.parents[joint], template.T_parent_joint[joint]
            world[joint] = local if parent < 0 else rest(parent) @ local
        return world[joint]

    return np.linalg.inv(np.stack([rest(j) for j in range(template.num_joints)]))


def mask_joints(model: HandModel, batch: Batch) -> Batch:
    """Returns the batch with only those joints valid that the model has."""
    return batch._replace(joint_valid=batch.joint_valid & model.joint_mask)


def align_to_joints(
    template: HandTemplate,
    joints: Float[Array, "b j 3"],
    target: Float[Array, "b j 3"],
    valid: Bool[Array, "b j"],
) -> tuple[Float[Array, "b 4 4"], Bool[Array, " b"]]:
    """Computes the rigid transform of the model to the target's wrist and finger roots.

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
    """Computes the joints of `decode_aligned` alone, world mm, without a mesh.

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
    """Decodes poses at the root transform that fits the batch's joints best (section 5.2)."""
    frames = model.apply(variables, theta, method="pose_joints")
    T_world_model, aligned = align_to_joints(
        model.template, frames[..., :3, 3], batch.joints, batch.joint_valid
    )
    return model.apply(variables, theta, T_world_model, method="decode"), aligned
