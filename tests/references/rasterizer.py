"""The rasterizer's slow twin: every face against every pixel, in float64 NumPy.

A pixel centre is hit where the three homogeneous edge functions have the sign of the face's volume
and the depth exceeds the near plane; the nearest hit wins, then the lowest face index. There are
no boxes, no windows, no anchors and no thresholds.
"""

from typing import NamedTuple

import numpy as np


class Layers(NamedTuple):
    """All hits of one view, [f h w] each.

    Attributes:
        margin: Distance in pixels from the pixel centre to the nearest of the face's edge lines,
            negative outside; -inf where the depth is not beyond the near plane or the face has
            no volume or a corner that is not finite.
        depth: Depth of the face's plane at the pixel, clipped to the face's own range, mm.
        near, far: That range [f 1 1].
        slope: Length of the plane's depth gradient, mm a pixel.
        bary: Perspective-correct barycentric coordinates [f h w 3].
    """

    margin: np.ndarray
    depth: np.ndarray
    near: np.ndarray
    far: np.ndarray
    slope: np.ndarray
    bary: np.ndarray


def layers(v_camera, faces, K, image_size, near=1.0, pixel_center=0.0, cull_backfaces=False):
    """Every face of one view at every pixel."""
    height, width = image_size
    column, row = np.meshgrid(np.arange(width), np.arange(height))
    pixels = np.stack([column + pixel_center, row + pixel_center, np.ones_like(row)], -1)
    shape = (len(faces), height, width)
    z = np.asarray(v_camera, np.float64)[np.asarray(faces), 2]
    out = Layers(
        margin=np.full(shape, -np.inf),
        depth=np.zeros(shape),
        near=z.min(1)[:, None, None],
        far=z.max(1)[:, None, None],
        slope=np.zeros(shape),
        bary=np.zeros((*shape, 3)),
    )
    with np.errstate(all="ignore"):
        points = np.asarray(v_camera, np.float64) @ np.asarray(K, np.float64).T
        for index, face in enumerate(np.asarray(faces)):
            _fill(out, index, points[face], pixels, near, cull_backfaces)
    return out


def _fill(out, index, corners, pixels, near, cull_backfaces):
    if not np.isfinite(corners).all():
        return
    edges = np.stack([np.cross(corners[i], corners[j]) for i, j in ((1, 2), (2, 0), (0, 1))])
    volume = corners[0] @ edges[0]
    if volume == 0 or (cull_backfaces and volume > 0):
        return
    values = pixels @ edges.T * np.sign(volume)
    total = values.sum(-1)
    depth = np.abs(volume) / total
    margin = (values / np.linalg.norm(edges[:, :2], axis=1)).min(-1)
    out.margin[index] = np.where((total > 0) & (depth > near), margin, -np.inf)
    out.bary[index] = values / total[..., None]
    out.depth[index] = np.clip(depth, out.near[index], out.far[index])
    out.slope[index] = depth**2 * np.linalg.norm(edges[:, :2].sum(0)) / np.abs(volume)


def visible(hits: Layers, grow: float = 0.0, shift: float = 0.0):
    """Visible face (-1 = none) and its depth (inf = none) with all faces grown by some pixels.

    `shift` times the slope is added to the depth, within the face's range.
    """
    depth = np.clip(hits.depth + shift * hits.slope, hits.near, hits.far)
    depth = np.where(hits.margin >= -grow, depth, np.inf)
    face = depth.argmin(0)
    nearest = np.take_along_axis(depth, face[None], 0)[0]
    return np.where(np.isfinite(nearest), face, -1), nearest


def fragments(v_camera, faces, K, image_size, **options):
    """The twin of `rasterize` for one view: pix_to_face, bary_coords, zbuf."""
    if len(faces) == 0:
        empty = np.zeros(image_size)
        return np.full(image_size, -1), np.zeros((*image_size, 3)), empty
    hits = layers(v_camera, faces, K, image_size, **options)
    face, depth = visible(hits)
    bary = np.take_along_axis(hits.bary, np.maximum(face, 0)[None, ..., None], 0)[0]
    return face, np.where(face[..., None] >= 0, bary, 0), np.where(face >= 0, depth, 0)


def ray_plane_depth(corners, rays):
    """Depth of the planes through corners [p 3 3] on rays [p 3] with z = 1."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    normal = np.cross(b - a, c - a)
    return (normal * a).sum(-1) / (normal * rays).sum(-1)


def depth_gradient(
    v_camera, faces, K, pix_to_face, cotangent, pixel_center=0.0, step=1e-4
) -> np.ndarray:
    """Gradient of sum(cotangent * depth) by central differences with the faces held fixed."""
    rows, columns = np.nonzero(pix_to_face >= 0)
    pixels = np.stack([columns + pixel_center, rows + pixel_center, np.ones_like(rows)], -1)
    rays = pixels @ np.linalg.inv(np.asarray(K, np.float64)).T
    seen = np.asarray(faces)[pix_to_face[rows, columns]]
    vertices = np.asarray(v_camera, np.float64)
    weight = np.asarray(cotangent, np.float64)[rows, columns]
    gradient = np.zeros_like(vertices)
    for corner in range(3):
        for axis in range(3):
            moved = np.zeros((1, 3, 3))
            moved[0, corner, axis] = step
            above = ray_plane_depth(vertices[seen] + moved, rays)
            below = ray_plane_depth(vertices[seen] - moved, rays)
            np.add.at(gradient, (seen[:, corner], axis), weight * (above - below) / (2 * step))
    return gradient
