"""A prepared folder, open for reading: its records at random, its template, scans and counts."""

import bisect
import itertools
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Float, UInt8

from dhm.data import prepared_files
from dhm.data.depth_codec import decode_depth
from dhm.data.prepared_files import Scan
from dhm.data.schema import RECORDS_FOLDER, TEMPLATE_FILE, TRAIN, HandRecord, SplitIndex
from dhm.errors import BadInputError, DamagedRecordError
from dhm.formats.template_npz import read_template
from dhm.types import HandTemplate


class PreparedData:
    """What `data_prep.prepare` wrote.

    Attributes:
        root: The folder.
        info: What the preparation did.
        index: What is known of the records without reading them.

    Args:
        root: The folder.

    Raises:
        BadInputError: If the folder was not prepared, or by another version, or a file of it is
            missing, truncated or damaged.
    """

    def __init__(self, root: str | Path):
        self.root = Path(root)
        self.info = prepared_files.read_info(self.root)
        prepared_files.check_files(self.root, self.info)
        self.index = prepared_files.read_index(self.root)
        self._shards = {split: _Shards(self.root, split) for split in self.index.splits}

    @cached_property
    def template(self) -> HandTemplate:
        """The hand model that came with the capture."""
        return read_template(self.root / TEMPLATE_FILE)

    @property
    def image_size(self) -> int:
        """Side of the square crops, pixels."""
        return self.info.image_size

    @property
    def num_train(self) -> int:
        """Number of records in the training split: an epoch."""
        return len(self._shards[TRAIN])

    def split_index(self, split: str) -> SplitIndex:
        """The index of one split.

        Raises:
            BadInputError: If there is no such split.
        """
        if split not in self.index.splits:
            raise BadInputError(
                self.root, f"no split {split!r}", f"one of {list(self.index.splits)}"
            )
        return self.index.splits[split]

    def sequence(self, split: str, record: int) -> str:
        """Name of the sequence that a record belongs to."""
        return self.index.sequences[self.split_index(split).sequence_id[record]]

    def describe(self, split: str, record: int) -> str:
        """What a record shows, for messages."""
        index = self.split_index(split)
        camera = self.index.cameras[index.camera_id[record]]
        sequence = self.sequence(split, record)
        return f"frame {index.frame[record]} of {sequence}, camera {camera} (record {record})"

    def record(self, split: str, record: int) -> HandRecord:
        """Reads a record; its picture and depth map stay encoded.

        Raises:
            BadInputError: If there is no such split.
            DamagedRecordError: If the stored bytes are damaged.
        """
        self.split_index(split)
        return self._shards[split].read(record)

    def image(self, split: str, record: int) -> UInt8[np.ndarray, "h w 3"]:
        """Reads a record's RGB crop."""
        return self.decode_image(split, record, self.record(split, record))

    def depth(self, split: str, record: int) -> Float[np.ndarray, "h w"]:
        """Reads a record's depth map in mm, all background where there is none."""
        return self.decode_depth(split, record, self.record(split, record))

    def decode_image(
        self, split: str, record: int, fields: HandRecord
    ) -> UInt8[np.ndarray, "h w 3"]:
        """Decodes the RGB crop of a record that was read before.

        Raises:
            DamagedRecordError: If it is damaged.
        """
        # An undamaged record of another size cannot arise: the size is in the fingerprint.
        try:
            image = cv2.imdecode(np.frombuffer(fields.image, np.uint8), cv2.IMREAD_COLOR)
        except cv2.error as error:  # of no bytes at all, or a header that asks for gigabytes
            raise self._shards[split].damaged(record, f"a picture ({error.err})") from error
        if image is None or image.shape != (self.image_size, self.image_size, 3):
            raise self._shards[split].damaged(record, "a picture that does not decode")
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def decode_depth(self, split: str, record: int, fields: HandRecord) -> Float[np.ndarray, "h w"]:
        """Decodes the depth map of a record that was read before.

        Raises:
            DamagedRecordError: If it is damaged.
        """
        shape = (self.image_size, self.image_size)
        if not fields.depth:
            return np.zeros(shape, np.float32)
        try:
            return decode_depth(fields.depth, shape, fields.depth_offset, fields.depth_step)
        except ValueError as error:
            raise self._shards[split].damaged(record, str(error)) from error

    def scan(self, split: str, record: int) -> Scan | None:
        """The reconstructed mesh (vertices in world mm, faces) of a record's frame, if it has one.

        Only the frames of `info.evaluation_split` have theirs.
        """
        frame = int(self.split_index(split).frame[record])
        return prepared_files.read_scan(self.root, self.sequence(split, record), frame)


class _Shards:
    """The array_record files of one split."""

    def __init__(self, root: Path, split: str):
        builder = tfds.builder_from_directory(root / RECORDS_FOLDER)
        info = builder.info.splits[split]
        self._files = info.filepaths
        self._ends = list(itertools.accumulate(info.shard_lengths))
        # A target view's picture is never needed, so pictures are decoded on request.
        self._source = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})

    def __len__(self) -> int:
        return self._ends[-1]

    def read(self, record: int) -> HandRecord:
        if not 0 <= record < len(self):
            raise IndexError(f"record {record} of {len(self)}")
        try:
            fields = self._source[record]
        except (ValueError, RuntimeError, KeyError) as error:
            raise self.damaged(record, f"unreadable bytes ({error})") from error
        text = {key: fields[key].decode() for key in ("sequence", "camera")}
        return HandRecord(**{**fields, **text})

    def damaged(self, record: int, found: str) -> DamagedRecordError:
        file = self._files[bisect.bisect_right(self._ends, record)]
        return DamagedRecordError(file, record, found)
