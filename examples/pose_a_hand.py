"""Poses a trained hand by the names of its angles and saves the mesh.

python examples/pose_a_hand.py [RUN] [OBJ]
"""

import sys

import numpy as np

import dhm
from dhm.formats.obj import ObjMesh, write_obj

run = sys.argv[1] if len(sys.argv) > 1 else "runs/demo"
path = sys.argv[2] if len(sys.argv) > 2 else "fist.obj"

hand = dhm.load(run)

# All angles at 0 are the zero pose. The z axes are those that fingers flex about.
theta = np.zeros(len(hand.dof_names), np.float32)
for i, (name, (_, largest)) in enumerate(zip(hand.dof_names, hand.dof_limits, strict=True)):
    if name.endswith("_z") and not name.startswith("thumb"):
        theta[i] = 0.8 * largest

output = hand.decode(theta)  # vertices [v 3] and joints [j 3], mm

tip = output.joints[hand.joint_names.index("index_null")]
print(f"{len(output.vertices)} vertices; the tip of the index finger is at {tip} mm")
write_obj(path, ObjMesh(np.asarray(output.vertices), hand.faces, hand.uvs, hand.faces_uv))
print(f"Saved {path}")
