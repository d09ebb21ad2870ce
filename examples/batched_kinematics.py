"""Poses a finger in a thousand ways at once: forward kinematics and linear blend skinning.

python examples/batched_kinematics.py
"""

import jax
import jax.numpy as jnp

import dhm

# Three joints in a row and a tip; each joint's rest transform in the frame of its parent, mm.
parents = (-1, 0, 1, 2)
offsets = jnp.array([0.0, 40.0, 25.0, 20.0])
T_parent_joint = jnp.tile(jnp.eye(4), (4, 1, 1)).at[:, 0, 3].set(offsets)
T_joint_model = jnp.tile(jnp.eye(4), (4, 1, 1)).at[:, 0, 3].set(-jnp.cumsum(offsets))

# A line of skin 8 mm above the bones, of which each point follows the two nearest joints.
x = jnp.linspace(0, 85, 60)
vertices = jnp.stack([x, jnp.full_like(x, 8), jnp.zeros_like(x)], axis=1)
weights = jnp.stack([jnp.interp(x, jnp.cumsum(offsets), row) for row in jnp.eye(4)], axis=1)


def pose(flexion):
    """Joints [*b 4 3] and skin [*b v 3] of the flexion [*b 3] of each joint, radians."""
    euler = jnp.zeros((*flexion.shape[:-1], 4, 3)).at[..., :3, 2].set(flexion)
    rotations = dhm.euler_angles_to_matrix(euler)
    T_world_joint = dhm.forward_kinematics(T_parent_joint, rotations, parents)
    skin = dhm.linear_blend_skinning(vertices, weights, T_world_joint, T_joint_model)
    return T_world_joint[..., :3, 3], skin


flexion = jax.random.uniform(jax.random.key(0), (10, 100, 3), maxval=1.5)
joints, skin = jax.jit(pose)(flexion)
print("joints", joints.shape, "skin", skin.shape)
reach = jnp.linalg.norm(joints[..., 3, :], axis=-1)
print(f"reach of the tip: {reach.min():.1f} to {reach.max():.1f} mm")
print("d tip / d flexion, mm per radian:")
print(jax.jit(jax.jacfwd(lambda angles: pose(angles)[0][3]))(flexion[0, 0]))
