"""3-D scans: the mesh files that a capture or evidence may name."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from dhm.errors import BadInputError
from dhm.formats.obj import read_obj_surface
from dhm.formats.ply import read_ply

_READERS = {".ply": read_ply, ".obj": read_obj_surface}
SCAN_SUFFIXES = tuple(_READERS)


def read_scan(path: str | Path) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
    """Reads the vertices (mm) and triangles of a 3-D scan from a .ply or .obj file.

    Raises:
        BadInputError: The file is of another type, or its reader refuses it.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        raise BadInputError(path, f"a file of type {suffix!r}", " or ".join(SCAN_SUFFIXES))
    return _READERS[suffix](path)
