"""Triangle meshes: edges, neighbours, borders and normals. Static, NumPy."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int


def unique_edges(faces: Int[np.ndarray, "f 3"]) -> tuple[np.ndarray, np.ndarray]:
    """Returns undirected edges [e 2] (smaller index first) and the number of faces at each [e]."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    low, high = edges[edges[:, 0] != edges[:, 1]].astype(np.int64).T
    # One number an edge: np.unique sorts numbers several times as fast as rows.
    base = int(faces.max(initial=0)) + 1
    keys, counts = np.unique(low * base + high, return_counts=True)
    return np.stack(np.divmod(keys, base), axis=1).astype(faces.dtype), counts


@dataclass(frozen=True)
class Neighbours:
    """Neighbour lists N(v), padded to the largest degree.

    Attributes:
        index: Neighbours of each vertex; unused slots hold the vertex itself.
        valid: False in unused slots.
    """

    index: Int[np.ndarray, "v n"]
    valid: Bool[np.ndarray, "v n"]

    @property
    def degree(self) -> Int[np.ndarray, " v"]:
        return self.valid.sum(axis=1)


def vertex_neighbours(faces: Int[np.ndarray, "f 3"], num_vertices: int) -> Neighbours:
    """Finds the vertices that share an edge with each vertex."""
    edges, _ = unique_edges(faces)
    both = np.concatenate([edges, edges[:, ::-1]])
    both = both[np.lexsort((both[:, 1], both[:, 0]))]
    degree = np.bincount(both[:, 0], minlength=num_vertices)
    slot = np.arange(len(both)) - np.repeat(np.cumsum(degree) - degree, degree)
    index = np.tile(np.arange(num_vertices)[:, None], (1, max(int(degree.max(initial=0)), 1)))
    index[both[:, 0], slot] = both[:, 1]
    valid = np.arange(index.shape[1]) < degree[:, None]
    return Neighbours(index.astype(np.int32), valid)


def boundary_loops(faces: Int[np.ndarray, "f 3"]) -> list[np.ndarray]:
    """Finds the vertex sets of the connected pieces of the mesh's border, the largest first."""
    edges, counts = unique_edges(faces)
    border = edges[counts == 1]
    vertices, local = np.unique(border, return_inverse=True)
    local = local.reshape(-1, 2)
    label = np.arange(len(vertices))
    while True:
        lowest = label.copy()
        np.minimum.at(lowest, local[:, 0], label[local[:, 1]])
        np.minimum.at(lowest, local[:, 1], label[local[:, 0]])
        lowest = lowest[lowest]
        if np.array_equal(lowest, label):
            break
        label = lowest
    loops = [vertices[label == piece] for piece in np.unique(label)]
    return sorted(loops, key=len, reverse=True)


def dominant_joint(lbs_weights: Float[np.ndarray, "v j"]) -> Int[np.ndarray, " v"]:
    """Returns the joint with the largest skinning weight of each vertex."""
    return np.argmax(lbs_weights, axis=1)


def vertex_normals(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> Float[np.ndarray, "v 3"]:
    """Computes unit normals, each the area-weighted mean of the faces around a vertex.

    In the precision of the vertices; 0 where no face around a vertex has an area.
    """
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    weighted = np.cross(b - a, c - a)
    normals = np.zeros_like(vertices)
    for corner in faces.T:
        np.add.at(normals, corner, weighted)
    # Scaled first: squares of small numbers are 0, and what is left is no unit vector.
    largest = np.abs(normals).max(axis=1, keepdims=True, initial=0)
    normals /= np.where(largest > 0, largest, 1)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return normals / np.where(length > 0, length, 1)
