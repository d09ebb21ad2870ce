"""Pictures, whose size is known before they are decoded."""

import io
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from dhm.errors import BadInputError
from dhm.formats.text import read_bytes

MAX_PIXELS = 1 << 26
"""Of a picture; 200 MB once it is decoded."""

_KINDS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")
# Cameras were calibrated on the stored pixels, whatever orientation the file asks for.
_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


def read_picture(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """Reads an RGB picture of at most MAX_PIXELS.

    Raises:
        BadInputError: If it is missing or too large, or does not decode.
    """
    try:
        return decode_picture(read_bytes(path))
    except ValueError as error:
        raise BadInputError(path, str(error), "a complete picture") from error


def decode_picture(data: bytes, size: tuple[int, int] | None = None) -> UInt8[np.ndarray, "h w 3"]:
    """Decodes an RGB picture.

    Args:
        data: A file's content.
        size: The (height, width) it must have; any up to MAX_PIXELS by default.

    Raises:
        ValueError: If it has another size, or does not decode; says what was found.
    """
    height, width = _claimed_size(data)
    if size is not None and (height, width) != size:
        raise ValueError(f"a picture of {width} x {height} pixels")
    if height * width > MAX_PIXELS:
        raise ValueError(f"a picture of {width} x {height} pixels, more than {MAX_PIXELS}")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), _FLAGS)
    except cv2.error as error:
        raise ValueError(f"a picture that does not decode ({error.err})") from error
    # The two libraries might read a forged header in two ways.
    if image is None or image.shape != (height, width, 3):
        raise ValueError("a picture that does not decode")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def _claimed_size(data: bytes) -> tuple[int, int]:
    """(height, width) by the header alone."""
    try:
        with Image.open(io.BytesIO(data), formats=_KINDS) as picture:
            return picture.height, picture.width
    except Image.DecompressionBombError as error:
        raise ValueError(f"a picture of far more than {MAX_PIXELS} pixels") from error
    except Exception as error:  # Pillow's decoders raise whatever a damaged header makes them
        raise ValueError("a picture that does not decode") from error
