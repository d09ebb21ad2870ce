"""Reads TensorBoard's event files without TensorBoard."""

from pathlib import Path

from tensorboardX.proto.event_pb2 import Event


def read_scalars(path: Path) -> dict[str, dict[int, float]]:
    """Values by tag and step; a last record that a killed process left half-written is no error."""
    data, values = path.read_bytes(), {}
    while len(data) >= 16:  # each record: length, its checksum, the event, its checksum
        length = int.from_bytes(data[:8], "little")
        if len(data) < 16 + length:
            break
        event = Event.FromString(data[12 : 12 + length])
        for value in event.summary.value:
            values.setdefault(value.tag, {})[event.step] = value.simple_value
        data = data[16 + length :]
    return values
