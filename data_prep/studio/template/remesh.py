"""Remeshing: well-shaped triangles from the uneven ones of marching cubes, border preserved."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

from data_prep.studio.anatomy.surface import smooth_normals
from dhm.geometry.mesh import unique_edges

Project = Callable[[Float[np.ndarray, "v 3"]], Float[np.ndarray, "v 3"]]
"""Projects points onto the surface that a mesh approximates."""

_RELAXATION = 0.6
_FLIP_GAIN = 1e-3  # rad; opposite angles that sum to pi, as in a square, are a tie


def triangle_quality(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> Float[np.ndarray, " f"]:
    """Returns 4 sqrt(3) area / sum of squared sides: 1 if equilateral, 0 if degenerate."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    double_area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    sides = ((b - a) ** 2 + (c - b) ** 2 + (a - c) ** 2).sum(axis=1)
    return 2 * np.sqrt(3) * double_area / np.maximum(sides, 1e-30)


def remesh(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    project: Project,
    rounds: int,
) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
    """Collapses slivers, then flips edges and relaxes vertices along the surface.

    Vertices of the border move along it, and none of them is collapsed.

    Args:
        vertices: Vertices of a manifold mesh, mm.
        faces: Counter-clockwise seen from outside.
        project: Projects points onto the surface.
        rounds: Number of rounds of flips and relaxation.
    """
    for _ in range(3):
        vertices, faces = collapse_short_edges(vertices, faces, 0.5)
    for _ in range(rounds):
        faces = flip_edges(vertices, faces)
        vertices = project(_relaxed(vertices, faces))
    return vertices, faces


def collapse_short_edges(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], shortest: float
) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
    """Merges the ends of interior edges shorter than `shortest` times the mean edge."""
    edges, counts = unique_edges(faces)
    lengths = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
    border = np.zeros(len(vertices), bool)
    border[edges[counts == 1]] = True
    short = (lengths < shortest * lengths.mean()) & ~border[edges].any(axis=1)
    ring = [set() for _ in vertices]
    for one, other in edges.tolist():
        ring[one].add(other)
        ring[other].add(one)
    vertices = vertices.copy()
    target, locked = np.arange(len(vertices)), np.zeros(len(vertices), bool)
    for index in np.flatnonzero(short)[np.argsort(lengths[short], kind="stable")]:
        one, other = edges[index]
        around = ring[one] | ring[other]
        # More than two common neighbours: the collapse would pinch the surface.
        if locked[list(around)].any() or len(ring[one] & ring[other]) != 2:
            continue
        if len(around) - 4 < 4 or len(around) - 4 > 8:
            continue
        locked[list(around)] = True
        target[other] = one
        vertices[one] = (vertices[one] + vertices[other]) / 2
    faces = target[faces]
    faces = faces[(faces != np.roll(faces, 1, axis=1)).all(axis=1)]
    used, faces = np.unique(faces, return_inverse=True)
    return vertices[used], faces.reshape(-1, 3)


def flip_edges(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], passes: int = 4
) -> Int[np.ndarray, "f 3"]:
    """Flips edges whose opposite angles sum to more than pi (Delaunay) and that are not bent."""
    for _ in range(passes):
        ends, pair, tips = _interior_edges(faces)
        gain = _opposite_angles(vertices, ends, tips) - np.pi
        bent = _bends(vertices, faces, pair)
        wanted = (gain > _FLIP_GAIN) & ~bent & ~_exists(faces, tips)
        chosen = _independent(np.where(wanted, gain, 0.0), pair, len(faces))
        if not len(chosen):
            break
        (one, other), (tip, far) = ends[chosen].T, tips[chosen].T
        faces = faces.copy()
        faces[pair[chosen, 0]] = np.stack([tip, one, far], axis=1)
        faces[pair[chosen, 1]] = np.stack([far, other, tip], axis=1)
    return faces


def half_edge_twins(half_edges: Int[np.ndarray, "h 2"]) -> Int[np.ndarray, " h"]:
    """Returns the index of the opposite half-edge of each half-edge; -1 at the border."""
    size = int(half_edges.max()) + 1
    forward, backward = half_edges @ [size, 1], half_edges[:, ::-1] @ [size, 1]
    order = np.argsort(forward, kind="stable")
    twin = order[np.minimum(np.searchsorted(forward[order], backward), len(order) - 1)]
    return np.where(forward[twin] == backward, twin, -1)


def _interior_edges(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ends of each interior edge, in the direction of its first face; faces; opposite corners."""
    half = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    tips = np.concatenate([faces[:, 2], faces[:, 0], faces[:, 1]])
    face = np.tile(np.arange(len(faces)), 3)
    twin = half_edge_twins(half)
    found = (twin >= 0) & (half[:, 0] < half[:, 1])
    pair = np.stack([face[found], face[twin[found]]], axis=1)
    return half[found], pair, np.stack([tips[found], tips[twin[found]]], axis=1)


def _opposite_angles(vertices, ends, tips) -> Float[np.ndarray, " e"]:
    total = np.zeros(len(ends))
    for tip in tips.T:
        one, other = vertices[ends[:, 0]] - vertices[tip], vertices[ends[:, 1]] - vertices[tip]
        sine = np.linalg.norm(np.cross(one, other), axis=1)
        total += np.arctan2(sine, (one * other).sum(axis=1))
    return total


def _bends(vertices, faces, pair) -> Bool[np.ndarray, " e"]:
    """Edges with a dihedral angle above 60 degrees: a flip would cut a corner."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    normal = np.cross(b - a, c - a)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-30)
    return (normal[pair[:, 0]] * normal[pair[:, 1]]).sum(axis=1) < 0.5


def _exists(faces: np.ndarray, wanted: np.ndarray) -> Bool[np.ndarray, " e"]:
    edges, _ = unique_edges(faces)
    size = int(faces.max()) + 1
    low, high = np.sort(wanted, axis=1).T
    return np.isin(low * size + high, edges[:, 0] * size + edges[:, 1])


def _independent(gain: np.ndarray, pair: np.ndarray, num_faces: int) -> Int[np.ndarray, " c"]:
    """Edges with the largest gain among all edges of both faces; ties go to the lower index."""
    rank = np.empty(len(gain), int)
    rank[np.lexsort((-np.arange(len(gain)), gain))] = np.arange(len(gain))
    best = np.full(num_faces, -1)
    for side in range(2):
        np.maximum.at(best, pair[:, side], rank)
    wins = (best[pair[:, 0]] == rank) & (best[pair[:, 1]] == rank)
    return np.flatnonzero(wins & (gain > 0))


def _relaxed(vertices: np.ndarray, faces: np.ndarray) -> Float[np.ndarray, "v 3"]:
    """Moves each vertex towards its neighbours' mean, along the surface or along the border."""
    edges, counts = unique_edges(faces)
    rim = edges[counts == 1]
    on_rim = np.zeros(len(vertices), bool)
    on_rim[rim] = True
    # The neighbours of a border vertex are the two on the border.
    links = np.concatenate([edges, edges[:, ::-1]])
    links = links[~on_rim[links[:, 0]]]
    links = np.concatenate([links, rim, rim[:, ::-1]])
    mean, count = np.zeros_like(vertices), np.bincount(links[:, 0], minlength=len(vertices))
    for axis in range(3):
        mean[:, axis] = np.bincount(links[:, 0], vertices[links[:, 1], axis], len(vertices))
    move = mean / count[:, None] - vertices
    normals = smooth_normals(vertices, faces)
    move -= normals * (move * normals).sum(axis=1, keepdims=True)
    move[on_rim, 0] = 0.0  # the border lies in a plane across the forearm
    return vertices + _RELAXATION * move
