"""Meshes to take away: .obj with texture coordinates, and .ply."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from dhm.formats.obj import ObjMesh, write_obj
from dhm.formats.ply import write_ply
from dhm.types import HandTemplate


def write_mesh(stem: Path, vertices: Float[np.ndarray, "v 3"], template: HandTemplate) -> None:
    """Writes <stem>.obj and <stem>.ply in mm, with the template's faces and UVs."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    mesh = ObjMesh(vertices, template.faces, template.uvs, template.faces_uv)
    write_obj(stem.with_name(f"{stem.name}.obj"), mesh)
    write_ply(stem.with_name(f"{stem.name}.ply"), vertices, template.faces)
