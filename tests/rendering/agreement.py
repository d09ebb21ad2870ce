"""When a float32 rasterization agrees with the float64 twin.

Rounding moves an edge by a small part of a pixel. So the depth has to lie between that of all
faces grown and that of all faces shrunk by so much, at every pixel, and the visible face has to be
one that the grown faces show at that depth.
"""

import numpy as np

from tests.references import rasterizer as twin

ROUNDING = 4e-6


def assert_agrees(fragments, v_camera, faces, K, pixels=2e-3, thin=False, **options):
    """Checks one view's (pix_to_face, bary_coords, zbuf) and returns the part of equal faces.

    `pixels` is how far an edge may move. Along a face that is no wider than that, the coordinates
    may be anywhere: with `thin` they are not looked at.
    """
    face, bary, depth = (np.asarray(part) for part in fragments)
    assert face.dtype == np.int32 and bary.dtype == np.float32 and depth.dtype == np.float32
    hits = twin.layers(v_camera, faces, K, depth.shape, **options)
    nearest = np.where(face >= 0, depth, np.inf).astype(np.float64)
    lower = twin.visible(hits, grow=pixels, shift=-pixels)[1]
    upper = twin.visible(hits, grow=-pixels, shift=pixels)[1]
    assert (lower * (1 - ROUNDING) <= nearest).all()
    assert (nearest <= upper * (1 + ROUNDING)).all()
    assert ((face >= 0) == (depth > 0)).all()

    seen = np.nonzero(face >= 0)
    at = (face[seen], *seen)
    error = np.abs(hits.depth[at] - depth[seen])
    assert (hits.margin[at] >= -pixels).all()
    assert (error <= pixels * hits.slope[at] + ROUNDING * depth[seen]).all()
    assert (depth[seen] >= hits.near[face[seen], 0, 0] * (1 - ROUNDING)).all()
    assert (depth[seen] <= hits.far[face[seen], 0, 0] * (1 + ROUNDING)).all()
    if not thin:
        _assert_coordinates(face, bary, depth, v_camera, faces, K, pixels, **options)
    exact, _ = twin.visible(hits)
    return (exact == face).mean()


def _assert_coordinates(face, bary, depth, v_camera, faces, K, pixels, pixel_center=0.0, **_):
    """The coordinates sum to 1, none is negative, and their point projects onto the pixel."""
    assert (bary[face < 0] == 0).all()
    rows, columns = np.nonzero(face >= 0)
    weights = bary[rows, columns].astype(np.float64)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    assert (weights >= -1e-6).all()
    corners = np.asarray(v_camera, np.float64)[np.asarray(faces)[face[rows, columns]]]
    points = np.einsum("pi,pij->pj", weights, corners)
    size = np.abs(corners[..., 2]).max(-1)
    assert (np.abs(points[:, 2] - depth[rows, columns]) <= ROUNDING * size).all()
    image = points @ np.asarray(K, np.float64).T
    target = np.stack([columns, rows], -1) + pixel_center
    off = np.abs(image[:, :2] / image[:, 2:] - target).max(-1)
    assert (off <= pixels * np.maximum(1, size / image[:, 2])).all()
