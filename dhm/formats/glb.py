"""Triangle meshes as binary glTF 2.0 (.glb), for viewers and game engines."""

import numpy as np
import trimesh
from jaxtyping import Float
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial

from dhm.formats.mesh import ObjMesh

_SKIN = (204, 158, 133, 255)
_METRES_PER_MM = 1e-3


def encode_glb(mesh: ObjMesh, normals: Float[np.ndarray, "v 3"], name: str) -> bytes:
    """Returns a mesh as the content of a .glb file.

    glTF indexes a corner's position, normal and texture coordinate by one number, so a vertex on a
    texture seam is written several times.

    Args:
        mesh: A mesh with texture coordinates, mm; the file is in metres, glTF's unit.
        normals: Unit normals of the vertices.
        name: Name of the mesh, which viewers show.
    """
    corners = np.stack([mesh.faces.reshape(-1), mesh.faces_uv.reshape(-1)], axis=1)
    pairs, faces = np.unique(corners, axis=0, return_inverse=True)
    vertex, uv = pairs.T
    textured = trimesh.Trimesh(
        vertices=mesh.vertices[vertex] * _METRES_PER_MM,
        faces=faces.reshape(-1, 3),
        vertex_normals=normals[vertex],
        visual=TextureVisuals(uv=mesh.uvs[uv], material=PBRMaterial(
            baseColorFactor=_SKIN, metallicFactor=0.0, roughnessFactor=0.7, name="skin")),
        process=False,
    )  # fmt: skip
    scene = trimesh.Scene({name: textured})
    return scene.export(file_type="glb", include_normals=True)
