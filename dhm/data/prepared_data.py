"""Reads a prepared folder: records in any order, the template, scans and counts."""

import bisect
import contextlib
import itertools
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python.array_record_data_source import ArrayRecordDataSource
from array_record.python.array_record_module import ArrayRecordReader
from google.protobuf.message import DecodeError
from jaxtyping import Bool, Float, UInt8
from tensorflow_datasets.proto import tf_example_pb2

from dhm.data import schema
from dhm.data.depth_codec import DepthCodes, decode_depth
from dhm.data.schema import (
    RECORDS_FOLDER,
    TEMPLATE_FILE,
    TRAIN,
    HandRecord,
    Scan,
    SplitIndex,
)
from dhm.errors import BadInputError, DamagedRecordError
from dhm.files import data_paths
from dhm.formats.hand_template import read_template
from dhm.formats.picture import decode_picture
from dhm.types import HandTemplate


class PreparedData:
    """A folder that `data_prep.prepare` wrote.

    Attributes:
        root: The folder.
        info: Counts and options of the preparation.
        index: What is known of the records without reading them.

    Args:
        root: The folder.

    Raises:
        BadInputError: The folder was not prepared, or by another version, or one of its files is
            missing, truncated or damaged.
    """

    def __init__(self, root: str | Path):
        self.root = Path(root)
        self.info = schema.read_info(self.root)
        schema.check_files(self.root, self.info)
        self.index = schema.read_index(self.root)
        self._records = {
            split: Records(self.root, split, len(index.frame))
            for split, index in self.index.splits.items()
        }

    @cached_property
    def template(self) -> HandTemplate:
        """The hand model of the capture."""
        return read_template(self.root / TEMPLATE_FILE)

    @property
    def image_size(self) -> int:
        """Side of the square crops, pixels."""
        return self.info.image_size

    @property
    def num_train(self) -> int:
        """Number of records in the training split: an epoch."""
        return len(self._records[TRAIN])

    def split_index(self, split: str) -> SplitIndex:
        """Returns the index of a split.

        Raises:
            BadInputError: There is no such split.
        """
        if split not in self.index.splits:
            raise BadInputError(
                self.root, f"no split {split!r}", f"one of {list(self.index.splits)}"
            )
        return self.index.splits[split]

    def sequence(self, split: str, record: int) -> str:
        """Returns the name of the sequence that a record belongs to."""
        return self.index.sequences[self.split_index(split).sequence_id[record]]

    def describe(self, split: str, record: int) -> str:
        """Describes a record by its frame, sequence and camera, for messages."""
        index = self.split_index(split)
        camera = self.index.cameras[index.camera_id[record]]
        sequence = self.sequence(split, record)
        return f"frame {index.frame[record]} of {sequence}, camera {camera} (record {record})"

    def record(self, split: str, record: int) -> HandRecord:
        """Reads a record; its picture and depth map stay encoded.

        Raises:
            BadInputError: There is no such split.
            DamagedRecordError: The stored bytes are damaged.
        """
        self.split_index(split)
        return self._records[split].read(record)

    def image(self, split: str, record: int) -> UInt8[np.ndarray, "h w 3"]:
        """Reads the RGB crop of a record."""
        return self.decode_image(split, record, self.record(split, record))

    def depth(self, split: str, record: int) -> Float[np.ndarray, "h w"]:
        """Reads the depth map of a record, mm; all background if it has none."""
        return self.depth_codes(split, record, self.record(split, record)).depth()

    def decode_image(
        self, split: str, record: int, fields: HandRecord
    ) -> UInt8[np.ndarray, "h w 3"]:
        """Decodes the RGB crop of a record that `record` read.

        Raises:
            DamagedRecordError: The crop is damaged.
        """
        try:
            return decode_picture(fields.image, (self.image_size, self.image_size))
        except ValueError as error:
            raise self._records[split].damaged(record, str(error)) from error

    def decode_mask(
        self, split: str, record: int, fields: HandRecord
    ) -> Bool[np.ndarray, "h w"] | None:
        """Decodes the foreground mask of a record that `record` read.

        Where there is a depth map it is the mask. None where there is neither.

        Raises:
            DamagedRecordError: The mask or the depth map is damaged.
        """
        if fields.depth:
            return self.depth_codes(split, record, fields).codes > 0
        if not fields.mask:
            return None
        try:
            return decode_picture(fields.mask, (self.image_size, self.image_size))[..., 0] > 0
        except ValueError as error:
            raise self._records[split].damaged(record, f"as mask, {error}") from error

    def depth_codes(self, split: str, record: int, fields: HandRecord) -> DepthCodes:
        """Decompresses the depth codes of a record that `record` read.

        Raises:
            DamagedRecordError: They are damaged.
        """
        shape = (self.image_size, self.image_size)
        if not fields.depth:
            return DepthCodes(np.zeros(shape, np.uint16), 1.0, 1.0)
        try:
            return decode_depth(fields.depth, shape, fields.depth_offset, fields.depth_step)
        except ValueError as error:
            raise self._records[split].damaged(record, str(error)) from error

    def scan(self, split: str, record: int) -> Scan | None:
        """Reads the reconstructed mesh of a record's frame; None if the frame has none.

        Only frames of `info.evaluation_split` have one.
        """
        frame = int(self.split_index(split).frame[record])
        return schema.read_scan(self.root, self.sequence(split, record), frame)


class Records:
    """The records of one split, in array_record files.

    Their tf.train.Example messages are parsed here and not by tensorflow_datasets, which takes six
    times as long and imports whatever module the folder's features.json names.

    Args:
        prepared: The prepared folder.
        split: Name of the split.
        count: Number of records by the index.

    Raises:
        BadInputError: A file is damaged, or the number of records differs.
    """

    def __init__(self, prepared: Path, split: str, count: int):
        folder = prepared / RECORDS_FOLDER
        self._files = data_paths(folder, f"*-{split}.array_record-*")
        self._ends = list(itertools.accumulate(map(_num_records, self._files), initial=0))[1:]
        if len(self) != count:
            raise BadInputError(folder, f"{len(self)} records of {split}", f"{count} by the index")
        self._source = ArrayRecordDataSource(self._files)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def read(self, record: int) -> HandRecord:
        """Reads a record; its picture and depth map stay encoded.

        Raises:
            DamagedRecordError: The stored bytes are damaged.
        """
        if not 0 <= record < len(self):
            raise IndexError(f"record {record} of {len(self)}")
        try:
            features = tf_example_pb2.Example.FromString(self._source[record]).features.feature
            return HandRecord(**{name: read(features[name]) for name, read in _FIELDS.items()})
        except (ValueError, RuntimeError, IndexError, DecodeError) as error:
            raise self.damaged(record, f"unreadable bytes ({error})") from error

    def damaged(self, record: int, found: str) -> DamagedRecordError:
        """Returns an error that names a record and its file, for the caller to raise."""
        file = self._files[bisect.bisect_right(self._ends, record)]
        return DamagedRecordError(file, record, found)


def _num_records(file: Path) -> int:
    try:
        with contextlib.closing(ArrayRecordReader(str(file))) as reader:
            return reader.num_records()
    except (ValueError, RuntimeError) as error:
        raise BadInputError(
            file, f"damaged records ({error})", "what array_record wrote"
        ) from error


def _one(values: Any) -> Any:
    (value,) = values
    return value


def _bytes(feature: Any) -> bytes:
    return _one(feature.bytes_list.value)


def _text(feature: Any) -> str:
    return _bytes(feature).decode()


def _float(feature: Any) -> float:
    return _one(feature.float_list.value)


def _int(feature: Any) -> int:
    return _one(feature.int64_list.value)


def _floats(*shape: int) -> Callable[[Any], np.ndarray]:
    return lambda feature: np.array(feature.float_list.value, np.float32).reshape(shape)


def _flags(feature: Any) -> np.ndarray:
    return np.array(feature.int64_list.value, bool)


_FIELDS = HandRecord(
    image=_bytes,
    depth=_bytes,
    depth_offset=_float,
    depth_step=_float,
    mask=_bytes,
    K=_floats(3, 3),
    T_camera_world=_floats(4, 4),
    joints=_floats(-1, 3),
    joint_valid=_flags,
    sequence=_text,
    frame=_int,
    camera=_text,
    subject=_int,
)._asdict()
