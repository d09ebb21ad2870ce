"""The schema of a prepared folder, and readers and writers of its small files.

This is the only place that names the folder's files, records and fields. Nothing after the
preparation needs the capture.

    <prepared>/
      prepared.json              PreparedInfo
      index.npz                  one SplitIndex a split, and the names behind its ids
      template.npz               the HandTemplate
      scans/<sequence>/<frame>.npz   vertices (mm, world) and faces, frames of the evaluation split
      records/                   a tfds data set in array_record files, one HandRecord a view
"""

import dataclasses
from pathlib import Path
from typing import NamedTuple, get_origin

import numpy as np
from jaxtyping import Bool, Float, Int

from dhm.errors import BadInputError
from dhm.files import data_paths, is_data
from dhm.formats.json_file import read_json, write_json
from dhm.formats.npz import Arrays

# Raise it with every change of meaning below or of the crops: folders of other versions rebuild.
SCHEMA_VERSION = "1.1.0"

TRAIN, TEST = "train", "test"

MIN_IMAGE_SIZE, MAX_IMAGE_SIZE = 16, 4096
"""Smallest and largest side of a crop, pixels."""

INFO_FILE = "prepared.json"
INDEX_FILE = "index.npz"
TEMPLATE_FILE = "template.npz"
RECORDS_FOLDER = "records"
SCANS_FOLDER = "scans"
CONTENTS = (INFO_FILE, INDEX_FILE, TEMPLATE_FILE, RECORDS_FOLDER, SCANS_FOLDER)
"""All that is in a prepared folder."""

Scan = tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]
"""Vertices in world mm, and triangles."""


class HandRecord(NamedTuple):
    """One view of one frame as stored; the field names are the keys of the tfds features.

    Attributes:
        image: RGB crop as JPEG (quality 95, chroma not subsampled).
        depth: Depth of the crop as `depth_codec` packs it, empty without a depth map.
        depth_offset: Depth of the first code, mm.
        depth_step: Depth between two codes, mm.
        mask: Foreground of the crop as a black and white PNG. Empty where it is not known, and
            where there is a depth map.
        K: Intrinsics of the crop.
        T_camera_world: World to camera, mm.
        joints: World mm, in the template's joint order; 0 where invalid.
        joint_valid: Whether each joint was annotated.
        sequence: Name of the recording.
        frame: Frame number.
        camera: Camera name.
        subject: Number of the subject.
    """

    image: bytes
    depth: bytes
    depth_offset: float
    depth_step: float
    mask: bytes
    K: Float[np.ndarray, "3 3"]
    T_camera_world: Float[np.ndarray, "4 4"]
    joints: Float[np.ndarray, "j 3"]
    joint_valid: Bool[np.ndarray, " j"]
    sequence: str
    frame: int
    camera: str
    subject: int


class SplitIndex(NamedTuple):
    """What is known of a split's n records without reading them, in record order.

    Attributes:
        frame_id: Equal for the views of one frame of one sequence; counts from 0 in the split.
        frame: Frame number.
        sequence_id: Index into the sequences' names.
        camera_id: Index into the cameras' names.
        has_depth: Whether the crop holds foreground depth.
    """

    frame_id: Int[np.ndarray, " n"]
    frame: Int[np.ndarray, " n"]
    sequence_id: Int[np.ndarray, " n"]
    camera_id: Int[np.ndarray, " n"]
    has_depth: Bool[np.ndarray, " n"]


class Index(NamedTuple):
    """The index of a prepared folder.

    Attributes:
        splits: By name of the split.
        sequences: Names behind `sequence_id`.
        cameras: Names behind `camera_id`.
    """

    splits: dict[str, SplitIndex]
    sequences: tuple[str, ...]
    cameras: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class PreparedInfo:
    """Counts and options of a preparation.

    Attributes:
        version: SCHEMA_VERSION of the folder.
        fingerprint: Digest of the options and the inputs.
        subject: Number of the subject.
        image_size: Side of the square crops, pixels.
        evaluation_split: "test", or "train" where no sequence was held out: errors measured
            there are errors on training frames.
        num_records: Records by split.
        num_without_depth: Records without foreground depth by split.
        skipped: Skipped views by reason.
        dropped_depth_pixels: Foreground pixels outside the depth code's range, by split.
        files: Size in bytes of every other file of the folder, by relative path.
    """

    version: str
    fingerprint: str
    subject: int
    image_size: int
    evaluation_split: str
    num_records: dict[str, int]
    num_without_depth: dict[str, int]
    skipped: dict[str, int]
    dropped_depth_pixels: dict[str, int]
    files: dict[str, int]


def scan_file(prepared: Path, sequence: str, frame: int) -> Path:
    """Returns the path of a frame's scan in a prepared folder."""
    return prepared / SCANS_FOLDER / sequence / f"{frame:06d}.npz"


def write_info(prepared: Path, info: PreparedInfo) -> None:
    """Writes the info file of a prepared folder."""
    write_json(prepared / INFO_FILE, dataclasses.asdict(info))


def read_info(prepared: Path) -> PreparedInfo:
    """Reads the info file of a prepared folder.

    Raises:
        BadInputError: `data_prep.prepare` did not write the folder, or another version of it did.
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
    """Returns the sizes in bytes of all data files but the info file, by relative path."""
    files = (path for path in data_paths(prepared, "**/*") if path.is_file())
    return {
        path.relative_to(prepared).as_posix(): path.stat().st_size
        for path in files
        if path.name != INFO_FILE
    }


def check_files(prepared: Path, info: PreparedInfo) -> None:
    """Compares the files of a folder with its info.

    Raises:
        BadInputError: A file is missing, truncated or does not belong to the folder.
    """
    found = file_sizes(prepared)
    names = (name for name in info.files if all(map(is_data, name.split("/"))))
    for name in sorted({*names, *found}):
        here, expected = (sizes.get(name) for sizes in (found, info.files))
        if here != expected:
            raise BadInputError(
                prepared / name,
                "no such file" if here is None else f"{here} bytes",
                f"{expected} bytes: prepare it again" if expected is not None else "no such file",
            )


def write_index(prepared: Path, index: Index) -> None:
    """Writes the index of a prepared folder."""
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
    """Reads the index of a prepared folder.

    Raises:
        BadInputError: The file is missing or damaged, lacks an array, or the arrays do not fit.
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
    for name in sequences + cameras:  # sequences become names of folders
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
    """Writes the scan of a frame."""
    path = scan_file(prepared, sequence, frame)
    path.parent.mkdir(parents=True, exist_ok=True)
    vertices, faces = scan
    np.savez(path, vertices=np.float32(vertices), faces=np.int32(faces))


def read_scan(prepared: Path, sequence: str, frame: int) -> Scan | None:
    """Reads the scan of a frame; None if the frame has none.

    Raises:
        BadInputError: The file is damaged.
    """
    path = scan_file(prepared, sequence, frame)
    if not path.is_file():
        return None
    arrays = Arrays(path)
    return arrays.of("vertices", "f", None, 3), arrays.of("faces", "iu", None, 3)
