"""A contact sheet of a model's output: what it was given, what it made of it."""

from pathlib import Path
from typing import Any

import imageio.v3 as iio
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from dhm.data.prepared_data import PreparedData
from dhm.networks.hand_model import HandModel, align_to_joints
from dhm.rendering.shading import SKIN, portrait

_TILE = 256
_TURNS_DEG = (90, 180)


def write_preview(
    path: Path,
    model: HandModel,
    variables: dict[str, Any],
    data: PreparedData,
    records: list[int],
) -> None:
    """Writes a PNG with one row a record.

    A row shows the input picture, the output mesh from the same camera, and the mesh turned by 90
    and 180 degrees. The mesh stands where it fits the target joints best.

    Args:
        path: The file to write.
        model: The hand model.
        variables: Its variables.
        data: A prepared folder.
        records: Records of its evaluation split.
    """
    rows = [_row(model, variables, data, record) for record in records]
    if rows:
        iio.imwrite(path, np.concatenate(rows))


def _row(
    model: HandModel, variables: dict[str, Any], data: PreparedData, record: int
) -> UInt8[np.ndarray, "t w 3"]:
    split = data.info.evaluation_split
    fields = data.record(split, record)
    image = data.decode_image(split, record, fields)
    theta, output = model.apply(variables, jnp.asarray(image[None]))
    joints, valid = jnp.asarray(fields.joints[None]), jnp.asarray(fields.joint_valid[None])
    T_world_model, _ = align_to_joints(model.template, output.joints, joints, valid)
    output = model.apply(variables, theta, T_world_model, method="decode")
    K = _stretch(_TILE / data.image_size) @ fields.K
    vertices, faces = np.asarray(output.vertices[0]), model.template.faces
    tiles = [_resize(image), _draw(vertices, faces, K, fields.T_camera_world)]
    for degrees in _TURNS_DEG:
        turned = _turn(vertices, fields.T_camera_world, np.radians(degrees))
        K_turned = _whole_hand(turned, fields.T_camera_world)
        tiles.append(_draw(turned, faces, K_turned, fields.T_camera_world))
    return np.concatenate(tiles, axis=1)


def _stretch(scale: float) -> Float[np.ndarray, "3 3"]:
    """Pixels of a picture to those of `_resize`, which enlarges every pixel about its area."""
    shift = (scale - 1) / 2
    return np.array([[scale, 0, shift], [0, scale, shift], [0, 0, 1]])


def _whole_hand(
    vertices: Float[np.ndarray, "v 3"], T_camera_world: Float[np.ndarray, "4 4"]
) -> Float[np.ndarray, "3 3"]:
    """Intrinsics that show all of a mesh, unstretched and with a margin."""
    v_camera = vertices @ T_camera_world[:3, :3].T + T_camera_world[:3, 3]
    rays = v_camera[:, :2] / v_camera[:, 2:]
    low, high = rays.min(axis=0), rays.max(axis=0)
    focal = 0.9 * _TILE / (high - low).max()
    cx, cy = (_TILE - 1) / 2 - focal * (low + high) / 2
    return np.array([[focal, 0, cx], [0, focal, cy], [0, 0, 1]])


def _turn(
    vertices: Float[np.ndarray, "v 3"], T_camera_world: Float[np.ndarray, "4 4"], angle: float
) -> Float[np.ndarray, "v 3"]:
    """Turns a mesh about its centre and the camera's upward axis."""
    axis, centre = T_camera_world[1, :3], vertices.mean(axis=0)
    offset = vertices - centre
    along = np.outer(offset @ axis, axis)
    across = np.cross(axis, offset)
    return centre + along + np.cos(angle) * (offset - along) + np.sin(angle) * across


def _draw(
    vertices: Float[np.ndarray, "v 3"],
    faces: np.ndarray,
    K: Float[np.ndarray, "3 3"],
    T_camera_world: Float[np.ndarray, "4 4"],
) -> UInt8[np.ndarray, "t t 3"]:
    v_camera = vertices @ T_camera_world[:3, :3].T + T_camera_world[:3, 3]
    return portrait(v_camera, faces, SKIN, K, _TILE)[0]


def _resize(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "t t 3"]:
    index = np.arange(_TILE) * image.shape[0] // _TILE
    return image[index][:, index]
