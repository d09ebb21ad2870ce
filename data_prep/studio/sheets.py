"""Contact sheets of the studio: `python -m data_prep.studio.sheets --out DIR`.

The subjects, the named poses, the template with its skinning weights and charts, and linear blend
skinning compared with the true surface.
"""

import argparse
import colorsys
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import imageio.v3 as iio
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, UInt8
from scipy.spatial import cKDTree

from data_prep.command import run
from data_prep.studio.anatomy.albedo import TONES, skin_albedo
from data_prep.studio.anatomy.proportions import NUM_SUBJECTS, Proportions, subject
from data_prep.studio.anatomy.rig import rig_transforms
from data_prep.studio.anatomy.surface import SkinMesh, skin_mesh, smooth_normals
from data_prep.studio.motion.poses import POSES, solve_pose
from data_prep.studio.motion.spheres import sphere_hand
from data_prep.studio.stage.cameras import look_at, pinhole_camera, render_views
from data_prep.studio.stage.lighting import diffuse_light, specular_light, studio_lighting
from data_prep.studio.stage.sensors import dark_background, photograph
from data_prep.studio.template.hand_template import hand_template
from dhm.formats.paths import existing, require_folder
from dhm.geometry.hand_rig import JOINT_NAMES, dof_indices, pose_to_euler
from dhm.geometry.kinematics import forward_kinematics, linear_blend_skinning
from dhm.geometry.transforms import euler_angles_to_matrix
from dhm.types import HandTemplate

TILE = 300
_OVERSAMPLED = 2
_FIELD_MM = 290.0
_DISTANCE_MM = 900.0
# Directions from the hand to the camera, in the hand's frame: x to the fingers, y out of the palm.
PALM, BACK = (0.05, 1.0, 0.1), (0.1, -1.0, 0.15)
THUMB_SIDE, LITTLE_SIDE = (0.15, 0.5, 1.0), (0.2, -0.45, -1.0)
_UPRIGHT = np.array([[0.0, 0.0, 1.0], [0.0, -1.0, 0.0], [1.0, 0.0, 0.0]])
_CENTRE = np.array([75.0, 5.0, 8.0])
_CLAY = (0.45, 0.33, 0.27)


def portrait(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    albedo: Float[np.ndarray, "v 3"],
    away: Sequence[float],
) -> UInt8[np.ndarray, "t t 3"]:
    """Renders a picture of a hand in the studio's light.

    Args:
        vertices: In the hand's frame, mm.
        faces: Triangles of the mesh.
        albedo: Linear RGB of the vertices.
        away: Direction from the hand to the camera, in the hand's frame.
    """
    vertices = (vertices - _CENTRE) @ _UPRIGHT.T
    size = TILE * _OVERSAMPLED
    away = _UPRIGHT @ np.array(away, float)
    away = away / np.linalg.norm(away)
    R = look_at(away, (0.0, 0.0, 1.0))
    middle = (size - 1) / 2
    focal = size * _DISTANCE_MM / _FIELD_MM
    camera = pinhole_camera(R, _DISTANCE_MM * away, focal, (middle, middle))
    normals, lighting = smooth_normals(vertices, faces), studio_lighting()
    # The lamps, whose front is -y, follow the camera: every side is lit from its front.
    right, down, ahead = R
    turned = lighting.directions @ np.stack([right, ahead, -down], axis=1).T
    lighting = replace(lighting, directions=turned)
    light, lit = diffuse_light(vertices, faces, normals, lighting)
    eye = -R.T @ camera.T_camera_world[:3, 3]
    gloss = specular_light(vertices, normals, lit, lighting, eye)
    rng = np.random.default_rng(0)
    views = render_views(vertices, faces, [camera], (size, size))
    background = dark_background((size, size), rng)
    picture = photograph(views, 0, faces, albedo * light + gloss, background, rng)
    return cv2.resize(picture, (TILE, TILE), interpolation=cv2.INTER_AREA)


def skin_portrait(
    person: Proportions, surface: SkinMesh, tone: tuple, away: Sequence[float]
) -> UInt8[np.ndarray, "t t 3"]:
    """Renders a picture of a person's hand in its own colours."""
    return portrait(surface.vertices, surface.faces, skin_albedo(person, surface, tone), away)


def label(tile: np.ndarray, text: str) -> np.ndarray:
    """Writes a line of text into the upper left corner."""
    tile = np.ascontiguousarray(tile)
    cv2.putText(tile, text, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.48, (235,) * 3, 1, cv2.LINE_AA)
    return tile


def grid(tiles: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Lays tiles out in rows."""
    blank = np.zeros_like(tiles[0])
    tiles = [*tiles, *[blank] * (-len(tiles) % columns)]
    rows = [
        np.concatenate(tiles[at : at + columns], axis=1) for at in range(0, len(tiles), columns)
    ]
    return np.concatenate(rows)


def subjects_sheet() -> np.ndarray:
    """The open hands of the four subjects from four sides."""
    tiles = []
    for number in range(1, NUM_SUBJECTS + 1):
        person = subject(number)
        surface = skin_mesh(person, solve_pose(sphere_hand(person), "open"), 1.0)
        for away in (PALM, BACK, THUMB_SIDE, LITTLE_SIDE):
            tile = skin_portrait(person, surface, TONES[number], away)
            tiles.append(label(tile, f"subject {number}" if away == PALM else ""))
    return grid(tiles, 8)


def poses_sheet(number: int) -> np.ndarray:
    """The named poses of a subject, from the palm and from the thumb's side."""
    person, tiles = subject(number), []
    hand = sphere_hand(person)
    for name in POSES:
        surface = skin_mesh(person, solve_pose(hand, name), 1.2)
        pair = [skin_portrait(person, surface, TONES[number], a) for a in (PALM, THUMB_SIDE)]
        tiles.append(label(np.concatenate([t[:, 30:-30] for t in pair], axis=1), name))
    return grid(tiles, 5)


def template_sheet() -> np.ndarray:
    """Both templates with their skinning weights in colour, and their charts."""
    tiles = []
    for kind in ("full", "coarse"):
        template = hand_template(kind)
        colours = template.lbs_weights @ _joint_colours()
        for away in (PALM, BACK, THUMB_SIDE):
            tile = portrait(template.v_template, template.faces, colours, away)
            tiles.append(label(tile, f"{kind}: {template.num_vertices} vertices"))
        tiles.append(_charts(template))
    return grid(tiles, 4)


def skinning_sheet(number: int) -> np.ndarray:
    """Linear blend skinning of the template and of the subject's own skin, and the truth."""
    person = subject(number)
    open_hand = skin_mesh(person, np.zeros(28), 1.2)
    template = hand_template("full")
    own = _nearest_weights(template, open_hand.vertices)
    rows = []
    for name in ("fist", "pinch_index", "spread", "hook"):
        theta = solve_pose(sphere_hand(person), name)
        truth = skin_mesh(person, theta, 1.2)
        rest = rig_transforms(person)
        skinned = skinned_mesh(open_hand.vertices, own, rest, template.parents, theta)
        plain = skinned_template(template, theta)
        meshes = {
            f"{name}: template, skinned": (plain, template.faces),
            "the subject's open hand, skinned": (skinned, open_hand.faces),
            "truth": (truth.vertices, truth.faces),
        }
        for away in (PALM, THUMB_SIDE):
            for text, (vertices, faces) in meshes.items():
                tile = portrait(vertices, faces, np.tile(_CLAY, (len(vertices), 1)), away)
                rows.append(label(tile, text))
    return grid(rows, 6)


def skinned_template(
    template: HandTemplate, theta: Float[np.ndarray, " 28"]
) -> Float[np.ndarray, "v 3"]:
    """Returns a template posed by linear blend skinning, mm."""
    return skinned_mesh(
        template.v_template,
        template.lbs_weights,
        template.T_parent_joint,
        template.parents,
        theta,
    )


def skinned_mesh(
    vertices: Float[np.ndarray, "v 3"],
    weights: Float[np.ndarray, "v 22"],
    T_parent_joint: Float[np.ndarray, "22 4 4"],
    parents: tuple[int, ...],
    theta: Float[np.ndarray, " 28"],
) -> Float[np.ndarray, "v 3"]:
    """Returns a mesh posed by linear blend skinning, mm."""
    dofs = dof_indices(JOINT_NAMES)
    poses = jnp.asarray(np.stack([theta, np.zeros(28)]), jnp.float32)
    euler = pose_to_euler(poses, dofs, len(JOINT_NAMES))
    rest = jnp.asarray(T_parent_joint, jnp.float32)
    T, T_rest = forward_kinematics(rest, euler_angles_to_matrix(euler), parents)
    mesh = (jnp.asarray(array, jnp.float32) for array in (vertices, weights))
    return np.asarray(linear_blend_skinning(*mesh, T, jnp.linalg.inv(T_rest)), float)


def _nearest_weights(template: HandTemplate, points: np.ndarray) -> np.ndarray:
    distance, index = cKDTree(template.v_template).query(points, k=6)
    share = 1.0 / (distance + 0.5)
    share /= share.sum(axis=1, keepdims=True)
    return (share[:, :, None] * template.lbs_weights[index]).sum(axis=1)


def _joint_colours() -> Float[np.ndarray, "22 3"]:
    """One colour per joint, different from those of adjacent joints."""
    hues = (np.arange(len(JOINT_NAMES)) * 0.382) % 1.0
    return np.array([colorsys.hsv_to_rgb(h, 0.65, 0.75) for h in hues]) ** 2.2


def _charts(template: HandTemplate) -> UInt8[np.ndarray, "t t 3"]:
    tile = np.full((TILE, TILE, 3), 18, np.uint8)
    corners = template.uvs[template.faces_uv] * [1, -1] + [0, 1]
    lines = np.rint(corners * (TILE - 1) * 8).astype(np.int32)
    cv2.polylines(tile, list(lines), True, (150, 190, 220), 1, cv2.LINE_AA, shift=3)
    return label(tile, "charts")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        The exit code, see `data_prep.command`.
    """
    parser = argparse.ArgumentParser(prog="data_prep.studio.sheets", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    options = parser.parse_args(arguments)
    return run(lambda: _write(existing(options.out)))


def _write(out: Path) -> None:
    """Draws the sheets and writes them into a folder.

    Raises:
        BadInputError: A file is in its place.
    """
    require_folder("--out", out)
    out.mkdir(parents=True, exist_ok=True)
    for name, sheet in (
        ("template", template_sheet),
        ("subjects", subjects_sheet),
        ("poses", lambda: poses_sheet(1)),
        ("skinning", lambda: skinning_sheet(1)),
    ):
        iio.imwrite(out / f"studio_{name}.jpg", sheet(), quality=88)
        print(out / f"studio_{name}.jpg")


if __name__ == "__main__":
    sys.exit(main())
