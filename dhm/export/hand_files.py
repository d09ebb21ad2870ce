"""What a hand that was found in a picture is written as: .obj, .glb, .json and an overlay.

Whatever the evidence, a hand comes in as the model's own right hand; a left one leaves mirrored.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import imageio.v3 as iio
import numpy as np
from jaxtyping import Float, UInt8

from dhm.formats.glb import encode_glb
from dhm.formats.json_file import write_json
from dhm.formats.mesh import ObjMesh, write_obj
from dhm.geometry.hand_rig import MANO_JOINTS, dof_names
from dhm.rendering.shading import vertex_normals
from dhm.types import HandTemplate

RIGHT, LEFT = "right", "left"
CAMERA, WORLD, MODEL = "camera", "world", "model"
"""Frames that a result may stand in: of a picture's camera, of the evidence, of the model."""

_MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])
# glTF looks along -z with +y up, a camera here along +z with +y down.
_GLTF_FROM_CAMERA = np.diag([1.0, -1.0, -1.0])


class PredictedHand(NamedTuple):
    """A hand as the model gave it, and where it stands.

    Attributes:
        vertices: The decoded right hand in the model's frame, mm, times `scale`.
        joints: Its joints in the template's order, likewise.
        theta: Its angles, radians.
        side: RIGHT, or LEFT: then the hand is this one mirrored at the model's plane x = 0.
        frame: CAMERA, WORLD or MODEL, the frame of the files.
        T_frame_model: Rigid; maps the hand (a left one after it was mirrored) to the frame. None
            in the model's frame, the canonical view: the hand is not placed.
        K: Intrinsics of the picture, pixels, where they are known or assumed.
        scale: Factor that the hand's size was fitted with, 1 without one.
        reprojection_error_px: Mean distance between projected joints and keypoints.
        source: What it was found in, e.g. the picture's path.
        notes: Sentences for the reader, such as what was assumed.
        details: More values for the .json, plain ones.
    """

    vertices: Float[np.ndarray, "v 3"]
    joints: Float[np.ndarray, "j 3"]
    theta: Float[np.ndarray, " d"]
    side: str = RIGHT
    frame: str = MODEL
    T_frame_model: Float[np.ndarray, "4 4"] | None = None
    K: Float[np.ndarray, "3 3"] | None = None
    scale: float = 1.0
    reprojection_error_px: float | None = None
    source: str = ""
    notes: tuple[str, ...] = ()
    details: dict[str, Any] | None = None


def mirror_transform(T: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    """The same motion seen in a mirror: places a left hand where T places a right one."""
    return _MIRROR @ T @ _MIRROR


def placed(points: Float[np.ndarray, "n 3"], hand: PredictedHand) -> Float[np.ndarray, "n 3"]:
    """Points of the model's right hand where the hand really is, in its frame, mm."""
    points = np.asarray(points, np.float64)
    if hand.side == LEFT:
        points = points @ _MIRROR[:3, :3]
    if hand.T_frame_model is None:
        return points
    T = np.asarray(hand.T_frame_model, np.float64)
    return points @ T[:3, :3].T + T[:3, 3]


def placed_mesh(hand: PredictedHand, template: HandTemplate) -> ObjMesh:
    """The hand's mesh in its frame, mm; a left hand's triangles are turned to face outwards."""
    faces, faces_uv = template.faces, template.faces_uv
    if hand.side == LEFT:
        faces, faces_uv = faces[:, ::-1], faces_uv[:, ::-1]
    return ObjMesh(placed(hand.vertices, hand), faces, template.uvs, faces_uv)


def angle_names(template: HandTemplate, count: int) -> tuple[str, ...]:
    """Names of a pose vector's entries: Euler angles, or a linear model's axis-angle vectors."""
    names = dof_names(template.joint_names)
    if count == len(names):
        return names
    return tuple(f"{joint}_{axis}" for joint in MANO_JOINTS[1:] for axis in "xyz")


def unique_stems(paths: Sequence[Path]) -> list[str]:
    """Names for the results of some files: their stems, or longer names where two share one.

    Names that differ by their case alone count as the same, as they do to some file systems.
    """
    stems = Counter(path.stem.casefold() for path in paths)
    names: list[str] = []
    taken: set[str] = set()
    for path in paths:
        alone = stems[path.stem.casefold()] == 1
        base = name = path.stem if alone else path.name.replace(".", "_")
        number = 1
        while name.casefold() in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name.casefold())
        names.append(name)
    return names


def describe_hand(hand: PredictedHand, template: HandTemplate) -> dict[str, Any]:
    """What <stem>.json holds."""
    names = angle_names(template, len(hand.theta))
    radians = dict(zip(names, map(float, hand.theta), strict=True))
    joints = dict(zip(template.joint_names, placed(hand.joints, hand).tolist(), strict=True))
    result: dict[str, Any] = {
        "source": hand.source,
        "side": hand.side,
        "frame": hand.frame,
        "units": {"joints": "mm", "obj": "mm", "glb": "m", "angles": "rad and deg"},
        "joints": joints,
        "angles_rad": radians,
        "angles_deg": {name: float(np.degrees(value)) for name, value in radians.items()},
        "scale": float(hand.scale),
        "T_frame_model": _plain(hand.T_frame_model),
        "K": _plain(hand.K),
        "reprojection_error_px": _plain(hand.reprojection_error_px),
        "notes": list(hand.notes),
    }
    return result | (hand.details or {})


def write_hand(
    folder: Path,
    stem: str,
    hand: PredictedHand,
    template: HandTemplate,
    overlay: UInt8[np.ndarray, "h w 3"] | None = None,
) -> list[Path]:
    """Writes <stem>.obj, .glb, .json and, with an overlay, <stem>_overlay.png.

    .obj and .json are in mm in the hand's frame. The .glb is in metres; in a camera's frame its
    axes are turned to glTF's, so that a viewer shows the hand upright. Each file is there whole
    or not at all, and the .json, which is written last, only with the others.

    Args:
        folder: Made if need be.
        stem: First part of the names, from `unique_stems`.
        hand: The hand.
        template: Its faces, texture coordinates and names.
        overlay: RGB picture.

    Returns:
        The files.

    Raises:
        OSError: If one cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = write_hand_mesh(folder, stem, hand, template)
    if overlay is not None:
        paths.append(folder / f"{stem}_overlay.png")
        write_whole(paths[-1], iio.imwrite("<bytes>", overlay, extension=".png"))
    paths.append(folder / f"{stem}.json")
    write_json(paths[-1], describe_hand(hand, template))
    return paths


def write_hand_mesh(
    folder: Path, stem: str, hand: PredictedHand, template: HandTemplate
) -> list[Path]:
    """Writes <stem>.obj and .glb alone, as `write_hand` does."""
    mesh = placed_mesh(hand, template)
    obj, glb = folder / f"{stem}.obj", folder / f"{stem}.glb"
    partial = _partial(obj)
    write_obj(partial, mesh)
    partial.replace(obj)
    turn = _GLTF_FROM_CAMERA if hand.frame == CAMERA else np.eye(3)
    turned = mesh._replace(vertices=mesh.vertices @ turn)
    normals = vertex_normals(turned.vertices, turned.faces)
    write_whole(glb, encode_glb(turned, normals, stem))
    return [obj, glb]


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file; a process that is killed meanwhile leaves the one before."""
    partial = _partial(path)
    partial.write_bytes(data)
    partial.replace(path)


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name}.partial")


def _plain(value: Any) -> Any:
    if value is None:
        return None
    return np.asarray(value, np.float64).tolist()
