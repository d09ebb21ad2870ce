"""The decoder's three learned correctives (paper section 5.1), in mm."""

from functools import partial

import jax
from flax import linen as nn
from jaxtyping import Array, Float

from dhm.networks.encoder import dense_init


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
