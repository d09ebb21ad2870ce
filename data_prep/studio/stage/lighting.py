"""Light on skin, a vertex at a time: lamps with shadows, and light from all around."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from data_prep.studio.anatomy.vectors import unit_rows
from data_prep.studio.stage.views import draw_depth
from dhm.formats.release_annotations import KrtCamera

_SHADOW_SIZE, _SKY_SIZE, _SKY_DIRECTIONS = 256, 96, 10
_LAMP_DISTANCE, _FIELD = 3000.0, 330.0  # mm; the field is what a shadow map covers
_BIAS = 1.5  # mm, by which skin may lie behind the map without being in shadow
# Light that entered the skin comes out beside: red, which gets farthest, wraps around most.
_WRAP = np.array([0.32, 0.16, 0.12])
_GLOSS, _SHININESS = 0.055, 22.0


@dataclass(frozen=True)
class Lighting:
    """Lamps far away, and the light that comes from everywhere.

    Attributes:
        directions: Unit vectors to the lamps, world.
        colours: Linear RGB of each lamp.
        ambient: Linear RGB of the surroundings.
    """

    directions: Float[np.ndarray, "l 3"]
    colours: Float[np.ndarray, "l 3"]
    ambient: Float[np.ndarray, " 3"]


def studio_lighting() -> Lighting:
    """Returns the studio's own lamps: a key light, a fill light and one from behind."""
    directions = np.array([[-0.55, -0.75, 0.70], [0.85, -0.50, 0.15], [0.35, 0.85, 0.45]])
    colours = [[1.05, 1.00, 0.92], [0.34, 0.38, 0.42], [0.62, 0.64, 0.68]]
    return Lighting(
        directions / np.linalg.norm(directions, axis=1, keepdims=True),
        np.array(colours),
        np.array([0.30, 0.31, 0.33]),
    )


def random_lighting(rng: np.random.Generator) -> Lighting:
    """Returns lamps of random places and colours, about as bright as the studio's."""
    directions = rng.normal(size=(3, 3))
    directions[0, 2] = abs(directions[0, 2])
    warmth = rng.uniform(-0.18, 0.18, (4, 1)) * np.array([1.0, 0.0, -1.0])
    power = np.array([rng.uniform(0.7, 1.3), rng.uniform(0.1, 0.7), rng.uniform(0.0, 0.7)])
    return Lighting(
        directions / np.linalg.norm(directions, axis=1, keepdims=True),
        power[:, None] * (1.0 + warmth[:3]),
        rng.uniform(0.18, 0.5) * (1.0 + warmth[3]),
    )


def skin_light(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    normals: Float[np.ndarray, "v 3"],
    lighting: Lighting,
) -> tuple[Float[np.ndarray, "v 3"], Float[np.ndarray, "v l"]]:
    """Returns the light that skin scatters, linear RGB, and how far each lamp reaches it.

    Args:
        vertices: World mm.
        faces: Of the mesh.
        normals: Unit normals of the vertices.
        lighting: The lamps.
    """
    lit = _reach(vertices, faces, normals, lighting.directions, _SHADOW_SIZE, soft=True)
    light = lighting.ambient * _openness(vertices, faces, normals)[:, None]
    for lamp, (direction, colour) in enumerate(
        zip(lighting.directions, lighting.colours, strict=True)
    ):
        facing = np.clip((normals @ direction)[:, None] + _WRAP, 0.0, None) / (1.0 + _WRAP)
        # In the shade only what came through the skin is left, which is red.
        light = light + colour * facing * (_WRAP * 0.25 + (1.0 - _WRAP * 0.25) * lit[:, lamp, None])
    return light, lit


def skin_gloss(
    vertices: Float[np.ndarray, "v 3"],
    normals: Float[np.ndarray, "v 3"],
    lit: Float[np.ndarray, "v l"],
    lighting: Lighting,
    eye: Float[np.ndarray, " 3"],
) -> Float[np.ndarray, "v 3"]:
    """Returns the light that skin mirrors towards a point, linear RGB."""
    to_eye = unit_rows(eye - vertices)
    gloss = np.zeros_like(vertices)
    for lamp, (direction, colour) in enumerate(
        zip(lighting.directions, lighting.colours, strict=True)
    ):
        middle = unit_rows(to_eye + direction)
        sharp = np.clip(np.einsum("vi,vi->v", normals, middle), 0.0, 1.0) ** _SHININESS
        facing = np.clip(normals @ direction * 4.0, 0.0, 1.0)
        gloss += (_GLOSS * sharp * facing * lit[:, lamp])[:, None] * colour
    return gloss


def _openness(vertices, faces, normals) -> Float[np.ndarray, " v"]:
    """Share of the surroundings that each vertex sees: ambient occlusion."""
    index = np.arange(_SKY_DIRECTIONS)
    z = 1.0 - 2.0 * (index + 0.5) / _SKY_DIRECTIONS
    turn = np.pi * (3.0 - np.sqrt(5.0)) * index
    ring = np.sqrt(1.0 - z**2)
    sky = np.stack([ring * np.cos(turn), ring * np.sin(turn), z], axis=1)
    reach = _reach(vertices, faces, normals, sky, _SKY_SIZE, soft=False)
    weight = np.clip(normals @ sky.T + 0.1, 0.0, None) * (1.0 + 0.35 * z)  # brighter from above
    return (weight * reach).sum(axis=1) / weight.sum(axis=1)


def _reach(vertices, faces, normals, directions, size, soft) -> Float[np.ndarray, "v d"]:
    """How far light from each direction reaches each vertex, by shadow maps."""
    centre = np.array([(axis.min() + axis.max()) / 2 for axis in vertices.T])
    cameras = [_lamp_camera(centre, direction, size) for direction in directions]
    depth = draw_depth(vertices, faces, cameras, (size, size), window=3 if soft else 2)
    depth = np.where(depth > 0, depth, np.inf)
    taps = [(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)] if soft else [(0, 0)]
    pixel_mm = _FIELD / size
    outside = vertices + (0.8 + 0.5 * pixel_mm) * normals
    reach = np.zeros((len(vertices), len(directions)))
    for index, camera in enumerate(cameras):
        at = camera.T_camera_world[:3, :3] @ outside.T + camera.T_camera_world[:3, 3:]
        pixel = camera.K[:2, :2] @ (at[:2] / at[2]) + camera.K[:2, 2:]
        # A pixel inside the border, so that no tap leaves the map; a hand does not reach it.
        column, row = np.clip(np.rint(pixel).astype(np.intp), 1, size - 2)
        place, lies_at = row * size + column, at[2] - _BIAS
        shadow_map = depth[index].ravel()
        lit = np.zeros(len(vertices), np.int32)
        for dx, dy in taps:
            lit += lies_at < shadow_map[place + (dy * size + dx)]
        reach[:, index] = lit / len(taps)
    return reach


def _lamp_camera(centre: np.ndarray, direction: np.ndarray, size: int) -> KrtCamera:
    """A camera at a lamp; from that far away its rays are nearly parallel."""
    aside = np.eye(3)[np.argmin(np.abs(direction))]
    right = np.cross(aside, direction)
    right /= np.linalg.norm(right)
    R = np.stack([right, np.cross(right, direction), -direction])
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, -R @ (centre + _LAMP_DISTANCE * direction)
    focal = size * _LAMP_DISTANCE / _FIELD
    middle = (size - 1) / 2
    return KrtCamera(
        np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1.0]]), np.zeros(5), T
    )
