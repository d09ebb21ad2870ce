"""Triangle meshes as binary glTF 2.0 (.glb), for viewers and game engines."""

import numpy as np
import trimesh
from jaxtyping import Float, Int
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial

from dhm.formats.obj import ObjMesh

_SKIN = (204, 158, 133, 255)
_METRES_PER_MM = 1e-3
_NO_DIRECTION = 1e-6  # of a sum of unit vectors that cancel


def encode_glb(mesh: ObjMesh, normals: Float[np.ndarray, "v 3"], name: str) -> bytes:
    """Returns a mesh as the content of a .glb file.

    glTF indexes a corner's position, normal and texture coordinate by one number, so a vertex on a
    texture seam is written several times.

    Args:
        mesh: A mesh with texture coordinates, mm; the file is in metres, glTF's unit.
        normals: Normals of the vertices. glTF has only unit ones: where one is 0, as between faces
            without an area, the file has the mean of those around it, or +z if all are 0.
        name: Name of the mesh, which viewers show.
    """
    corners = np.stack([mesh.faces.reshape(-1), mesh.faces_uv.reshape(-1)], axis=1)
    pairs, faces = np.unique(corners, axis=0, return_inverse=True)
    vertex, uv = pairs.T
    textured = trimesh.Trimesh(
        vertices=mesh.vertices[vertex] * _METRES_PER_MM,
        faces=faces.reshape(-1, 3),
        vertex_normals=_unit(normals, mesh.faces)[vertex],
        visual=TextureVisuals(uv=mesh.uvs[uv], material=PBRMaterial(
            baseColorFactor=_SKIN, metallicFactor=0.0, roughnessFactor=0.7, name="skin")),
        process=False,
    )  # fmt: skip
    scene = trimesh.Scene({name: textured})
    return scene.export(file_type="glb", include_normals=True)


def _unit(
    normals: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> Float[np.ndarray, "v 3"]:
    """Returns unit normals; each that is 0 becomes the mean of those that share a face with it."""
    normals = np.array(normals, np.float64)
    while True:
        length = np.linalg.norm(normals, axis=1)
        known = length > 0
        normals[known] /= length[known, None]
        beside = faces[~known[faces].all(axis=1)]
        spread = np.zeros_like(normals)
        for corner in beside.T:
            np.add.at(spread, corner, normals[beside].sum(axis=1))
        found = ~known & (np.linalg.norm(spread, axis=1) > _NO_DIRECTION)
        if not found.any():
            normals[~known] = 0, 0, 1
            return normals
        normals[found] = spread[found]
