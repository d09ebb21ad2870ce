"""Reads and writes the small files of a prepared folder: info, index, template, scans."""

import dataclasses
import json
import zipfile
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from dhm.data.schema import (
    INDEX_FILE,
    INFO_FILE,
    SCHEMA_VERSION,
    TEMPLATE_FILE,
    Index,
    PreparedInfo,
    SplitIndex,
    scan_file,
)
from dhm.errors import BadInputError
from dhm.types import HandTemplate

# What `zipfile` and NumPy raise for damaged archives, by fuzzing.
_DAMAGED = (ValueError, EOFError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error)

Scan = tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]


def write_info(prepared: Path, info: PreparedInfo) -> None:
    """Writes the info file of a folder."""
    (prepared / INFO_FILE).write_text(json.dumps(dataclasses.asdict(info), indent=1) + "\n")


def read_info(prepared: Path) -> PreparedInfo:
    """Reads the info file of a folder.

    Raises:
        BadInputError: If the folder was not written by `data_prep.prepare`, or by another version.
    """
    path = prepared / INFO_FILE
    if not path.is_file():
        raise BadInputError(path, "no such file", "a folder written by data_prep.prepare")
    try:
        fields = json.loads(path.read_text())
    except ValueError as error:
        found = f"invalid JSON ({error})"
        raise BadInputError(path, found, "the info of a prepared folder") from error
    version = fields.get("version") if isinstance(fields, dict) else None
    if version != SCHEMA_VERSION:
        raise BadInputError(path, f"version {version!r}", f"{SCHEMA_VERSION!r}: prepare it again")
    expected = {field.name for field in dataclasses.fields(PreparedInfo)}
    if set(fields) != expected:
        raise BadInputError(path, f"the fields {sorted(fields)}", f"{sorted(expected)}")
    return PreparedInfo(**fields)


def file_sizes(prepared: Path) -> dict[str, int]:
    """Sizes in bytes of a folder's files but the info, by relative path."""
    files = (path for path in sorted(prepared.rglob("*")) if path.is_file())
    return {
        path.relative_to(prepared).as_posix(): path.stat().st_size
        for path in files
        if path.name != INFO_FILE
    }


def check_files(prepared: Path, info: PreparedInfo) -> None:
    """Holds a folder's files against its info.

    Raises:
        BadInputError: If a file is missing, truncated or not one of the folder's.
    """
    found = file_sizes(prepared)
    for name in sorted(info.files.keys() | found.keys()):
        here, expected = (sizes.get(name) for sizes in (found, info.files))
        if here != expected:
            raise BadInputError(
                prepared / name,
                "no such file" if here is None else f"{here} bytes",
                f"{expected} bytes: prepare it again" if expected is not None else "no such file",
            )


def write_index(prepared: Path, index: Index) -> None:
    """Writes the index of a folder."""
    arrays = {
        f"{split}/{field}": values
        for split, columns in index.splits.items()
        for field, values in columns._asdict().items()
    }
    np.savez_compressed(
        prepared / INDEX_FILE,
        splits=np.array(list(index.splits)),
        sequences=np.array(index.sequences),
        cameras=np.array(index.cameras),
        **arrays,
    )


def read_index(prepared: Path) -> Index:
    """Reads the index of a folder.

    Raises:
        BadInputError: If the file is missing, damaged or lacks an array.
    """
    path = prepared / INDEX_FILE
    arrays = _read_npz(path)
    names = [_take(arrays, path, key) for key in ("splits", "sequences", "cameras")]
    splits = {
        str(split): SplitIndex(*(_take(arrays, path, f"{split}/{f}") for f in SplitIndex._fields))
        for split in names[0]
    }
    return Index(splits, tuple(map(str, names[1])), tuple(map(str, names[2])))


def write_template(prepared: Path, template: HandTemplate) -> None:
    """Writes the hand model of a folder, exactly."""
    arrays = {f.name: np.asarray(getattr(template, f.name)) for f in dataclasses.fields(template)}
    np.savez_compressed(prepared / TEMPLATE_FILE, **arrays)


def read_template(prepared: Path) -> HandTemplate:
    """Reads the hand model of a folder.

    Raises:
        BadInputError: If the file is missing, damaged or lacks an array.
    """
    path = prepared / TEMPLATE_FILE
    arrays = _read_npz(path)
    fields = {f.name: _take(arrays, path, f.name) for f in dataclasses.fields(HandTemplate)}
    fields["joint_names"] = tuple(map(str, fields["joint_names"]))
    fields["parents"] = tuple(map(int, fields["parents"]))
    return HandTemplate(**fields)


def write_scan(prepared: Path, sequence: str, frame: int, scan: Scan) -> None:
    """Writes one frame's scan: vertices in world mm, and faces."""
    path = scan_file(prepared, sequence, frame)
    path.parent.mkdir(parents=True, exist_ok=True)
    vertices, faces = scan
    np.savez(path, vertices=np.float32(vertices), faces=np.int32(faces))


def read_scan(prepared: Path, sequence: str, frame: int) -> Scan | None:
    """Reads one frame's scan, None where the frame has none.

    Raises:
        BadInputError: If the file is damaged.
    """
    path = scan_file(prepared, sequence, frame)
    if not path.is_file():
        return None
    arrays = _read_npz(path)
    return _take(arrays, path, "vertices"), _take(arrays, path, "faces")


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except FileNotFoundError as error:
        raise BadInputError(path, "no such file", "a complete prepared folder") from error
    except _DAMAGED as error:
        raise BadInputError(path, f"a damaged file ({error})", "NumPy arrays (.npz)") from error


def _take(arrays: dict[str, np.ndarray], path: Path, key: str) -> np.ndarray:
    if key not in arrays:
        raise BadInputError(path, f"no array {key!r}", "a complete prepared folder")
    return arrays[key]
