"""The rasterizer's table: its speed beside Embree's in the same run, its accuracy, its memory."""

import jax
import jax.numpy as jnp
import numpy as np

from dhm.rendering import render_depth
from dhm.studies.benchmarks.embree import accuracy_rows, embree_caster
from dhm.studies.benchmarks.timing import BenchmarkRow, interleaved, one_core
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
    """Times depth maps of one mesh, in turns with Embree's build and rays where it is installed.

    A ratio is the median over the rounds of one round's own times, so that a machine that is busy
    with something else slows both sides of it. On a CPU the whole process is held on one core
    meanwhile: Embree's rays are cast by one thread, and so is drawn. `must` and `aim` were set for
    25k faces, 256x256 pixels and 6 views; other arguments make them meaningless.

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
    cast = embree_caster(vertices, faces, camera, image_size)
    step, arguments = _gradient_step(vertices, faces, camera, image_size, samples)
    single = jax.tree.map(lambda leaf: leaf[:1], arguments)
    runs = {
        "depth": _depth_run(vertices, faces, camera, image_size),
        "one": lambda: step(*single),
        "batch": lambda: step(*arguments),
    }
    if cast is not None:
        runs["embree"] = cast
    with one_core():
        times = interleaved(runs, repeats)
    rows = _time_rows(times, samples, views)
    if cast is not None:
        rows += accuracy_rows(vertices, faces, camera, image_size, cast())
    memory = step.lower(*arguments).compile().memory_analysis().temp_size_in_bytes / 1e6
    name = f"temporary memory, {samples} samples x {views} views, depth and gradient"
    rows.append(BenchmarkRow(name, f"{memory:.0f} MB", "<= 150 MB", "<= 70 MB", memory, "MB"))
    if jax.default_backend() == "gpu":
        rows.append(_gpu_row(vertices, faces, camera, image_size))
    return rows


def _time_rows(times, samples, views):
    def milliseconds(name):
        return 1e3 * float(np.median(times[name]))

    def ratio(name, other, scale=1.0):
        return float(np.median(np.divide(times[name], times[other]))) / scale

    batch = f"{samples} samples x {views} views / {samples} times one sample"
    rows = []
    for name, title, must, aim in (
        ("depth", "depth", "<= 1.0", "<= 0.55"),
        ("one", "depth and gradient", "<= 1.5", "<= 0.8"),
    ):
        value = f"{milliseconds(name):.1f} ms"
        if "embree" in times:
            value = f"{ratio(name, 'embree'):.2f}  ({value} / {milliseconds('embree'):.1f} ms)"
        else:
            value = f"-  ({value}; embreex is not installed)"
        number = ratio(name, "embree") if "embree" in times else None
        title = f"{title} / Embree, {views} views"
        rows.append(BenchmarkRow(title, value, must, aim, number))
    number = ratio("batch", "one", samples)
    value = f"{number:.2f}  ({milliseconds('batch'):.1f} ms)"
    return [*rows, BenchmarkRow(batch, value, "<= 1.3", "<= 1.0", number)]


def _gpu_row(vertices, faces, camera, image_size):
    step, arguments = _gradient_step(vertices, faces, camera, image_size, samples=32)
    times = interleaved({"step": lambda: step(*arguments)}, repeats=20)["step"]
    name = f"32 samples x {len(camera.K)} views, depth and gradient, on an H200"
    number = 1e3 * float(np.median(times))
    return BenchmarkRow(name, f"{number:.2f} ms", "<= 5 ms", "<= 2 ms", number, "ms")


def _depth_run(vertices, faces, camera, image_size):
    depth = jax.jit(lambda points, camera: render_depth(points, faces, camera, image_size))
    points = jnp.asarray(vertices)
    return lambda: depth(points, camera)


def _gradient_step(vertices, faces, camera, image_size, samples):
    """A jitted value and gradient of a weighted sum of depths, and arguments for it."""

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
    """Views at one metre on a wavy ring, each with a K that has the mesh fill nine tenths."""
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
