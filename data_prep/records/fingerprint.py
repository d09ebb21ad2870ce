"""A digest of everything that the prepared records depend on."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.captures.frames import Capture, CaptureView
from dhm.data.schema import SCHEMA_VERSION


def fingerprint(capture: Capture, root: Path, options: dict[str, Any]) -> str:
    """Digests a capture and the options.

    Cameras, joints and the template enter by value; pictures, depth maps and scans by their path
    below `root`, size and time of modification, so that a capture can move as a whole.

    Args:
        capture: The capture.
        root: Its folder.
        options: Whatever else the records depend on, as JSON can hold it.
    """
    digest = hashlib.sha256()
    digest.update(json.dumps([SCHEMA_VERSION, options, capture.skipped]).encode())
    for value in vars(capture.template).values():
        _add_array(digest, np.asarray(value))
    for view in capture.views:
        _add_view(digest, view, root)
    return digest.hexdigest()


def _add_view(digest, view: CaptureView, root: Path) -> None:
    names = [view.sequence, view.frame, view.camera, *view.K_size, view.mirrored]
    mask, labels = (view.mask.path, view.mask[1:]) if view.mask else (None, ())
    paths = (view.image_path, view.depth_path, view.scan_path, mask)
    digest.update(json.dumps([names, [_stamp(path, root) for path in paths], labels]).encode())
    for array in (view.K, view.T_camera_world, view.joints, view.joint_valid):
        _add_array(digest, array)


def _add_array(digest, array: np.ndarray) -> None:
    digest.update(f"{array.dtype}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).tobytes())


def _stamp(path: Path | None, root: Path) -> list | None:
    if path is None:
        return None
    name = str(path.relative_to(root) if path.is_relative_to(root) else path)
    if not path.is_file():
        return [name]
    status = path.stat()
    return [name, status.st_size, status.st_mtime_ns]
