"""The decoder's three learned correctives (paper section 5.1), in mm."""

from flax import linen as nn
from jaxtyping import Array, Float

from dhm.networks.encoder import dense_init


class _TwoLayers(nn.Module):
    """Two fully connected layers, ReLU between them, to `rows` points."""

    rows: int
    hidden: int = 256

    @nn.compact
    def __call__(self, code: Float[Array, "*b n"]) -> Float[Array, "*b r 3"]:
        x = nn.relu(nn.Dense(self.hidden, kernel_init=dense_init)(code))
        x = nn.Dense(3 * self.rows, kernel_init=dense_init)(x)
        return x.reshape(*x.shape[:-1], self.rows, 3)


class SkeletonCorrective(_TwoLayers):
    """Identity code to the change of each joint's offset from its parent, Delta S_beta."""


class IdentityCorrective(_TwoLayers):
    """Identity code to the change of each zero-pose vertex, Delta M_beta."""


class PoseCorrective(_TwoLayers):
    """Pose vector to the change of each zero-pose vertex, Delta M_theta."""
