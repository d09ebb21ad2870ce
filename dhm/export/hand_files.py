"""The files of a predicted or fitted hand: .obj, .glb, .json and an overlay.

A hand is always stored as the model's right hand; a left hand is mirrored when it is written.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import imageio.v3 as iio
import numpy as np
from jaxtyping import Float, UInt8

from dhm.export.hand import angle_names
from dhm.formats.glb import encode_glb
from dhm.formats.json_file import PARTIAL, write_json
from dhm.formats.obj import ObjMesh, write_obj
from dhm.geometry.mesh import vertex_normals
from dhm.types import HandTemplate

RIGHT, LEFT = "right", "left"
CAMERA, WORLD, MODEL = "camera", "world", "model"
"""Coordinate frames of a result: the picture's camera, the evidence's world, the model's own."""
PLAUSIBLE, DOUBTFUL = "plausible", "doubtful"
"""Verdicts on a result."""

_MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])
# glTF looks along -z with +y up, a camera here along +z with +y down.
_GLTF_FROM_CAMERA = np.diag([1.0, -1.0, -1.0])


class PredictedHand(NamedTuple):
    """A hand in the model's frame, and its placement.

    Attributes:
        vertices: The decoded right hand in the model's frame, mm, times `scale`.
        joints: Its joints in the template's order, likewise.
        theta: Its angles, radians.
        side: RIGHT, or LEFT: then the hand is this one mirrored at the model's plane x = 0.
        frame: CAMERA, WORLD or MODEL, the frame of the files.
        T_frame_model: Rigid transform that maps the hand (a left hand after mirroring) to the
            frame; None in the model's frame, where the hand is not placed.
        K: Intrinsics of the picture, pixels, known or assumed; None without a camera.
        scale: Fitted factor of the hand's size.
        reprojection_error_px: Mean distance between projected joints and keypoints, or None.
        source: Path of the picture or evidence file.
        notes: Sentences for the reader, such as assumptions.
        doubts: Sentences that say why the hand may be wrong; none for a plausible one.
        details: Further plain values for the .json.
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
    doubts: tuple[str, ...] = ()
    details: dict[str, Any] | None = None


def mirror_transform(T: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    """Returns the mirrored transform, which places a left hand where T places a right hand."""
    return _MIRROR @ T @ _MIRROR


def placed_points(
    points: Float[np.ndarray, "n 3"], hand: PredictedHand
) -> Float[np.ndarray, "n 3"]:
    """Maps points of the model's right hand to the hand's frame, mirrored for a left hand; mm."""
    points = np.asarray(points, np.float64)
    if hand.side == LEFT:
        points = points @ _MIRROR[:3, :3]
    if hand.T_frame_model is None:
        return points
    T = np.asarray(hand.T_frame_model, np.float64)
    return points @ T[:3, :3].T + T[:3, 3]


def placed_mesh(hand: PredictedHand, template: HandTemplate) -> ObjMesh:
    """Returns the hand's mesh in its frame, mm; triangles face outwards for either side."""
    faces, faces_uv = template.faces, template.faces_uv
    if hand.side == LEFT:
        faces, faces_uv = faces[:, ::-1], faces_uv[:, ::-1]
    return ObjMesh(placed_points(hand.vertices, hand), faces, template.uvs, faces_uv)


def verdict(doubts: Collection[str]) -> str:
    """Returns PLAUSIBLE, or DOUBTFUL if there are doubts."""
    return DOUBTFUL if doubts else PLAUSIBLE


def describe_hand(hand: PredictedHand, template: HandTemplate) -> dict[str, Any]:
    """Returns the content of <stem>.json."""
    names = angle_names(template, len(hand.theta))
    radians = dict(zip(names, map(float, hand.theta), strict=True))
    joints = dict(zip(template.joint_names, placed_points(hand.joints, hand).tolist(), strict=True))
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
        "verdict": verdict(hand.doubts),
        "notes": [*hand.notes, *hand.doubts],
    }
    return result | (hand.details or {})


def closed_to_results(workdir: Path) -> tuple[Path, ...]:
    """Returns what of a run no result may replace: its exported model, config and errors."""
    return tuple(workdir / name for name in ("export", "config.json", "metrics.json"))


def result_endings(overlay: bool) -> tuple[str, ...]:
    """Returns the endings of the names of what `write_hand` writes."""
    return (".obj", ".glb", ".json", *(("_overlay.png",) if overlay else ()))


def write_hand(
    folder: Path,
    stem: str,
    hand: PredictedHand,
    template: HandTemplate,
    overlay: UInt8[np.ndarray, "h w 3"] | None = None,
    meshes: bool = True,
) -> list[Path]:
    """Writes <stem>.obj, .glb, .json and, with an overlay, <stem>_overlay.png.

    .obj and .json are in mm in the hand's frame. The .glb is in metres, and in a camera's frame it
    has glTF's axes, so that viewers show the hand upright. Each file is replaced whole, the .json
    last.

    Args:
        folder: Folder of the results, created if necessary.
        stem: First part of the names.
        hand: The hand.
        template: The template, for faces, texture coordinates and names.
        overlay: RGB picture, or None.
        meshes: Whether the .obj and .glb are written.

    Returns:
        The paths of the files.

    Raises:
        OSError: If one cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = write_hand_mesh(folder, stem, hand, template) if meshes else []
    if overlay is not None:
        paths.append(folder / f"{stem}_overlay.png")
        write_whole(paths[-1], iio.imwrite("<bytes>", overlay, extension=".png"))
    paths.append(folder / f"{stem}.json")
    write_json(paths[-1], describe_hand(hand, template))
    return paths


def write_hand_mesh(
    folder: Path, stem: str, hand: PredictedHand, template: HandTemplate
) -> list[Path]:
    """Writes <stem>.obj and .glb like `write_hand`."""
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
    """Writes a file whole: an interrupted process leaves the old file as it is."""
    partial = _partial(path)
    partial.write_bytes(data)
    partial.replace(path)


def _partial(path: Path) -> Path:
    return path.with_name(path.name + PARTIAL)


def _plain(value: Any) -> Any:
    if value is None:
        return None
    return np.asarray(value, np.float64).tolist()
