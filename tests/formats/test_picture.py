"""Pictures and depth pictures as stored, and damaged ones."""

import cv2
import numpy as np
import pytest

from dhm.errors import BadInputError
from dhm.formats.picture import read_depth_picture, read_picture

PICTURE = np.random.default_rng(0).integers(0, 255, (6, 7, 3), np.uint8)
DEPTH = np.random.default_rng(1).integers(0, 60_000, (6, 7), np.uint16)


@pytest.fixture(params=["picture", "depth"])
def png(request, tmp_path):
    """A file, its reader and what is in it."""
    image, read = (
        (PICTURE, read_picture) if request.param == "picture" else (DEPTH, read_depth_picture)
    )
    path = tmp_path / "a.png"
    path.write_bytes(cv2.imencode(".png", image[..., ::-1] if image.ndim == 3 else image)[1])
    return path, read, image


def test_bytes_after_a_picture_are_ignored(png):
    path, read, image = png
    np.testing.assert_array_equal(read(path), image)
    path.write_bytes(path.read_bytes() + b"\xff" * 20)
    np.testing.assert_array_equal(read(path), image)


@pytest.mark.parametrize("name", [b"IDAT", b"IEND"])
def test_chunks_longer_than_the_file_are_refused(png, name):
    path, read, _ = png
    content = path.read_bytes()
    at = content.index(name) - 4
    left = len(content) - at
    longest = left - 12
    path.write_bytes(content[:at] + (longest + 1).to_bytes(4) + content[at + 4 :])
    with pytest.raises(BadInputError, match=f"a.png: .*{longest + 1} bytes, {left} before the end"):
        read(path)


def test_colours_keep_their_order(tmp_path):
    path = tmp_path / "red.png"
    cv2.imwrite(str(path), np.full((20, 20, 3), (0, 10, 200), np.uint8))
    np.testing.assert_array_equal(read_picture(path)[0, 0], [200, 10, 0])


def test_a_missing_picture_is_refused(tmp_path):
    with pytest.raises(BadInputError, match=r"gone\.jpg: found no such file"):
        read_picture(tmp_path / "gone.jpg")


@pytest.mark.parametrize("keep", [0, 10, 400])
def test_a_truncated_picture_is_refused(tmp_path, keep):
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
    path = tmp_path / "a.jpg"
    path.write_bytes(cv2.imencode(".jpg", noise)[1].tobytes()[:keep])
    with pytest.raises(BadInputError, match=r"a\.jpg: found a picture that does not decode"):
        read_picture(path)
