"""Reads and writes the small files of a prepared folder: info, index, scans."""

import dataclasses
from pathlib import Path
from typing import get_origin

import numpy as np
from jaxtyping import Float, Int

from dhm.data.schema import (
    INDEX_FILE,
    INFO_FILE,
    SCHEMA_VERSION,
    Index,
    PreparedInfo,
    SplitIndex,
    scan_file,
)
from dhm.errors import BadInputError
from dhm.formats.json_file import read_json, write_json
from dhm.formats.npz import Arrays

Scan = tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]


def write_info(prepared: Path, info: PreparedInfo) -> None:
    """Writes the info file of a folder."""
    write_json(prepared / INFO_FILE, dataclasses.asdict(info))


def read_info(prepared: Path) -> PreparedInfo:
    """Reads the info file of a folder.

    Raises:
        BadInputError: If the folder was not written by `data_prep.prepare`, or by another version.
    """
    path = prepared / INFO_FILE
    fields = read_json(path, "a folder written by data_prep.prepare")
    version = fields.get("version")
    if version != SCHEMA_VERSION:
        raise BadInputError(path, f"version {version!r}", f"{SCHEMA_VERSION!r}: prepare it again")
    expected = {field.name for field in dataclasses.fields(PreparedInfo)}
    if set(fields) != expected:
        raise BadInputError(path, f"the fields {sorted(fields)}", f"{sorted(expected)}")
    for field in dataclasses.fields(PreparedInfo):
        value = fields[field.name]
        numbers = value.values() if isinstance(value, dict) else ()
        fits = isinstance(value, get_origin(field.type) or field.type)
        if not fits or not all(type(number) is int for number in numbers):
            raise BadInputError(path, f"{field.name} = {value!r}"[:200], f"a {field.type}")
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
        BadInputError: If the file is missing, damaged or lacks an array, or they do not fit.
    """
    path = prepared / INDEX_FILE
    arrays = Arrays(path)
    names, sequences, cameras = (
        tuple(arrays.of(key, "U", None).tolist()) for key in ("splits", "sequences", "cameras")
    )
    splits = {name: _read_split(path, arrays, name) for name in names}
    for name, index in splits.items():
        for ids, known in ((index.sequence_id, sequences), (index.camera_id, cameras)):
            if len(ids) and not (ids.min() >= 0 and ids.max() < len(known)):
                raise BadInputError(path, f"{name} with an id of {ids.max()}", f"< {len(known)}")
    for name in sequences + cameras:  # which become names of files
        if name in ("", ".", "..") or "/" in name:
            raise BadInputError(path, f"the name {name!r}", "a name of a file")
    return Index(splits, sequences, cameras)


def _read_split(path: Path, arrays: Arrays, name: str) -> SplitIndex:
    frames = arrays.of(f"{name}/frame", "iu", None)
    kinds = {field: "b" if field == "has_depth" else "iu" for field in SplitIndex._fields}
    return SplitIndex(
        *(arrays.of(f"{name}/{field}", kind, len(frames)) for field, kind in kinds.items())
    )


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
    arrays = Arrays(path)
    return arrays.of("vertices", "f", None, 3), arrays.of("faces", "iu", None, 3)
