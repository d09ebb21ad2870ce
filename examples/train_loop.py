"""Goes on training a hand with the project's training step in a loop of one's own:
python examples/train_loop.py [RUN] [FOLDER]
"""

import sys

import jax
import jax.numpy as jnp
import optax

import dhm
from dhm.losses.objective import ObjectiveSettings
from dhm.training.state import create_train_state
from dhm.training.step import make_step_spec, train_step

hand = dhm.load(sys.argv[1] if len(sys.argv) > 1 else "runs/demo")
size, (low, high) = hand.image_size, hand.dof_limits.T
K = jnp.array([[2.0 * size, 0, size / 2], [0, 2.0 * size, size / 2], [0, 0, 1]])
camera = dhm.Camera(jnp.tile(K, (8, 1, 1, 1)), jnp.tile(jnp.eye(4), (8, 1, 1, 1)))  # 8 x 1 view


@jax.jit
def make_batch(key):  # random poses of the hand; their depth maps serve as pictures, too
    theta = low + (high - low) * jax.random.uniform(key, (8, len(low)), minval=0.3, maxval=0.7)
    posed = hand.decode(theta, jnp.eye(4).at[2, 3].set(600))
    depth = dhm.render_depth(posed.vertices, hand.faces, camera, (size, size))
    image = jnp.tile(jnp.clip(depth[:, 0, :, :, None] - 450, 0, 255), 3).astype(jnp.uint8)
    valid, number = jnp.ones(posed.joints.shape[:2], bool), jnp.arange(8)
    return dhm.Batch(image, posed.joints, valid, depth, camera, number, number)


spec = make_step_spec(hand.model, ObjectiveSettings(
    joint=1.0, depth=1.0, penetration=5.0, non_rigid=5.0, laplacian=5.0, skeleton=0.0,
    depth_reduction="foreground", penetration_reduction="mean", depth_beta=1.0))  # fmt: skip
state = create_train_state(hand.model, hand.variables, optax.adam(1e-4))
step = jax.jit(lambda state, batch: train_step(state, batch, spec))
for number, key in enumerate(jax.random.split(jax.random.key(0), 10)):
    state, metrics = step(state, make_batch(key))
    print(f"step {number}: loss {metrics['total']:.2f}, joints {metrics['P_err']:.1f} mm off")
hand.with_variables(state.variables).save(sys.argv[2] if len(sys.argv) > 2 else "trained_hand")
