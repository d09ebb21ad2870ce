"""Mistakes in the pictures and scans of a capture in the released layout."""

import logging
import re

import cv2
import pytest

from dhm.formats.obj import ObjMesh, write_obj
from dhm.formats.scan import read_scan
from tests.data_prep.release_mistakes.changes import (
    NUM_PICTURES,
    Change,
    assert_refused,
    names,
)


def pictures(change) -> Change:
    def apply(capture):
        for path in capture.glob("images/*/*/*/*.jpg"):
            assert cv2.imwrite(str(path), change(cv2.imread(str(path))))

    return apply


REFUSED_PICTURES = [
    pytest.param(
        names("images/*/*/*/*.jpg", lambda path: path.stem + ".png"),
        r"no usable image \(no image\), expected <right-hand sequence>/cam40\*/image<FRAME>.jpg",
        marks=pytest.mark.mistake(
            "capture, pictures", ".png instead of .jpg", "refused, with the names"
        ),
    ),
    pytest.param(
        names("images/*/*/*/*.jpg", lambda path: path.name.replace("image", "frame")),
        r"no usable image \(no image\), expected <right-hand sequence>/cam40\*/image<FRAME>.jpg",
        marks=pytest.mark.mistake(
            "capture, pictures", "frame0007.jpg instead of image0007.jpg", "refused, with the names"
        ),
    ),
    pytest.param(
        names("images/*/*", lambda path: path.name[8:]),
        f"{NUM_PICTURES} x sequence not of the right hand",
        marks=pytest.mark.mistake(
            "capture, pictures",
            "names of sequences that do not say right hand",
            "refused: taken as others",
        ),
    ),
    pytest.param(
        pictures(lambda picture: picture[:, 60:-60]),
        "picture whose shape is not its camera's, first: .*512 rows and 214 columns",
        marks=pytest.mark.mistake(
            "capture, pictures", "cut out, with the K of the whole", "refused"
        ),
    ),
]


@pytest.mark.parametrize(("change", "said"), REFUSED_PICTURES)
def test_wrong_pictures_are_refused(capture, prepared, change, said):
    change(capture)
    assert_refused(prepared(), said)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            pictures(lambda picture: cv2.resize(picture, None, fx=2, fy=2)),
            marks=pytest.mark.mistake(
                "capture, pictures", "another size of the same shape", "understood: K is scaled"
            ),
        ),
        pytest.param(
            pictures(lambda picture: picture[..., 1]),
            marks=pytest.mark.mistake("capture, pictures", "grey", "understood"),
        ),
        pytest.param(
            pictures(lambda picture: picture[..., ::-1]),
            marks=pytest.mark.mistake(
                "capture, pictures",
                "red and blue exchanged",
                "not noticed: colours are not compared with anything",
            ),
        ),
        pytest.param(
            pictures(lambda picture: picture[::-1, ::-1]),
            marks=pytest.mark.mistake(
                "capture, pictures",
                "turned by 180 degrees, or of another camera",
                "not noticed: joints and depth maps are not compared with the pixels",
            ),
        ),
    ],
)
def test_other_pictures_are_prepared(capture, prepared, caplog, change):
    change(capture)
    assert prepared()[0] == 0
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


def scans(change) -> Change:
    """Changes the scans' vertices."""

    def apply(capture):
        for path in capture.glob("annotations/3D_scans_decimated/*/*"):
            vertices, faces = read_scan(path)
            path.unlink()
            mesh = ObjMesh(change(vertices), faces, None, None)
            write_obj(path.with_suffix(".obj"), mesh)

    return apply


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            scans(lambda vertices: vertices / 1000),
            marks=pytest.mark.mistake(
                "capture, scans", "metres instead of mm", "refused; a single one left out"
            ),
        ),
        pytest.param(
            scans(lambda vertices: vertices[:, [0, 2, 1]]),
            marks=pytest.mark.mistake(
                "capture, scans", "other axes than the joints'", "refused; a single one left out"
            ),
        ),
        pytest.param(
            scans(lambda vertices: vertices - vertices.mean(axis=0)),
            marks=pytest.mark.mistake(
                "capture, scans", "moved to the origin", "refused; a single one left out"
            ),
        ),
    ],
)
def test_scans_elsewhere_than_the_joints_are_refused(capture, prepared, change):
    change(capture)
    said = "2 x evaluated frame whose scan .*a mesh of .* surrounds 0 of 21 joints .*world, mm"
    assert_refused(prepared(), said)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            names("annotations/3D_scans_decimated/*/*", lambda path: path.stem + ".stl"),
            marks=pytest.mark.mistake(
                "capture, scans", "another kind of file, such as .stl", "warning"
            ),
        ),
        pytest.param(
            names("annotations/3D_scans_decimated/*/*", lambda path: f"{path.stem}_v2.ply"),
            marks=pytest.mark.mistake(
                "capture, scans",
                "a number after the frame's in the name",
                "left out: several files of one frame",
            ),
        ),
    ],
)
def test_scans_that_are_of_no_frame_are_said(capture, prepared, caplog, change):
    change(capture)
    assert prepared()[0] == 0
    assert re.search("no frame of the pictures has a scan", caplog.text), caplog.text
