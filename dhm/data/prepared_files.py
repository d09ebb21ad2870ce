"""Reads and writes the small files of a prepared folder: info, index, scans."""

import dataclasses
import json
from pathlib import Path

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
from dhm.formats.npz import Arrays

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
    arrays = Arrays(path)
    names = [arrays[key] for key in ("splits", "sequences", "cameras")]
    splits = {
        str(split): SplitIndex(*(arrays[f"{split}/{field}"] for field in SplitIndex._fields))
        for split in names[0]
    }
    return Index(splits, tuple(map(str, names[1])), tuple(map(str, names[2])))


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
    return arrays["vertices"], arrays["faces"]
