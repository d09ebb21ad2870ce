"""The scalars in a run's TensorBoard files, as far as they are whole.

A file is a row of records: length (8 bytes, little endian), its checksum (4), an Event message,
its checksum (4). The checksums are CRC-32C, rotated and shifted as TFRecord files have them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from google.protobuf.message import DecodeError
from jaxtyping import Float, Int
from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event

_HEAD, _TAIL = 12, 4  # bytes around a record's content
_MASK_DELTA = 0xA282EAD8


class Series(NamedTuple):
    """A scalar over the steps of a run.

    Attributes:
        steps: Increasing.
        values: One a step, as float32 had them; may hold NaN or infinity.
    """

    steps: Int[np.ndarray, " n"]
    values: Float[np.ndarray, " n"]


class Events(NamedTuple):
    """What the files of a folder say.

    Attributes:
        scalars: By tag, in the order in which the tags first appear.
        began: Time of the first scalar, seconds since 1970; None where there is none.
        ended: Time of the last one.
        remarks: A sentence for each file that is not whole.
    """

    scalars: dict[str, Series]
    began: float | None
    ended: float | None
    remarks: tuple[str, ...]


def read_events(folder: Path) -> Events:
    """Reads all event files of a folder, the oldest first.

    A run that was continued has a file for each start; where two speak of one step, the later file
    counts. A damaged record is left out. A file is read up to where a length is damaged or where it
    breaks off, as a killed process leaves it.

    Args:
        folder: With files named events.out.tfevents.*; may be missing.

    Raises:
        OSError: If a file cannot be read.
    """
    points: dict[str, dict[int, float]] = {}
    times: list[float] = []
    remarks: list[str] = []
    # The names carry the second in which each file was begun.
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in _events(path, remarks):
            for value in event.summary.value:
                if value.WhichOneof("value") == "simple_value":
                    points.setdefault(value.tag, {})[event.step] = value.simple_value
                    times.append(event.wall_time)
    scalars = {
        tag: Series(np.array(sorted(values)), np.array([values[step] for step in sorted(values)]))
        for tag, values in points.items()
    }
    return Events(scalars, min(times, default=None), max(times, default=None), tuple(remarks))


def _events(path: Path, remarks: list[str]) -> Iterator[Event]:
    """The whole events of a file; appends a sentence about what is not."""
    data, at, skipped = path.read_bytes(), 0, 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 8], "little")
        head_is_whole = at + _HEAD <= len(data)
        if head_is_whole and not _checks(data[at : at + 8], data[at + 8 : at + _HEAD]):
            remarks.append(f"{path.name} is damaged at byte {at}; the rest of it is left out.")
            break
        end = at + _HEAD + length
        if not head_is_whole or end + _TAIL > len(data):
            remarks.append(f"{path.name} breaks off within its last record, which is left out.")
            break
        content, checksum = data[at + _HEAD : end], data[end : end + _TAIL]
        at = end + _TAIL
        event = _decode(content) if _checks(content, checksum) else None
        if event is None:
            skipped += 1
        else:
            yield event
    if skipped:
        noun = "record, which is" if skipped == 1 else "records, which are"
        remarks.append(f"{path.name} has {skipped} damaged {noun} left out.")


def _decode(content: bytes) -> Event | None:
    try:
        return Event.FromString(content)
    except DecodeError:
        return None


def _checks(content: bytes, checksum: bytes) -> bool:
    crc = crc32c(content)
    masked = (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF
    return masked == int.from_bytes(checksum, "little")
