"""A tiny capture as frames: a tilted plane with a round silhouette, seen by three cameras."""

from pathlib import Path

import cv2
import numpy as np

from data_prep.captures.frames import Capture, CaptureView
from dhm.formats.obj import ObjMesh, write_obj
from dhm.formats.release_annotations import write_depth_pickle
from dhm.types import HandTemplate

K_SIZE = (60, 40)
K = np.array([[80.0, 0, 19.3], [0, 82.0, 28.7], [0, 0, 1]])
NORMAL, DISTANCE = np.array([0.15, -0.1, 1.0]), 500.0
CAMERAS = ("400001", "400002", "400003")
FRAMES = {"0001_RT_fist": (3, 5), "0002_RT_wave": (3, 11, 12)}
JOINTS = np.array(
    [[-60.0, -80, 0], [60, -70, 5], [50, 90, 0], [-70, 80, -5]], np.float32
) + np.array([0, 0, 500], np.float32)


def template() -> HandTemplate:
    """A rig of four joints and one triangle."""
    T = np.tile(np.eye(4, dtype=np.float32), (4, 1, 1))
    T[:, :3, 3] = np.arange(12).reshape(4, 3)
    return HandTemplate(
        joint_names=("index_null", "index1", "wrist", "thumb0"),
        parents=(1, 2, -1, 2),
        T_parent_joint=T,
        v_template=np.arange(9, dtype=np.float32).reshape(3, 3) / 7,
        faces=np.array([[0, 1, 2]], np.int32),
        lbs_weights=np.full((3, 4), 0.25, np.float32),
        uvs=np.array([[0, 0], [1, 0], [0, 1]], np.float32),
        faces_uv=np.array([[2, 1, 0]], np.int32),
    )


def scaled_K(size: tuple[int, int]) -> np.ndarray:
    """K for a picture of another size, as the released layout scales it."""
    return np.diag([size[1] / K_SIZE[1], size[0] / K_SIZE[0], 1]) @ K


def plane_depth(K_picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Depth of the plane at every pixel, by its ray."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    rays = np.stack([columns, rows, np.ones(size)], axis=-1) @ np.linalg.inv(K_picture).T
    return DISTANCE / (rays @ NORMAL)


def view(folder: Path, sequence: str = "s", frame: int = 0, camera: str = "400001") -> CaptureView:
    """One view whose files do not exist yet; camera k stands 10 k mm to the left."""
    T = np.eye(4, dtype=np.float32)
    T[0, 3] = 10.0 * (CAMERAS.index(camera))
    stem = folder / sequence / f"cam{camera}" / f"{frame}"
    return CaptureView(
        sequence=sequence,
        frame=frame,
        camera=camera,
        image_path=stem.with_suffix(".jpg"),
        depth_path=stem.with_suffix(".pkl"),
        K=K.astype(np.float32),
        K_size=K_SIZE,
        T_camera_world=T,
        joints=JOINTS + np.float32(frame),
        joint_valid=np.ones(4, bool),
        scan_path=folder / sequence / f"{frame}.obj",
    )


def write_view(target: CaptureView, size: tuple[int, int] = K_SIZE) -> None:
    """Writes a view's picture, depth map and scan; grey levels tell frame and camera."""
    target.image_path.parent.mkdir(parents=True, exist_ok=True)
    grey = 10 * target.frame + CAMERAS.index(target.camera)
    cv2.imwrite(str(target.image_path), np.full((*size, 3), (grey, 2 * grey, 255 - grey), np.uint8))
    if target.depth_path is not None:
        depth = plane_depth(scaled_K(size), size)
        rows, columns = np.mgrid[: size[0], : size[1]]
        outside = np.hypot((rows / size[0] - 0.5), (columns / size[1] - 0.5)) > 0.4
        depth[outside] = 0
        write_depth_pickle(target.depth_path, depth)
    if target.scan_path is not None:
        vertices = np.float32([[0, 0, target.frame], [100, 120, 600], [-100, -120, 400]])
        write_obj(target.scan_path, ObjMesh(vertices, np.int32([[0, 1, 2]]), None, None))


def write_capture(folder: Path) -> Capture:
    """Writes 15 views of five frames; frame 3 of the first sequence has one without depth."""
    views = [
        view(folder, sequence, frame, camera)
        for sequence, frames in FRAMES.items()
        for frame in frames
        for camera in CAMERAS
    ]
    views[1] = CaptureView(**{**vars(views[1]), "depth_path": None})
    for each in views:
        write_view(each)
    return Capture(template(), tuple(views), {"decoy": 2})
