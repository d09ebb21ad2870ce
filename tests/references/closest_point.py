"""Slow, obvious float64 twin of the closest-point query: every triangle, one after the other."""

import numpy as np


def on_segment(p, a, b):
    along = b - a
    length = along @ along
    t = 0.0 if length == 0 else min(max((p - a) @ along / length, 0.0), 1.0)
    return a + t * along


def on_triangle(p, a, b, c):
    candidates = [on_segment(p, a, b), on_segment(p, b, c), on_segment(p, c, a)]
    normal = np.cross(b - a, c - a)
    if np.linalg.norm(normal) > 1e-12:
        foot = p - normal * ((p - a) @ normal) / (normal @ normal)
        if all(np.cross(y - x, foot - x) @ normal >= 0 for x, y in ((a, b), (b, c), (c, a))):
            candidates.append(foot)
    return min(candidates, key=lambda q: np.linalg.norm(q - p))


def on_mesh(p, vertices, faces):
    return min((on_triangle(p, *vertices[f]) for f in faces), key=lambda q: np.linalg.norm(q - p))


def distances(points, vertices, faces):
    return np.array([np.linalg.norm(on_mesh(p, vertices, faces) - p) for p in points])
