"""The toy capture: read as the released layout, and its files agree with each other."""

import filecmp
from pathlib import Path

import cv2
import numpy as np
import pytest
from embreex import mesh_construction, rtcore_scene

from data_prep.captures.release_capture import K_SIZE, read_release_capture
from data_prep.toy import capture as toy_capture
from data_prep.toy.capture import (
    TOY_POSES,
    TOY_SEQUENCES,
    finger_motion,
    joint_limits,
    write_toy_capture,
)
from dhm.errors import BadInputError
from dhm.formats.release_annotations import read_depth_pickle
from dhm.formats.scan import read_scan
from dhm.geometry.mesh import vertex_normals

SEQUENCES = {"0001_RT_fist": "fist", "0002_RT_spread": "spread"}
SMALL = {
    "sequences": SEQUENCES,
    "frames_per_sequence": 2,
    "num_cameras": 3,
    "num_vertices": 800,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_toy_capture(tmp_path_factory.mktemp("toy") / "capture", **SMALL)


@pytest.fixture(scope="module")
def capture(root):
    return read_release_capture(root, 1)


def in_camera(points: np.ndarray, view) -> np.ndarray:
    T = view.T_camera_world.astype(np.float64)
    return points @ T[:3, :3].T + T[:3, 3]


def test_every_image_is_used(capture):
    assert not any(capture.skipped.values())
    assert len(capture.views) == 2 * 2 * 3
    assert {view.sequence for view in capture.views} == set(SEQUENCES)
    frames = {(view.sequence, view.frame) for view in capture.views}
    assert len({frame for _, frame in frames}) == len(frames) == 4
    assert all(view.depth_path and view.scan_path for view in capture.views)
    assert all("RT" in name and name.startswith("00") for name in TOY_SEQUENCES)


def test_all_joints_but_thumb0_are_annotated(capture):
    for view in capture.views:
        unseen = np.flatnonzero(~view.joint_valid)
        assert [capture.template.joint_names[joint] for joint in unseen] == ["thumb0"]


def test_pictures_show_a_bright_hand_on_a_dark_background(capture):
    for view in capture.views:
        picture = cv2.imread(str(view.image_path))
        assert picture.shape == (*K_SIZE, 3)
        mask = (read_depth_pickle(view.depth_path) > 0).astype(np.uint8)
        hand, around = cv2.erode(mask, np.ones((5, 5))), cv2.dilate(mask, np.ones((9, 9)))
        assert picture[hand > 0].mean() > 2 * picture[around == 0].mean()
        # Blue is the first channel of OpenCV's pictures: skin has more red.
        assert (picture[hand > 0][:, 2].mean()) > 1.2 * picture[hand > 0][:, 0].mean()


def test_joints_project_into_the_picture_and_onto_the_hand(capture):
    for view in capture.views:
        joints = in_camera(view.joints[view.joint_valid], view)
        pixels = joints @ view.K.T
        column, row = np.round(pixels[:, :2] / pixels[:, 2:]).astype(int).T
        assert (column >= 0).all() and (column < K_SIZE[1]).all()
        assert (row >= 0).all() and (row < K_SIZE[0]).all()
        depth = read_depth_pickle(view.depth_path)[row, column]
        assert (depth > 0).all()
        assert (joints[:, 2] > depth - 0.5).all()  # under the skin


def test_depth_maps_equal_rays_cast_at_the_scan(capture):
    rows, columns = np.mgrid[: K_SIZE[0], : K_SIZE[1]]
    for view in capture.views[::5]:
        vertices, faces = read_scan(view.scan_path)
        scene = rtcore_scene.EmbreeScene()
        corners = in_camera(vertices, view)[faces].astype(np.float32)
        mesh = mesh_construction.TriangleMesh(scene, corners)
        pixels = np.stack([columns, rows, np.ones_like(rows)], axis=-1).reshape(-1, 3)
        rays = (pixels @ np.linalg.inv(view.K.astype(np.float64)).T).astype(np.float32)
        hit = scene.run(np.zeros_like(rays), rays, output=True)
        assert mesh is not None
        cast = np.where(hit["primID"] >= 0, hit["tfar"], 0.0).reshape(K_SIZE)
        depth = read_depth_pickle(view.depth_path)
        assert ((cast > 0) != (depth > 0)).sum() <= 3
        both = (cast > 0) & (depth > 0)
        error = np.abs(cast - depth)[both]
        # At the edge of a fold a ray may hit either side.
        assert both.sum() > 5000 and (error > 0.01).mean() < 1e-3


def test_surface_swells_where_it_bends(capture):
    fist = [view for view in capture.views if view.sequence == "0001_RT_fist"]
    vertices, faces = read_scan(fist[-1].scan_path)
    assert len(vertices) == capture.template.num_vertices
    np.testing.assert_array_equal(faces, capture.template.faces)
    theta = np.zeros((2, 28), np.float32)
    theta[1] = 0.8
    person = capture.template
    swollen = toy_capture._swollen(person, theta)
    np.testing.assert_array_equal(swollen[0], person.v_template)
    normals = vertex_normals(person.v_template, person.faces)
    moved = ((swollen[1] - person.v_template) * normals).sum(axis=1)
    assert moved.min() > -1e-4 and 0.5 < moved.max() < 3.0


def test_same_seed_writes_the_same_files(root, tmp_path):
    again = write_toy_capture(tmp_path / "again", **SMALL)
    files = sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    _, different, failed = filecmp.cmpfiles(root, again, list(map(str, files)), shallow=False)
    assert not different and not failed
    other = write_toy_capture(tmp_path / "other", subject=4, **SMALL, seed=1)
    views = read_release_capture(other, 4).views
    assert np.abs(views[0].joints - read_release_capture(again, 1).views[0].joints).max() > 1


def test_existing_folder_is_refused(root):
    with pytest.raises(BadInputError, match="found an existing file or folder"):
        write_toy_capture(root, **SMALL)


def test_interrupted_capture_leaves_no_folder(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(toy_capture, "_write_views", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_toy_capture(tmp_path / "capture", **SMALL)
    assert not (tmp_path / "capture").exists()
    write_toy_capture(tmp_path / "capture", **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["capture"]


@pytest.mark.parametrize("pose", TOY_POSES)
def test_motions_are_smooth_and_within_the_limits(pose):
    low, high = joint_limits()
    theta = finger_motion(pose, 40, np.random.default_rng(3))
    assert (theta >= low).all() and (theta <= high).all()
    assert np.abs(np.diff(theta, axis=0)).max() < 0.15
    assert (low < 0).all() and (high > 0).all()
