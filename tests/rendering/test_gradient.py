"""Gradients against central differences in float64 with the visible faces held fixed."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dhm.rendering import rasterize, render_depth
from dhm.types import Camera
from tests.references import rasterizer as twin
from tests.rendering import scenes

SCENES = scenes.nasty_scenes()


@partial(jax.jit, static_argnames="options")
def zbuf_and_gradient(v_camera, K, cotangent, options=()):
    def objective(vertices):
        result = rasterize(vertices, scenes.FACES, K, scenes.IMAGE_SIZE, **dict(options))
        return (result.zbuf * cotangent).sum(), result.pix_to_face

    gradient, face = jax.grad(objective, has_aux=True)(v_camera)
    return face, gradient


@jax.jit
def coordinates_gradient(v_camera, K, cotangent):
    def objective(vertices):
        result = rasterize(vertices, scenes.FACES, K, scenes.IMAGE_SIZE)
        return (result.bary_coords * cotangent).sum(), result.pix_to_face

    gradient, face = jax.grad(objective, has_aux=True)(v_camera)
    return face, gradient


def cotangent_for(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def relative_error(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


WELL_POSED = [
    "covers the screen",
    "one corner behind",
    "two corners behind",
    "floor under the camera",
    "corner in the camera's plane",
    "coplanar",
    "interpenetrating",
    "duplicates",
    "not finite",
    "soup of 3.0 mm",
    "soup of 200.0 mm",
]


@pytest.mark.parametrize("name", WELL_POSED)
def test_zbuf_gradient_of_hard_scenes(name):
    vertices, K = SCENES[name]
    cotangent = cotangent_for((1, *scenes.IMAGE_SIZE))
    half = (("pixel_center", 0.5),)
    face, gradient = zbuf_and_gradient(vertices[None], K[None], cotangent, options=half)
    with np.errstate(invalid="ignore"):
        expected = twin.depth_gradient(
            vertices, scenes.FACES, K, np.asarray(face[0]), cotangent[0], pixel_center=0.5
        )
    assert np.abs(expected).max() > 0
    assert relative_error(np.asarray(gradient[0]), expected) < 2e-4


@pytest.mark.parametrize("options", [(), (("schedule", "at_once"),)])
def test_gradients_are_finite_and_vanish_where_nothing_is_seen(options):
    vertices = np.stack([vertices for vertices, _ in SCENES.values()])
    K = np.stack([K for _, K in SCENES.values()])
    cotangent = cotangent_for((len(K), *scenes.IMAGE_SIZE))
    face, gradient = zbuf_and_gradient(vertices, K, cotangent, options=options)
    assert np.isfinite(gradient).all()
    by_face = np.abs(np.asarray(gradient)).reshape(len(K), scenes.NUM_FACES, 9).max(-1)
    for view in range(len(K)):
        hidden = np.setdiff1d(np.arange(scenes.NUM_FACES), np.asarray(face[view]))
        assert (by_face[view, hidden] == 0).all()


def test_barycentric_gradient():
    """Central differences of the twin's coordinates; finite in spite of a NaN in face 0."""
    vertices = scenes.random_soup(4, 20.0)
    vertices[0] = np.nan
    cotangent = cotangent_for((1, *scenes.IMAGE_SIZE, 3))
    face, gradient = coordinates_gradient(vertices[None], scenes.K[None], cotangent)
    face, gradient = np.asarray(face[0]), np.asarray(gradient[0])
    assert np.isfinite(gradient).all()

    def objective(moved):
        hits = twin.layers(moved, scenes.FACES, scenes.K, scenes.IMAGE_SIZE)
        bary = np.take_along_axis(hits.bary, np.maximum(face, 0)[None, ..., None], 0)[0]
        return (np.where(face[..., None] >= 0, bary, 0) * cotangent[0]).sum()

    largest = np.argsort(-np.abs(gradient).max(-1))[:4]
    for vertex in largest:
        for axis in range(3):
            step = np.zeros(vertices.shape)
            step[vertex, axis] = 1e-4
            expected = (objective(vertices + step) - objective(vertices - step)) / 2e-4
            scale = np.abs(gradient[vertex]).max()
            np.testing.assert_allclose(gradient[vertex, axis], expected, atol=2e-3 * scale)


@pytest.fixture(scope="module")
def sphere():
    """A bumpy sphere seen by two cameras, one sample: vertices, faces, Camera, image size."""
    size = (48, 40)
    vertices, faces = scenes.bumpy_sphere(14)
    K, T = scenes.ring_of_cameras(2, size)
    return vertices, faces, Camera(jnp.asarray(K), jnp.asarray(T)), size


def test_render_depth_gradient_in_world_coordinates(sphere):
    vertices, faces, camera, size = sphere
    cotangent = cotangent_for((2, *size))

    def objective(vertices, T):
        depth = render_depth(vertices, faces, Camera(camera.K, T), size)
        return (depth * cotangent).sum()

    grad = jax.jit(jax.grad(objective, argnums=(0, 1)))
    gradient, pose_gradient = grad(jnp.asarray(vertices), camera.T_camera_world)
    expected = np.zeros(vertices.shape)
    expected_pose = np.zeros((2, 3, 4))
    for view in range(2):
        K, T = np.asarray(camera.K[view]), np.asarray(camera.T_camera_world[view], np.float64)
        v_camera = vertices @ T[:3, :3].T + T[:3, 3]
        face, _, _ = twin.fragments(v_camera, faces, K, size)
        one = twin.depth_gradient(v_camera, faces, K, face, cotangent[view])
        expected += one @ T[:3, :3]
        expected_pose[view] = one.T @ np.concatenate([vertices, np.ones((len(vertices), 1))], 1)
    gradient = np.asarray(gradient)
    assert relative_error(gradient, expected) < 1e-3
    moved = np.abs(expected) > 1e-3
    error = np.abs(gradient - expected)[moved] / np.abs(expected)[moved]
    assert np.median(error) < 1e-4
    assert np.quantile(error, 0.95) < 2e-3
    assert relative_error(np.asarray(pose_gradient)[:, :3], expected_pose) < 1e-3


def test_moving_the_mesh_along_the_axis_moves_every_depth_by_as_much():
    """A property of the whole: the gradients of the mean depth sum to (0, 0, 1) for a plane."""
    vertices = scenes.soup([[-500.0, -500, 90], [500, -500, 90], [0, 900, 90]])
    cotangent = np.full((1, *scenes.IMAGE_SIZE), 1 / np.prod(scenes.IMAGE_SIZE), np.float32)
    _, gradient = zbuf_and_gradient(vertices[None], scenes.K[None], cotangent)
    np.testing.assert_allclose(np.asarray(gradient[0]).sum(0), [0, 0, 1], atol=1e-5)


def test_vmap_and_pmap_give_the_gradients_of_one_batch(sphere):
    vertices, faces, camera, size = sphere
    batch = jnp.asarray(vertices) + jnp.arange(4.0)[:, None, None]
    cameras = jax.tree.map(lambda leaf: jnp.stack([leaf] * 4), camera)
    cotangent = jnp.asarray(cotangent_for((2, *size)))

    def objective(vertices, camera):
        return (render_depth(vertices, faces, camera, size) * cotangent).sum()

    together = np.asarray(jax.jit(jax.grad(objective))(batch, cameras))
    assert len(jax.devices()) >= 4
    each = jax.pmap(jax.grad(objective), devices=jax.devices()[:4])(batch, cameras)
    mapped = jax.jit(jax.vmap(jax.grad(objective)))(batch, cameras)
    assert together.dtype == np.float32 and mapped.dtype == np.float32
    # An edge pixel may change owner (see the schedules' test); its gradient then moves along.
    assert relative_error(np.asarray(each), together) < 1e-2
    assert relative_error(np.asarray(mapped), together) < 1e-2
    close = np.isclose(np.asarray(mapped), together, rtol=1e-3, atol=1e-4)
    assert close.mean() > 0.99


def test_a_nan_cotangent_stays_one():
    """An error upstream must surface, but only in the vertices of the pixel's face."""
    vertices, K = scenes.random_soup(4, 20.0), scenes.K
    cotangent = np.zeros((1, *scenes.IMAGE_SIZE), np.float32)
    face, _ = zbuf_and_gradient(vertices[None], K[None], cotangent)
    row, column = np.argwhere(np.asarray(face[0]) >= 0)[0]
    cotangent[0, row, column] = np.nan
    _, gradient = zbuf_and_gradient(vertices[None], K[None], cotangent)
    corners = scenes.FACES[int(face[0, row, column])]
    assert np.isnan(np.asarray(gradient[0])[corners]).all()
    assert np.isfinite(np.delete(np.asarray(gradient[0]), corners, axis=0)).all()
