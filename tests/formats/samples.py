"""Small valid files for the tests of readers."""

import numpy as np

from dhm.types import HandTemplate

VERTICES = np.array([[0, 0, 0], [1.5, 0, 0], [0, 2, -0.25], [0, 0, 3e3]])
FACES = np.array([[0, 1, 2], [0, 2, 3], [1, 3, 2]], np.int32)
ASCII_PLY = """ply
format ascii 1.0
comment made by hand
element vertex 4
property float x
property float y
property float z
property uchar red
element face 3
property list uchar int vertex_indices
end_header
0 0 0 9
1.5 0 0 9
0 2 -0.25 9
0 0 3000 9
3 0 1 2
3 0 2 3
3 1 3 2
"""

OBJ = "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nf 1/1 2/1 3/1\n"


def binary_ply(order: str, quads: bool = False) -> bytes:
    """A binary PLY with a normal, a colour and a second list beside what is needed."""
    name = {"<": "little", ">": "big"}[order]
    head = (
        f"ply\nformat binary_{name}_endian 1.0\nelement vertex 4\nproperty double x\n"
        "property double y\nproperty double z\nproperty float nx\nproperty uchar red\n"
        "element face 3\nproperty list uchar uint vertex_index\n"
        "property list uchar float texcoord\n"
        "property uchar flag\nelement edge 0\nproperty int a\nend_header\n"
    ).encode()
    vertex = np.dtype([("p", order + "f8", 3), ("n", order + "f4"), ("c", "u1")])
    vertices = np.zeros(4, vertex)
    vertices["p"] = VERTICES
    corners = 4 if quads else 3
    face = np.dtype(
        [
            ("n", "u1"),
            ("i", order + "u4", corners),
            ("m", "u1"),
            ("t", order + "f4", 6),
            ("g", "u1"),
        ]
    )
    faces = np.zeros(3, face)
    faces["n"], faces["m"] = corners, 6
    faces["i"][:, :3] = FACES
    return head + vertices.tobytes() + faces.tobytes()


def rotation(axis: int, angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    R = np.eye(3)
    a, b = (axis + 1) % 3, (axis + 2) % 3
    R[[a, a, b, b], [a, b, a, b]] = c, -s, s, c
    return R


def small_template() -> HandTemplate:
    """Four joints with tilted rest frames, children before their parents, and a tetrahedron."""
    T = np.tile(np.eye(4, dtype=np.float32), (4, 1, 1))
    for joint, axis in enumerate((0, 1, 2, 0)):
        T[joint, :3, :3] = rotation(axis, 0.3 + joint)
        T[joint, :3, 3] = 10.0 * joint + np.array([1.25, -2.5, 33.3])
    weights = np.array([[0, 0, 0, 1], [0.25, 0.5, 0.25, 0], [1, 0, 0, 0], [0, 1 / 3, 2 / 3, 0]])
    return HandTemplate(
        joint_names=("index_null", "index2", "index1", "wrist"),
        parents=(1, 2, 3, -1),
        T_parent_joint=T,
        v_template=np.array([[0, 0, 0], [91.23456, 0, 0], [0, -50.5, 0], [0, 0, 20]], np.float32),
        faces=np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]], np.int32),
        lbs_weights=weights.astype(np.float32),
        uvs=np.array([[0, 0], [1, 0], [0.5, 1], [0.125, 0.875], [0.3, 0.1]], np.float32),
        faces_uv=np.array([[0, 2, 1], [0, 1, 4], [1, 2, 3], [0, 3, 2]], np.int32),
    )
