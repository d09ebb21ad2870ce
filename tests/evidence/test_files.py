"""Evidence files: what they may hold, and what is refused."""

import json

import cv2
import numpy as np
import pytest

from data_prep.toy.hand import make_toy_template
from dhm.errors import BadInputError
from dhm.evidence.files import NUM_POINTS, read_evidence
from dhm.evidence.fitter import mirrored, stack_evidence, start_kind
from dhm.formats.ply import write_ply
from dhm.formats.release_annotations import write_depth_pickle

TEMPLATE = make_toy_template(800)
NAMES = TEMPLATE.joint_names
K = [[500.0, 0, 60], [0, 500, 40], [0, 0, 1]]
JOINTS = {"wrist": [0, 0, 500], "index1": [90.5, 10, 500, 0.5], "pinky1": [80, -40, 510]}


def _write(folder, content, name="a.json"):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def _points(count=5, camera=None):
    return {name: [10.0 * i, 5, 0.9] for i, name in enumerate(NAMES[:count])}


def _depth():
    depth = np.zeros((80, 120))
    depth[10:70, 20:100] = 450 + np.arange(80) * 0.5
    return depth


def test_all_fields_of_a_frame_are_read(tmp_path):
    write_ply(tmp_path / "scan.ply", TEMPLATE.v_template, TEMPLATE.faces)
    cv2.imwrite(str(tmp_path / "d.png"), _depth().astype(np.uint16))
    cv2.imwrite(str(tmp_path / "picture.jpg"), np.zeros((80, 120, 3), np.uint8))
    path = _write(tmp_path, {
        "joints": JOINTS,
        "side": "left",
        "fit_scale": True,
        "scan": "scan.ply",
        "start": {"angles_rad": {"index1_z": 0.3}, "T_frame_model": np.eye(4).tolist()},
        "cameras": {
            "front": {"K": K, "points": _points(), "depth": "d.png", "image": "picture.jpg"},
            "side": {"K": K, "R": [[0, 0, 1], [0, 1, 0], [-1, 0, 0]], "t": [1, 2, 3]},
        },
    })  # fmt: skip
    (frame,) = read_evidence(path, NAMES).frames
    assert frame.confidence[NAMES.index("index1")] == 0.5
    assert frame.confidence.sum() == 2.5
    np.testing.assert_array_equal(frame.joints[NAMES.index("pinky1")], [80, -40, 510])
    front, side = frame.views
    np.testing.assert_array_equal(front.keypoints[1], [10, 5])
    assert front.image == tmp_path / "picture.jpg"
    np.testing.assert_array_equal(side.T_camera_world[:3, 3], [1, 2, 3])
    assert side.confidence.max() == 0
    assert len(frame.points) == len(frame.normals) == NUM_POINTS
    np.testing.assert_allclose(np.linalg.norm(frame.normals, axis=1), 1, atol=1e-6)
    assert frame.fit_scale
    assert start_kind(frame) == "given"
    assert frame.start[0].sum() == pytest.approx(0.3)


@pytest.mark.parametrize("kind", ["npy", "pkl", "png"])
def test_depth_maps_of_all_formats_give_the_same_points(kind, tmp_path):
    depth, path = np.round(_depth()), tmp_path / f"d.{kind}"
    if kind == "npy":
        np.save(path, depth)
    elif kind == "pkl":
        write_depth_pickle(path, depth)
    else:
        cv2.imwrite(str(path), depth.astype(np.uint16))
    content = {"joints": JOINTS, "cameras": {"0": {"K": K, "depth": path.name}}}
    (frame,) = read_evidence(_write(tmp_path, content), NAMES).frames
    x, _, z = frame.points.T
    columns = np.round(500 * x / z + 60).astype(int)
    np.testing.assert_allclose(z, depth[30, columns], atol=1e-6)
    assert (frame.normals[:, 2] < -0.6).all()
    assert start_kind(frame) == "space"


def test_frames_share_cameras_and_form_a_sequence(tmp_path):
    shared = {"0": {"K": K}, "1": {"K": K, "R": np.eye(3).tolist(), "t": [50, 0, 0]}}
    frames = [{"cameras": {c: {"points": _points(n)} for c in "01"}} for n in (3, 6)]
    content = {"cameras": shared, "sequence": True, "frames": frames}
    read = read_evidence(_write(tmp_path, content), NAMES)
    assert read.sequence
    assert [len(f.views) for f in read.frames] == [2, 2]
    assert [int((f.views[1].confidence > 0).sum()) for f in read.frames] == [3, 6]
    assert read.frames[1].views[1].T_camera_world[0, 3] == 50
    batch = stack_evidence(read.frames)
    assert batch.keypoints.shape == (2, 2, 22, 2)
    assert batch.points.shape == (2, 0, 3)
    assert batch.camera.T_camera_world[0, :, 0, 3].tolist() == [0, 50]


def test_npz_arrays_are_read_as_frames(tmp_path):
    rng = np.random.default_rng(0)
    joints, pixels = rng.normal(size=(3, 22, 3)), rng.normal(200, 30, size=(3, 2, 22, 2))
    confidence = rng.uniform(0.1, 1, (3, 22))
    confidence[:, 4] = 0
    T = np.tile(np.eye(4), (2, 1, 1))
    np.savez(
        tmp_path / "a.npz", joints=joints, joint_confidence=confidence, keypoints=pixels,
        K=np.tile(K, (2, 1, 1)), T_camera_world=T, joint_names=np.array(NAMES[::-1]),
        depth=np.tile(_depth(), (3, 2, 1, 1)).astype(np.uint16), sequence=np.array(True),
    )  # fmt: skip
    read = read_evidence(tmp_path / "a.npz", NAMES)
    assert read.sequence
    assert len(read.frames) == 3
    frame = read.frames[1]
    np.testing.assert_allclose(frame.confidence, confidence[1, ::-1])
    np.testing.assert_allclose(frame.joints[0], joints[1, -1])
    np.testing.assert_array_equal(frame.views[1].keypoints, pixels[1, 1, ::-1])
    assert len(frame.points) == NUM_POINTS


def test_a_mirrored_hand_projects_to_the_mirrored_pixels(tmp_path):
    cameras = {"0": {"K": [[500, 3, 60], [0, 480, 40], [0, 0, 1]], "t": [5, 6, 700],
                     "R": [[0, 0, 1], [0, 1, 0], [-1, 0, 0]], "points": _points()}}  # fmt: skip
    path = _write(tmp_path, {"joints": JOINTS, "cameras": cameras, "side": "left"})
    (frame,) = read_evidence(path, NAMES).frames
    other = mirrored(frame)

    def pixels(frame):
        view = frame.views[0]
        at = frame.joints @ view.T_camera_world[:3, :3].T + view.T_camera_world[:3, 3]
        image = at @ view.K.T
        return image[:, :2] / image[:, 2:]

    np.testing.assert_allclose(pixels(other), pixels(frame) * [-1, 1], atol=1e-9)
    assert np.linalg.det(other.views[0].T_camera_world[:3, :3]) == pytest.approx(1)
    back = mirrored(other)
    np.testing.assert_allclose(back.joints, frame.joints)
    np.testing.assert_allclose(back.views[0].K, frame.views[0].K)


SKEW = [[1, 0, 0], [0, 1, 0.2], [0, 0, 1]]
FLIP = [[-1, 0, 0], [0, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "damaged JSON"),
        ({}, "0 joints in space and at most 0 keypoints"),
        ({"joints": {"wrist": [0, 0, 1], "index1": [1, 2, 3]}}, "2 joints in space"),
        ({"joints": JOINTS | {"nose": [0, 0, 0]}}, "joint 'nose'"),
        ({"joints": JOINTS | {"ring1": [0, float("inf"), 0]}}, "ring1: found"),
        ({"joints": JOINTS | {"ring1": [0, 0]}}, "ring1: found"),
        ({"joints": JOINTS | {"ring1": [0, 0, 0, 1.5]}}, "confidence 1.5"),
        ({"joints": [1, 2]}, "joints of a list"),
        ({"joint": JOINTS}, "'joint'"),
        ({"joints": JOINTS, "side": "both"}, "side 'both'"),
        ({"joints": JOINTS, "fit_scale": 1}, "fit_scale = 1"),
        ({"joints": JOINTS, "scan": "no.ply"}, "no.ply"),
        ({"joints": JOINTS, "cameras": {"a": {}}}, "camera a: found None"),
        ({"joints": JOINTS, "cameras": {"a": {"K": np.diag([-1, 1, 1]).tolist()}}}, "K = "),
        ({"joints": JOINTS, "cameras": {"a": {"K": K, "R": SKEW, "t": [0, 0, 0]}}}, "R = "),
        ({"joints": JOINTS, "cameras": {"a": {"K": K, "R": FLIP, "t": [0, 0, 0]}}}, "R = "),
        ({"joints": JOINTS, "cameras": {"a": {"K": K, "R": FLIP}}}, "found None"),
        ({"joints": JOINTS, "cameras": {"a": {"K": K, "depth": "no.png"}}}, "no.png"),
        ({"joints": JOINTS, "cameras": {"a": {"K": K, "depth": "x.exr"}}}, "x.exr"),
        ({"joints": JOINTS, "cameras": {"a": {"K": K, "image": "no.jpg"}}}, "no.jpg"),
        ({"joints": JOINTS, "cameras": {"a": {"K": K, "point": {}}}}, "'point'"),
        ({"cameras": {"a": {"K": K, "points": _points(3)}}}, "at most 3 keypoints"),
        ({"joints": JOINTS, "scan": "a\0.ply"}, "the path of a file"),
        ({"joints": JOINTS, "scan": "a" * 300 + ".ply"}, "the path of a file"),
        ({"frames": {}}, "frames of a dict"),
        ({"frames": [3, 4]}, "frame 0: found a int"),
        ({"frames": [{}, None]}, "frame 0: found 0 joints"),
        ({"joints": JOINTS, "start": {"angles_rad": {"x": 1}}}, "angle 'x'"),
        ({"joints": JOINTS, "start": {"angles_rad": {}, "T_frame_model": 3}}, "found 3"),
        ({"joints": JOINTS, "start": {"angles_rad": [0.3]}}, "angles_rad of a list"),
        ({"joints": JOINTS, "start": 3}, "a start of a int"),
        ({"joints": JOINTS, "cameras": [1]}, "cameras of a list"),
        ({"joints": JOINTS, "cameras": {"a": 3}}, "camera a: found a int"),
        (
            {"cameras": {"a": {"K": K}}, "frames": [{"joints": JOINTS, "cameras": {"a": 3}}]},
            "a int",
        ),
        (
            {
                "joints": JOINTS,
                "cameras": {"a": {"K": K, "T_camera_world": np.eye(4).tolist(), "R": FLIP}},
            },
            "T_camera_world and R or t",
        ),
        ({"frames": [{"joints": JOINTS}], "sequence": 1}, "sequence = 1"),
    ],
)
def test_invalid_content_is_refused_with_its_place(content, message, tmp_path):
    with pytest.raises(BadInputError) as refusal:
        read_evidence(_write(tmp_path, content), NAMES)
    assert message in str(refusal.value)
    assert str(tmp_path / "a.json") in str(refusal.value)  # whatever file it names


NAN = float("nan")


@pytest.mark.parametrize(
    "missing", [None, [NAN, NAN, NAN, 0], [None, None, None, 0], [-1, -1, -1, 0], [1, 2, NAN]]
)
def test_joints_and_keypoints_that_were_not_measured_are_left_out(missing, tmp_path):
    pixel = missing and missing[1:]
    camera = {"K": K, "points": _points() | {NAMES[1]: pixel}, "depth": None, "R": None,
              "image": None, "K_depth": None}  # fmt: skip
    content = {"joints": JOINTS | {"ring1": missing}, "cameras": {"a": camera, "b": None},
               "scan": None, "side": None, "start": None, "fit_scale": None}  # fmt: skip
    (frame,) = read_evidence(_write(tmp_path, content), NAMES).frames
    assert (frame.confidence > 0).sum() == 3
    (view,) = frame.views
    assert view.confidence[1] == 0 and np.isfinite(view.keypoints).all()
    assert np.isfinite(frame.joints).all()


def test_one_bad_frame_costs_no_other(tmp_path):
    good, bad = {"joints": JOINTS}, {"joints": {"nose": [0, 0, 0]}}
    empty = {"joints": {"wrist": [0, 0, 0, 0]}}
    content = {"sequence": True, "frames": [bad, good, None, empty, 3, good, {"scan": "no.ply"}]}
    read = read_evidence(_write(tmp_path, content), NAMES)
    assert read.numbers == (1, 5) and [f.name for f in read.frames] == ["a_0001", "a_0005"]
    assert (read.num_frames, read.sequence) == (7, True)
    places = [str(error).split("a.json, ")[1] for error in read.refused]
    assert [place[:7] for place in places] == ["frame 0", "frame 4", "frame 6"]


def test_arrays_may_have_nan_where_nothing_was_measured(tmp_path):
    joints = np.random.default_rng(0).normal(size=(4, len(NAMES), 3))
    confidence = np.ones(joints.shape[:2])
    joints[0, 3], confidence[0, 4], confidence[0, 5] = np.nan, 0, np.nan
    joints[1] = np.nan
    keypoints = np.full((4, 2, len(NAMES), 2), np.nan)
    keypoints[:, 0, :6] = 20
    keypoints[1] = np.nan
    cameras = np.tile(np.array(K), (4, 2, 1, 1))
    cameras[2, 1] = np.nan  # without keypoints: no camera
    cameras[3, 0] = np.nan  # with keypoints: refused
    arrays = {"joints": joints, "joint_confidence": confidence, "keypoints": keypoints}
    np.savez(tmp_path / "a.npz", **arrays, K=cameras)
    read = read_evidence(tmp_path / "a.npz", NAMES)
    assert read.numbers == (0, 2) and read.num_frames == 4
    (refused,) = read.refused
    assert "frame 3, camera 0: found nan" in str(refused)
    first, third = read.frames
    assert np.flatnonzero(first.confidence == 0).tolist() == [3, 4, 5]
    assert [(view.confidence > 0).sum() for view in first.views] == [6, 0]
    assert [view.name for view in third.views] == ["0"]


def test_nan_in_a_depth_map_is_no_point(tmp_path):
    depth = np.where(_depth() == 0, np.nan, _depth())
    joints = np.random.default_rng(0).normal(size=(1, len(NAMES), 3))
    np.savez(tmp_path / "a.npz", joints=joints, depth=depth[None, None], K=np.array(K)[None])
    np.save(tmp_path / "d.npy", depth)
    np.save(tmp_path / "zero.npy", _depth())
    content = {"joints": JOINTS, "cameras": {"a": {"K": K, "depth": "d.npy"}}}
    expected = {"joints": JOINTS, "cameras": {"a": {"K": K, "depth": "zero.npy"}}}
    (same,) = read_evidence(_write(tmp_path, expected, "b.json"), NAMES).frames
    for path in (_write(tmp_path, content), tmp_path / "a.npz"):
        (frame,) = read_evidence(path, NAMES).frames
        assert len(frame.points)
        np.testing.assert_array_equal(frame.points, same.points)


def test_files_are_found_whichever_unicode_form_their_names_have(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x").mkdir()
    write_ply(tmp_path / "ha\u0308nd.ply", TEMPLATE.v_template, TEMPLATE.faces)
    for name in ("h\u00e4nd.ply", "~/h\u00e4nd.ply", "./x/../h\u00e4nd.ply"):
        path = _write(tmp_path, {"joints": JOINTS, "scan": name})
        (frame,) = read_evidence(path, NAMES).frames
        assert len(frame.points)


def _with_depth(**camera):
    return {"joints": JOINTS, "cameras": {"a": {"K": K, **camera}}}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("d.npy", b"\x93NUMPY\x01\x00\x0a\x00{'descr': \n", "damaged file"),
        ("d.npy", b"", "damaged file"),
        ("d.png", b"", "does not decode"),
        ("d.png", cv2.imencode(".png", np.zeros((5, 5), np.uint8))[1].tobytes(), "uint8"),
        ("d.pkl", b"cos\nsystem\n(S'true'\ntR.", "d.pkl"),
        ("d.ply", b"ply\n", "d.ply"),
    ],
)
def test_damaged_files_are_named_together_with_the_evidence(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInputError) as refusal:
        read_evidence(_write(tmp_path, _with_depth(depth=name)), NAMES)
    assert message in str(refusal.value)
    assert f"a.json, camera a, {tmp_path / name}" in str(refusal.value)


def test_depth_maps_of_impossible_size_or_scale_are_refused(tmp_path):
    np.save(tmp_path / "wide.npy", np.zeros((4097, 4096), np.uint8))
    np.save(tmp_path / "d.npy", np.float32(_depth()))
    tiny = [[1e-300, 0, 60], [0, 500, 40], [0, 0, 1]]
    for depth, message in (
        ({"depth": "wide.npy"}, "16781312 pixels"),
        ({"depth": "d.npy", "K_depth": tiny}, "beyond 1e+07 mm"),
    ):
        with pytest.raises(BadInputError) as refusal:
            read_evidence(_write(tmp_path, _with_depth(**depth)), NAMES)
        assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "arrays []"),
        ({"joints": np.zeros((2, 21, 3))}, "joints as"),
        ({"joints": np.full((2, 22, 3), np.nan)}, "frame 0: found 0 joints in space"),
        ({"joints": np.full((2, 22, 3), np.inf)}, "joints with infinity"),
        ({"joint": np.zeros((2, 22, 3))}, "'joint'"),
        ({"joints": np.float64(3)}, "joints as float64 []"),
        ({"joints": np.zeros((2, 22, 3)), "sequence": np.zeros(2, bool)}, "sequence as bool [2]"),
        ({"joints": np.zeros((2, 22, 3)), "K": np.zeros((1, 3, 3))}, "K = "),
        ({"keypoints": np.zeros((2, 1, 22, 2))}, "0 joints in space"),
    ],
)
def test_invalid_arrays_are_refused(arrays, message, tmp_path):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(BadInputError) as refusal:
        read_evidence(tmp_path / "a.npz", NAMES)
    assert message in str(refusal.value)


@pytest.mark.mistake(
    "fit, cameras", "[-1, -1] or [0, 0] for keypoints that were not found",
    "understood: not measured, with a note",
)  # fmt: skip
def test_placeholders_of_a_camera_are_not_measured(tmp_path):
    points = {"wrist": [0, 0], "index1": [-1, -1, 0.8], "index2": [3, 4], "ring1": [5, 6],
              "pinky1": [7, 8], "pinky2": [9, 1]}  # fmt: skip
    path = _write(tmp_path, {"cameras": {"front": {"K": K, "points": points}}})
    (view,) = read_evidence(path, NAMES).frames[0].views
    assert (view.confidence > 0).sum() == 4
    note = "Keypoints at (0, 0) or (-1, -1) count as not measured: wrist, index1."
    assert view.notes == (f"Camera front: {note}",)
