"""Writes views as records of a tfds data set in array_record files, without TensorFlow.

Records are streamed with tfds's sequential writer: a `GeneratorBasedBuilder` keeps a whole
ordered split in memory before it writes.
"""

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import tensorflow_datasets as tfds

from data_prep.captures.frames import CaptureView
from data_prep.records.crop import CropPlan, crop_view
from dhm.data.depth_codec import DEPTH_STEP_MM, encode_depth
from dhm.data.schema import RECORDS_FOLDER, SCHEMA_VERSION, HandRecord

DATASET_NAME = "hand_dataset"
RECORDS_PER_FILE = 1000
# The writer renews its metadata with every call, and this bounds the records in memory.
_CHUNK = 64

# A third of a PNG's size and decoding time at an error of one grey level on average; the captures
# themselves are JPEG.
_JPEG = [
    *(cv2.IMWRITE_JPEG_QUALITY, 95),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
]


class PlannedView(NamedTuple):
    """A view that becomes a record, and how it is cut."""

    view: CaptureView
    plan: CropPlan


class WrittenView(NamedTuple):
    """What the index and the counts keep of a record.

    Attributes:
        has_depth: Whether the crop holds foreground depth.
        dropped_pixels: Foreground depth pixels outside the code's range.
    """

    has_depth: bool
    dropped_pixels: int


def write_dataset(
    prepared: Path,
    splits: dict[str, list[PlannedView]],
    subject: int,
    workers: int,
    on_records: Callable[[int], Any],
) -> dict[str, list[WrittenView]]:
    """Writes the records of all splits, in the order given.

    Args:
        prepared: The folder under construction.
        splits: The views of each split; none may be empty.
        subject: Number of the subject.
        workers: Threads that read, cut and encode.
        on_records: Called with the number of records after each chunk.

    Returns:
        What was written, in record order.

    Raises:
        BadInputError: If a picture or depth map cannot be used.
    """
    first = next(iter(splits.values()))[0]
    folder = prepared / RECORDS_FOLDER
    folder.mkdir()
    writer = tfds.core.SequentialWriter(
        ds_info=_dataset_info(folder, first.plan.size, len(first.view.joints)),
        max_examples_per_shard=RECORDS_PER_FILE,
        file_format="array_record",
    )
    writer.initialize_splits(list(splits))
    written: dict[str, list[WrittenView]] = {split: [] for split in splits}
    with ThreadPoolExecutor(workers) as pool:
        for split, views in splits.items():
            for start in range(0, len(views), _CHUNK):
                chunk = views[start : start + _CHUNK]
                made = list(pool.map(partial(make_record, subject=subject), chunk))
                writer.add_examples({split: [_as_example(record) for record, _ in made]})
                written[split] += [summary for _, summary in made]
                on_records(len(chunk))
    writer.close_all()
    return written


def make_record(planned: PlannedView, subject: int) -> tuple[HandRecord, WrittenView]:
    """Reads, cuts and encodes one view.

    Raises:
        BadInputError: If its picture, depth map or mask cannot be used.
    """
    view, plan = planned
    cropped = crop_view(view, plan)
    has_depth = cropped.depth is not None and bool(cropped.depth.any())
    offset = float(np.float32(plan.nearest_mm))
    record = HandRecord(
        image=encode_image(cropped.image),
        depth=encode_depth(cropped.depth, offset) if has_depth else b"",
        depth_offset=offset,
        depth_step=DEPTH_STEP_MM,
        mask=b"" if has_depth or cropped.mask is None else encode_mask(cropped.mask),
        K=cropped.K.astype(np.float32),
        T_camera_world=view.T_camera_world.astype(np.float32),
        joints=view.joints.astype(np.float32),
        joint_valid=view.joint_valid,
        sequence=view.sequence,
        frame=view.frame,
        camera=view.camera,
        subject=subject,
    )
    return record, WrittenView(has_depth, cropped.dropped_pixels)


def encode_image(image: np.ndarray) -> bytes:
    """Packs an RGB picture as JPEG."""
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), _JPEG)[1].tobytes()


def encode_mask(mask: np.ndarray) -> bytes:
    """Packs a mask as a PNG of one bit a pixel."""
    return cv2.imencode(".png", mask.astype(np.uint8), [cv2.IMWRITE_PNG_BILEVEL, 1])[1].tobytes()


def _as_example(record: HandRecord) -> dict[str, Any]:
    # tfds takes an encoded picture only as an open file.
    return record._asdict() | {"image": io.BytesIO(record.image)}


def _dataset_info(folder: Path, size: int, num_joints: int) -> tfds.core.DatasetInfo:
    tensor, scalar = tfds.features.Tensor, tfds.features.Scalar
    features = HandRecord(
        image=tfds.features.Image(shape=(size, size, 3), encoding_format="jpeg"),
        depth=tensor(shape=(), dtype=np.object_),
        depth_offset=scalar(dtype=np.float32),
        depth_step=scalar(dtype=np.float32),
        mask=tensor(shape=(), dtype=np.object_),
        K=tensor(shape=(3, 3), dtype=np.float32),
        T_camera_world=tensor(shape=(4, 4), dtype=np.float32),
        joints=tensor(shape=(num_joints, 3), dtype=np.float32),
        joint_valid=tensor(shape=(num_joints,), dtype=np.bool_),
        sequence=tfds.features.Text(),
        frame=scalar(dtype=np.int64),
        camera=tfds.features.Text(),
        subject=scalar(dtype=np.int64),
    )
    identity = tfds.core.dataset_info.DatasetIdentity(
        name=DATASET_NAME,
        version=tfds.core.Version(SCHEMA_VERSION),
        data_dir=str(folder),
        module_name=__name__,
    )
    return tfds.core.DatasetInfo(
        builder=identity,
        description="Views of one hand, cropped, with depth maps, cameras and joints.",
        features=tfds.features.FeaturesDict(features._asdict()),
        disable_shuffling=True,
    )
