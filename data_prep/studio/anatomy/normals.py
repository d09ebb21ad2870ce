"""Normals for meshes out of marching cubes, whose triangles differ greatly in size."""

import numpy as np
from jaxtyping import Float, Int

from data_prep.studio.anatomy.vectors import cross, unit_rows

_SLIVER = 0.1


def smooth_normals(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> Float[np.ndarray, "v 3"]:
    """Unit normals that are exact on a sphere however unevenly it is cut into triangles.

    Each corner counts with its sine over the product of its two edges (Max 1999): weights by area
    would lean towards the largest triangle and show the grid as stripes.
    """
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    ab, bc, ca = b - a, c - b, a - c
    normal = cross(ca, ab)
    ab, bc, ca = (np.einsum("fi,fi->f", edge, edge) for edge in (ab, bc, ca))
    # Slivers lie askew by as much as the skin is rough: they must not outweigh the rest.
    smallest = _SLIVER * np.mean(ab * bc) if len(faces) else 1.0
    sums = np.zeros_like(vertices)
    for corner, edges in enumerate((ab * ca, ab * bc, bc * ca)):
        share = normal / np.maximum(edges, smallest)[:, None]
        for axis in range(3):
            sums[:, axis] += np.bincount(faces[:, corner], share[:, axis], len(vertices))
    return unit_rows(sums)
