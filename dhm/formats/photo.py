"""Photographs, turned upright by EXIF; 16 bits, grey, palettes and alpha become RGB."""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageOps

from dhm.errors import BadInputError
from dhm.formats.picture import MAX_PIXELS
from dhm.formats.text import read_bytes

_KINDS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF")
_SEVERAL = ("PNG", "TIFF", "WEBP", "GIF")
_EXPECTED = "a JPEG, PNG, BMP, TIFF, WebP or GIF picture"
_BACKDROP = (128, 128, 128, 255)  # behind transparent pixels
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1")


class Photo(NamedTuple):
    """An upright picture.

    Attributes:
        image: RGB.
        focal_35mm: 35 mm equivalent focal length of the EXIF data, mm, or None.
        turned: Whether the file's pixels are in another order, which its EXIF data describe.
        is_first: Whether the file has other pictures behind this one: an animation or pages.
    """

    image: UInt8[np.ndarray, "h w 3"]
    focal_35mm: float | None
    turned: bool = False
    is_first: bool = False


def read_photo(path: Path) -> Photo:
    """Reads a picture of any usual format and turns it upright.

    Of 16 bits the upper eight are kept; transparent pixels become grey.

    Raises:
        BadInputError: The file is missing, empty, no picture, damaged, or has more than
            MAX_PIXELS.
    """
    data = read_bytes(path)
    if not data:
        raise BadInputError(path, "an empty file", _EXPECTED)
    try:
        with Image.open(io.BytesIO(data), formats=_KINDS) as picture:
            _check_size(path, picture)
            picture.load()
            turned = picture.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
            upright = ImageOps.exif_transpose(picture)
            # A second picture in a JPEG is a preview or depth map that the phone adds.
            is_first = picture.format in _SEVERAL and getattr(picture, "is_animated", False)
            return Photo(_rgb(upright), _focal_35mm(picture), turned, is_first)
    except BadInputError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever a damaged file makes them
        raise BadInputError(path, _describe(data, error), _EXPECTED) from error


def _check_size(path: Path, picture: Image.Image) -> None:
    if picture.width * picture.height > MAX_PIXELS:
        found = f"a picture of {picture.width} x {picture.height} pixels"
        raise BadInputError(path, found, f"at most {MAX_PIXELS} pixels")


def _rgb(picture: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
    if picture.mode.startswith("I"):  # 16 bits of grey
        values = np.asarray(picture).astype(np.int64)
        grey = (values.clip(0, 65535) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if picture.mode == "F":
        raise ValueError("floating-point pixels")
    if picture.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        return np.array(picture.convert("RGB"))
    opaque = Image.new("RGBA", picture.size, _BACKDROP)
    opaque.alpha_composite(picture.convert("RGBA"))
    return np.array(opaque.convert("RGB"))


def _focal_35mm(picture: Image.Image) -> float | None:
    fields = picture.getexif().get_ifd(ExifTags.IFD.Exif)
    value = fields.get(ExifTags.Base.FocalLengthIn35mmFilm)
    usable = isinstance(value, int | float) and 1 <= value <= 2000
    return float(value) if usable else None


def _describe(data: bytes, error: Exception) -> str:
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        return "a HEIC picture"
    if isinstance(error, Image.UnidentifiedImageError):
        is_text = all(byte >= 32 or byte in b"\t\r\n" for byte in data[:1000])
        return "a text file" if is_text else "a file that is no picture"
    return f"a picture that does not decode ({error})"
