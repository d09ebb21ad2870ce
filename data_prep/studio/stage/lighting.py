"""Light on skin, per vertex: lamps with shadow maps, and ambient light with occlusion."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from data_prep.studio.anatomy.array_math import unit_rows
from data_prep.studio.stage.cameras import look_at, pinhole_camera, render_depth_maps

_SHADOW_SIZE, _SKY_SIZE, _SKY_DIRECTIONS = 256, 96, 10
# Distance of the lamps, from which rays are nearly parallel, and side of a shadow map, mm.
_LAMP_DISTANCE, _FIELD = 3000.0, 330.0
_BIAS = 1.5  # mm that skin may lie behind the shadow map without being in shadow
# Light scatters below the skin before it leaves: red travels farthest and wraps around most.
_WRAP = np.array([0.32, 0.16, 0.12])
_GLOSS, _SHININESS = 0.055, 22.0


@dataclass(frozen=True)
class Lighting:
    """Distant lamps and ambient light.

    Attributes:
        directions: Unit vectors to the lamps, world.
        colours: Linear RGB of each lamp.
        ambient: Linear RGB of the surroundings.
    """

    directions: Float[np.ndarray, "l 3"]
    colours: Float[np.ndarray, "l 3"]
    ambient: Float[np.ndarray, " 3"]


def studio_lighting() -> Lighting:
    """Returns the studio's lamps: key light, fill light and back light."""
    directions = np.array([[-0.55, -0.75, 0.70], [0.85, -0.50, 0.15], [0.35, 0.85, 0.45]])
    colours = [[1.05, 1.00, 0.92], [0.34, 0.38, 0.42], [0.62, 0.64, 0.68]]
    return Lighting(
        directions / np.linalg.norm(directions, axis=1, keepdims=True),
        np.array(colours),
        np.array([0.30, 0.31, 0.33]),
    )


def random_lighting(rng: np.random.Generator) -> Lighting:
    """Returns lamps of random directions and colours, about as bright as the studio's."""
    directions = rng.normal(size=(3, 3))
    directions[0, 2] = abs(directions[0, 2])
    warmth = rng.uniform(-0.18, 0.18, (4, 1)) * np.array([1.0, 0.0, -1.0])
    power = np.array([rng.uniform(0.7, 1.3), rng.uniform(0.1, 0.7), rng.uniform(0.0, 0.7)])
    return Lighting(
        directions / np.linalg.norm(directions, axis=1, keepdims=True),
        power[:, None] * (1.0 + warmth[:3]),
        rng.uniform(0.18, 0.5) * (1.0 + warmth[3]),
    )


def diffuse_light(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    normals: Float[np.ndarray, "v 3"],
    lighting: Lighting,
) -> tuple[Float[np.ndarray, "v 3"], Float[np.ndarray, "v l"]]:
    """Returns the light that skin scatters, linear RGB, and the visibility of each lamp in [0, 1].

    Args:
        vertices: World mm.
        faces: Triangles of the mesh.
        normals: Unit normals of the vertices.
        lighting: The lamps.
    """
    lit = _visibility(vertices, faces, normals, lighting.directions, _SHADOW_SIZE, soft=True)
    light = lighting.ambient * ambient_occlusion(vertices, faces, normals)[:, None]
    for lamp, (direction, colour) in enumerate(
        zip(lighting.directions, lighting.colours, strict=True)
    ):
        facing = np.clip((normals @ direction)[:, None] + _WRAP, 0.0, None) / (1.0 + _WRAP)
        # Only light that came through the skin reaches the shadows, and it is red.
        light = light + colour * facing * (_WRAP * 0.25 + (1.0 - _WRAP * 0.25) * lit[:, lamp, None])
    return light, lit


def specular_light(
    vertices: Float[np.ndarray, "v 3"],
    normals: Float[np.ndarray, "v 3"],
    lit: Float[np.ndarray, "v l"],
    lighting: Lighting,
    eye: Float[np.ndarray, " 3"],
) -> Float[np.ndarray, "v 3"]:
    """Returns the light that skin reflects towards a point `eye`, linear RGB (Blinn-Phong)."""
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


def ambient_occlusion(vertices, faces, normals) -> Float[np.ndarray, " v"]:
    """Returns the share of the surroundings that each vertex sees."""
    index = np.arange(_SKY_DIRECTIONS)
    z = 1.0 - 2.0 * (index + 0.5) / _SKY_DIRECTIONS
    turn = np.pi * (3.0 - np.sqrt(5.0)) * index
    ring = np.sqrt(1.0 - z**2)
    sky = np.stack([ring * np.cos(turn), ring * np.sin(turn), z], axis=1)
    reach = _visibility(vertices, faces, normals, sky, _SKY_SIZE, soft=False)
    weight = np.clip(normals @ sky.T + 0.1, 0.0, None) * (1.0 + 0.35 * z)  # brighter from above
    return (weight * reach).sum(axis=1) / weight.sum(axis=1)


def _visibility(vertices, faces, normals, directions, size, soft) -> Float[np.ndarray, "v d"]:
    """Share of the light from each direction that reaches each vertex, by shadow maps."""
    centre = np.array([(axis.min() + axis.max()) / 2 for axis in vertices.T])
    middle = (size - 1) / 2
    cameras = [
        pinhole_camera(
            look_at(direction, np.eye(3)[np.argmin(np.abs(direction))]),
            centre + _LAMP_DISTANCE * direction,
            size * _LAMP_DISTANCE / _FIELD,
            (middle, middle),
        )
        for direction in directions
    ]
    depth = render_depth_maps(vertices, faces, cameras, (size, size), window=3 if soft else 2)
    depth = np.where(depth > 0, depth, np.inf)
    taps = [(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)] if soft else [(0, 0)]
    pixel_mm = _FIELD / size
    outside = vertices + (0.8 + 0.5 * pixel_mm) * normals
    reach = np.zeros((len(vertices), len(directions)))
    for index, camera in enumerate(cameras):
        at = camera.T_camera_world[:3, :3] @ outside.T + camera.T_camera_world[:3, 3:]
        pixel = camera.K[:2, :2] @ (at[:2] / at[2]) + camera.K[:2, 2:]
        # At least a pixel inside the border, so that no tap leaves the map.
        column, row = np.clip(np.rint(pixel).astype(np.intp), 1, size - 2)
        place, lies_at = row * size + column, at[2] - _BIAS
        shadow_map = depth[index].ravel()
        lit = np.zeros(len(vertices), np.int32)
        for dx, dy in taps:
            lit += lies_at < shadow_map[place + (dy * size + dx)]
        reach[:, index] = lit / len(taps)
    return reach
