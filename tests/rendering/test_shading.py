"""Pictures for people: where the mesh is, and that its colour is what was asked for."""

import numpy as np
import trimesh

from dhm.rendering.shading import SKIN, portrait

SIZE = 64
K = np.array([[300.0, 0, 31.5], [0, 300, 31.5], [0, 0, 1]])


def _ball(radius, depth):
    ball = trimesh.creation.icosphere(subdivisions=4, radius=radius)
    return np.asarray(ball.vertices) + np.array([0, 0, depth]), np.asarray(ball.faces)


def test_a_ball_is_the_disc_that_it_projects_to():
    vertices, faces = _ball(40.0, 600.0)
    picture, seen = portrait(vertices, faces, SKIN, K, SIZE)
    radius = 300 * np.tan(np.arcsin(40 / 600))
    rows, columns = np.mgrid[:SIZE, :SIZE]
    distance = np.hypot(rows - 31.5, columns - 31.5)
    assert seen[distance < radius - 0.5].all() and not seen[distance > radius + 0.5].any()
    assert picture[seen].max(axis=1).min() > picture[~seen].max()


def test_one_colour_is_that_of_every_vertex_and_red_is_red():
    vertices, faces = _ball(40.0, 600.0)
    red = (0.7, 0.1, 0.1)
    picture, seen = portrait(vertices, faces, red, K, SIZE)
    again, _ = portrait(vertices, faces, np.broadcast_to(red, vertices.shape), K, SIZE)
    assert (picture == again).all()
    assert (picture[seen][:, 0] > picture[seen][:, 1:].max(axis=1)).all()


def test_the_light_comes_with_the_camera():
    """From above and the left of whoever looks: the ball is brighter there than below."""
    vertices, faces = _ball(40.0, 600.0)
    picture, seen = portrait(vertices, faces, SKIN, K, SIZE)
    brightness = np.where(seen, picture.mean(axis=-1), np.nan)
    assert np.nanmean(brightness[:32]) > 1.2 * np.nanmean(brightness[32:])
