"""Finds the angles and the place of a hand from noisy 3D joints, some of which are missing.

python examples/fit_to_joints.py [RUN]
"""

import sys

import jax.numpy as jnp
import numpy as np

import dhm

hand = dhm.load(sys.argv[1] if len(sys.argv) > 1 else "runs/demo")

# Stand-ins for measured joints: four poses within the limits, 400 mm away, noise of 1 mm.
rng = np.random.default_rng(0)
low, high = hand.dof_limits.T
theta = rng.uniform(low + 0.3 * (high - low), high - 0.3 * (high - low), (4, len(low)))
T_world_model = np.eye(4)
T_world_model[:3, 3] = 0, 0, 400
true = hand.decode(theta, T_world_model)
joints = true.joints + rng.normal(0, 1, true.joints.shape)
valid = rng.uniform(size=joints.shape[:-1]) > 0.1

fitted = hand.fit(joints, valid)  # theta [4 d], T_world_model [4 4 4], residual [4]
again = hand.decode(fitted.theta, fitted.T_world_model)
print("mean distance of the joints that were given, mm:", fitted.residual)
print("mean distance of the meshes, mm:",
      jnp.linalg.norm(again.vertices - true.vertices, axis=-1).mean(axis=-1))  # fmt: skip
