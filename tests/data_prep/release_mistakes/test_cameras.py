"""Mistakes in the cameras of a capture in the released layout, and what `prepare` does then."""

import shutil

import numpy as np
import pytest

from dhm.formats.release_annotations import (
    read_krt,
    write_krt,
)
from tests.data_prep.release_mistakes.changes import ELSEWHERE, NUM_PICTURES, Change, assert_refused


def cameras(change) -> Change:
    """Changes K and T_camera_world of every camera."""

    def apply(capture):
        path = capture / "annotations" / "KRT_512"
        write_krt(path, {name: camera._replace(**dict(zip(
            ("K", "T_camera_world"), change(camera.K.copy(), camera.T_camera_world.copy()),
            strict=True))) for name, camera in read_krt(path).items()})  # fmt: skip

    return apply


def krt(change) -> Change:
    """Changes the lines of KRT_512 that are not blank."""

    def apply(capture):
        path = capture / "annotations" / "KRT_512"
        lines = [line for line in path.read_text().split("\n") if line]
        path.write_text("\n".join(change(lines)) + "\n")

    return apply


def _scaled(matrix, factor):
    return np.diag([factor, factor, 1.0]) @ matrix


def _in_metres(T):
    return np.block([[T[:3, :3], T[:3, 3:] / 1000], [T[3:]]])


def _with_position(T):
    T[:3, 3] = -T[:3, :3].T @ T[:3, 3]
    return T


def _opengl(T):
    T[1:3] *= -1
    return T


def _names(change):
    return krt(lambda lines: [change(line) if i % 8 == 0 else line for i, line in enumerate(lines)])


def _not_40(capture):
    _names(lambda name: f"C{name}")(capture)
    for folder in capture.glob("images/*/*/cam*"):
        folder.rename(folder.with_name(folder.name.replace("cam", "camC")))


CAMERAS = [
    pytest.param(
        cameras(lambda K, T: (K, _in_metres(T))),
        f"({ELSEWHERE}).*in mm",
        marks=pytest.mark.mistake(
            "capture, KRT_512", "t in metres", "refused, with the convention"
        ),
    ),
    pytest.param(
        cameras(lambda K, T: (K, np.linalg.inv(T))),
        f"({ELSEWHERE}).*map the world to the camera",
        marks=pytest.mark.mistake(
            "capture, KRT_512", "camera to world", "refused, with the convention"
        ),
    ),
    pytest.param(
        cameras(lambda K, T: (K, _opengl(T))),
        f"({ELSEWHERE}).*y down and z ahead",
        marks=pytest.mark.mistake(
            "capture, KRT_512", "OpenGL's axes", "refused, with the convention"
        ),
    ),
    pytest.param(
        cameras(lambda K, T: (K, _with_position(T))),
        f"({ELSEWHERE}).*map the world to the camera",
        marks=pytest.mark.mistake(
            "capture, KRT_512", "the camera's position instead of t", "refused, with the convention"
        ),
    ),
    pytest.param(
        cameras(lambda K, T: (_scaled(K, 8.0), T)),
        "principal point lies outside its picture, first: .*KRT_512, camera 4.*near the middle",
        marks=pytest.mark.mistake(
            "capture, KRT_512",
            "K of the full pictures, not of 512 x 334",
            "refused, with the point",
        ),
    ),
    pytest.param(
        cameras(lambda K, T: (K.T, T)),
        "cannot be used, first: .*KRT_512:2.*an upper triangular K",
        marks=pytest.mark.mistake("capture, KRT_512", "K transposed", "refused, with the line"),
    ),
    pytest.param(
        krt(lambda lines: [line for i, line in enumerate(lines) if i % 8 != 4]),
        "KRT_512:8: found 1 values, expected 4 numbers .*8 lines: name, K",
        marks=pytest.mark.mistake(
            "capture, KRT_512", "no line of lens coefficients", "refused, with the line"
        ),
    ),
    pytest.param(
        krt(
            lambda lines: [
                new
                for i, line in enumerate(lines)
                for new in ([line, "0 0 0 1"] if i % 8 == 7 else [line])
            ]
        ),
        "KRT_512:9: found 4 values, expected a camera's name alone",
        marks=pytest.mark.mistake(
            "capture, KRT_512", "4 x 4 matrices instead of three rows", "refused, with the line"
        ),
    ),
    pytest.param(
        _names(lambda name: f"cam{name}"),
        "no camera 4.*its first are cam4",
        marks=pytest.mark.mistake(
            "capture, KRT_512",
            "other names than the folders', such as cam400002",
            "refused, with names of the file",
        ),
    ),
    pytest.param(
        _not_40,
        f"{NUM_PICTURES} x camera not a colour camera",
        marks=pytest.mark.mistake(
            "capture, KRT_512",
            "names that do not begin with 40",
            "refused: taken as no colour cameras",
        ),
    ),
]


@pytest.mark.parametrize(("change", "said"), CAMERAS)
def test_wrong_cameras_are_refused(capture, prepared, change, said):
    change(capture)
    assert_refused(prepared(), said)


@pytest.mark.mistake(
    "capture, KRT_512", "K of smaller pictures", "left out where depth maps tell, else a warning"
)
def test_K_of_smaller_pictures(capture, prepared, caplog):
    cameras(lambda K, T: (_scaled(K, 0.5), T))(capture)
    assert_refused(prepared(), "depth map that does not show the hand")
    shutil.rmtree(capture / "annotations" / "depthmaps")
    assert prepared()[0] == 0
    assert "The principal points of 12 of 12 pictures are far from the middle" in caplog.text
