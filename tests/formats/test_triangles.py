"""Polygons cut into triangles, against areas and orientations."""

import numpy as np
import pytest

from dhm.formats.triangles import MAX_CORNERS, triangulate
from tests.formats.samples import rotation

DART = np.array([[0, 0], [4, 0], [1, 1], [0, 4.0]])  # concave at its third corner
COMB = np.array([[0, 0], [6, 0], [6, 4], [5, 4], [5, 1], [3, 1], [3, 4], [2, 4], [2, 1], [0, 1.0]])
SQUARE = np.array([[0, 0], [1, 0], [1, 1], [0, 1.0]])


def _area(ring):
    x, y = ring.T
    return 0.5 * (x * np.roll(y, -1) - y * np.roll(x, -1)).sum()


def _in_space(ring):
    turn = rotation(0, 0.7) @ rotation(2, 1.9)
    return np.pad(ring, ((0, 0), (0, 1))) @ turn.T + [3, -5, 900]


@pytest.mark.parametrize("ring", [DART, COMB, SQUARE, DART[::-1], COMB[::-1]])
def test_triangles_cover_the_polygon_once_from_every_first_corner(ring):
    vertices, signed = _in_space(ring), _area(ring)
    for first in range(len(ring)):
        corners = np.roll(np.arange(len(ring)), first)
        triangles = corners[triangulate(vertices, np.array([len(ring)]), corners)]
        areas = np.array([_area(ring[triangle]) for triangle in triangles])
        assert len(triangles) == len(ring) - 2
        assert (areas * np.sign(signed) >= 0).all()  # none folds over, so none overlaps
        np.testing.assert_allclose(areas.sum(), signed)


def test_a_polygon_of_the_most_corners():
    angle = np.arange(MAX_CORNERS) * 2 * np.pi / MAX_CORNERS
    radius = np.where(np.arange(MAX_CORNERS) % 2, 1.0, 2.0)  # a star
    ring = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    corners = np.arange(MAX_CORNERS)
    triangles = triangulate(_in_space(ring), np.array([MAX_CORNERS]), corners)
    areas = np.array([_area(ring[triangle]) for triangle in triangles])
    assert (areas > 0).all()
    np.testing.assert_allclose(areas.sum(), _area(ring))


def test_faces_keep_their_order_and_triangles_stay_as_they_are():
    vertices, corners = _in_space(SQUARE), np.array([0, 1, 2, 0, 1, 2, 3, 1, 1, 2, 2, 3, 0])
    triangles = corners[triangulate(vertices, np.array([3, 4, 3, 3]), corners)]
    assert triangles.tolist() == [[0, 1, 2], [0, 1, 2], [0, 2, 3], [1, 1, 2], [2, 3, 0]]


@pytest.mark.parametrize("corners", [[0, 1, 2, 2], [0, 0, 1, 2], [0, 1, 1, 2], [0, 1, 2, 0]])
def test_a_triangle_written_as_a_quadrilateral_is_one_triangle(corners):
    corners = np.array(corners)
    triangles = corners[triangulate(_in_space(SQUARE), np.array([4]), corners)]
    assert sorted(triangles[0].tolist()) == [0, 1, 2] and len(triangles) == 1


def test_polygons_without_an_area_end_somehow():
    for ring in (np.zeros((6, 3)), np.arange(18.0).reshape(6, 3), np.full((6, 3), np.nan)):
        assert len(triangulate(ring, np.array([6]), np.arange(6))) == 4
