"""Films one frame: poses the hand, lights it, and writes all files that belong to the frame."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float

from data_prep.captures.release_capture import K_SIZE
from data_prep.studio.anatomy.complexion import TONES, random_tone, skin_colours
from data_prep.studio.anatomy.normals import smooth_normals
from data_prep.studio.anatomy.proportions import Proportions, subject
from data_prep.studio.anatomy.rig import pose_rig, rig_transforms
from data_prep.studio.anatomy.surface import HandSurface, hand_surface
from data_prep.studio.stage.lighting import random_lighting, skin_gloss, skin_light, studio_lighting
from data_prep.studio.stage.photograph import dark_background, photograph, random_background
from data_prep.studio.stage.sensor import noisy_depth, noisy_joints
from data_prep.studio.stage.settings import StudioSettings
from data_prep.studio.stage.views import Views, draw_depth, draw_views
from dhm.formats.mesh import write_ply
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
class Take:
    """One moment of a motion.

    Attributes:
        number: Of the frame, unique in the capture.
        sequence: Name of its sequence.
        held_out: Whether the sequence is one of the gestures to test on.
        theta: The person's angles, radians.
        T_world_hand: Where the hand is, mm.
    """

    number: int
    sequence: str
    held_out: bool
    theta: Float[np.ndarray, " 28"]
    T_world_hand: Float[np.ndarray, "4 4"]


def truth_path(root: Path, person: int, number: int) -> Path:
    """Returns the file that holds a frame's truth; it is written last."""
    return root / "truth" / f"subject_{person}" / f"{number:06d}.npz"


def pictured_cameras(settings: StudioSettings, names: list[str], number: int) -> list[str]:
    """Returns the cameras that take a picture of a frame: others in each, all in their turn."""
    order = np.random.default_rng([settings.seed, 5, number]).permutation(len(names))
    return [names[index] for index in sorted(order[: settings.pictures])]


def film(settings: StudioSettings, root: Path, cameras: dict[str, KrtCamera], take: Take) -> None:
    """Writes pictures, depth maps, joints, the scan and the truth of a frame, as far as asked for.

    Args:
        settings: Of the capture.
        root: Its folder.
        cameras: By name, as the capture's KRT_512 holds them.
        take: The frame.
    """
    person = subject(settings.subject)
    surface = hand_surface(person, take.theta, settings.resolution_mm)
    T = take.T_world_hand
    # In float32 as in the scan's file, so that depth maps and scan agree to rounding.
    vertices = np.float32(surface.vertices @ T[:3, :3].T + T[:3, 3])
    rng = np.random.default_rng([settings.seed, 6, take.number])
    scene = _Scene(settings, root, take, surface, vertices, cameras, rng)
    joints = (T @ pose_rig(person, take.theta))[:, :3, 3]
    names = pictured_cameras(settings, list(cameras), take.number)
    views = draw_views(vertices, surface.faces, [cameras[name] for name in names], K_SIZE)
    _write_pictures(scene, names, views)
    if settings.depth_maps != "none":
        _write_depths(scene, names, views)
    _write_joints(scene, joints)
    if take.held_out or settings.scans == "all":
        folder = _folder(root / "annotations" / "3D_scans_decimated", settings)
        write_ply(folder / f"{take.number:06d}.ply", vertices, surface.faces)
    _write_truth(scene, person, joints)


class _Scene(NamedTuple):
    """What the files of one frame are made from; `vertices` are the surface's in world mm."""

    settings: StudioSettings
    root: Path
    take: Take
    surface: HandSurface
    vertices: Float[np.ndarray, "v 3"]
    cameras: dict[str, KrtCamera]
    rng: np.random.Generator


def _write_pictures(scene: _Scene, names: list[str], views: Views) -> None:
    settings, vertices, faces, rng = scene.settings, scene.vertices, scene.surface.faces, scene.rng
    normals = smooth_normals(vertices.astype(np.float64), faces)
    lighting = random_lighting(rng) if settings.varied else studio_lighting()
    background = dark_background(K_SIZE, rng)
    tone = random_tone(rng) if settings.varied else TONES[settings.subject]
    albedo = skin_colours(subject(settings.subject), scene.surface, tone)
    light, lit = skin_light(vertices, faces, normals, lighting)
    folder = scene.root / "images" / f"subject_{settings.subject}" / scene.take.sequence
    for view, name in enumerate(names):
        T = scene.cameras[name].T_camera_world
        gloss = skin_gloss(vertices, normals, lit, lighting, -T[:3, :3].T @ T[:3, 3])
        if settings.varied:
            background = random_background(K_SIZE, rng)
        picture = photograph(views, view, faces, albedo * light + gloss, background, rng)
        (folder / f"cam{name}").mkdir(parents=True, exist_ok=True)
        path = folder / f"cam{name}" / f"image{scene.take.number:04d}.jpg"
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
        drawn = draw_depth(
            scene.vertices, scene.surface.faces, [scaled[name] for name in missing], size, window
        )
        maps |= dict(zip(missing, drawn, strict=True))
    folder = _folder(scene.root / "annotations" / "depthmaps", settings)
    folder = folder / f"{scene.take.number:06d}"
    folder.mkdir(exist_ok=True)
    for name in wanted:
        depth = maps[name]
        if settings.depth_noise_mm:
            depth = noisy_depth(depth, scaled[name].K, settings.depth_noise_mm, scene.rng)
        write_depth_pickle(folder / f"depthmap{name}.pkl", depth)


def _shrunk(camera: KrtCamera, factor: int) -> KrtCamera:
    """The camera for maps of an integer part of the picture's size: u' = u / factor."""
    return camera._replace(K=np.diag([1 / factor, 1 / factor, 1.0]) @ camera.K)


def _write_joints(scene: _Scene, joints: Float[np.ndarray, "22 3"]) -> None:
    """Writes every joint but thumb0, as released."""
    settings = scene.settings
    if settings.joint_noise_mm:
        joints = noisy_joints(joints, settings.joint_noise_mm, scene.rng)
    points, valid = np.zeros((len(KEYPOINT_NAMES), 3)), np.zeros(len(KEYPOINT_NAMES), bool)
    for name, position in zip(JOINT_NAMES, joints, strict=True):
        if _SIDE + name in KEYPOINT_NAMES:
            index = KEYPOINT_NAMES.index(_SIDE + name)
            points[index], valid[index] = position, True
    seen_by = np.full(len(valid), float(settings.cameras))
    folder = _folder(scene.root / "annotations" / "keypoints", settings)
    write_keypoints(
        folder / f"keypoints{scene.take.number:04d}.pts",
        Keypoints(points, valid, seen_by, seen_by),
    )


def _write_truth(scene: _Scene, person: Proportions, joints: Float[np.ndarray, "22 3"]) -> None:
    take = scene.take
    path = truth_path(scene.root, scene.settings.subject, take.number)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".partial.npz")
    np.savez(
        unfinished,
        theta=take.theta,
        T_world_hand=take.T_world_hand,
        T_parent_joint=rig_transforms(person),
        joints=joints,
        joint_names=np.array(JOINT_NAMES),
    )
    unfinished.rename(path)


def _folder(kind: Path, settings: StudioSettings) -> Path:
    folder = kind / f"subject_{settings.subject}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
