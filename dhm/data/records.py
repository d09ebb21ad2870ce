"""The records of a split, read at random from their array_record files."""

import bisect
import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python.array_record_data_source import ArrayRecordDataSource
from array_record.python.array_record_module import ArrayRecordReader
from google.protobuf.message import DecodeError
from tensorflow_datasets.proto import tf_example_pb2

from dhm.data.schema import RECORDS_FOLDER, HandRecord
from dhm.errors import BadInputError, DamagedRecordError


class Records:
    """What `data_prep.records.hand_dataset` wrote of one split.

    Its tf.train.Example messages are read here and not through tensorflow_datasets, which takes
    six times as long and imports whatever module the folder's features.json names.

    Args:
        prepared: The prepared folder.
        split: Name of the split.
        count: How many there are.

    Raises:
        BadInputError: If a file is damaged, or there are more or fewer.
    """

    def __init__(self, prepared: Path, split: str, count: int):
        folder = prepared / RECORDS_FOLDER
        self._files = sorted(folder.glob(f"*-{split}.array_record-*"))
        self._ends = list(itertools.accumulate(map(_num_records, self._files), initial=0))[1:]
        if len(self) != count:
            raise BadInputError(folder, f"{len(self)} records of {split}", f"{count} by the index")
        self._source = ArrayRecordDataSource(self._files)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def read(self, record: int) -> HandRecord:
        """Reads a record; its picture and depth map stay encoded.

        Raises:
            DamagedRecordError: If the stored bytes are damaged.
        """
        if not 0 <= record < len(self):
            raise IndexError(f"record {record} of {len(self)}")
        try:
            features = tf_example_pb2.Example.FromString(self._source[record]).features.feature
            return HandRecord(**{name: read(features[name]) for name, read in _FIELDS.items()})
        except (ValueError, RuntimeError, IndexError, DecodeError) as error:
            raise self.damaged(record, f"unreadable bytes ({error})") from error

    def damaged(self, record: int, found: str) -> DamagedRecordError:
        """The error that names a record and its file, for the caller to raise."""
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
