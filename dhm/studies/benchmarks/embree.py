"""Embree as the rasterizer's rival in speed and its judge in accuracy, where it is installed."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from dhm.geometry.cameras import world_to_camera
from dhm.rendering import rasterize
from dhm.studies.benchmarks.timing import BenchmarkRow
from dhm.types import Camera


def embree_caster(
    vertices: np.ndarray, faces: np.ndarray, camera: Camera, image_size: tuple[int, int]
) -> Callable[[], np.ndarray] | None:
    """A call that builds Embree's scene and casts all views' rays; None without embreex.

    It returns the face of each pixel [c h w], -1 = none.
    """
    try:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene
    except ImportError:
        return None
    poses = np.asarray(camera.T_camera_world, np.float64)
    rays = []
    for pose, directions in zip(poses, _camera_rays(camera, image_size), strict=True):
        directions = (directions.reshape(-1, 3) @ pose[:3, :3]).astype(np.float32)
        eye = (-pose[:3, :3].T @ pose[:3, 3]).astype(np.float32)
        rays.append((np.tile(eye, (len(directions), 1)), directions))

    def cast():
        scene = EmbreeScene()
        TriangleMesh(scene, vertices, faces)
        hits = [scene.run(eyes, directions, output=True)["primID"] for eyes, directions in rays]
        return np.stack(hits).reshape(-1, *image_size)

    return cast


def accuracy_rows(
    vertices: np.ndarray,
    faces: np.ndarray,
    camera: Camera,
    image_size: tuple[int, int],
    embree_faces: np.ndarray,
) -> list[BenchmarkRow]:
    """Hits that differ from Embree's, and the depth's error where both see the same face."""
    fragments = jax.device_get(
        jax.jit(lambda points, K: rasterize(points, faces, K, image_size))(
            world_to_camera(jnp.asarray(vertices), camera.T_camera_world), camera.K
        )
    )
    differs = np.mean((fragments.pix_to_face >= 0) != (embree_faces >= 0))
    errors = []
    for view, rays in enumerate(_camera_rays(camera, image_size)):
        face = fragments.pix_to_face[view]
        same = (face == embree_faces[view]) & (face >= 0)
        pose = np.asarray(camera.T_camera_world[view], np.float64)
        corners = (vertices @ pose[:3, :3].T + pose[:3, 3])[faces[face[same]]]
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        exact = (normal * corners[:, 0]).sum(-1) / (normal * rays[same]).sum(-1)
        errors.append(np.abs(fragments.zbuf[view][same] - exact))
    errors = np.concatenate(errors)
    value = f"{np.median(errors):.1e} / {errors.max():.1e}"
    return [
        BenchmarkRow("hit or miss differs from Embree", f"{differs:.1e}", "<= 1e-5", "0", differs),
        BenchmarkRow(
            "depth error, median / max mm", value, "2e-4 / 5e-3", "1e-4 / 2e-3", errors.max(), "mm"
        ),
    ]


def _camera_rays(camera, image_size):
    """Rays through the pixel centres in each camera's frame, z = 1, float64: [c h w 3]."""
    column, row = np.meshgrid(np.arange(image_size[1]), np.arange(image_size[0]))
    pixels = np.stack([column, row, np.ones_like(row)], -1)
    inverse = np.linalg.inv(np.asarray(camera.K, np.float64))
    return np.einsum("cij,hwj->chwi", inverse, pixels)
