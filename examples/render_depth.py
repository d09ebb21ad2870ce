"""Renders depth maps, and finds where a solid is by the gradient of a loss between two of them.

python examples/render_depth.py
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import dhm

# An octahedron, 40 mm from its centre to each corner.
corners = 40 * np.float32([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
faces = np.array([[x, y, z] for x in (0, 1) for y in (2, 3) for z in (4, 5)])

# One camera at the origin that looks along +z. The first axis of its arrays is that of the views.
K = np.float32([[150, 0, 31.5], [0, 150, 31.5], [0, 0, 1]])
camera = dhm.Camera(K[None], np.eye(4, dtype=np.float32)[None])


def loss(center, target):
    depth = dhm.render_depth(corners + center, faces, camera, (64, 64))  # [1 64 64], 0 = background
    error, foreground = dhm.depth_loss(depth, target)
    return jnp.sum(error) / jnp.sum(foreground)


true_center = jnp.array([6.0, -4.0, 420.0])
target = dhm.render_depth(corners + true_center, faces, camera, (64, 64))
center, optimiser = jnp.array([0.0, 0.0, 400.0]), optax.adam(1.0)
state, loss_and_gradient = optimiser.init(center), jax.jit(jax.value_and_grad(loss))
for step in range(101):
    value, gradient = loss_and_gradient(center, target)
    if step % 20 == 0:
        distance = jnp.linalg.norm(center - true_center)
        print(f"step {step:3}: loss {value:6.3f}, centre {distance:6.3f} mm off")
    change, state = optimiser.update(gradient, state)
    center += change
