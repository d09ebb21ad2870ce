"""A model, a step and batches that take seconds on a CPU."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from data_prep.toy.hand import make_toy_template
from dhm.losses.objective import ObjectiveSettings
from dhm.networks.batch_norm import BatchNorm
from dhm.networks.encoder import ImageEncoder
from dhm.networks.hand_model import HandModel
from dhm.rendering import render_depth
from dhm.training.state import TrainState, create_train_state, initial_variables
from dhm.training.step import AXIS, StepSpec, make_step_spec
from dhm.types import Batch, Camera
from tests.references.geometry import random_rotation

SETTINGS = ObjectiveSettings(
    joint=1, depth=1, penetration=1, laplacian=5, non_rigid=5, skeleton=0.1,
    depth_reduction="foreground", penetration_reduction="mean", depth_beta=1.0,
)  # fmt: skip
SIZE, VIEWS = 32, 2


class SmallEncoder(ImageEncoder):
    """One convolution with BatchNorm over all devices, for a step that compiles in seconds."""

    axis_name: str | None = AXIS

    @nn.compact
    def __call__(self, images: Any, train: bool = False) -> jax.Array:
        """Angles of pictures."""
        x = nn.Conv(16, (4, 4), (4, 4))(images.astype(jnp.float32) / 255)
        x = BatchNorm(train, self.axis_name)(x)
        x = nn.relu(x).mean(axis=(1, 2))
        return nn.Dense(self.num_dofs, kernel_init=nn.initializers.normal(0.01))(x)


@functools.cache
def toy_batch(size: int) -> Batch:
    """Tiles for images; joints and depth maps of hands in random poses, some joints missing.

    The joints have noise: without it the joints of the alignment would fit to the last bit, and
    rounding would decide the sign of their L1 gradient. With random joints far from any hand
    rounding would be 1.5e-5 of the encoder's gradient.
    """
    rng, (spec, state) = np.random.default_rng(0), toy_step()
    root = np.tile(np.eye(4, dtype=np.float32), (size, 1, 1))
    root[:, :3, :3] = random_rotation(rng, size)
    view = np.tile(np.eye(4, dtype=np.float32), (size, VIEWS, 1, 1))
    view[..., :3, :3] = random_rotation(rng, size * VIEWS).reshape(size, VIEWS, 3, 3)
    view[..., 2, 3] = 800
    K = np.tile(np.array([[120, 0, 16], [0, 120, 16], [0, 0, 1]], np.float32), (size, VIEWS, 1, 1))
    theta = rng.uniform(-0.3, 0.5, (size, 28)).astype(np.float32)
    arguments = jax.tree.map(jnp.asarray, (state.variables, theta, root))
    hand = spec.model.apply(*arguments, method="decode")
    camera = Camera(*jax.tree.map(jnp.asarray, (K, view)))
    depth = render_depth(hand.vertices, spec.model.template.faces, camera, (SIZE, SIZE))
    valid = rng.random((size, 22)) < 0.95
    valid[3] = False  # a sample that must not count, on one device only
    noise = np.random.default_rng(1).normal(0, 0.1, hand.joints.shape).astype(np.float32)
    batch = Batch(
        image=rng.integers(0, 255, (size, 4, 4, 3), np.uint8).repeat(8, axis=1).repeat(8, axis=2),
        joints=hand.joints + noise,
        joint_valid=valid,
        target_depth=depth,
        target_camera=camera,
        frame=np.arange(size, dtype=np.int32),
        record=np.arange(size, dtype=np.int32),
    )
    return jax.device_get(batch)


@functools.cache
def toy_step(mesh_pose: str = "encoder", resnet: bool = False) -> tuple[StepSpec, TrainState]:
    """The static data of a step, and a state on the host; a ResNet compiles for half a minute."""
    template = make_toy_template(800)
    encoder = ImageEncoder(depth=18, width=8, axis_name=AXIS) if resnet else SmallEncoder()
    model = HandModel(template, encoder)
    variables = initial_variables(model, seed=0, subject=1, image_size=SIZE)
    # Momentum without memory keeps the exact gradient in its state.
    state = jax.device_get(create_train_state(model, variables, optax.trace(decay=0.0)))
    return make_step_spec(model, SETTINGS, AXIS, mesh_pose), state
