"""Reconstructed surfaces (3-D scans) as triangle meshes."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from dhm.errors import BadInputError
from dhm.formats.obj import read_obj
from dhm.formats.ply import read_ply

SCAN_SUFFIXES = (".ply", ".obj")


def read_scan(path: str | Path) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
    """Reads a scan's vertices (mm) and triangles from a .ply or .obj file.

    Raises:
        BadInputError: Another kind of file, or one that its reader refuses.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SCAN_SUFFIXES:
        raise BadInputError(path, f"a file of type {suffix!r}", " or ".join(SCAN_SUFFIXES))
    if suffix == ".ply":
        return read_ply(path)
    mesh = read_obj(path)
    return mesh.vertices, mesh.faces
