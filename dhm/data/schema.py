"""What a prepared folder holds: the only place that names its files, records and fields.

    <prepared>/
      prepared.json              PreparedInfo
      index.npz                  one SplitIndex a split, and the names behind its ids
      template.npz               the HandTemplate
      scans/<sequence>/<frame>.npz   vertices (mm, world) and faces, frames of the evaluation split
      records/                   a tfds data set in array_record files, one HandRecord a view

Nothing after the preparation needs the capture.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

# To be raised with every change of meaning below or in the crops, so that old folders rebuild.
SCHEMA_VERSION = "1.1.0"

TRAIN, TEST = "train", "test"

MIN_IMAGE_SIZE, MAX_IMAGE_SIZE = 16, 4096
"""Sides of a crop that can be prepared, pixels."""

INFO_FILE = "prepared.json"
INDEX_FILE = "index.npz"
TEMPLATE_FILE = "template.npz"
RECORDS_FOLDER = "records"
SCANS_FOLDER = "scans"


class HandRecord(NamedTuple):
    """One view of one frame as it is stored; the field names are the keys of the tfds features.

    Attributes:
        image: RGB crop as JPEG (quality 95, chroma not subsampled).
        depth: Depth of the crop as `depth_codec` packs it, empty without a depth map.
        depth_offset: Depth of the first code, mm.
        depth_step: Depth between two codes, mm.
        mask: What is not background in the crop, as a PNG of black and white. Empty where it is
            not known, and where the depth map tells it.
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
    """What has to be known of a split's n records without reading them, in record order.

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


@dataclass(frozen=True)
class PreparedInfo:
    """What the preparation did.

    Attributes:
        version: SCHEMA_VERSION at the time.
        fingerprint: Digest of the options and the inputs.
        subject: Number of the subject.
        image_size: Side of the square crops, pixels.
        evaluation_split: "test", or "train" where no sequence was held out: errors measured
            there are errors on training frames.
        num_records: Records by split.
        num_without_depth: Records without foreground depth by split.
        skipped: Views left out, by reason.
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
    """Where a frame's scan lies in a prepared folder."""
    return prepared / SCANS_FOLDER / sequence / f"{frame:06d}.npz"
