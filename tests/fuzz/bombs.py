"""Small files that claim gigabytes: `python -m tests.fuzz.bombs` prints how each is refused.

Runs in a process of its own, whose peak memory is that of the readers.
"""

import io
import pickle
import resource
import struct
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import zstandard

from dhm.data.depth_codec import decode_depth
from dhm.errors import BadInputError
from dhm.export.package import read_description
from dhm.formats.hand_template import read_skeleton
from dhm.formats.npz import MAX_BYTES, Arrays, read_npy
from dhm.formats.picture import read_depth_picture, read_picture
from dhm.formats.ply import read_ply
from dhm.formats.release_annotations import read_depth_pickle
from dhm.networks.pretrained import load_backbone
from dhm.training.replay import read_replay

MEMORY = 100_000_000
"""Most bytes that a refusal may take."""

_LONGEST_READ = 2.0  # seconds of CPU time
_HUGE = 100_000  # sides of a picture
_MUCH = 2 * MAX_BYTES


def bombs() -> dict[str, tuple[Callable[[], bytes], Callable[[Path], object]]]:
    """Returns what makes the content of each file, and its reader, by name."""
    return {
        "PNG of 100,000 x 100,000": (lambda: _png(_HUGE), read_picture),
        "PNG just too large": (lambda: _png(9000), read_picture),
        "PNG depth map of 100,000 x 100,000": (lambda: _png(_HUGE), read_depth_picture),
        "PNG with a chunk of 4 GB": (_long_chunk, read_picture),
        "PNG depth map with a chunk of 4 GB": (_long_chunk, read_depth_picture),
        "JPEG of 65,500 x 65,500": (_jpeg, read_picture),
        "npz that unpacks to 512 MB": (_zip_bomb, Arrays),
        "npz that claims 75 GB": (_npz_header, Arrays),
        "npy that claims 75 GB": (lambda: _npy_header() + bytes(100), read_npy),
        "depth map that claims 40 GB": (_depth_header, read_depth_pickle),
        "depth map of 2^40 bytes": (lambda: _bytearray(1 << 40), read_depth_pickle),
        "records' depth of 512 MB": (_zstd, _decode),
        "records' depth of unknown size": (lambda: _zstd(size_known=False), _decode),
        "PLY of 10^10 vertices": (lambda: _PLY, read_ply),
        "JSON nested a million deep": (lambda: b"[" * 1_000_000, read_description),
        "skeleton of 100,000 joints": (_skeleton, read_skeleton),
        "safetensors with a header of 2^60": (_safetensors, _weights),
        "msgpack of 2^32 entries": (lambda: b"\xdd\xff\xff\xff\xff", read_replay),
        "msgpack nested a million deep": (lambda: b"\x91" * 1_000_000, read_replay),
    }


def main() -> None:
    """Feeds each bomb to its reader.

    Raises:
        AssertionError: One is read, or its refusal takes too much time or memory.
    """
    print("| file | bytes | refused as | ms | MB |\n|---|---:|---|---:|---:|")
    with tempfile.TemporaryDirectory(prefix="bombs") as folder:
        path = Path(folder) / "bomb"
        for name, (make, read) in bombs().items():
            content = make()
            path.write_bytes(content)
            before, began = _peak(), time.process_time()
            said = _refusal(read, path)
            seconds, taken = time.process_time() - began, _peak() - before
            said = said.removeprefix(f"{path}: ").split(", expected")[0][:80]
            print(
                f"| {name} | {len(content)} | {said} | {1000 * seconds:.0f} | {taken / 1e6:.0f} |"
            )
            assert seconds < _LONGEST_READ, name
            assert taken < MEMORY, name


def _refusal(read: Callable[[Path], object], path: Path) -> str:
    try:
        read(path)
    except BadInputError as error:
        return str(error)
    raise AssertionError(f"{path} was read")


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _decode(path: Path) -> None:
    try:
        decode_depth(path.read_bytes(), (256, 256), 0.0, 0.01)
    except ValueError as error:  # PreparedData adds the record
        raise BadInputError(path, str(error), "a depth map") from error


def _weights(path: Path) -> None:
    load_backbone(path, {}, {})


def _png(side: int) -> bytes:
    """A complete PNG but for its rows."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def _long_chunk() -> bytes:
    content = _png(6)
    at = content.index(b"IDAT") - 4
    return content[:at] + struct.pack(">I", 0xFD00_002A) + content[at + 4 :]


def _jpeg() -> bytes:
    frame = struct.pack(">BHHB", 8, 65_500, 65_500, 3) + b"\x01\x11\x00\x02\x11\x01\x03\x11\x01"
    return b"\xff\xd8\xff\xc0" + struct.pack(">H", 2 + len(frame)) + frame + b"\xff\xd9"


def _zip_bomb() -> bytes:
    file = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (_MUCH // 4,)}
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("v_template.npy", "w", force_zip64=True) as member,
    ):
        np.lib.format.write_array_header_1_0(member, header)
        for _ in range(_MUCH >> 24):
            member.write(bytes(1 << 24))
    return file.getvalue()


def _npz_header() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("v_template.npy", _npy_header() + bytes(100))
    return file.getvalue()


def _npy_header() -> bytes:
    array = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (_HUGE, _HUGE)}
    np.lib.format.write_array_header_1_0(array, header)
    return array.getvalue()


def _depth_header() -> bytes:
    data = pickle.dumps(np.zeros((200, 300), np.float32), 2)
    sides = b"K" + bytes([200]) + b"M" + struct.pack("<H", 300)
    assert data.count(sides) == 1
    return data.replace(sides, 2 * (b"J" + struct.pack("<i", _HUGE)))


def _bytearray(length: int) -> bytes:
    return b"\x80\x05\x96" + struct.pack("<Q", length)


def _zstd(size_known: bool = True) -> bytes:
    packer = zstandard.ZstdCompressor(level=1).compressobj(_MUCH if size_known else -1)
    parts = [packer.compress(bytes(1 << 24)) for _ in range(_MUCH >> 24)]
    return b"".join([*parts, packer.flush()])


_PLY = (
    b"ply\nformat binary_little_endian 1.0\nelement vertex 10000000000\nproperty float x\n"
    b"property float y\nproperty float z\nelement face 10000000000\n"
    b"property list uchar int vertex_indices\nend_header\n"
)


def _safetensors() -> bytes:
    return struct.pack("<Q", 1 << 60) + b"{}"


def _skeleton() -> bytes:
    return "".join(f"joint{i} {i} {i - 1}\n" for i in range(100_000)).encode()


if __name__ == "__main__":
    main()
