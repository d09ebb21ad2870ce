"""The losses of paper section 6, not yet reduced; `dhm.losses.objective` weights them."""

from dhm.losses.penetration import non_rigid_penetration_loss, rigid_penetration_loss
from dhm.losses.terms import depth_loss, joint_loss, laplacian_loss, skeleton_loss

__all__ = [
    "depth_loss",
    "joint_loss",
    "laplacian_loss",
    "non_rigid_penetration_loss",
    "rigid_penetration_loss",
    "skeleton_loss",
]
