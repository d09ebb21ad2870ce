"""The baseline of section 8.3: our encoder, and a fixed MANO-like linear model as decoder."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Bool, Float, UInt8

from dhm.fitting import FittedPose, PoseSpace, fit_joints
from dhm.geometry.hand_rig import FINGERS, MANO_JOINTS
from dhm.geometry.transforms import make_transform, transform_points
from dhm.networks.encoder import ImageEncoder, dense_init
from dhm.networks.mano import mano_shape, pose_mano
from dhm.types import HandOutput, HandTemplate, ManoModel

NUM_ANGLES = 3 * (len(MANO_JOINTS) - 1)
_SHAPE_HIDDEN = 64
# A joint of the hand rig that the linear model lacks stands still at this share of the way from
# the wrist to the next joint.
_THUMB_BASE, _SHARE = "thumb0", 0.4
# Widest turn of a joint about an axis in a fitted pose, radians.
_WIDEST = 2.4


def linear_template(linear: ManoModel, rig: HandTemplate) -> HandTemplate:
    """Converts a linear model's mean hand to a template with the joints of another one, by name.

    Args:
        linear: The linear model.
        rig: Names and tree of the joints, such as the data's.
    """
    tips = jnp.asarray(linear.v_template[list(linear.tip_vertices)])
    regressed = jnp.asarray(linear.J_regressor @ linear.v_template)
    joints = np.asarray(_rig_joints(regressed, tips, rig))
    parents = np.array(rig.parents)
    local = np.tile(np.eye(4), (rig.num_joints, 1, 1))
    local[:, :3, 3] = joints - np.where(parents[:, None] >= 0, joints[parents], 0)
    low, high = linear.v_template.min(axis=0), linear.v_template.max(axis=0)
    uvs = ((linear.v_template - low) / (high - low))[:, [0, 2]]
    return HandTemplate(
        joint_names=rig.joint_names,
        parents=rig.parents,
        T_parent_joint=local.astype(np.float32),
        v_template=linear.v_template.astype(np.float32),
        faces=linear.faces.astype(np.int32),
        lbs_weights=_rig_weights(linear, rig).astype(np.float32),
        uvs=uvs.astype(np.float32),
        faces_uv=linear.faces.astype(np.int32),
    )


def _rig_weights(linear: ManoModel, rig: HandTemplate) -> Float[np.ndarray, "v j"]:
    weights = np.zeros((len(linear.v_template), rig.num_joints))
    weights[:, [rig.joint_names.index(name) for name in MANO_JOINTS]] = linear.lbs_weights
    return weights


def _rig_joints(
    joints: Float[Array, "*b k 3"], tips: Float[Array, "*b f 3"], rig: HandTemplate
) -> Float[Array, "*b j 3"]:
    """Returns joints and tips in the order of the rig."""
    rows = {name: joints[..., i, :] for i, name in enumerate(MANO_JOINTS)}
    rows |= {f"{finger}_null": tips[..., i, :] for i, finger in enumerate(FINGERS)}
    rows[_THUMB_BASE] = (1 - _SHARE) * rows["wrist"] + _SHARE * rows["thumb1"]
    return jnp.stack([rows[name] for name in rig.joint_names], axis=-2)


class LinearHandModel(nn.Module):
    """The interface of `HandModel` with MANO, or a model of its form, behind it.

    The linear model's parts are constants. Learned are the encoder, which reads the axis-angle
    vectors of 15 joints off an image, and two fully connected layers from the subject's fixed
    identity code to the shape vector.

    Attributes:
        template: From `linear_template`.
        encoder: The image encoder, with `NUM_ANGLES` outputs.
        linear: The linear model.
        identity_size: Length of the identity code.
    """

    template: HandTemplate
    encoder: ImageEncoder
    linear: ManoModel
    identity_size: int = 32

    def setup(self):
        self.shape_layers = [
            nn.Dense(_SHAPE_HIDDEN, kernel_init=dense_init),
            nn.Dense(self.linear.shapedirs.shape[-1], kernel_init=dense_init),
        ]
        self.identity_code = self.variable(
            "identity",
            "code",
            lambda: jax.random.normal(self.make_rng("identity"), (self.identity_size,)),
        )

    @property
    def joint_mask(self) -> Bool[np.ndarray, " j"]:
        """Which of the template's joints the model has; the others count in no loss or error."""
        return np.array([name != _THUMB_BASE for name in self.template.joint_names])

    def encode(
        self, images: UInt8[Array, "b h w 3"] | Float[Array, "b h w 3"], train: bool = False
    ) -> Float[Array, "b d"]:
        """Returns axis-angle vectors (radians) of RGB images with values 0..255, joint by joint."""
        with jax.named_scope("encode"):
            return self.encoder(images, train)

    def betas(self) -> Float[Array, " s"]:
        """Returns the shape vector, from the identity code."""
        first, second = self.shape_layers
        return second(nn.relu(first(self.identity_code.value)))

    def skeleton_change(self) -> Float[Array, "j 3"]:
        """Returns zeros: the skeleton follows the shape."""
        return jnp.zeros((self.template.num_joints, 3))

    def pose_joints(self, theta: Float[Array, "b d"]) -> Float[Array, "b j 4 4"]:
        """Returns posed frames T_model_joint of the template's joints, in the model's frame."""
        shaped = mano_shape(self.linear, self.betas())
        tips = self.linear.tip_vertices
        return self._rig_frames(*pose_mano(self.linear, *shaped, theta, vertex_ids=tips))

    def _rig_frames(self, frames: Float[Array, "b k 4 4"], tips: Float[Array, "b f 3"]) -> Array:
        positions = _rig_joints(frames[..., :3, 3], tips, self.template)
        names = self.template.joint_names
        carried = [name if name in MANO_JOINTS else _carrier(name) for name in names]
        rotations = frames[..., np.array([MANO_JOINTS.index(name) for name in carried]), :3, :3]
        return make_transform(rotations, positions)

    def fit(self, joints: Float[Array, "b j 3"], valid: Bool[Array, "b j"]) -> FittedPose:
        """Fits axis-angle vectors to given joints with the shape's joints; see `fit_joints`."""
        linear, shaped = self.linear, mano_shape(self.linear, self.betas())
        mean = jnp.asarray(linear.hands_mean, jnp.float32)
        widest = jnp.full(NUM_ANGLES, _WIDEST)
        space = PoseSpace(-widest, widest, mean, jnp.stack([mean, jnp.zeros_like(mean)]))

        def pose_joints(theta: Float[Array, " d"]) -> Float[Array, "j 3"]:
            posed = pose_mano(linear, *shaped, theta[None], vertex_ids=linear.tip_vertices)
            return self._rig_frames(*posed)[0, :, :3, 3]

        return fit_joints(pose_joints, space, joints, valid & self.joint_mask)

    def decode(
        self,
        theta: Float[Array, "b d"],
        T_world_model: Float[Array, "b 4 4"] | None = None,
    ) -> HandOutput:
        """Decodes poses to deformed hands, as `HandModel.decode`."""
        with jax.named_scope("decode"):
            tips = np.array(self.linear.tip_vertices)
            shaped = mano_shape(self.linear, self.betas())
            frames, vertices = pose_mano(self.linear, *shaped, theta)
            zero, v_zero = pose_mano(self.linear, *shaped, jnp.zeros_like(theta))
            posed = self._rig_frames(frames, vertices[:, tips])[..., :3, 3]
            at_rest = self._rig_frames(zero, v_zero[:, tips])[..., :3, 3]
            if T_world_model is not None:
                vertices = transform_points(T_world_model, vertices)
                posed = transform_points(T_world_model, posed)
            return HandOutput(vertices, posed, v_zero, at_rest)

    def __call__(
        self, images: UInt8[Array, "b h w 3"] | Float[Array, "b h w 3"], train: bool = False
    ) -> tuple[Float[Array, "b d"], HandOutput]:
        """Encodes and decodes, with the identity as root transform."""
        theta = self.encode(images, train)
        return theta, self.decode(theta)


def _carrier(name: str) -> str:
    """Returns the joint whose rotation a tip, or the base of the thumb, follows."""
    return "wrist" if name == _THUMB_BASE else name.replace("_null", "3")
