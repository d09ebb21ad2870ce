"""Writes views as records of a tfds data set in array_record files, without TensorFlow.

tfds's sequential writer streams the records; a `GeneratorBasedBuilder` would keep a whole ordered
split in memory before it writes.
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

from data_prep.captures.frames import CaptureView, FaultyItemError
from data_prep.records.crop import CropPlan, crop_view
from dhm.data.depth_codec import DEPTH_STEP_MM, encode_depth
from dhm.data.schema import RECORDS_FOLDER, SCHEMA_VERSION, HandRecord, Index, SplitIndex

DATASET_NAME = "hand_dataset"
RECORDS_PER_FILE = 1000
# Bounds the records in memory; the writer rewrites its metadata with every call.
_CHUNK = 64

# A third of a PNG's size and decoding time, with a mean error of one grey level; the pictures of
# captures are JPEG already.
_JPEG = [
    *(cv2.IMWRITE_JPEG_QUALITY, 95),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
]


class PlannedView(NamedTuple):
    """A view that becomes a record, and how it is cropped."""

    view: CaptureView
    plan: CropPlan


class WrittenView(NamedTuple):
    """What the index and the counts need of a record.

    Attributes:
        has_depth: Whether the crop holds foreground depth.
        dropped_pixels: Number of foreground depth pixels outside the codes' range.
    """

    has_depth: bool
    dropped_pixels: int


class WrittenDataset(NamedTuple):
    """What became of the planned views, by split and in record order.

    Attributes:
        planned: The views that were written.
        written: What was written of each.
    """

    planned: dict[str, list[PlannedView]]
    written: dict[str, list[WrittenView]]


def _refuse(error: FaultyItemError) -> None:
    raise error


def write_dataset(
    prepared: Path,
    splits: dict[str, list[PlannedView]],
    subject: int,
    workers: int,
    on_records: Callable[[int], Any],
    on_fault: Callable[[FaultyItemError], Any] = _refuse,
) -> WrittenDataset:
    """Writes the records of all splits in the given order.

    Args:
        prepared: The folder under construction.
        splits: The views of each split; none may be empty.
        subject: Number of the subject.
        workers: Threads that read, crop and encode.
        on_records: Called with the number of views after each chunk.
        on_fault: Called with each view whose picture, depth map or mask cannot be used, which is
            then left out; by default it is refused.

    Raises:
        BadInputError: `on_fault` refuses a view.
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
    done = WrittenDataset({split: [] for split in splits}, {split: [] for split in splits})
    with ThreadPoolExecutor(workers) as pool:
        for split, views in splits.items():
            for start in range(0, len(views), _CHUNK):
                chunk = views[start : start + _CHUNK]
                examples = []
                made = pool.map(partial(_try_record, subject=subject), chunk)
                for planned, result in zip(chunk, made, strict=True):
                    if isinstance(result, FaultyItemError):
                        on_fault(result)
                        continue
                    record, summary = result
                    examples.append(_as_example(record))
                    done.planned[split].append(planned)
                    done.written[split].append(summary)
                writer.add_examples({split: examples})
                on_records(len(chunk))
    writer.close_all()
    return done


def build_index(
    splits: dict[str, list[PlannedView]], written: dict[str, list[WrittenView]]
) -> Index:
    """Builds the index of a prepared folder.

    Args:
        splits: The views of each split, in record order.
        written: What was written of them.
    """
    views = [planned.view for planned_views in splits.values() for planned in planned_views]
    sequences = tuple(sorted({view.sequence for view in views}))
    cameras = tuple(sorted({view.camera for view in views}))
    columns = {
        split: _index_split(planned, written[split], sequences, cameras)
        for split, planned in splits.items()
    }
    return Index(columns, sequences, cameras)


def _index_split(
    planned: list[PlannedView],
    written: list[WrittenView],
    sequences: tuple[str, ...],
    cameras: tuple[str, ...],
) -> SplitIndex:
    views = [view for view, _ in planned]
    sequence_id = np.array([sequences.index(view.sequence) for view in views], np.int32)
    frame = np.array([view.frame for view in views], np.int64)
    _, frame_id = np.unique(np.stack([sequence_id, frame]), axis=1, return_inverse=True)
    return SplitIndex(
        frame_id=frame_id.ravel().astype(np.int32),
        frame=frame,
        sequence_id=sequence_id,
        camera_id=np.array([cameras.index(view.camera) for view in views], np.int32),
        has_depth=np.array([view.has_depth for view in written]),
    )


def _try_record(
    planned: PlannedView, subject: int
) -> tuple[HandRecord, WrittenView] | FaultyItemError:
    """Makes a record, or returns why there is none."""
    try:
        return make_record(planned, subject)
    except FaultyItemError as error:
        return error


def make_record(planned: PlannedView, subject: int) -> tuple[HandRecord, WrittenView]:
    """Reads, crops and encodes one view.

    Raises:
        FaultyItemError: Its picture, depth map or mask cannot be used.
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
    """Encodes an RGB picture as JPEG."""
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), _JPEG)[1].tobytes()


def encode_mask(mask: np.ndarray) -> bytes:
    """Encodes a mask as a PNG of one bit a pixel."""
    return cv2.imencode(".png", mask.astype(np.uint8), [cv2.IMWRITE_PNG_BILEVEL, 1])[1].tobytes()


def _as_example(record: HandRecord) -> dict[str, Any]:
    # tfds accepts an encoded picture only as an open file.
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
