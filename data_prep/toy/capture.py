"""Writes a small capture of the toy hand in the released layout."""

import shutil
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import jax
import numpy as np
from jaxtyping import Array, Float

from data_prep.captures.release_capture import K_SIZE
from data_prep.studio.anatomy.rig import axis_rotation
from data_prep.studio.stage.cameras import look_at, pinhole_camera
from data_prep.toy.hand import make_toy_subject, make_toy_template, model_from_hand
from dhm.errors import BadInputError
from dhm.formats.hand_template import write_hand_model
from dhm.formats.ply import write_ply
from dhm.formats.release_annotations import (
    KEYPOINT_NAMES,
    Keypoints,
    KrtCamera,
    write_depth_pickle,
    write_keypoints,
    write_krt,
)
from dhm.geometry.hand_rig import FINGERS, JOINT_NAMES, dof_indices, dof_names, pose_to_euler
from dhm.geometry.kinematics import forward_kinematics, linear_blend_skinning
from dhm.geometry.mesh import vertex_normals
from dhm.geometry.transforms import euler_angles_to_matrix
from dhm.rendering import rasterize
from dhm.rendering.shading import shade
from dhm.types import HandTemplate

TOY_SEQUENCES = {
    "0001_RT_fist": "fist",
    "0002_RT_spread": "spread",
    "0003_RT_pinch": "pinch",
    "0004_RT_point": "point",
    "0005_RT_hook": "hook",
}
"""Sequences, right-handed by the rules of every subject, and the pose each one ends in."""

TOY_HELD_OUT = ("0003_RT_pinch",)
"""The sequences of TOY_SEQUENCES to test on."""

_BULGE = 1.5  # mm, largest swelling at a joint, reached at a right angle
_FIRST_FRAME = 7
_CENTRE = np.array([120.0, -75.0, 940.0])
_DISTANCE = 950.0
_FOCAL = 1190.0
_CURLED = {
    f"{finger}{joint}_z": angle
    for finger in FINGERS[1:]
    for joint, angle in (("1", 1.15), ("2", 1.35), ("3", 0.75))
}
_POSES: dict[str, dict[str, float]] = {
    "rest": {},
    "fist": _CURLED | {"thumb1_z": 0.55, "thumb1_y": 0.1, "thumb2_z": 0.65, "thumb3_z": 0.75},
    "spread": {
        "thumb1_y": -0.35, "index1_y": -0.22, "middle1_y": -0.04, "ring1_y": 0.14,
        "pinky1_y": 0.26, **{f"{finger}2_z": -0.15 for finger in FINGERS[1:]},
    },
    "point": {k: v for k, v in _CURLED.items() if not k.startswith("index")},
    "pinch": {
        "thumb1_z": 0.25, "thumb1_x": 0.45, "thumb3_z": 0.35,
        "index1_z": 0.75, "index2_z": 0.75, "index3_z": 0.35,
    },
    "hook": {k: v for k, v in _CURLED.items() if "1_z" not in k},
}  # fmt: skip

TOY_POSES = tuple(_POSES)

_draw = jax.jit(rasterize, static_argnames="image_size")
_skin = jax.jit(linear_blend_skinning)


@partial(jax.jit, static_argnames="parents")
def _joint_transforms(
    theta: Float[Array, "n 28"], T_parent_joint: Float[Array, "22 4 4"], parents: tuple[int, ...]
) -> Float[Array, "n 22 4 4"]:
    euler = pose_to_euler(theta, dof_indices(JOINT_NAMES), len(parents))
    return forward_kinematics(T_parent_joint, euler_angles_to_matrix(euler), parents)


class _Frame(NamedTuple):
    """A frame: number, sequence, true surface and joints in world mm, and the hand's pose."""

    number: int
    sequence: str
    vertices: Float[np.ndarray, "v 3"]
    joints: Float[np.ndarray, "j 3"]
    T_world_hand: Float[np.ndarray, "4 4"]


def write_toy_capture(
    root: str | Path,
    *,
    subject: int = 1,
    sequences: dict[str, str] | None = None,
    frames_per_sequence: int = 6,
    num_cameras: int = 6,
    num_vertices: int = 1200,
    seed: int = 0,
) -> Path:
    """Writes a capture of a toy hand; the same arguments give the same files.

    Its hand model is the average hand. The person's hand has other bone lengths and swells where it
    bends, so that there is a skeleton and a surface to learn.

    Args:
        root: Folder to write; it exists only once the capture is complete.
        subject: Number of the subject.
        sequences: Names of the sequences, each with the pose of TOY_POSES that it ends in;
            TOY_SEQUENCES by default.
        frames_per_sequence: Number of frames of each sequence, all seen by all cameras.
        num_cameras: Number of cameras around the hand.
        num_vertices: Approximate number of vertices of the hand model.
        seed: Draws the person and the motion.

    Returns:
        The folder.

    Raises:
        BadInputError: The folder exists.
    """
    root = Path(root)
    if root.exists():
        raise BadInputError(root, "an existing file or folder", "a path that does not exist yet")
    partial = root.with_name(root.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    person = make_toy_subject(seed, num_vertices)
    cameras = _place_cameras(num_cameras)
    write_hand_model(make_toy_template(num_vertices), partial / "hand_model")
    (partial / "annotations").mkdir()
    write_krt(partial / "annotations" / "KRT_512", cameras)
    rng = np.random.default_rng(seed)
    number = _FIRST_FRAME
    for sequence, pose in (TOY_SEQUENCES if sequences is None else sequences).items():
        for frame in _move(person, sequence, pose, number, frames_per_sequence, rng):
            _write_annotations(partial / "annotations", subject, frame, person)
            _write_views(partial, subject, frame, person, cameras)
        number += frames_per_sequence
    partial.rename(root)
    return root


def _move(
    person: HandTemplate, sequence: str, pose: str, first: int, count: int, rng: np.random.Generator
) -> list[_Frame]:
    """Poses the person's hand along the motion of a sequence."""
    theta = finger_motion(pose, count, rng).astype(np.float32)
    T_world_hand = hand_motion(count, rng)
    T_world_hand[:, :3, 3] += _CENTRE
    T_world_model = (T_world_hand @ np.linalg.inv(model_from_hand())).astype(np.float32)
    T_model_joint = _joint_transforms(theta, person.T_parent_joint, person.parents)
    T_rest = _joint_transforms(np.zeros_like(theta), person.T_parent_joint, person.parents)
    T_world_joint = T_world_model[:, None] @ np.asarray(T_model_joint)
    vertices = _skin(
        _swollen(person, theta), person.lbs_weights, T_world_joint, np.linalg.inv(T_rest)
    )
    return [
        _Frame(first + index, sequence, np.asarray(surface), T[:, :3, 3], T_world_hand[index])
        for index, (surface, T) in enumerate(zip(vertices, T_world_joint, strict=True))
    ]


def _swollen(person: HandTemplate, theta: Float[np.ndarray, "n 28"]) -> Float[np.ndarray, "n v 3"]:
    """Returns the zero-pose surface of each frame, swollen around its flexed joints."""
    amount = np.zeros((len(theta), person.num_vertices), np.float32)
    dofs = dof_indices(person.joint_names)
    for column, (joint, axis) in enumerate(dofs):
        if axis == 2:
            flexed = np.clip(theta[:, column] / (np.pi / 2), 0.0, 1.0)
            weight = person.lbs_weights[:, joint]
            amount += _BULGE * flexed[:, None] * 4.0 * weight * (1.0 - weight)
    normals = vertex_normals(person.v_template, person.faces)
    return person.v_template + amount[:, :, None] * normals


def _write_annotations(folder: Path, subject: int, frame: _Frame, person: HandTemplate) -> None:
    """Writes the keypoints of a frame (every joint but thumb0, as released) and its scan."""
    points, valid = np.zeros((len(KEYPOINT_NAMES), 3)), np.zeros(len(KEYPOINT_NAMES), bool)
    for name, position in zip(person.joint_names, frame.joints, strict=True):
        if f"b_r_{name}" in KEYPOINT_NAMES:
            index = KEYPOINT_NAMES.index(f"b_r_{name}")
            points[index], valid[index] = position, True
    views = np.full(len(valid), 8.0)
    path = _folder(folder, "keypoints", subject) / f"keypoints{frame.number:04d}.pts"
    write_keypoints(path, Keypoints(points, valid, views, views))
    scans = _folder(folder, "3D_scans_decimated", subject)
    write_ply(scans / f"{frame.number:06d}.ply", frame.vertices, person.faces)


def _write_views(
    root: Path, subject: int, frame: _Frame, person: HandTemplate, cameras: dict[str, KrtCamera]
) -> None:
    """Writes the picture and the depth map of a frame for each camera."""
    T = np.stack([camera.T_camera_world for camera in cameras.values()]).astype(np.float32)
    K = np.stack([camera.K for camera in cameras.values()]).astype(np.float32)
    v_camera = frame.vertices @ T[:, :3, :3].swapaxes(1, 2) + T[:, None, :3, 3]
    drawn = [np.asarray(x) for x in _draw(v_camera, person.faces, K, image_size=K_SIZE)]
    normals = vertex_normals(frame.vertices, person.faces)
    colours = _skin_albedo(normals, frame.T_world_hand[:3, 1])
    depths = _folder(root / "annotations", "depthmaps", subject) / f"{frame.number:06d}"
    depths.mkdir()
    pictures = root / "images" / f"subject_{subject}" / frame.sequence
    for view, name in enumerate(cameras):
        pix_to_face, bary_coords, depth = (array[view] for array in drawn)
        picture = shade(pix_to_face, bary_coords, person.faces, normals, colours, -T[view, 2, :3])
        (pictures / f"cam{name}").mkdir(parents=True, exist_ok=True)
        path = pictures / f"cam{name}" / f"image{frame.number:04d}.jpg"
        if not cv2.imwrite(str(path), picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95]):
            raise OSError(f"cannot write {path}")
        write_depth_pickle(depths / f"depthmap{name}.pkl", depth)


def _folder(annotations: Path, kind: str, subject: int) -> Path:
    folder = annotations / kind / f"subject_{subject}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def joint_limits() -> tuple[Float[np.ndarray, " 28"], Float[np.ndarray, " 28"]]:
    """Returns the lowest and the highest angle of each rotation, radians."""
    table = {"x": (-0.4, 0.5), "y": (-0.4, 0.4), "z": (-0.25, 1.6)}
    thumb = {"thumb0": (-0.3, 0.3), "thumb1": (-0.5, 0.6), "thumb2": (-0.2, 0.9)}
    rows = []
    for name in dof_names(JOINT_NAMES):
        joint, axis = name.split("_")
        rows.append(thumb.get(joint, table[axis]))
    low, high = np.array(rows).T
    return low, high


def finger_motion(
    pose: str, num_frames: int, rng: np.random.Generator
) -> Float[np.ndarray, "n 28"]:
    """Returns joint angles that move from rest to a pose, with a time lag per finger."""
    names = dof_names(JOINT_NAMES)
    target = np.array([_POSES[pose].get(name, 0.0) for name in names])
    lead_of = dict(zip(FINGERS, rng.uniform(-0.15, 0.15, len(FINGERS)), strict=True))
    lead = np.array([lead_of[next(f for f in FINGERS if name.startswith(f))] for name in names])
    time = np.linspace(0.1, 1.0, num_frames)[:, None]
    progress = np.sin(np.clip(time + lead, 0.0, 1.0) * np.pi / 2) ** 2
    tremble = rng.normal(0.0, 0.06, len(names)) * np.sin(5.0 * time + rng.uniform(0, 6, len(names)))
    return np.clip(progress * target + tremble, *joint_limits())


def hand_motion(num_frames: int, rng: np.random.Generator) -> Float[np.ndarray, "n 4 4"]:
    """Returns T_world_hand of an upright hand (fingers to +z) that rotates and drifts, mm."""
    upright = np.array([[0.0, 0.0, 1.0], [0.0, -1.0, 0.0], [1.0, 0.0, 0.0]])
    time = np.linspace(-1.0, 1.0, num_frames)
    turn, tilt, lean = (a * np.sin(time + b) for a, b in rng.uniform(-0.7, 0.7, (3, 2)))
    drift = rng.uniform(-20.0, 20.0, (2, 3))
    T_world_hand = np.tile(np.eye(4), (num_frames, 1, 1))
    for T, *angles, now in zip(T_world_hand, lean, tilt, turn, time, strict=True):
        x, y, z = (axis_rotation(axis, angle) for axis, angle in enumerate(angles))
        T[:3, :3] = z @ y @ x @ upright
        # Rotates about the middle of the hand, which stays near the origin.
        T[:3, 3] = drift[0] + drift[1] * now - T[:3, :3] @ np.array([80.0, 0.0, 0.0])
    return T_world_hand


def _place_cameras(num_cameras: int) -> dict[str, KrtCamera]:
    """Returns upright cameras in a ring around the hand, named as the released colour cameras."""
    height, width = K_SIZE
    cameras = {}
    for index in range(num_cameras):
        azimuth = 2 * np.pi * (index + 0.3) / num_cameras
        elevation = 0.45 * np.sin(2.4 * index)
        away = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation),
                         np.sin(elevation)])  # fmt: skip
        cameras[f"{400002 + 7 * index}"] = pinhole_camera(
            look_at(away, (0.0, 0.0, 1.0)),
            _CENTRE + _DISTANCE * away,
            _FOCAL + 7.0 * index,
            (width / 2 + 3.0 - index, height / 2 + 4.0),
        )
    return cameras


def _skin_albedo(
    normals: Float[np.ndarray, "v 3"], palm_side: Float[np.ndarray, " 3"]
) -> Float[np.ndarray, "v 3"]:
    """Returns the albedo of each vertex: the palm is paler and pinker than the back."""
    share = np.clip(0.5 + 0.7 * normals @ palm_side, 0.0, 1.0)[:, None]
    back, palm = np.array([0.72, 0.50, 0.38]), np.array([0.88, 0.64, 0.55])
    grain = np.random.default_rng(0).normal(0.0, 0.012, (len(normals), 1))
    return back * (1 - share) + palm * share + grain
