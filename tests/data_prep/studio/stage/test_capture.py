"""A filmed capture: its content, the agreement of its files, resuming, and several subjects."""

import dataclasses
import json
import shutil

import cv2
import numpy as np
import pytest
import trimesh

from data_prep.captures.release_capture import K_SIZE, read_release_capture
from data_prep.studio.anatomy.albedo import TONES, skin_albedo
from data_prep.studio.anatomy.anatomy import pose_anatomy
from data_prep.studio.anatomy.narrow_band import surface_overlap
from data_prep.studio.anatomy.proportions import subject
from data_prep.studio.anatomy.rig import pose_rig, rest_frames
from data_prep.studio.motion.paths import EXCLUSION_RADIUS, MAX_OVERLAP, near_any
from data_prep.studio.stage import capture as module
from data_prep.studio.stage import film as film_module
from data_prep.studio.stage.capture import (
    film_subjects,
    held_out_sequences,
    held_out_subject_sequences,
    merge_subjects,
    write_capture,
)
from data_prep.studio.stage.film import film_frame, pictured_cameras, truth_path
from dhm.errors import BadInputError
from dhm.formats.hand_template import read_hand_model
from dhm.formats.npz import Arrays
from dhm.formats.release_annotations import read_depth_pickle, read_krt
from dhm.formats.scan import read_scan
from dhm.geometry.hand_rig import JOINT_NAMES
from tests.data_prep.studio.conftest import SMALL

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def views(studio_capture):
    capture = read_release_capture(studio_capture, SMALL.subject)
    assert not any(capture.skipped.values())
    return capture.views


def in_camera(points, view):
    T = view.T_camera_world.astype(np.float64)
    return points @ T[:3, :3].T + T[:3, 3]


def test_capture_is_read_as_the_released_layout(studio_capture, views):
    assert len(views) == (SMALL.frames + SMALL.test_frames) * SMALL.pictures
    splits = json.loads((studio_capture / "splits.json").read_text())
    assert {view.sequence for view in views} == {*splits["train"], *splits["test"]}
    assert tuple(splits["test"]) == held_out_sequences()
    assert len(splits["train"]) == 40 and len(splits["test"]) == 15
    assert len({view.frame for view in views}) == SMALL.frames + SMALL.test_frames
    assert all(view.depth_path and view.scan_path for view in views)
    assert read_hand_model(studio_capture / "hand_model").joint_names == JOINT_NAMES


def test_every_camera_has_depth_maps_and_some_of_the_pictures(studio_capture, views):
    cameras = read_krt(studio_capture / "annotations" / "KRT_512")
    folder = studio_capture / "annotations" / "depthmaps" / f"subject_{SMALL.subject}"
    for frame in {view.frame for view in views}:
        assert len(list((folder / f"{frame:06d}").glob("*.pkl"))) == len(cameras) == SMALL.cameras
    counts = [sum(view.camera == name for view in views) for name in cameras]
    assert min(counts) > 0.5 * len(views) / SMALL.cameras


def test_depth_maps_equal_rays_cast_at_the_scan(views):
    for view in views[::17]:
        vertices, faces = read_scan(view.scan_path)
        caster = trimesh.ray.ray_pyembree.RayMeshIntersector(
            trimesh.Trimesh(vertices, faces, process=False)
        )
        depth = read_depth_pickle(view.depth_path)
        assert depth.shape == K_SIZE
        rows, columns = np.indices(depth.shape).reshape(2, -1)
        rays = np.stack([columns, rows, np.ones_like(rows)], axis=1) @ np.linalg.inv(view.K).T
        T = np.linalg.inv(view.T_camera_world.astype(np.float64))
        directions = rays @ T[:3, :3].T
        near = cv2.dilate((depth > 0).astype(np.uint8), np.ones((9, 9))).ravel() > 0
        origins = np.tile(T[:3, 3], (near.sum(), 1))
        points, hit, _ = caster.intersects_location(origins, directions[near], multiple_hits=False)
        found = np.zeros(near.sum())
        found[hit] = in_camera(points, view)[:, 2]
        expected = depth.ravel()[near]
        assert ((found > 0) != (expected > 0)).sum() <= 3  # on the outline
        both = (found > 0) & (expected > 0)
        error = np.abs(found - expected)[both]
        assert np.quantile(error, 0.999) < 0.05 and np.median(error) < 2e-3


def test_joints_lie_inside_the_mask(views):
    for view in views:
        mask = cv2.dilate(
            (read_depth_pickle(view.depth_path) > 0).astype(np.uint8), np.ones((3, 3))
        )
        at = in_camera(view.joints[view.joint_valid], view)
        columns, rows, _ = np.rint((at / at[:, 2:]) @ view.K.T).astype(int).T
        # A negative index would look the joint up at the opposite border.
        assert min(columns.min(), rows.min()) >= 0, (view.sequence, view.frame, view.camera)
        assert mask[rows, columns].all(), (view.sequence, view.frame, view.camera)


def test_bone_lengths_are_those_of_the_person(views):
    """The palm's cupping moves knuckles but does not change bones."""
    rest = rest_frames(subject(SMALL.subject))
    for view in views[::2]:
        joints = dict(zip(JOINT_NAMES, view.joints, strict=True))
        for finger in ("thumb", "index", "middle", "ring", "pinky"):
            for near, far in (("1", "2"), ("2", "3"), ("3", "_null")):
                length = np.linalg.norm(rest[finger + far][:3, 3] - rest[finger + near][:3, 3])
                measured = np.linalg.norm(joints[finger + far] - joints[finger + near])
                assert abs(measured - length) < 0.01


def test_ground_truth_determines_the_joints(studio_capture, views):
    person = subject(SMALL.subject)
    for view in views[::9]:
        truth = Arrays(truth_path(studio_capture, SMALL.subject, view.frame))
        joints = (truth["T_world_hand"] @ pose_rig(person, truth["theta"]))[:, :3, 3]
        np.testing.assert_allclose(truth["joints"], joints, atol=1e-9)
        valid = view.joint_valid
        np.testing.assert_allclose(view.joints[valid], joints[valid], atol=1e-3)


def test_no_skin_overlaps_and_no_training_frame_is_near_a_gesture(studio_capture, views):
    theta = {"train": [], "test": []}
    for view in {view.frame: view for view in views}.values():
        split = "test" if view.sequence in held_out_sequences() else "train"
        theta[split].append(Arrays(truth_path(studio_capture, SMALL.subject, view.frame))["theta"])
    for angles in (*theta["train"][::3], *theta["test"]):
        assert surface_overlap(pose_anatomy(subject(SMALL.subject), angles)) < MAX_OVERLAP
    assert not near_any(np.array(theta["train"]), np.array(theta["test"]), EXCLUSION_RADIUS).any()


def test_pictures_show_skin_on_a_dark_background(views):
    for view in views[::5]:
        picture = cv2.imread(str(view.image_path))
        mask = cv2.erode((read_depth_pickle(view.depth_path) > 0).astype(np.uint8), np.ones((5, 5)))
        outside = cv2.dilate((mask > 0).astype(np.uint8), np.ones((15, 15))) == 0
        assert picture.shape == (*K_SIZE, 3)
        skin, dark = picture[mask > 0].mean(axis=0), picture[outside].mean(axis=0)
        assert dark.max() < 60 < skin[2]
        assert skin[2] > skin[1] > skin[0]  # red, green, blue
        assert (picture[mask > 0] == 255).all(axis=1).mean() < 0.01  # not overexposed


def test_interrupted_capture_resumes_to_the_same_bytes(studio_capture, tmp_path):
    """Some frames are missing and one file is truncated; two processes film them again."""
    root = tmp_path / "capture"
    partial = root.with_name("capture.partial")
    shutil.copytree(studio_capture, partial)
    (partial / "contact_sheet.png").unlink()
    lost = [1, 7, 30, 41, 55]
    for number in lost:
        truth_path(partial, SMALL.subject, number).unlink()
    for path in (partial / "annotations" / "depthmaps").rglob("000007/*.pkl"):
        path.write_bytes(path.read_bytes()[:100])
    (
        partial / "annotations" / "keypoints" / f"subject_{SMALL.subject}" / "keypoints0030.pts"
    ).unlink()
    write_capture(SMALL, root, workers=2)
    files = sorted(path.relative_to(studio_capture) for path in studio_capture.rglob("*.*"))
    assert files == sorted(path.relative_to(root) for path in root.rglob("*.*"))
    for path in files:
        if (root / path).is_file():
            assert (root / path).read_bytes() == (studio_capture / path).read_bytes(), path
    assert not partial.exists()


def test_complete_capture_is_not_filmed_again(studio_capture, monkeypatch):
    def unwanted(*arguments):
        raise AssertionError("filmed again")

    monkeypatch.setattr(module, "_film_all", unwanted)
    assert write_capture(SMALL, studio_capture) == studio_capture


def test_a_folder_with_nothing_but_what_systems_leave_is_filmed_into(tmp_path, monkeypatch):
    def film(settings, building, frames, workers):
        (building / "filmed").touch()

    for name, stand_in in (("_film_all", film), ("_frames", lambda *_: []),
                           ("_write_sheet", lambda *_: None)):  # fmt: skip
        monkeypatch.setattr(module, name, stand_in)
    root = tmp_path / "capture"
    root.mkdir()
    (root / ".DS_Store").write_text("x")
    write_capture(SMALL, root)
    assert (root / "filmed").exists() and (root / ".DS_Store").read_text() == "x"


def test_folder_of_another_capture_is_refused(studio_capture, tmp_path):
    other = dataclasses.replace(SMALL, seed=4)
    with pytest.raises(BadInputError, match=r"studio\.json: found seed = 3, expected 4 as req"):
        write_capture(other, studio_capture)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep me")
    with pytest.raises(BadInputError, match="expected a capture of the studio, or no folder yet"):
        write_capture(SMALL, tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep me"


@pytest.fixture(scope="module")
def refilm(studio_capture, tmp_path_factory):
    """A function that films one frame with other settings and returns the folder."""

    def again(**changes):
        settings = dataclasses.replace(SMALL, **changes)
        root = tmp_path_factory.mktemp("again")
        cameras = read_krt(studio_capture / "annotations" / "KRT_512")
        film_frame(settings, root, cameras, module._frames(SMALL, studio_capture)[20])
        return root

    return again


def maps(root):
    return {path.name: read_depth_pickle(path) for path in root.rglob("000021/*.pkl")}


def test_depth_noise_has_its_deviation_and_loses_surfaces_at_grazing_angles(refilm, studio_capture):
    clean, noisy = maps(studio_capture), maps(refilm(depth_noise_mm=0.4))
    assert clean.keys() == noisy.keys()
    for name, depth in clean.items():
        seen, left = depth > 0, noisy[name] > 0
        assert not (left & ~seen).any()
        error = (noisy[name] - depth)[left]
        assert abs(error.mean()) < 0.03 and 0.36 < error.std() < 0.44
        inner = cv2.erode(seen.astype(np.uint8), np.ones((5, 5))) > 0
        slope = np.hypot(*np.gradient(np.where(seen, depth, np.nan)))
        flat, steep = inner & (slope < 0.5), inner & (slope > 4.0)
        assert (~left)[flat].mean() < 0.05 < 0.4 < (~left)[steep].mean()


def test_joint_noise_has_its_deviation(refilm, studio_capture):
    def joints(root):
        path = next(root.rglob("keypoints0021.pts"))
        return np.loadtxt(path)[:, 1:4]

    error = joints(refilm(joint_noise_mm=2.0)) - joints(studio_capture)
    assert 1.3 < error.std() < 2.7


def test_half_size_depth_maps_show_the_same_scene(refilm, studio_capture):
    whole, half = maps(studio_capture), maps(refilm(depth_shrink=2))
    for name, depth in whole.items():
        small = half[name]
        assert small.shape == (K_SIZE[0] // 2, K_SIZE[1] // 2)
        both = (small > 0) & (depth[::2, ::2] > 0)  # pixel u of the half is pixel 2 u of the whole
        assert np.abs(small - depth[::2, ::2])[both].max() < 0.01
        assert ((small > 0) == (depth[::2, ::2] > 0)).mean() > 0.9999


def test_only_the_requested_files_are_written(refilm, studio_capture):
    names = list(read_krt(studio_capture / "annotations" / "KRT_512"))
    root = refilm(depth_maps="pictured", scans="held_out")
    assert {name[8:-4] for name in maps(root)} == {*pictured_cameras(SMALL, names, 21)}
    assert not list(root.rglob("*.ply"))
    without = refilm(depth_maps="none")
    assert len(list(without.rglob("*.jpg"))) == SMALL.pictures
    assert not list(without.rglob("*.pkl"))


def test_varied_backgrounds_differ_from_view_to_view(refilm):
    pictures = [cv2.imread(str(path)) for path in refilm(varied=True).rglob("*.jpg")]
    assert len(pictures) == SMALL.pictures
    corners = np.array([picture[:60, :60].mean(axis=(0, 1)) for picture in pictures])
    assert np.ptp(corners, axis=0).max() > 8.0


def test_varied_skin_differs_from_frame_to_frame(studio_capture, tmp_path):
    """The tones themselves are compared, because backgrounds and lamps differ too."""
    tones = []
    settings = dataclasses.replace(SMALL, varied=True)
    cameras = read_krt(studio_capture / "annotations" / "KRT_512")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            film_module, "skin_albedo",
            lambda person, surface, tone: tones.append(tone) or skin_albedo(person, surface, tone),
        )  # fmt: skip
        for frame in module._frames(SMALL, studio_capture)[:2]:
            film_frame(settings, tmp_path, cameras, frame)
            film_frame(SMALL, tmp_path, cameras, frame)
    assert tones[0] != tones[2]
    assert tones[1] == tones[3] == TONES[SMALL.subject]


@pytest.fixture(scope="module")
def one(studio_capture):
    return read_release_capture(studio_capture, SMALL.subject)


def test_merged_capture_has_all_views_under_the_names_of_their_subjects(one):
    both = merge_subjects({2: one, 4: one})
    assert len(both.views) == 2 * len(one.views)
    keys = [(view.sequence, view.frame, view.camera) for view in both.views]
    assert keys == sorted(keys) and len(set(keys)) == len(keys)
    names = {view.sequence for view in both.views}
    assert names == {f"s{n}_{view.sequence}" for n in (2, 4) for view in one.views}
    by_key = dict(zip(keys, both.views, strict=True))
    for view in one.views[::7]:
        merged = by_key[f"s4_{view.sequence}", view.frame, view.camera]
        others = {f.name for f in dataclasses.fields(view)} - {"sequence"}
        assert all(getattr(merged, name) is getattr(view, name) for name in others)
    assert both.template is one.template
    assert both.skipped == {reason: 2 * count for reason, count in one.skipped.items()}


def test_gestures_of_all_subjects_are_held_out(one):
    both = merge_subjects({2: one, 4: one})
    held_out = held_out_subject_sequences((2, 4))
    assert len(held_out) == 30
    tested = {view.sequence for view in both.views if view.sequence in held_out}
    assert tested == set(held_out)
    assert all("gesture" in name for name in held_out)


def test_captures_with_other_joints_are_refused(one):
    names = ("palm", *one.template.joint_names[1:])
    other = dataclasses.replace(one, template=dataclasses.replace(one.template, joint_names=names))
    with pytest.raises(BadInputError, match=r"joints of subject 3: found \('palm'"):
        merge_subjects({1: one, 3: other})


def test_each_subject_is_filmed_into_its_own_folder(one, tmp_path, monkeypatch):
    filmed = []

    def write_capture(settings, folder, workers):
        filmed.append((settings, folder))
        return folder

    monkeypatch.setattr(module, "write_capture", write_capture)
    monkeypatch.setattr(module, "read_release_capture", lambda folder, number: one)
    people = film_subjects(SMALL, (1, 3), tmp_path, workers=1)
    assert [(one.subject, one.seed - SMALL.seed, folder.name) for one, folder in filmed] == [
        (1, 1, "subject_1"), (3, 3, "subject_3"),
    ]  # fmt: skip
    for settings, _ in filmed:
        assert dataclasses.replace(settings, subject=SMALL.subject, seed=SMALL.seed) == SMALL
    assert len(people.views) == 2 * len(one.views)
