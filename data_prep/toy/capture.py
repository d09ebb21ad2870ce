"""Writes a small made-up capture in the released layout, so that it enters by the same door."""

import shutil
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from data_prep.captures.release_capture import K_SIZE
from data_prep.toy.hand import make_toy_subject, make_toy_template
from data_prep.toy.motion import finger_motion, hand_motion
from data_prep.toy.rig import model_from_hand
from data_prep.toy.scene import (
    place_cameras,
    skin_colours,
    studio_centre,
    write_jpeg,
)
from dhm.errors import BadInputError
from dhm.formats.hand_template import write_hand_model
from dhm.formats.mesh import write_ply
from dhm.formats.release_annotations import (
    KEYPOINT_NAMES,
    Keypoints,
    KrtCamera,
    write_depth_pickle,
    write_keypoints,
    write_krt,
)
from dhm.geometry.hand_rig import JOINT_NAMES, dof_indices, pose_to_euler
from dhm.geometry.kinematics import forward_kinematics
from dhm.geometry.rotations import euler_angles_to_matrix
from dhm.geometry.skinning import linear_blend_skinning
from dhm.rendering import rasterize
from dhm.rendering.shading import shade, vertex_normals
from dhm.types import HandTemplate

TOY_SEQUENCES = {
    "0001_RT_fist": "fist",
    "0002_RT_spread": "spread",
    "0003_RT_pinch": "pinch",
    "0004_RT_point": "point",
    "0005_RT_hook": "hook",
}
"""Right-hand sequences (by the rules of every subject) and the pose each one goes to."""

TOY_HELD_OUT = ("0003_RT_pinch",)
"""The sequences of TOY_SEQUENCES that are meant for testing."""

_BULGE = 1.5  # mm that flesh swells out at a joint that is bent by a right angle or more
_FIRST_FRAME = 7


_draw = jax.jit(rasterize, static_argnames="image_size")
_skin = jax.jit(linear_blend_skinning)


@partial(jax.jit, static_argnames="parents")
def _joint_transforms(
    theta: Float[Array, "n 28"], T_parent_joint: Float[Array, "22 4 4"], parents: tuple[int, ...]
) -> Float[Array, "n 22 4 4"]:
    euler = pose_to_euler(theta, dof_indices(JOINT_NAMES), len(parents))
    return forward_kinematics(T_parent_joint, euler_angles_to_matrix(euler), parents)


class _Frame(NamedTuple):
    """One moment: number, sequence, true surface and joints in world mm, and the hand's place."""

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
    """Writes a capture of a made-up person's hand; the same arguments give the same files.

    The hand model in it is the average hand; the person's has other bone lengths and flesh that
    swells where it bends, so that there is a skeleton and a surface to learn.

    Args:
        root: Folder to write; it appears only once the capture is complete.
        subject: Number of the subject.
        sequences: Names of the sequences, each with the pose of TOY_POSES it goes to;
            TOY_SEQUENCES where None.
        frames_per_sequence: Number of frames of each sequence, every one seen by all cameras.
        num_cameras: Number of cameras around the hand.
        num_vertices: About how many vertices the hand model has.
        seed: Draws the person and the motion.

    Returns:
        The folder.

    Raises:
        BadInputError: The folder is there already.
    """
    root = Path(root)
    if root.exists():
        raise BadInputError(root, "something that exists", "a folder that is to be written")
    partial = root.with_name(root.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    person = make_toy_subject(seed, num_vertices)
    cameras = place_cameras(num_cameras, K_SIZE)
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
    """Poses the person's hand along one sequence's motion."""
    theta = finger_motion(pose, count, rng).astype(np.float32)
    T_world_hand = hand_motion(count, rng)
    T_world_hand[:, :3, 3] += studio_centre()
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
    """Returns the zero-pose surface of each frame, swollen around the joints that are flexed."""
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
    """Writes the frame's keypoints (every joint but thumb0, as released) and its scan."""
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
    """Writes the picture and the depth map of the frame from every camera."""
    T = np.stack([camera.T_camera_world for camera in cameras.values()]).astype(np.float32)
    K = np.stack([camera.K for camera in cameras.values()]).astype(np.float32)
    v_camera = frame.vertices @ T[:, :3, :3].swapaxes(1, 2) + T[:, None, :3, 3]
    drawn = [np.asarray(x) for x in _draw(v_camera, person.faces, K, image_size=K_SIZE)]
    normals = vertex_normals(frame.vertices, person.faces)
    colours = skin_colours(normals, frame.T_world_hand[:3, 1])
    depths = _folder(root / "annotations", "depthmaps", subject) / f"{frame.number:06d}"
    depths.mkdir()
    pictures = root / "images" / f"subject_{subject}" / frame.sequence
    for view, name in enumerate(cameras):
        pix_to_face, bary_coords, depth = (array[view] for array in drawn)
        picture = shade(pix_to_face, bary_coords, person.faces, normals, colours, -T[view, 2, :3])
        (pictures / f"cam{name}").mkdir(parents=True, exist_ok=True)
        write_jpeg(pictures / f"cam{name}" / f"image{frame.number:04d}.jpg", picture)
        write_depth_pickle(depths / f"depthmap{name}.pkl", depth)


def _folder(annotations: Path, kind: str, subject: int) -> Path:
    folder = annotations / kind / f"subject_{subject}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
