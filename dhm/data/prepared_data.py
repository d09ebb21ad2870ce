"""A prepared folder, open for reading: its records at random, its template, scans and counts."""

from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8

from dhm.data import prepared_files
from dhm.data.depth_codec import DepthCodes, decode_codes
from dhm.data.prepared_files import Scan
from dhm.data.records import Records
from dhm.data.schema import TEMPLATE_FILE, TRAIN, HandRecord, SplitIndex
from dhm.errors import BadInputError
from dhm.formats.hand_template import read_template
from dhm.formats.picture import decode_picture
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
        self._records = {
            split: Records(self.root, split, len(index.frame))
            for split, index in self.index.splits.items()
        }

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
        return len(self._records[TRAIN])

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
        return self._records[split].read(record)

    def image(self, split: str, record: int) -> UInt8[np.ndarray, "h w 3"]:
        """Reads a record's RGB crop."""
        return self.decode_image(split, record, self.record(split, record))

    def depth(self, split: str, record: int) -> Float[np.ndarray, "h w"]:
        """Reads a record's depth map in mm, all background where there is none."""
        codes = self.depth_codes(split, record, self.record(split, record))
        depth = np.empty(codes.codes.shape, np.float32)
        codes.fill(depth)
        return depth

    def decode_image(
        self, split: str, record: int, fields: HandRecord
    ) -> UInt8[np.ndarray, "h w 3"]:
        """Decodes the RGB crop of a record that was read before.

        Raises:
            DamagedRecordError: If it is damaged.
        """
        try:
            return decode_picture(fields.image, (self.image_size, self.image_size))
        except ValueError as error:
            raise self._records[split].damaged(record, str(error)) from error

    def decode_mask(
        self, split: str, record: int, fields: HandRecord
    ) -> Bool[np.ndarray, "h w"] | None:
        """What is not background in a record that was read before: its mask, or its depth map's.

        None where neither tells it.

        Raises:
            DamagedRecordError: If it is damaged.
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
        """Decodes the depth map of a record that was read before as far as its codes.

        Raises:
            DamagedRecordError: If it is damaged.
        """
        shape = (self.image_size, self.image_size)
        if not fields.depth:
            return DepthCodes(np.zeros(shape, np.uint16), 1.0, 1.0)
        try:
            return decode_codes(fields.depth, shape, fields.depth_offset, fields.depth_step)
        except ValueError as error:
            raise self._records[split].damaged(record, str(error)) from error

    def scan(self, split: str, record: int) -> Scan | None:
        """The reconstructed mesh (vertices in world mm, faces) of a record's frame, if it has one.

        Only the frames of `info.evaluation_split` have theirs.
        """
        frame = int(self.split_index(split).frame[record])
        return prepared_files.read_scan(self.root, self.sequence(split, record), frame)
