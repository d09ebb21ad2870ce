"""Photographs of every kind, written by Pillow, OpenCV or by hand."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from dhm.errors import BadInputError
from dhm.formats import photo
from dhm.formats.photo import read_photo


@pytest.fixture
def colours():
    """A smooth picture, wider than high, whose quarters differ."""
    v, u = np.mgrid[0:24, 0:40]
    return np.stack([u * 6, v * 10, 120 + 0 * u], axis=-1).astype(np.uint8)


@pytest.mark.parametrize(
    ("suffix", "off"), [("png", 0), ("bmp", 0), ("tiff", 0), ("jpg", 6), ("webp", 12)]
)
def test_usual_formats_are_read(colours, tmp_path, suffix, off):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(colours).save(path, quality=98)
    found = read_photo(path)
    assert found.image.dtype == np.uint8 and found.focal_35mm is None
    assert np.abs(found.image.astype(int) - colours).max() <= off


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_keep_their_upper_eight(colours, tmp_path, channels):
    wide = colours.astype(np.uint16) * 257
    if channels == 1:
        wide = wide[:, :, 0]
    if channels == 4:
        wide = np.dstack([wide, np.full(wide.shape[:2], 65535, np.uint16)])
    cv2.imwrite(
        str(tmp_path / "a.png"), wide[..., [2, 1, 0, 3][:channels]] if channels > 1 else wide
    )
    image = read_photo(tmp_path / "a.png").image
    expected = colours if channels > 1 else np.repeat(colours[:, :, :1], 3, axis=2)
    np.testing.assert_array_equal(image, expected)


@pytest.mark.mistake(
    "predict, pictures", "an animation, or a TIFF of several pages",
    "warning in a note: the first picture is read",
)  # fmt: skip
@pytest.mark.parametrize("suffix", ["gif", "tiff", "webp", "png"])
def test_of_several_pictures_the_first_is_read(colours, tmp_path, suffix):
    first, second = Image.fromarray(colours), Image.fromarray(255 - colours)
    path = tmp_path / f"a.{suffix}"
    first.save(path)
    assert not read_photo(path).is_first
    alone = read_photo(path).image
    first.save(path, save_all=True, append_images=[second])
    found = read_photo(path)
    assert found.is_first and np.abs(found.image.astype(int) - alone).max() < 40


@pytest.mark.mistake("predict, pictures", "grey, palettes, CMYK or 16 bits", "understood")
@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "LA"])
def test_modes_become_rgb(colours, tmp_path, mode):
    picture = Image.fromarray(colours).convert(mode)
    path = tmp_path / ("a.tiff" if mode == "CMYK" else "a.png")
    picture.save(path)
    expected = np.asarray(picture.convert("RGB"))
    np.testing.assert_array_equal(read_photo(path).image, expected)


@pytest.mark.mistake("predict, pictures", "transparent pixels", "understood: they become grey")
def test_transparent_pixels_become_grey(colours, tmp_path):
    alpha = np.full(colours.shape[:2], 255, np.uint8)
    alpha[:, :10] = 0
    Image.fromarray(np.dstack([colours, alpha])).save(tmp_path / "a.png")
    image = read_photo(tmp_path / "a.png").image
    assert (image[:, :10] == 128).all()
    np.testing.assert_array_equal(image[:, 10:], colours[:, 10:])
    palette = Image.fromarray(colours).quantize(8)
    palette.save(tmp_path / "p.png", transparency=0)
    shown = np.asarray(palette) == 0
    assert shown.any() and (read_photo(tmp_path / "p.png").image[shown] == 128).all()


# What each EXIF orientation says of the stored picture, undone by hand.
STORED = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, 1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: np.rot90(x, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_exif_turns_the_picture_upright(colours, tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(STORED[orientation](colours))
    Image.fromarray(stored).save(tmp_path / f"a.{suffix}", exif=exif, quality=98)
    found = read_photo(tmp_path / f"a.{suffix}")
    assert found.image.shape == colours.shape and found.turned == (orientation > 1)
    assert np.abs(found.image.astype(int) - colours).max() <= 6


@pytest.mark.parametrize(("value", "found"), [(26, 26.0), (0, None), (60000, None)])
def test_the_focal_length_is_read(colours, tmp_path, value, found):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = value
    Image.fromarray(colours).save(tmp_path / "a.jpg", exif=exif)
    assert read_photo(tmp_path / "a.jpg").focal_35mm == found


def _huge_png() -> bytes:
    """A hundred bytes that claim 400 million pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"0")), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(
            b"", "found an empty file, expected a JPEG, PNG",
            marks=pytest.mark.mistake(
                "predict, pictures", "an empty file, text, or a file of something else", "refused"
            ),
        ),
        (b"Dear diary,\ntoday I took no photo.\n", "found a text file, expected a JPEG"),
        (bytes(range(256)), "found a file that is no picture"),
        pytest.param(
            b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "found a HEIC picture, expected a JPEG",
            marks=pytest.mark.mistake(
                "predict, pictures", "HEIC, as phones write it", "refused, by its name"
            ),
        ),
        (_huge_png(), r"found a picture that does not decode \(Image size"),
        (b"\xff\xd8\xff\xe0", "found a "),
    ],
)  # fmt: skip
def test_other_files_are_refused(tmp_path, data, message):
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    with pytest.raises(BadInputError, match=message) as refusal:
        read_photo(path)
    assert refusal.value.where == str(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="no such file"):
        read_photo(tmp_path / "a.jpg")


def test_too_many_pixels_are_refused(colours, tmp_path, monkeypatch):
    Image.fromarray(colours).save(tmp_path / "a.png")
    monkeypatch.setattr(photo, "MAX_PIXELS", 900)
    with pytest.raises(BadInputError, match="picture of 40 x 24 pixels, expected at most 900"):
        read_photo(tmp_path / "a.png")


@pytest.mark.mistake("predict, pictures", "a picture that was copied in part", "refused")
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
def test_cut_files_are_refused(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / f"a.{suffix}")
    data = (tmp_path / f"a.{suffix}").read_bytes()
    for keep in (0.1, 0.5, 0.9):
        (tmp_path / f"b.{suffix}").write_bytes(data[: int(keep * len(data))])
        with pytest.raises(BadInputError, match=r"found a .*expected a JPEG"):
            read_photo(tmp_path / f"b.{suffix}")


def test_damaged_files_are_refused_or_read(tmp_path, colours):
    """Whatever byte is wrong, no other exception is raised."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(colours).save(tmp_path / "a.jpg", exif=exif)
    data, rng = (tmp_path / "a.jpg").read_bytes(), np.random.default_rng(3)
    for _ in range(100):
        damaged = bytearray(data)
        damaged[rng.integers(len(data) // 2)] = rng.integers(256)
        (tmp_path / "b.jpg").write_bytes(damaged)
        try:
            image = read_photo(tmp_path / "b.jpg").image
        except BadInputError:
            continue
        assert image.ndim == 3 and image.dtype == np.uint8
