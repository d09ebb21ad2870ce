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


def test_what_was_written_is_read_whatever_follows_it(png):
    path, read, image = png
    np.testing.assert_array_equal(read(path), image)
    path.write_bytes(path.read_bytes() + b"\xff" * 20)
    np.testing.assert_array_equal(read(path), image)


@pytest.mark.parametrize("name", [b"IDAT", b"IEND"])
def test_a_chunk_that_is_longer_than_the_file_is_refused_before_room_is_made_for_it(png, name):
    path, read, _ = png
    content = path.read_bytes()
    at = content.index(name) - 4
    left = len(content) - at
    longest = left - 12
    path.write_bytes(content[:at] + (longest + 1).to_bytes(4) + content[at + 4 :])
    with pytest.raises(BadInputError, match=f"a.png: .*{longest + 1} bytes, {left} before the end"):
        read(path)
