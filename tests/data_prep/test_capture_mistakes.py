"""Mistakes that users make with a capture in the released layout, and what `prepare` does then."""

import logging
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_prep.prepare import main
from dhm.data.prepared_data import PreparedData
from dhm.formats.obj import ObjMesh, write_obj
from dhm.formats.release_annotations import (
    KEYPOINT_NAMES,
    Keypoints,
    read_depth_pickle,
    read_keypoints,
    read_krt,
    write_depth_pickle,
    write_keypoints,
    write_krt,
)
from dhm.formats.scan import read_scan

Change = Callable[[Path], None]

NUM_PICTURES = 12  # two sequences of two frames, seen by three cameras


@pytest.fixture
def capture(toy_prepared, tmp_path):
    """A copy of the toy capture, subject 1."""
    return shutil.copytree(toy_prepared.parent / "capture", tmp_path / "capture")


@pytest.fixture
def prepared(capture, capsys, caplog):
    """A function that prepares the capture: its exit code, what it said, and its folder."""
    caplog.set_level(logging.INFO)

    def run(*flags):
        out = capture.parent / "out"
        own = ["--capture", capture, "--subject", 1, "--out", out, "--image-size", 32]
        code = main([*map(str, own), "--test-sequences", "spread", *flags])
        return code, capsys.readouterr().err, out

    return run


def assert_refused(result, said):
    code, error, out = result
    assert code == 1 and not out.exists()
    assert error.startswith("error: ") and error.count("\n") == 1
    assert re.search(said, error), error


# Cameras ------------------------------------------------------------------------------------


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


ELSEWHERE = "depth map that does not show the hand|no usable view"

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


# Keypoints ----------------------------------------------------------------------------------


def keypoints(change) -> Change:
    """Changes the right hand's 21 points of every frame, and which are valid."""

    def apply(capture):
        for path in capture.glob("annotations/keypoints/*/*.pts"):
            found = read_keypoints(path)
            points, valid = change(found.points[:21].copy(), found.valid[:21].copy())
            count = len(points)
            write_keypoints(path, Keypoints(
                np.concatenate([points, np.zeros((42 - count, 3))]),
                np.concatenate([valid, np.zeros(42 - count, bool)]), np.ones(42), np.full(42, 8.0),
            ))  # fmt: skip

    return apply


def without_depth(change: Change) -> Change:
    def apply(capture):
        shutil.rmtree(capture / "annotations" / "depthmaps")
        change(capture)

    return apply


def reordered(order) -> Change:
    """Writes at each index the joint of another one."""
    return keypoints(lambda points, valid: (points[order], valid[order]))


def texts(change) -> Change:
    def apply(capture):
        for path in capture.glob("annotations/keypoints/*/*.pts"):
            path.write_text("".join(change(line) + "\n" for line in path.read_text().splitlines()))

    return apply


def names(pattern, change) -> Change:
    def apply(capture):
        for path in list(capture.glob(pattern)):
            path.rename(path.with_name(change(path)))

    return apply


def _index(name):
    return KEYPOINT_NAMES.index(f"b_r_{name}")


WRIST_FIRST = [20, *range(20)]
PALM_TO_TIP = [*(4 * finger + part for finger in range(5) for part in (3, 2, 1, 0)), 20]
LITTLE_FINGER_FIRST = [*(4 * finger + part for finger in range(4, -1, -1) for part in range(4)), 20]
MIDDLE_AND_RING = [*range(8), *range(12, 16), *range(8, 12), *range(16, 21)]
RIGHT = np.array([2 * 120.0, 0, 0])  # a mirror in the middle of the toy capture's hand

REFUSED_KEYPOINTS = [
    pytest.param(
        keypoints(lambda points, valid: (points / 1000, valid)),
        "distances are 0.00[0-9]+ times the template's, as of a file in metres",
        marks=pytest.mark.mistake(
            "capture, keypoints", "metres instead of mm", "refused, with the unit"
        ),
    ),
    pytest.param(
        keypoints(lambda points, valid: (points / 10, valid)),
        "as of a file in centimetres",
        marks=pytest.mark.mistake(
            "capture, keypoints", "centimetres instead of mm", "refused, with the unit"
        ),
    ),
    pytest.param(
        texts(lambda line: line.replace(" ", ",")),
        r"12 x frame whose keypoint file cannot be used, first: .*\.pts:1: found '0,",
        marks=pytest.mark.mistake(
            "capture, keypoints", "commas between the numbers", "refused, with the line"
        ),
    ),
    pytest.param(
        texts(lambda line: " ".join(line.split()[:4])),
        r"\.pts:1: found 3 values, expected 5 numbers of a keypoint \(x y z score views\)",
        marks=pytest.mark.mistake(
            "capture, keypoints", "no score and views", "refused, with the line"
        ),
    ),
    pytest.param(
        names("annotations/keypoints/*/*.pts", lambda path: f"{path.stem[-4:]}.pts"),
        "12 x frame without a keypoint file",
        marks=pytest.mark.mistake(
            "capture, keypoints", "0007.pts instead of keypoints0007.pts", "refused"
        ),
    ),
    pytest.param(
        keypoints(lambda points, valid: (points - points[20], valid)),
        f"({ELSEWHERE}).*cameras map the world",
        marks=pytest.mark.mistake(
            "capture, keypoints",
            "joints about the wrist instead of the world",
            "refused, with the convention",
        ),
    ),
]


@pytest.mark.parametrize(("change", "said"), REFUSED_KEYPOINTS)
def test_wrong_keypoints_are_refused(capture, prepared, change, said):
    change(capture)
    assert_refused(prepared(), said)


DOUBTED_KEYPOINTS = [
    pytest.param(
        reordered(WRIST_FIRST),
        "another order",
        marks=pytest.mark.mistake("capture, keypoints", "the wrist first", "warning"),
    ),
    pytest.param(
        reordered(PALM_TO_TIP),
        "another order",
        marks=pytest.mark.mistake(
            "capture, keypoints", "fingers from the palm to the tip", "warning"
        ),
    ),
    pytest.param(
        reordered(LITTLE_FINGER_FIRST),
        "another order",
        marks=pytest.mark.mistake("capture, keypoints", "the little finger first", "warning"),
    ),
    pytest.param(
        reordered(MIDDLE_AND_RING),
        "way along the four knuckles .*another order",
        marks=pytest.mark.mistake(
            "capture, keypoints", "two fingers that changed places", "warning"
        ),
    ),
    pytest.param(
        texts(lambda line: f"{int(line.split()[0]) + 1} {line.split(' ', 1)[1]}"),
        "another order",
        marks=pytest.mark.mistake("capture, keypoints", "indices from 1 instead of 0", "warning"),
    ),
    pytest.param(
        without_depth(keypoints(lambda points, valid: (RIGHT + points * [-1, 1, 1], valid))),
        "The fingers of 0001_RT_fist bend to the back of a right hand: .* left hand",
        marks=pytest.mark.mistake(
            "capture, keypoints",
            "a left hand's joints, or one axis mirrored",
            "warning, where fingers are bent",
        ),
    ),
]


@pytest.mark.parametrize(("change", "said"), DOUBTED_KEYPOINTS)
def test_doubtful_keypoints_are_said(capture, prepared, caplog, change, said):
    change(capture)
    assert prepared()[0] == 0
    assert re.search(said, caplog.text), caplog.text


def _in_the_first_camera(capture):
    camera = next(iter(read_krt(capture / "annotations" / "KRT_512").values()))
    T = camera.T_camera_world
    keypoints(lambda points, valid: (points @ T[:3, :3].T + T[:3, 3], valid))(capture)


@pytest.mark.mistake(
    "capture, keypoints", "joints in a camera's frame instead of the world", "refused, likewise"
)
def test_joints_of_a_camera_s_frame_are_refused(capture, prepared):
    _in_the_first_camera(capture)
    assert_refused(prepared(), f"({ELSEWHERE}).*cameras map the world")


@pytest.mark.mistake(
    "capture, keypoints",
    "the numbers of other frames",
    "refused where depth maps show it; without them not noticed: pixels are not looked at",
)
def test_keypoints_of_other_frames(capture, prepared, caplog):
    *_, first, second = sorted(capture.glob("annotations/keypoints/*/*.pts"))
    contents = first.read_bytes(), second.read_bytes()
    first.write_bytes(contents[1])
    second.write_bytes(contents[0])
    assert_refused(prepared(), "depth map that does not show the hand|scan")
    shutil.rmtree(capture / "annotations" / "depthmaps")
    shutil.rmtree(capture / "annotations" / "3D_scans_decimated")
    assert prepared()[0] == 0
    warnings = [r.message for r in caplog.records if r.levelno >= logging.WARNING]
    assert all(said.startswith("no ") for said in warnings)  # depth map, scan


def test_of_a_capture_without_mistakes_nothing_is_doubted(prepared, caplog):
    assert prepared()[0] == 0
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


# Depth maps ---------------------------------------------------------------------------------


def depth_maps(change) -> Change:
    def apply(capture):
        for path in capture.glob("annotations/depthmaps/*/*/*.pkl"):
            write_depth_pickle(path, change(read_depth_pickle(path)))

    return apply


def _of_the_next_camera(capture):
    for folder in capture.glob("annotations/depthmaps/*/*"):
        paths = sorted(folder.glob("*.pkl"))
        contents = [path.read_bytes() for path in paths]
        for path, content in zip(paths, contents[1:] + contents[:1], strict=True):
            path.write_bytes(content)


def _pickled(change) -> Change:
    def apply(capture):
        for path in capture.glob("annotations/depthmaps/*/*/*.pkl"):
            path.write_bytes(pickle.dumps(change(read_depth_pickle(path)), 4))

    return apply


REFUSED_DEPTH = [
    pytest.param(
        depth_maps(lambda depth: depth / 1000),
        r"does not show the hand at its joints, first: .*found depths from 0\.[0-9]+ to .* in mm",
        marks=pytest.mark.mistake(
            "capture, depth maps", "metres instead of mm", "refused, with the depths"
        ),
    ),
    pytest.param(
        depth_maps(lambda depth: depth * 10),
        r"found depths from [0-9.e+]+ to .*in mm",
        marks=pytest.mark.mistake(
            "capture, depth maps", "tenths of mm", "refused, with the depths"
        ),
    ),
    pytest.param(
        _pickled(lambda depth: (depth / 4).astype(np.uint8)),
        "does not show the hand",
        marks=pytest.mark.mistake(
            "capture, depth maps", "8 bits instead of mm", "refused, with the depths"
        ),
    ),
    pytest.param(
        depth_maps(lambda depth: np.where(depth > 0, depth, 1200)),
        "depth map without background, first: .*depths on 100% of the hand's crop, expected 0",
        marks=pytest.mark.mistake("capture, depth maps", "a wall behind the hand", "refused"),
    ),
    pytest.param(
        _pickled(lambda depth: {"depth": depth}),
        "depth map that cannot be used, first: .*a pickled 2-D NumPy array of depths in mm",
        marks=pytest.mark.mistake("capture, depth maps", "a pickled dictionary", "refused"),
    ),
    pytest.param(
        depth_maps(lambda depth: np.ascontiguousarray(depth.T)),
        "depth map that cannot be used, first: .*334 rows and 512 columns",
        marks=pytest.mark.mistake("capture, depth maps", "rows and columns exchanged", "refused"),
    ),
    pytest.param(
        depth_maps(lambda depth: np.ascontiguousarray(depth[:, ::-1])),
        "does not show the hand",
        marks=pytest.mark.mistake(
            "capture, depth maps",
            "flipped left to right",
            "left out where half of the joints are not on the surface; refused where many are",
        ),
    ),
    pytest.param(
        _of_the_next_camera,
        "does not show the hand",
        marks=pytest.mark.mistake(
            "capture, depth maps", "names of other cameras", "left out, or refused, likewise"
        ),
    ),
]


@pytest.mark.parametrize(("change", "said"), REFUSED_DEPTH)
def test_wrong_depth_maps_are_refused(capture, prepared, change, said):
    change(capture)
    assert_refused(prepared(), said)


@pytest.mark.mistake(
    "capture, depth maps", "65535 as background", "understood: too far to be the hand"
)
def test_65535_is_background(toy_prepared, capture, prepared):
    _pickled(lambda depth: np.where(depth > 0, depth, 65535).astype(np.uint16))(capture)
    code, _, out = prepared()
    found, expected = (
        PreparedData(out).depth("train", 0),
        PreparedData(toy_prepared).depth("train", 0),
    )
    assert code == 0
    np.testing.assert_array_equal(found > 0, expected > 0)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            names("annotations/depthmaps/*/*", lambda path: path.name[2:]),
            marks=pytest.mark.mistake(
                "capture, depth maps", "folders of four digits instead of six", "warning"
            ),
        ),
        pytest.param(
            names("annotations/depthmaps/*/*/*.pkl", lambda path: path.stem + ".npy"),
            marks=pytest.mark.mistake("capture, depth maps", "other files than .pkl", "warning"),
        ),
    ],
)
def test_depth_maps_that_are_not_found_are_said(capture, prepared, caplog, change):
    change(capture)
    assert prepared()[0] == 0
    assert re.search(r"no picture has a depth map: .*FRAME, six digits", caplog.text)


@pytest.mark.mistake("capture, depth maps", "-1 or infinity as background", "left out and counted")
@pytest.mark.parametrize("value", [-1, np.inf])
def test_impossible_backgrounds_are_left_out(capture, prepared, caplog, value):
    (path, *_) = sorted(capture.glob("annotations/depthmaps/*/*/*.pkl"))
    depth = read_depth_pickle(path)
    write_depth_pickle(path, np.where(depth > 0, depth, value))
    assert prepared()[0] == 0
    assert re.search("left out: 1 x depth map that cannot be used, first: .*negative", caplog.text)


@pytest.mark.mistake(
    "capture, depth maps", "0 everywhere", "left out and counted: records without depth"
)
def test_empty_depth_maps_are_counted(capture, prepared, caplog):
    depth_maps(np.zeros_like)(capture)
    assert prepared()[0] == 0
    assert re.search(r"train: of these without depth +6", caplog.text)


@pytest.mark.mistake(
    "capture, depth maps",
    "distances along the rays instead of z",
    "not noticed: 1 % more in the corners of the released pictures",
)
def test_distances_along_rays_are_taken_as_depths(capture, prepared, caplog):
    K = next(iter(read_krt(capture / "annotations" / "KRT_512").values())).K
    rows, columns = np.mgrid[:512, :334]
    rays = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ np.linalg.inv(K).T
    depth_maps(lambda depth: depth * np.linalg.norm(rays, axis=-1))(capture)
    assert prepared()[0] == 0
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


# Pictures -----------------------------------------------------------------------------------


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


# Scans --------------------------------------------------------------------------------------


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
