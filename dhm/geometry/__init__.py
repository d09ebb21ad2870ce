"""Rotations, joint trees, skinning, alignment, cameras and meshes of hands, in JAX."""

from dhm.geometry.alignment import rigid_alignment
from dhm.geometry.cameras import project_points, world_to_camera
from dhm.geometry.kinematics import forward_kinematics, linear_blend_skinning
from dhm.geometry.transforms import axis_angle_to_matrix, euler_angles_to_matrix

__all__ = [
    "axis_angle_to_matrix",
    "euler_angles_to_matrix",
    "forward_kinematics",
    "linear_blend_skinning",
    "project_points",
    "rigid_alignment",
    "world_to_camera",
]
