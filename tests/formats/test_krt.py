"""KRT files."""

import numpy as np
import pytest

from dhm.errors import BadInputError
from dhm.formats.krt import KrtCamera, read_krt, write_krt

TEXT = """400002
1180.0 0.5 166.8
0.0 1184.7 263.1
0.0 0.0 1.0
0.01 -0.004 0.0001 0.0002 0.0
0 -1 0 10.5
1 0 0 -20.25
0 0 1 900

410001
1000 0 160
0 1000 250
0 0 1
0 0 0 0 0
1 0 0 0
0 1 0 0
0 0 1 800

"""


@pytest.fixture
def krt(tmp_path):
    path = tmp_path / "KRT_512"
    path.write_text(TEXT)
    return path


def test_reads_every_camera_by_name(krt):
    cameras = read_krt(krt)
    assert list(cameras) == ["400002", "410001"]
    camera = cameras["400002"]
    np.testing.assert_array_equal(camera.K, [[1180, 0.5, 166.8], [0, 1184.7, 263.1], [0, 0, 1]])
    np.testing.assert_array_equal(camera.distortion, [0.01, -0.004, 0.0001, 0.0002, 0])
    np.testing.assert_array_equal(
        camera.T_camera_world, [[0, -1, 0, 10.5], [1, 0, 0, -20.25], [0, 0, 1, 900], [0, 0, 0, 1]]
    )


def test_round_trip(krt, tmp_path):
    cameras = read_krt(krt)
    write_krt(tmp_path / "again", cameras)
    again = read_krt(tmp_path / "again")
    assert list(again) == list(cameras)
    for name, camera in cameras.items():
        for found, expected in zip(again[name], camera, strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-9)


def test_foreign_capture_has_its_ten_cameras(release_mini):
    cameras = read_krt(release_mini / "annotations" / "KRT_512")
    assert len(cameras) == 10
    assert sum(name.startswith("40") for name in cameras) == 8


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0 -1 0 10.5", "0 -1.01 0 10.5", r"KRT_512:6: found an R of camera 400002 with .R R.T"),
        ("0 -1 0 10.5", "0 1 0 10.5", r"KRT_512:6: .*det -1.*expected a rotation"),
        ("0 -1 0 10.5", "0 0 0 10.5", "expected a rotation"),
        ("0 -1 0 10.5", "0 -1 nan 10.5", r"KRT_512:6: found 'nan', expected a finite number"),
        ("0 -1 0 10.5", "0 -1 0", r"KRT_512:6: found 3 values, expected 4 numbers of camera"),
        ("0.0 0.0 1.0", "0.0 0.0 2.0", r"KRT_512:2: found K = .* of camera 400002"),
        ("0.0 1184.7 263.1", "3.0 1184.7 263.1", "an upper triangular K"),
        ("1180.0", "-1180.0", "positive focal lengths"),
        ("410001", "400002", r"KRT_512:10: found camera 400002 a second time"),
        ("400002\n", "400002 \n5\n", r"KRT_512:2: found 1 values, expected 3 numbers"),
        ("400002", "400002 x", r"KRT_512:1: found 2 values, expected a camera's name"),
        (
            "0 0 1 800\n",
            "",
            r"KRT_512:16: found the end of the file after 7 lines of camera 410001",
        ),
    ],
)
def test_bad_cameras_are_refused(krt, old, new, message):
    krt.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(BadInputError, match=message):
        read_krt(krt)


def test_an_empty_file_is_refused(krt):
    krt.write_text("\n")
    with pytest.raises(BadInputError, match="found no camera"):
        read_krt(krt)


def test_writes_ten_cameras_far_from_the_origin(tmp_path):
    rng = np.random.default_rng(0)
    cameras = {}
    for index in range(10):
        rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = rotation * np.linalg.det(rotation), rng.normal(size=3) * 1e4
        cameras[f"cam{index}"] = KrtCamera(np.diag([1200.0, 1200.0, 1.0]), np.zeros(5), T)
    write_krt(tmp_path / "KRT", cameras)
    again = read_krt(tmp_path / "KRT")
    for name, camera in cameras.items():
        np.testing.assert_allclose(again[name].T_camera_world, camera.T_camera_world, atol=1e-6)
