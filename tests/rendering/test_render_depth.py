"""Depth maps of whole meshes: against rays, in batches, and what they cost and import."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

from dhm.errors import BadInputError
from dhm.geometry.cameras import world_to_camera
from dhm.rendering import rasterize, render_depth
from dhm.types import Camera
from tests.references.rasterizer import ray_plane_depth
from tests.rendering import scenes


def cast(vertices, faces, K, T, size):
    """Embree's face of every pixel (-1 = none), and the pixels' exact rays in the camera."""
    column, row = np.meshgrid(np.arange(size[1]), np.arange(size[0]))
    pixels = np.stack([column, row, np.ones_like(row)], -1).reshape(-1, 3)
    rays = pixels @ np.linalg.inv(K.astype(np.float64)).T
    pose = T.astype(np.float64)
    eye = np.broadcast_to(-pose[:3, :3].T @ pose[:3, 3], rays.shape).astype(np.float32)
    scene = EmbreeScene()
    TriangleMesh(scene, vertices, faces)
    hits = scene.run(eye.copy(), (rays @ pose[:3, :3]).astype(np.float32), output=True)
    return hits["primID"].astype(np.int64).reshape(size), rays.reshape(*size, 3)


@pytest.mark.parametrize(
    ("rings", "field", "pixel_error"),
    [(6, 110.0, 0), (45, 110.0, 1), (45, 12.0, 1)],
    ids=["coarse", "fine", "zoomed crop"],
)
def test_agrees_with_rays(rings, field, pixel_error):
    size, views = (120, 136), 3
    vertices, faces = scenes.bumpy_sphere(rings)
    K, T = scenes.ring_of_cameras(views, size, field=field)

    @jax.jit
    def draw(vertices):
        v_camera = world_to_camera(vertices, jnp.asarray(T))
        return rasterize(v_camera, faces, jnp.asarray(K), size)

    result = jax.device_get(draw(jnp.asarray(vertices)))
    for view in range(views):
        face, depth = result.pix_to_face[view], result.zbuf[view]
        expected, rays = cast(vertices, faces, K[view], T[view], size)
        assert (expected >= 0).mean() > 0.2
        assert ((face >= 0) != (expected >= 0)).sum() <= pixel_error
        same = (face == expected) & (face >= 0)
        assert same.sum() >= 0.999 * (face >= 0).sum()
        pose = T[view].astype(np.float64)
        v_camera = vertices @ pose[:3, :3].T + pose[:3, 3]
        error = np.abs(depth[same] - ray_plane_depth(v_camera[faces[face[same]]], rays[same]))
        assert np.median(error) < 1e-4
        # Where a face is seen almost on edge, float32 vertices leave less.
        assert np.quantile(error, 0.999) < 5e-3
        assert (depth[face < 0] == 0).all()


def test_leading_axes_of_batch_and_cameras():
    size = (20, 24)
    vertices, faces = scenes.bumpy_sphere(5)
    K, T = scenes.ring_of_cameras(3, size)
    batch = jnp.asarray(vertices) * jnp.asarray([1.0, 0.8]).reshape(2, 1, 1, 1)
    camera = Camera(jnp.asarray(K)[None, None], jnp.asarray(T)[None, None])
    camera = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (2, 1, *leaf.shape[2:])), camera)
    depth = render_depth(batch, faces, camera, size)
    assert depth.shape == (2, 1, 3, *size)
    single = render_depth(batch[1, 0], faces, Camera(jnp.asarray(K), jnp.asarray(T)), size)
    np.testing.assert_allclose(depth[1, 0], single, rtol=1e-6)


def test_a_rigid_motion_of_mesh_and_camera_changes_nothing():
    size = (40, 40)
    vertices, faces = scenes.bumpy_sphere(10)
    K, T = scenes.ring_of_cameras(1, size)
    motion = np.eye(4)
    motion[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    motion[:3, 3] = [400, -300, 800]
    moved = (vertices @ motion[:3, :3].T + motion[:3, 3]).astype(np.float32)
    moved_T = (T @ np.linalg.inv(motion)).astype(np.float32)
    draw = jax.jit(lambda v, T: render_depth(v, faces, Camera(jnp.asarray(K), T), size))
    before, after = np.asarray(draw(vertices, T)), np.asarray(draw(moved, moved_T))
    both = (before > 0) & (after > 0)
    assert ((before > 0) != (after > 0)).mean() < 5e-3
    assert np.median(np.abs(before - after)[both]) < 1e-3


def test_memory_of_a_training_batch():
    """8 samples x 6 views of 25k faces: 150 MB beside arguments and results, with gradient."""
    size, (vertices, faces) = (256, 256), scenes.bumpy_sphere(79)
    assert 24_000 < len(faces) < 26_000

    def objective(vertices, camera, weight):
        return (render_depth(vertices, faces, camera, size) * weight).sum()

    def shape(*dimensions):
        return jax.ShapeDtypeStruct(dimensions, jnp.float32)

    camera = Camera(shape(8, 6, 3, 3), shape(8, 6, 4, 4))
    step = jax.jit(jax.value_and_grad(objective))
    compiled = step.lower(shape(8, *vertices.shape), camera, shape(8, 6, *size)).compile()
    assert compiled.memory_analysis().temp_size_in_bytes <= 150e6


def test_imports_nothing_that_a_training_machine_lacks():
    code = (
        "import sys, dhm.rendering, dhm.studies.benchmarks.rasterizer\n"
        "print([name for name in ('tensorflow_datasets', 'tensorflow', 'trimesh', 'cv2', "
        "'matplotlib', 'embreex', 'viser', 'flax') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": (0, 8)}, r"image_size: found \(0, 8\), expected a height and a width"),
        ({"near": 0.0}, "near: found 0.0, expected a finite depth above 0 mm"),
        ({"near": float("nan")}, "near: found nan, expected a finite depth"),
        ({"window": 0}, "window: found 0, expected at least 1 pixel"),
        ({"schedule": "sometimes"}, "schedule: found 'sometimes', expected 'in_turn'"),
        ({"faces": np.array([[0, 1, 3]])}, r"faces: found vertex indices 0\.\.3, expected 0\.\.2"),
        ({"faces": np.array([[0, -1, 2]])}, r"faces: found vertex indices -1\.\.2, expected"),
    ],
)
def test_refuses_what_is_impossible(options, message):
    arguments = {"faces": np.array([[0, 1, 2]]), "image_size": (8, 8)} | options
    vertices = jnp.zeros((1, 3, 3))
    with pytest.raises(BadInputError, match=message):
        rasterize(vertices, K=jnp.eye(3)[None], **arguments)
    camera = Camera(jnp.eye(3)[None], jnp.eye(4)[None])
    with pytest.raises(BadInputError, match=message):
        render_depth(vertices[0], camera=camera, **arguments)
