"""Animates a trained hand: bends one finger after the other, one mesh a frame.

python examples/animate.py [RUN] [FOLDER]

Blender and MeshLab open the numbered .obj files as a sequence.
"""

import sys
from pathlib import Path

import numpy as np

import dhm
from dhm.formats.obj import ObjMesh, write_obj

hand = dhm.load(sys.argv[1] if len(sys.argv) > 1 else "runs/demo")
folder = Path(sys.argv[2] if len(sys.argv) > 2 else "animation")

# Each finger bends and stretches within 20 frames and starts 5 frames after its neighbour.
frames = np.arange(40)
theta = np.zeros((len(frames), len(hand.dof_names)), np.float32)
for number, finger in enumerate(("index", "middle", "ring", "pinky")):
    phase = np.clip((frames - 5 * number) / 20, 0, 1)
    bend = 0.5 - 0.5 * np.cos(2 * np.pi * phase)  # 0 to 1 and back
    for i, name in enumerate(hand.dof_names):
        if name in (f"{finger}1_z", f"{finger}2_z", f"{finger}3_z"):
            theta[:, i] = bend * 0.7 * hand.dof_limits[i, 1]

output = hand.decode(theta)  # all frames at once: vertices [40 v 3]

folder.mkdir(parents=True, exist_ok=True)
for frame, vertices in zip(frames, np.asarray(output.vertices), strict=True):
    mesh = ObjMesh(vertices, hand.faces, hand.uvs, hand.faces_uv)
    write_obj(folder / f"frame_{frame:03}.obj", mesh)
print(f"Saved {len(frames)} meshes in {folder}")
