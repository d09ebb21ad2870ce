"""Poses MANO hands from shape and pose coefficients.

python examples/mano_forward.py [MODEL]

MODEL is MANO_RIGHT.pkl of mano.is.tue.mpg.de, which has a licence of its own, or a model in its
format; `python -m data_prep.studio.linear_hand MODEL` makes one in a clone of the project.
"""

import sys

import jax
import jax.numpy as jnp

import dhm
from dhm.formats.mano_pickle import read_mano
from dhm.networks.mano import mano_pose_vector

model = read_mano(sys.argv[1] if len(sys.argv) > 1 else "MANO_RIGHT.pkl")


@jax.jit
def pose_hands(betas, components, global_orient):
    pose = mano_pose_vector(model, components, pca=True, flat_hand_mean=False)
    return dhm.mano(model, betas, pose, global_orient)


# Five shapes and six principal components of the pose, in standard deviations, for 16 hands.
shape_key, pose_key = jax.random.split(jax.random.key(0))
betas = jax.random.normal(shape_key, (16, 5))
components = jax.random.normal(pose_key, (16, 6))
hands = pose_hands(betas, components, jnp.zeros((16, 3)))
print("vertices", hands.vertices.shape, "joints", hands.joints.shape, "in mm")

# Differentiable in all coefficients: how the tips of the first hand move with the first shape.
derivative = jax.jit(jax.jacfwd(pose_hands))
jacobian = derivative(betas[0], components[0], jnp.zeros(3)).joints[16:, :, 0]
print("d fingertips / d beta_0, mm:")
print(jacobian)
