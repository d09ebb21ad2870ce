"""Reads the hand template of a released capture, bends its index finger and saves the mesh.

python examples/released_template.py [HAND_MODEL] [OBJ]

HAND_MODEL is the folder hand_model/ of a capture in the released layout.
"""

import sys

import jax.numpy as jnp
import numpy as np

import dhm
from dhm.formats.hand_template import read_hand_model
from dhm.formats.obj import ObjMesh, write_obj

folder = sys.argv[1] if len(sys.argv) > 1 else "hand_model"
path = sys.argv[2] if len(sys.argv) > 2 else "pointing.obj"

template = read_hand_model(folder)
print(f"{template.num_vertices} vertices, {template.num_joints} joints:", *template.joint_names)

# An Euler triple a joint, applied on the right of its rest transform; z is the axis of flexion.
euler = np.zeros((template.num_joints, 3), np.float32)
for name, degrees in (("index1", 60), ("index2", 50), ("index3", 30)):
    euler[template.joint_names.index(name), 2] = np.radians(degrees)

T_parent_joint = jnp.asarray(template.T_parent_joint)
still = jnp.broadcast_to(jnp.eye(3), (template.num_joints, 3, 3))
rotations = dhm.euler_angles_to_matrix(jnp.asarray(euler))
rest = dhm.forward_kinematics(T_parent_joint, still, template.parents)
posed = dhm.forward_kinematics(T_parent_joint, rotations, template.parents)
T_joint_model = jnp.linalg.inv(rest)
vertices = dhm.linear_blend_skinning(
    jnp.asarray(template.v_template), jnp.asarray(template.lbs_weights), posed, T_joint_model
)

write_obj(path, ObjMesh(np.asarray(vertices), template.faces, template.uvs, template.faces_uv))
print(f"Saved {path}")
