"""The rasterizer's table: its speed and accuracy beside Embree's, and its memory."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from dhm.geometry.cameras import world_to_camera
from dhm.rendering import rasterize, render_depth
from dhm.studies.benchmarks.timing import (
    BenchmarkRow,
    interleaved,
    median_ms,
    median_ratio,
    one_core,
)
from dhm.types import Camera


def benchmark_rasterizer(
    vertices: np.ndarray,
    faces: np.ndarray,
    *,
    image_size: tuple[int, int] = (256, 256),
    views: int = 6,
    samples: int = 8,
    repeats: int = 15,
) -> list[BenchmarkRow]:
    """Times depth maps of one mesh, in turns with Embree where it is installed.

    Embree's time is that of building its tree and casting the rays of the same views. On a CPU the
    whole process is held on one core meanwhile, as one thread casts Embree's rays. `must` and
    `aim` were set for 25k faces, 256x256 pixels and 6 views.

    Args:
        vertices: A mesh [v 3], mm; the views stand around it at one metre and it fills them.
        faces: Its vertex indices [f 3].
        image_size: Height and width in pixels.
        views: Cameras of a sample.
        samples: Meshes of the large batch.
        repeats: Rounds.
    """
    vertices, faces = np.asarray(vertices, np.float32), np.asarray(faces, np.int32)
    camera = cameras_around(vertices, image_size, views)
    cast = _embree_caster(vertices, faces, camera, image_size)
    step, arguments = _gradient_step(vertices, faces, camera, image_size, samples)
    single = jax.tree.map(lambda leaf: leaf[:1], arguments)
    depth = jax.jit(lambda points, camera: render_depth(points, faces, camera, image_size))
    points = jnp.asarray(vertices)
    runs = {
        "depth": lambda: depth(points, camera),
        "one": lambda: step(*single),
        "batch": lambda: step(*arguments),
    }
    if cast is not None:
        runs["embree"] = cast
    with one_core():
        times = interleaved(runs, repeats)
    rows = _time_rows(times, samples, views)
    if cast is not None:
        rows += _accuracy_rows(vertices, faces, camera, image_size, cast())
    memory = step.lower(*arguments).compile().memory_analysis().temp_size_in_bytes / 1e6
    name = f"temporary memory, {samples} samples x {views} views, depth and gradient"
    rows.append(BenchmarkRow(name, f"{memory:.0f} MB", "<= 150 MB", "<= 70 MB", memory, "MB"))
    if jax.default_backend() == "gpu":
        rows.append(batch_row(vertices, faces, image_size=image_size, views=views))
    return rows


def batch_row(
    vertices: np.ndarray,
    faces: np.ndarray,
    *,
    image_size: tuple[int, int] = (256, 256),
    views: int = 6,
    samples: int = 32,
    repeats: int = 20,
) -> BenchmarkRow:
    """Times the depth maps of a training batch and their gradient; `must` is that of an H200."""
    camera = cameras_around(vertices, image_size, views)
    step, arguments = _gradient_step(vertices, faces, camera, image_size, samples)
    number = median_ms(interleaved({"step": lambda: step(*arguments)}, repeats)["step"])
    name = f"{samples} samples x {views} views, {image_size[0]}x{image_size[1]}, depth and gradient"
    return BenchmarkRow(name, f"{number:.2f} ms", "<= 5 ms", "<= 2 ms", number, "ms")


def _time_rows(times: dict, samples: int, views: int) -> list[BenchmarkRow]:
    rows = []
    for name, title, must, aim in (
        ("depth", "depth", "<= 1.0", "<= 0.55"),
        ("one", "depth and gradient", "<= 1.5", "<= 0.8"),
    ):
        title = f"{title} / Embree, {views} views"
        ms = f"{median_ms(times[name]):.1f} ms"
        if "embree" in times:
            ratio = median_ratio(times[name], times["embree"])
            value = f"{ratio:.2f}  ({ms} / {median_ms(times['embree']):.1f} ms)"
            rows.append(BenchmarkRow(title, value, must, aim, ratio))
        else:
            rows.append(BenchmarkRow(title, f"-  ({ms}; embreex is not installed)", must, aim))
    number = median_ratio(times["batch"], times["one"]) / samples
    value = f"{number:.2f}  ({median_ms(times['batch']):.1f} ms)"
    title = f"{samples} samples x {views} views / {samples} times one sample"
    return [*rows, BenchmarkRow(title, value, "<= 1.3", "<= 1.0", number)]


def _gradient_step(vertices, faces, camera, image_size, samples):
    """Returns a jitted value and gradient of a weighted sum of depths, and arguments for it."""

    @jax.jit
    def step(points, camera, weight):
        def objective(points):
            return (render_depth(points, faces, camera, image_size) * weight).sum()

        return jax.value_and_grad(objective)(points)

    def repeated(leaf):
        return jnp.broadcast_to(leaf, (samples, *leaf.shape))

    weight = np.random.default_rng(0).normal(size=(len(camera.K), *image_size))
    leaves = (jnp.asarray(vertices), camera, jnp.asarray(weight, jnp.float32))
    return step, jax.tree.map(repeated, leaves)


def cameras_around(
    vertices: np.ndarray, image_size: tuple[int, int], views: int, distance: float = 1000.0
) -> Camera:
    """Returns cameras on a wavy ring around a mesh, which fills nine tenths of each picture.

    Args:
        vertices: The mesh [v 3], mm.
        image_size: Height and width in pixels.
        views: How many cameras.
        distance: From the mesh's centre, mm.
    """
    centre = (vertices.min(0) + vertices.max(0)) / 2
    K, T = [], []
    for view in range(views):
        azimuth, elevation = 2 * np.pi * view / views + 0.3, 0.5 * np.sin(2.1 * view + 0.2)
        flat = np.cos(elevation)
        z = -np.array([np.cos(azimuth) * flat, np.sin(azimuth) * flat, np.sin(elevation)])
        x = np.cross([0.0, 0.0, 1.0], z)
        x /= np.linalg.norm(x)
        pose = np.eye(4)
        pose[:3, :3] = np.stack([x, np.cross(z, x), z])
        pose[:3, 3] = [0, 0, distance] - pose[:3, :3] @ centre
        points = vertices @ pose[:3, :3].T + pose[:3, 3]
        rays = points[:, :2] / points[:, 2:]
        low, high = rays.min(0), rays.max(0)
        focal = 0.9 * min(image_size) / (high - low).max()
        principal = np.array(image_size[::-1]) / 2 - focal * (low + high) / 2
        K.append([[focal, 0, principal[0]], [0, focal, principal[1]], [0, 0, 1]])
        T.append(pose)
    return Camera(jnp.asarray(K, jnp.float32), jnp.asarray(T, jnp.float32))


def _embree_caster(
    vertices: np.ndarray, faces: np.ndarray, camera: Camera, image_size: tuple[int, int]
) -> Callable[[], np.ndarray] | None:
    """Returns a call that builds Embree's scene and casts all rays; None without embreex.

    The call returns the face of each pixel [c h w], -1 = none.
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


def _accuracy_rows(
    vertices: np.ndarray,
    faces: np.ndarray,
    camera: Camera,
    image_size: tuple[int, int],
    embree_faces: np.ndarray,
) -> list[BenchmarkRow]:
    """Compares hits with Embree's, and depths with exact ones where both see the same face."""
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
    return agreement_rows("Embree", differs, np.concatenate(errors))


def agreement_rows(judge: str, differs: float, errors: np.ndarray) -> list[BenchmarkRow]:
    """Returns the rows of a rasterizer's accuracy.

    Args:
        judge: What the hits were compared with.
        differs: Share of the pixels that only one of the two hits.
        errors: Of the depths, mm.
    """
    value = f"{np.median(errors):.1e} / {errors.max():.1e}"
    return [
        BenchmarkRow(
            f"hit or miss differs from {judge}", f"{differs:.1e}", "<= 1e-5", "0", differs
        ),
        BenchmarkRow(
            "depth error, median / max mm", value, "2e-4 / 5e-3", "1e-4 / 2e-3", errors.max(), "mm"
        ),
    ]


def _camera_rays(camera, image_size):
    """Returns rays through the pixel centres in each camera's frame, z = 1: [c h w 3]."""
    column, row = np.meshgrid(np.arange(image_size[1]), np.arange(image_size[0]))
    pixels = np.stack([column, row, np.ones_like(row)], -1)
    inverse = np.linalg.inv(np.asarray(camera.K, np.float64))
    return np.einsum("cij,hwj->chwi", inverse, pixels)
