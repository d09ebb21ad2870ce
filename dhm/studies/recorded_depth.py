"""Depth maps of a fixed scene as a CPU draws them, to hold an accelerator's against.

    python -m dhm.studies.gpu --record

writes recorded_depth.npz, which is part of the source: of each view the hit pixels, and depths and
gradients at some of them. Record again only after a deliberate change of the rasterizer's results
or of the scene, on a CPU.
"""

import hashlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from dhm.errors import BadInputError
from dhm.formats.npz import Arrays
from dhm.rendering import render_depth
from dhm.studies.benchmarks.rasterizer import agreement_rows, cameras_around
from dhm.studies.benchmarks.timing import BenchmarkRow
from dhm.studies.procedural_hand import procedural_hand
from dhm.types import Camera

RECORDED = Path(__file__).with_name("recorded_depth.npz")

_SIZE, _VIEWS = (256, 256), 6
_PIXELS, _VERTICES = 1000, 1000  # recorded of each view, and of the gradient


def record(path: Path = RECORDED) -> None:
    """Draws the scene and writes what `compare` reads.

    Raises:
        BadInputError: If JAX does not use the CPU.
    """
    if jax.default_backend() != "cpu":
        raise BadInputError("--record", jax.default_backend(), "a CPU: JAX_PLATFORMS=cpu")
    vertices, faces, camera = _scene()
    depth, gradient = _draw(vertices, faces, camera, None)
    rng = np.random.default_rng(0)
    hits = (np.flatnonzero(view) for view in depth)
    pixels = np.stack([np.sort(rng.choice(hit, _PIXELS, replace=False)) for hit in hits])
    chosen = np.flatnonzero(np.abs(gradient).sum(1))
    chosen = np.sort(rng.choice(chosen, _VERTICES, replace=False))
    np.savez_compressed(
        path,
        scene=np.array(_digest(vertices, faces, camera)),
        hit=np.packbits(depth > 0),
        pixels=pixels.astype(np.int32),
        depth=np.take_along_axis(depth.reshape(_VIEWS, -1), pixels, axis=1),
        vertices=chosen.astype(np.int32),
        gradient=gradient[chosen],
    )


def compare(schedule: str | None = None, path: Path = RECORDED) -> list[BenchmarkRow]:
    """Draws the scene and returns how far its depth maps are from the recorded ones.

    Args:
        schedule: As in `rasterize`; the device's default if None.
        path: The recorded file.

    Raises:
        BadInputError: If the file is damaged, or was recorded of another scene.
    """
    recorded, scene = Arrays(path), _scene()
    if (found := str(recorded["scene"])) != _digest(*scene):
        raise BadInputError(path, f"a scene with digest {found}", f"{_digest(*scene)}; --record")
    depth, gradient = _draw(*scene, schedule)
    hit = np.unpackbits(recorded["hit"]).astype(bool).reshape(depth.shape)
    at = np.take_along_axis(depth.reshape(_VIEWS, -1), recorded["pixels"], axis=1)
    errors = np.abs(at - recorded["depth"])[at > 0]
    expected = recorded["gradient"]
    change = np.abs(gradient[recorded["vertices"]] - expected).max(1) / np.abs(expected).max()
    return [
        *agreement_rows("the recorded maps", float(np.mean((depth > 0) != hit)), errors),
        BenchmarkRow(
            "gradient difference / largest gradient, median / max",
            f"{np.median(change):.1e} / {change.max():.1e}",
            number=change.max(),
        ),
    ]


def _scene() -> tuple[np.ndarray, np.ndarray, Camera]:
    """Returns a bent hand and the cameras around it."""
    hand = procedural_hand(flexion=0.7)
    return hand.v_template, hand.faces, cameras_around(hand.v_template, _SIZE, _VIEWS)


def _digest(vertices: np.ndarray, faces: np.ndarray, camera: Camera) -> str:
    """Returns a digest that rounding in the last bit of a camera does not change."""
    rounded = [np.round(np.asarray(x, np.float64), 2) + 0.0 for x in camera]
    arrays = (vertices, faces, *rounded)
    return hashlib.sha256(b"".join(x.tobytes() for x in arrays)).hexdigest()[:16]


def _draw(
    vertices: np.ndarray, faces: np.ndarray, camera: Camera, schedule: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns depth maps [c h w] and the gradient [v 3] of a weighted sum of them."""
    weight = np.random.default_rng(0).integers(-8, 9, (_VIEWS, *_SIZE)).astype(np.float32)

    @jax.jit
    def step(points):
        def objective(points):
            depth = render_depth(points, faces, camera, _SIZE, schedule=schedule)
            return jnp.sum(depth * weight), depth

        return jax.grad(objective, has_aux=True)(points)

    gradient, depth = jax.device_get(step(jnp.asarray(vertices)))
    return depth, gradient
