"""One frame of a capture: poses and lights the hand, and writes all files of the frame."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float

from data_prep.captures.release_capture import K_SIZE
from data_prep.studio.anatomy.albedo import TONES, random_tone, skin_albedo
from data_prep.studio.anatomy.proportions import Proportions, subject
from data_prep.studio.anatomy.rig import pose_rig, rig_transforms
from data_prep.studio.anatomy.surface import SkinMesh, skin_mesh, smooth_normals
from data_prep.studio.stage.cameras import Views, render_depth_maps, render_views
from data_prep.studio.stage.lighting import (
    diffuse_light,
    random_lighting,
    specular_light,
    studio_lighting,
)
from data_prep.studio.stage.sensors import (
    dark_background,
    noisy_depth,
    photograph,
    random_background,
)
from data_prep.studio.stage.settings import StudioSettings
from dhm.formats.ply import write_ply
from dhm.formats.release_annotations import (
    KEYPOINT_NAMES,
    Keypoints,
    KrtCamera,
    write_depth_pickle,
    write_keypoints,
)
from dhm.geometry.hand_rig import JOINT_NAMES

_SIDE = "b_r_"
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class Frame:
    """A frame to film.

    Attributes:
        number: Number of the frame, unique in the capture.
        sequence: Name of its sequence.
        held_out: Whether the sequence is one of the gestures to test on.
        theta: The person's angles, radians.
        T_world_hand: Pose of the hand, mm.
    """

    number: int
    sequence: str
    held_out: bool
    theta: Float[np.ndarray, " 28"]
    T_world_hand: Float[np.ndarray, "4 4"]


def truth_path(root: Path, person: int, number: int) -> Path:
    """Returns the file of a frame's ground truth, which is written after its other files."""
    return root / "truth" / f"subject_{person}" / f"{number:06d}.npz"


def pictured_cameras(settings: StudioSettings, names: list[str], number: int) -> list[str]:
    """Returns the cameras that take a picture of a frame, drawn anew for each frame."""
    order = np.random.default_rng([settings.seed, 5, number]).permutation(len(names))
    return [names[index] for index in sorted(order[: settings.pictures])]


def film_frame(
    settings: StudioSettings, root: Path, cameras: dict[str, KrtCamera], frame: Frame
) -> None:
    """Writes the pictures, depth maps, joints, scan and ground truth of a frame.

    Args:
        settings: Settings of the capture, which say what is written.
        root: Folder of the capture.
        cameras: Cameras by name, as read from the capture's KRT_512.
        frame: The frame.
    """
    person = subject(settings.subject)
    surface = skin_mesh(person, frame.theta, settings.resolution_mm)
    T = frame.T_world_hand
    # In float32 as in the scan's file, so that depth maps and scan agree to rounding.
    vertices = np.float32(surface.vertices @ T[:3, :3].T + T[:3, 3])
    rng = np.random.default_rng([settings.seed, 6, frame.number])
    scene = _Scene(settings, root, frame, surface, vertices, cameras, rng)
    joints = (T @ pose_rig(person, frame.theta))[:, :3, 3]
    names = pictured_cameras(settings, list(cameras), frame.number)
    views = render_views(vertices, surface.faces, [cameras[name] for name in names], K_SIZE)
    _write_pictures(scene, names, views)
    if settings.depth_maps != "none":
        _write_depths(scene, names, views)
    _write_joints(scene, joints)
    if frame.held_out or settings.scans == "all":
        folder = _folder(root / "annotations" / "3D_scans_decimated", settings)
        write_ply(folder / f"{frame.number:06d}.ply", vertices, surface.faces)
    _write_truth(scene, person, joints)


class _Scene(NamedTuple):
    """The content of one frame; `vertices` are the surface's in world mm."""

    settings: StudioSettings
    root: Path
    frame: Frame
    surface: SkinMesh
    vertices: Float[np.ndarray, "v 3"]
    cameras: dict[str, KrtCamera]
    rng: np.random.Generator


def _write_pictures(scene: _Scene, names: list[str], views: Views) -> None:
    settings, vertices, faces, rng = scene.settings, scene.vertices, scene.surface.faces, scene.rng
    normals = smooth_normals(vertices.astype(np.float64), faces)
    lighting = random_lighting(rng) if settings.varied else studio_lighting()
    background = dark_background(K_SIZE, rng)
    tone = random_tone(rng) if settings.varied else TONES[settings.subject]
    albedo = skin_albedo(subject(settings.subject), scene.surface, tone)
    light, lit = diffuse_light(vertices, faces, normals, lighting)
    folder = scene.root / "images" / f"subject_{settings.subject}" / scene.frame.sequence
    for view, name in enumerate(names):
        T = scene.cameras[name].T_camera_world
        gloss = specular_light(vertices, normals, lit, lighting, -T[:3, :3].T @ T[:3, 3])
        if settings.varied:
            background = random_background(K_SIZE, rng)
        picture = photograph(views, view, faces, albedo * light + gloss, background, rng)
        (folder / f"cam{name}").mkdir(parents=True, exist_ok=True)
        path = folder / f"cam{name}" / f"image{scene.frame.number:04d}.jpg"
        quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        if not cv2.imwrite(str(path), picture[:, :, ::-1], quality):
            raise OSError(f"cannot write {path}")


def _write_depths(scene: _Scene, pictured: list[str], views: Views) -> None:
    settings, cameras = scene.settings, scene.cameras
    maps = {}
    if settings.depth_shrink == 1:
        maps = dict(zip(pictured, views.depth, strict=True))
    wanted = list(cameras) if settings.depth_maps == "all" else pictured
    scaled = {name: _shrunk(cameras[name], settings.depth_shrink) for name in wanted}
    if missing := [name for name in wanted if name not in maps]:
        size = tuple(side // settings.depth_shrink for side in K_SIZE)
        window = 4 // settings.depth_shrink
        drawn = render_depth_maps(
            scene.vertices, scene.surface.faces, [scaled[name] for name in missing], size, window
        )
        maps |= dict(zip(missing, drawn, strict=True))
    folder = _folder(scene.root / "annotations" / "depthmaps", settings)
    folder = folder / f"{scene.frame.number:06d}"
    folder.mkdir(exist_ok=True)
    for name in wanted:
        depth = maps[name]
        if settings.depth_noise_mm:
            depth = noisy_depth(depth, scaled[name].K, settings.depth_noise_mm, scene.rng)
        write_depth_pickle(folder / f"depthmap{name}.pkl", depth)


def _shrunk(camera: KrtCamera, factor: int) -> KrtCamera:
    """Returns the camera of a map that is smaller by an integer factor: u' = u / factor."""
    return camera._replace(K=np.diag([1 / factor, 1 / factor, 1.0]) @ camera.K)


def _write_joints(scene: _Scene, joints: Float[np.ndarray, "22 3"]) -> None:
    """Writes every joint but thumb0, as released."""
    settings = scene.settings
    if settings.joint_noise_mm:
        joints = joints + scene.rng.normal(0.0, settings.joint_noise_mm, joints.shape)
    points, valid = np.zeros((len(KEYPOINT_NAMES), 3)), np.zeros(len(KEYPOINT_NAMES), bool)
    for name, position in zip(JOINT_NAMES, joints, strict=True):
        if _SIDE + name in KEYPOINT_NAMES:
            index = KEYPOINT_NAMES.index(_SIDE + name)
            points[index], valid[index] = position, True
    seen_by = np.full(len(valid), float(settings.cameras))
    folder = _folder(scene.root / "annotations" / "keypoints", settings)
    write_keypoints(
        folder / f"keypoints{scene.frame.number:04d}.pts",
        Keypoints(points, valid, seen_by, seen_by),
    )


def _write_truth(scene: _Scene, person: Proportions, joints: Float[np.ndarray, "22 3"]) -> None:
    frame = scene.frame
    path = truth_path(scene.root, scene.settings.subject, frame.number)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_npz(
        path,
        theta=frame.theta,
        T_world_hand=frame.T_world_hand,
        T_parent_joint=rig_transforms(person),
        joints=joints,
        joint_names=np.array(JOINT_NAMES),
    )


def write_npz(path: Path, **arrays: np.ndarray) -> None:
    """Writes arrays to a file that exists only once it is complete."""
    unfinished = path.with_suffix(".partial.npz")
    np.savez(unfinished, **arrays)
    unfinished.rename(path)


def _folder(kind: Path, settings: StudioSettings) -> Path:
    folder = kind / f"subject_{settings.subject}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
