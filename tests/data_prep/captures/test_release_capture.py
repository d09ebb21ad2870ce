"""The released layout: which images are used, and the files of each."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from data_prep.captures.frames import LYING, NO_CAMERA, SECOND_PICTURE
from data_prep.captures.release_capture import (
    BAD_KEYPOINTS,
    K_SIZE,
    NO_JOINT,
    NO_KEYPOINTS,
    NO_SCAN_FRAME,
    NOT_COLOUR,
    NOT_RIGHT_HAND,
    RANGE_OF_MOTION,
    read_release_capture,
)
from dhm.errors import BadInputError
from dhm.formats.hand_template import write_hand_model
from dhm.formats.release_annotations import (
    Keypoints,
    KrtCamera,
    read_krt,
    write_keypoints,
    write_krt,
)
from tests.formats.samples import small_template

CAMERAS = ("400002", "400009", "410001")


def write_frame(root: Path, subject: int, frame: int, right: bool = True) -> None:
    folder = root / "annotations" / "keypoints" / f"subject_{subject}"
    folder.mkdir(parents=True, exist_ok=True)
    valid = np.zeros(42, bool)
    # index_null, index2, wrist of the right hand; index1 (8) is not annotated.
    valid[[4, 6, 20] if right else [25, 27]] = True
    points = (frame + np.arange(126.0)).reshape(42, 3) * valid[:, None]
    keypoints = Keypoints(points, valid, np.ones(42), np.full(42, 8.0))
    write_keypoints(folder / f"keypoints{frame:04d}.pts", keypoints)


def write_image(root: Path, subject: int, sequence: str, camera: str, name: str) -> Path:
    path = root / "images" / f"subject_{subject}" / sequence / f"cam{camera}" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Subject 4: frames 3, 12 and 70000 of two good sequences, and one of every thing to skip."""
    write_hand_model(small_template(), tmp_path / "hand_model")
    T = np.eye(4)
    T[2, 3] = 900
    K = np.array([[1200.0, 0, 160], [0, 1210, 250], [0, 0, 1]])
    (tmp_path / "annotations").mkdir()
    krt = {name: KrtCamera(K + np.diag([index, 0, 0]), np.zeros(5), T)
           for index, name in enumerate(CAMERAS)}  # fmt: skip
    write_krt(tmp_path / "annotations" / "KRT_512", krt)
    for frame in (3, 12, 70000):
        write_frame(tmp_path, 4, frame)
    write_frame(tmp_path, 4, 50, right=False)
    for sequence, camera, name in [
        ("0005_RT_b", "400009", "image0003.jpg"),
        ("0005_RT_b", "400002", "image0003.jpg"),
        ("0005_RT_b", "400002", "image12.jpg"),
        ("0001_RT_a", "400002", "image70000.jpg"),
        ("0002_LT_a", "400002", "image0003.jpg"),
        ("0002_DH_a", "400002", "image0003.jpg"),
        ("0009_ROM_RT_a", "400002", "image0003.jpg"),
        ("0005_RT_b", "410001", "image0003.jpg"),
        ("0005_RT_b", "400002", "image0013.jpg"),
        ("0005_RT_b", "400002", "image0050.jpg"),
    ]:
        write_image(tmp_path, 4, sequence, camera, name)
    return tmp_path


def add_decoys(root: Path) -> None:
    folder = root / "images" / "subject_4"
    (folder / "0005_RT_list.txt").touch()
    (folder / "0005_RT_b" / "cam400002.txt").touch()
    (folder / "0005_RT_b" / "thumbs").mkdir()
    (folder / "0005_RT_b" / "cam400002" / "image0003.jpg.part").touch()
    (folder / "0005_RT_b" / "cam400002" / "imageX.jpg").touch()
    (folder / "0005_RT_b" / "cam400002" / "image0003.jpg~").touch()


def keys(capture_views) -> list[tuple[str, int, str]]:
    return [(view.sequence, view.frame, view.camera) for view in capture_views]


def test_right_hand_frames_with_keypoints_are_kept_and_others_counted(capture):
    add_decoys(capture)
    found = read_release_capture(capture, 4)
    assert keys(found.views) == [
        ("0001_RT_a", 70000, "400002"),
        ("0005_RT_b", 3, "400002"),
        ("0005_RT_b", 3, "400009"),
        ("0005_RT_b", 12, "400002"),
    ]
    assert found.skipped == {
        NOT_RIGHT_HAND: 2, RANGE_OF_MOTION: 1, NOT_COLOUR: 1, NO_KEYPOINTS: 1, NO_JOINT: 1,
    }  # fmt: skip


def test_views_carry_their_camera_and_joints_by_name(capture):
    view = read_release_capture(capture, 4).views[2]
    assert view.image_path.is_file() and view.image_path.parts[-3:-1] == ("0005_RT_b", "cam400009")
    assert view.K_size == K_SIZE == (512, 334)
    np.testing.assert_array_equal(view.K, [[1201, 0, 160], [0, 1210, 250], [0, 0, 1]])
    assert view.T_camera_world[2, 3] == 900
    # The template lists index_null, index2, index1, wrist: keypoints 4, 6, 7 and 20.
    assert view.joint_valid.tolist() == [True, True, False, True]
    expected = np.array([[15, 16, 17], [21, 22, 23], [0, 0, 0], [63, 64, 65]])
    np.testing.assert_array_equal(view.joints, expected)


def test_missing_depth_maps_and_scans_are_said(capture):
    depth, scans = read_release_capture(capture, 4).notes
    assert depth.startswith("no picture has a depth map") and "depthmaps/subject_4/" in depth
    assert "no frame of the pictures has a scan" in scans and "decimated/subject_4/" in scans


def test_depth_maps_are_optional(capture):
    folder = capture / "annotations" / "depthmaps" / "subject_4" / "000003"
    folder.mkdir(parents=True)
    (folder / "depthmap400009.pkl").touch()
    views = read_release_capture(capture, 4).views
    found = {(view.sequence, view.frame, view.camera): view.depth_path for view in views}
    assert found["0005_RT_b", 3, "400009"] == folder / "depthmap400009.pkl"
    assert found["0005_RT_b", 3, "400002"] is None


@pytest.mark.parametrize("name", ["000003.ply", "mesh_000003.obj", "3/scan.ply", "v2/f0003.PLY"])
def test_scans_are_found_by_frame_number(capture, name):
    path = capture / "annotations" / "3D_scans_decimated" / "subject_4" / name
    path.parent.mkdir(parents=True)
    path.touch()
    (path.parent / "notes.txt").touch()
    (path.parent / f"._{path.name}").touch()
    scans = {view.frame: view.scan_path for view in read_release_capture(capture, 4).views}
    assert scans == {3: path, 12: None, 70000: None}


def test_files_that_systems_leave_are_no_data(capture):
    expected = read_release_capture(capture, 4)
    apple = bytes.fromhex("0005160700020000") + bytes(74)
    for path in [path for path in capture.rglob("*") if path != capture]:
        path.with_name(f"._{path.name}").write_bytes(apple)
    for folder in [path for path in capture.rglob("*") if path.is_dir()]:
        (folder / ".DS_Store").write_bytes(apple)
    write_image(capture, 4, ".Trash_RT_b", "400002", "image0003.jpg")
    found = read_release_capture(capture, 4)
    assert [view.image_path for view in found.views] == [view.image_path for view in expected.views]
    assert found.skipped == expected.skipped
    with pytest.raises(BadInputError, match="images: found subject_4, expected a folder subject_7"):
        read_release_capture(capture, 7)


@pytest.mark.mistake(
    "capture, scans", "a name without the frame's number, two of one frame", "left out and counted"
)
def test_scans_whose_frame_is_not_clear_are_left_out(capture):
    folder = capture / "annotations" / "3D_scans_decimated" / "subject_4"
    folder.mkdir(parents=True)
    (folder / "scan.ply").touch()
    (folder / "000012.ply").touch()
    found = read_release_capture(capture, 4)
    assert found.skipped[NO_SCAN_FRAME] == 1
    assert "scan.ply: found no frame number in its name" in found.faults[NO_SCAN_FRAME]
    (folder / "scan.ply").rename(folder / "000003.ply")
    (folder / "scan3.ply").touch()
    found = read_release_capture(capture, 4)
    assert found.skipped[NO_SCAN_FRAME] == 1
    assert "scan3.ply: found a second scan of frame 3" in found.faults[NO_SCAN_FRAME]
    scans = {view.frame: view.scan_path for view in found.views}
    assert scans == {3: None, 12: folder / "000012.ply", 70000: None}


def test_subject_1_names_right_hand_sequences_differently(capture):
    shutil.move(capture / "images" / "subject_4", capture / "images" / "subject_1")
    shutil.move(
        capture / "annotations/keypoints/subject_4", capture / "annotations/keypoints/subject_1"
    )
    write_image(capture, 1, "01_RT_other_hand", "400002", "image0003.jpg")
    found = read_release_capture(capture, 1)
    assert {view.sequence for view in found.views} == {
        "0001_RT_a", "0005_RT_b", "0002_LT_a", "0002_DH_a",
    }  # fmt: skip
    assert found.skipped[NOT_RIGHT_HAND] == 1


@pytest.mark.mistake("capture, pictures", "two of one frame and camera", "left out and counted")
def test_a_second_picture_of_a_frame_is_left_out(capture):
    write_image(capture, 4, "0005_RT_b", "400002", "image3.jpg")
    found = read_release_capture(capture, 4)
    assert len(found.views) == 4 and found.skipped[SECOND_PICTURE] == 1
    said = found.faults[SECOND_PICTURE]
    assert "image3.jpg: found frame 3 a second time, after image0003" in said


@pytest.mark.mistake("capture, KRT_512", "a camera missing", "left out and counted")
def test_images_of_an_unknown_camera_are_left_out_where_it_is_used(capture):
    write_image(capture, 4, "0002_LT_a", "400555", "image0003.jpg")
    assert not read_release_capture(capture, 4).faults
    write_image(capture, 4, "0005_RT_b", "400555", "image0003.jpg")
    found = read_release_capture(capture, 4)
    assert len(found.views) == 4 and found.skipped[NO_CAMERA] == 1
    assert "KRT_512: found no camera 400555, which has" in found.faults[NO_CAMERA]


@pytest.mark.mistake(
    "capture, KRT_512",
    "one camera with NaN, a K or R that is none, or twice",
    "left out and counted; the others are prepared",
)
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "1201.000000000",
            "nan",
            "KRT_512:10: found 'nan', expected a finite number of camera 400009's K",
        ),
        ("1201.", "-1201.", "KRT_512:10: found K = .* of camera 400009"),
        ("400009\n", "410001\n", "no camera 400009, which has"),
    ],
)
def test_images_of_a_damaged_camera_are_left_out(capture, old, new, said):
    path = capture / "annotations" / "KRT_512"
    text = path.read_text().replace("\n\n", "\n")
    assert old in text
    path.write_text(text.replace(old, new, 1))
    found = read_release_capture(capture, 4)
    assert {view.camera for view in found.views} == {"400002"} and len(found.views) == 3
    assert found.skipped[NO_CAMERA] == 1 and re.search(said, found.faults[NO_CAMERA])


@pytest.mark.mistake(
    "capture, KRT_512", "K of pictures that lie on their side", "left out and counted"
)
def test_a_camera_of_pictures_on_their_side_is_left_out(capture):
    path = capture / "annotations" / "KRT_512"
    cameras = read_krt(path)
    cameras["400009"].K[:2, 2] = 250, 160
    write_krt(path, cameras)
    found = read_release_capture(capture, 4)
    assert len(found.views) == 3 and found.skipped[LYING] == 1
    assert "camera 400009: found the principal point (250, 160)" in found.faults[LYING]


@pytest.mark.mistake(
    "capture, KRT_512", "lens coefficients that are not 0", "warning: not applied, with the pixels"
)
def test_lens_coefficients_that_are_not_applied_are_said(capture):
    without = read_release_capture(capture, 4).notes
    path = capture / "annotations" / "KRT_512"
    cameras = read_krt(path)
    bent = cameras["400009"]._replace(distortion=np.array([-0.31, 0.12, 0.001, -0.0005, -0.02]))
    write_krt(path, cameras | {"400009": bent, "410001": bent})  # 410001 is not used
    note, *others = read_release_capture(capture, 4).notes
    assert tuple(others) == without
    assert re.search(
        "KRT_512: the lens coefficients of 1 of 2 cameras .* up to [5-9].[0-9] pixels", note
    )
    assert "not applied" in note


def test_folders_that_are_no_capture_are_refused(capture, tmp_path):
    with pytest.raises(BadInputError, match="found no folder images in it, expected a capture"):
        read_release_capture(tmp_path / "absent", 4)
    with pytest.raises(BadInputError, match="found subject_4, expected a folder subject_2"):
        read_release_capture(capture, 2)


def test_a_capture_without_a_usable_image_says_why(capture):
    shutil.rmtree(capture / "annotations" / "keypoints")
    with pytest.raises(
        BadInputError, match=r"no usable image \(2 x sequence not .*6 x frame without"
    ):
        read_release_capture(capture, 4)
    shutil.rmtree(capture / "images" / "subject_4")
    (capture / "images" / "subject_4").mkdir()
    with pytest.raises(BadInputError, match=r"found no usable image \(no image\)"):
        read_release_capture(capture, 4)


def test_images_of_a_damaged_keypoint_file_are_left_out(capture):
    path = capture / "annotations" / "keypoints" / "subject_4" / "keypoints0003.pts"
    path.write_text("0 1 2")
    found = read_release_capture(capture, 4)
    assert len(found.views) == 2 and found.skipped[BAD_KEYPOINTS] == 2
    assert "keypoints0003.pts:1" in found.faults[BAD_KEYPOINTS]


def test_foreign_capture_gives_its_fifteen_images(release_mini):
    found = read_release_capture(release_mini, 4)
    frames = [view.frame for view in found.views]
    assert {frame: frames.count(frame) for frame in frames} == {1207: 8, 1210: 2, 34: 3, 12345: 2}
    assert {key: count for key, count in found.skipped.items() if count} == {
        NOT_RIGHT_HAND: 1, RANGE_OF_MOTION: 1, NO_KEYPOINTS: 1,
    }  # fmt: skip
    names = found.template.joint_names
    for view in found.views:
        assert view.depth_path is not None
        missing = {names[joint] for joint in np.flatnonzero(~view.joint_valid)}
        # Keypoint indices skip thumb0, so from 4 on they are one below the template's ids.
        unseen = {1210: {"index3", "middle1", "pinky1"}, 12345: {"thumb1"}}.get(view.frame, set())
        assert missing == unseen | {"thumb0"}
