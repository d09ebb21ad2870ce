"""Pictures and 16-bit depth pictures as stored; their size is checked before they are decoded."""

import io
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8, UInt16
from PIL import Image

from dhm.errors import BadInputError
from dhm.formats.text import read_bytes

MAX_PIXELS = 1 << 26
"""Pixels of a picture; 200 MB once it is decoded."""

_PNG = b"\x89PNG\r\n\x1a\n"
_KINDS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")
# Cameras are calibrated on the stored pixels, whatever orientation the file asks for.
_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


def read_picture(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """Reads an RGB picture of at most MAX_PIXELS.

    Raises:
        BadInputError: The file is missing or too large, or does not decode.
    """
    try:
        return decode_picture(read_bytes(path))
    except ValueError as error:
        raise BadInputError(path, str(error), "a complete picture") from error


def read_depth_picture(path: Path) -> UInt16[np.ndarray, "h w"]:
    """Reads a 16-bit picture of one channel and at most MAX_PIXELS, unscaled.

    Raises:
        BadInputError: The file is missing or too large, of another kind, or does not decode.
    """
    expected = "a complete picture of one channel of 16 bits"
    try:
        data = read_bytes(path)
        height, width = _claimed_size(data)
        _refuse_large(height, width)
        _refuse_long_chunks(data)
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except ValueError as error:
        raise BadInputError(path, str(error), expected) from error
    except cv2.error as error:
        raise BadInputError(path, f"no picture ({error.err})", expected) from error
    if image is None:
        raise BadInputError(path, "a picture that does not decode", expected)
    if image.dtype != np.uint16 or image.shape != (height, width):
        found = f"a picture of {image.dtype} {list(image.shape)}"
        raise BadInputError(path, found, expected)
    return image


def _refuse_large(height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise ValueError(f"a picture of {width} x {height} pixels, more than {MAX_PIXELS}")


def _refuse_long_chunks(data: bytes) -> None:
    """Raises ValueError for a PNG chunk longer than the file, which OpenCV would allocate."""
    if not data.startswith(_PNG):
        return
    at, name = len(_PNG), b""
    while at + 8 <= len(data) and name != b"IEND":  # what follows that is not read
        length, name = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        if at + 12 + length > len(data):
            raise ValueError(f"a PNG chunk of {length} bytes, {len(data) - at} before the end")
        at += 12 + length


def decode_picture(data: bytes, size: tuple[int, int] | None = None) -> UInt8[np.ndarray, "h w 3"]:
    """Decodes an RGB picture.

    Args:
        data: A file's content.
        size: The (height, width) that it must have; any up to MAX_PIXELS by default.

    Raises:
        ValueError: The picture has another size, or does not decode; the message says which.
    """
    height, width = _claimed_size(data)
    if size is not None and (height, width) != size:
        raise ValueError(f"a picture of {width} x {height} pixels")
    _refuse_large(height, width)
    _refuse_long_chunks(data)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), _FLAGS)
    except cv2.error as error:
        raise ValueError(f"a picture that does not decode ({error.err})") from error
    # The two libraries might read a forged header in two ways.
    if image is None or image.shape != (height, width, 3):
        raise ValueError("a picture that does not decode")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def _claimed_size(data: bytes) -> tuple[int, int]:
    """Returns (height, width) from the header alone."""
    try:
        with Image.open(io.BytesIO(data), formats=_KINDS) as picture:
            return picture.height, picture.width
    except Image.DecompressionBombError as error:
        raise ValueError(f"a picture of far more than {MAX_PIXELS} pixels") from error
    except Exception as error:  # Pillow's decoders raise whatever a damaged header makes them
        raise ValueError("a picture that does not decode") from error
