"""Triangles from the polygons of mesh files."""

import itertools
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from dhm.errors import BadInputError
from dhm.formats.text import MAX_MAGNITUDE

MAX_CORNERS = 256
"""Of one polygon of a file."""


def triangulate(
    vertices: Float[np.ndarray, "v 3"],
    lengths: Int[np.ndarray, " n"],
    corners: Int[np.ndarray, " c"],
) -> Int[np.ndarray, "f 3"]:
    """Cuts polygons into triangles, in the polygons' order and with their orientation.

    A polygon is cut from its first corner; one whose triangles would fold over, because it is not
    convex, by ears. A triangle that has a vertex twice, as triangles that are written as
    quadrilaterals leave them, is left out of a longer polygon.

    Args:
        vertices: Positions.
        lengths: Number of corners of each polygon, at least 3.
        corners: Vertices of the first polygon, of the second and so on.

    Returns:
        Positions in `corners`, so that other indices of the corners can be cut alike.
    """
    if (lengths == 3).all():
        return np.arange(len(corners)).reshape(-1, 3)
    starts = np.cumsum(lengths) - lengths
    polygon = np.repeat(np.arange(len(lengths)), lengths - 2)
    first = np.cumsum(lengths - 2) - (lengths - 2)
    step = np.arange(len(polygon)) - first[polygon]
    fan = starts[polygon][:, None] + np.stack([0 * step, step + 1, step + 2], axis=1)
    folded = _folded(vertices, corners[fan], polygon, lengths)
    quads = np.flatnonzero(folded & (lengths == 4))  # have one other diagonal
    fan[first[quads]] = starts[quads][:, None] + [0, 1, 3]
    fan[first[quads] + 1] = starts[quads][:, None] + [1, 2, 3]
    for bad in np.flatnonzero(folded & (lengths > 4)):
        own = slice(first[bad], first[bad] + lengths[bad] - 2)
        ring = corners[starts[bad] : starts[bad] + lengths[bad]]
        fan[own] = starts[bad] + _cut_ears(_flat(vertices[ring]))
    a, b, c = corners[fan].T
    repeated = (a == b) | (b == c) | (c == a)
    return fan[~repeated | (lengths[polygon] == 3)]


def _folded(
    vertices: np.ndarray, triangles: np.ndarray, polygon: np.ndarray, lengths: np.ndarray
) -> np.ndarray:
    """Whether some triangle of a polygon looks away from the polygon's mean normal."""
    with np.errstate(all="ignore"):  # NaN vertices are refused later
        a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
        normals = np.cross(b - a, c - a)
        mean = np.zeros((len(lengths), 3))
        np.add.at(mean, polygon, normals)
        away = (normals * mean[polygon]).sum(axis=1) < 0
    folded = np.zeros(len(lengths), bool)
    folded[polygon[away]] = True
    return folded


def _flat(ring: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 2"]:
    """Projects a polygon along its normal, so that it runs counterclockwise."""
    ring = ring - ring.mean(axis=0)
    normal = np.cross(ring, np.roll(ring, -1, axis=0)).sum(axis=0)
    normal /= np.linalg.norm(normal) or 1.0
    across = np.cross(normal, np.eye(3)[np.argmin(np.abs(normal))])
    across /= np.linalg.norm(across) or 1.0
    return ring @ np.stack([across, np.cross(normal, across)], axis=1)


def _cut_ears(ring: Float[np.ndarray, "n 2"]) -> Int[np.ndarray, "n-2 3"]:
    """Triangulates a simple polygon that runs counterclockwise; any other one somehow."""
    left, triangles, ear = list(range(len(ring))), [], 0
    while len(left) > 3:
        order = (*range(ear, len(left)), *range(ear))  # goes on where the last ear was
        ear = next((i for i in order if _is_ear(ring, left, i)), None)
        if ear is None:  # it crosses itself, or has no area
            break
        triangles.append([left[ear - 1], left[ear], left[(ear + 1) % len(left)]])
        del left[ear]
    rest = [[left[0], *pair] for pair in itertools.pairwise(left[1:])]
    return np.array(triangles + rest)


def _is_ear(ring: np.ndarray, left: list[int], i: int) -> bool:
    a, b, c = (ring[left[j % len(left)]] for j in (i - 1, i, i + 1))
    if not _turn(a, b, c) > 0:
        return False
    others = ring[
        [v for j, v in enumerate(left) if (j - i) % len(left) not in (0, 1, len(left) - 1)]
    ]
    inside = (_turn(a, b, others) >= 0) & (_turn(b, c, others) >= 0) & (_turn(c, a, others) >= 0)
    # Corners at the ear's own positions touch it, as where a polygon has a slit to a hole.
    apart = ~((others == a) | (others == b) | (others == c)).all(axis=1)
    return not (inside & apart).any()


def _turn(a: np.ndarray, b: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Twice the area of the triangles a, b, p; positive if they run counterclockwise."""
    return (b[0] - a[0]) * (p[..., 1] - a[1]) - (b[1] - a[1]) * (p[..., 0] - a[0])


def without_unplaced(
    path: Path,
    vertices: Float[np.ndarray, "v 3"],
    corners: Int[np.ndarray, " c"],
    lines: list[int] | None = None,
) -> tuple[Float[np.ndarray, "w 3"], Int[np.ndarray, " c"]]:
    """Leaves out vertices without a finite position that no face has, as fused scans contain them.

    Args:
        path: The file, for error messages.
        vertices: Positions.
        corners: Vertices of all faces.
        lines: The vertices' lines in a text file, for error messages.

    Returns:
        The other vertices, and the corners as indices of them.

    Raises:
        BadInputError: A face has such a vertex.
    """
    placed = (np.abs(vertices) <= MAX_MAGNITUDE).all(axis=1)  # False for NaN
    if placed.all():
        return vertices, corners
    if bad := corners[~placed[corners]].tolist():
        found = f"a face with vertex {bad[0]} at {vertices[bad[0]].tolist()}, which is not finite"
        raise BadInputError(path, found, "finite x, y and z", lines[bad[0]] if lines else None)
    return vertices[placed], (np.cumsum(placed) - 1)[corners]
