"""The output folder of a preparation: whether it is up to date, and replacing it as a whole."""

import contextlib
import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.captures.frames import Capture, CaptureView
from dhm.data.schema import (
    CONTENTS,
    INFO_FILE,
    SCHEMA_VERSION,
    PreparedInfo,
    check_files,
    read_info,
)
from dhm.errors import BadInputError
from dhm.files import is_data, keep_no_data

log = logging.getLogger(__name__)


def fingerprint(capture: Capture, root: Path, options: dict[str, Any]) -> str:
    """Returns a digest of everything that prepared records depend on.

    Cameras, joints and the template enter by value; pictures, depth maps and scans by their path
    below `root`, size and time of modification, so that a capture can be moved as a whole.

    Args:
        capture: The capture.
        root: Its folder.
        options: The other options, as JSON values.
    """
    digest = hashlib.sha256()
    digest.update(json.dumps([SCHEMA_VERSION, options, capture.skipped]).encode())
    for value in vars(capture.template).values():
        _add_array(digest, np.asarray(value))
    for view in capture.views:
        _add_view(digest, view, root)
    return digest.hexdigest()


def up_to_date(out: Path, digest: str) -> PreparedInfo | None:
    """Returns the info of a complete folder with this fingerprint; otherwise logs why, and None."""
    if not (out / INFO_FILE).is_file():
        return None
    try:
        info = read_info(out)
        check_files(out, info)
    except BadInputError as error:
        log.info("building again: %s", error)
        return None
    if info.fingerprint != digest:
        log.info("building again: inputs or options of %s changed", out)
        return None
    return info


@contextlib.contextmanager
def replaced_when_done(out: Path) -> Iterator[Path]:
    """Yields an empty folder beside `out`, which replaces it when the body ends.

    If the body raises, `out` stays unchanged. The caller holds the lock of `out`. Entries that are
    no data, such as .git or .DS_Store, stay in `out`.

    Args:
        out: The folder; if it exists it must be empty or a prepared folder.

    Raises:
        BadInputError: `out` is a file or has other contents, which would be lost.
    """
    if out.exists() and not out.is_dir():
        raise BadInputError(out, "a file", "a folder to write, or none yet")
    if out.is_dir() and (other := _other_contents(out)):
        found = f"a folder with other contents ({other})"
        raise BadInputError(out, found, "a prepared folder, an empty one or none yet")
    building, old = (out.parent / f".{out.name}.{suffix}" for suffix in ("building", "old"))
    for leftover in (building, old):
        _remove(leftover)
    building.mkdir()
    try:
        yield building
    except BaseException:
        _remove(building)
        raise
    if out.exists():
        keep_no_data(out, building)
        out.rename(old)
    building.rename(out)
    _remove(old)


def _other_contents(out: Path) -> str | None:
    """Returns the name of something in a folder that no preparation has written."""
    names = [path.name for path in sorted(out.iterdir())]
    own = CONTENTS if INFO_FILE in names else ()
    return next((name for name in names if name not in own and is_data(name)), None)


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


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
