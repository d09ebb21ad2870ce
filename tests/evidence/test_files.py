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
EYE = np.eye(4).tolist()
K_BY_COLUMNS = [[500, 0, 0], [0, 500, 0], [60, 40, 1]]


def _with_camera(**camera):
    return {"joints": JOINTS, "cameras": {"a": camera}}


def _with_start(**start):
    return {"joints": JOINTS, "start": start}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(
            '{"joints": {},}',
            "damaged JSON (",
            marks=pytest.mark.mistake(
                "fit", "a comma too many in the JSON", "refused, with its line"
            ),
        ),
        pytest.param(
            "",
            "damaged JSON (",
            marks=pytest.mark.mistake("fit", "an empty file", "refused"),
        ),
        ("[1, 2]", "JSON of a list"),
        pytest.param(
            {"a.jpg": {"keypoints": {"wrist": [1, 2]}}},
            "'a.jpg', expected one of joints, cameras",
            marks=pytest.mark.mistake("fit", "the keypoints file of `predict`", "refused"),
        ),
        pytest.param(
            {"joints": JOINTS, "source": "a.json", "frame": "world", "T_frame_model": EYE},
            "'source', expected one of joints, cameras",
            marks=pytest.mark.mistake(
                "fit", "a result of `fit` or `predict` as evidence", "refused"
            ),
        ),
        pytest.param(
            {"joint": JOINTS},
            "'joint', expected one of joints, cameras",
            marks=pytest.mark.mistake("fit", "a misspelt field", "refused, with the known fields"),
        ),
        ({}, "0 joints in space and at most 0 keypoints"),
        pytest.param(
            {"joints": {"wrist": [0, 0, 1], "index1": [1, 2, 3]}},
            "2 joints in space",
            marks=pytest.mark.mistake("fit, joints", "fewer than three", "refused"),
        ),
        pytest.param(
            {"joints": JOINTS | {"INDEX_FINGER_TIP": [0, 0, 0]}},
            "joint 'INDEX_FINGER_TIP', expected one of thumb_null, thumb3",
            marks=pytest.mark.mistake(
                "fit, joints",
                "a misspelt name, or another program's",
                "refused, with the known names",
            ),
        ),
        pytest.param(
            '{"joints": {"wrist": [1, 2, 3], "wrist": [4, 5, 6]}}',
            "'wrist' twice in one object",
            marks=pytest.mark.mistake("fit, joints", "a name twice", "refused"),
        ),
        ({"joints": JOINTS | {"ring1": [0, float("inf"), 0]}}, "ring1: found"),
        ({"joints": JOINTS | {"ring1": [0, 0]}}, "ring1: found"),
        pytest.param(
            {"joints": JOINTS | {"ring1": [0, 0, 0, 95]}},
            "confidence 95",
            marks=pytest.mark.mistake("fit, joints", "a confidence in percent", "refused"),
        ),
        pytest.param(
            {"joints": [[0, 0, 500], [90, 10, 500]]},
            "joints of a list, expected points by joint name",
            marks=pytest.mark.mistake("fit, joints", "a list without names", "refused"),
        ),
        pytest.param(
            {"joints": JOINTS, "side": "Left"},
            "side 'Left', expected 'left' or 'right'",
            marks=pytest.mark.mistake("fit, joints", '"Left" or "L" as the side', "refused"),
        ),
        ({"joints": JOINTS, "fit_scale": 1}, "fit_scale = 1"),
        ({"joints": JOINTS, "scan": "no.ply"}, "no.ply"),
        pytest.param(
            _with_camera(points=_points()),
            "camera a: found None, expected K as",
            marks=pytest.mark.mistake("fit, cameras", "a camera without K", "refused"),
        ),
        (_with_camera(K=np.diag([-1, 1, 1]).tolist()), "K = "),
        pytest.param(
            _with_camera(K=K_BY_COLUMNS),
            "K = [[500.0, 0.0, 0.0]",
            marks=pytest.mark.mistake("fit, cameras", "K by columns", "refused"),
        ),
        pytest.param(
            _with_camera(K=K, dist=[0.1, 0, 0, 0, 0]),
            "'dist', expected one of K, T_camera_world",
            marks=pytest.mark.mistake(
                "fit, cameras", "lens coefficients", "refused: pictures and points are undistorted"
            ),
        ),
        pytest.param(
            _with_camera(K=K, T_camera_world=EYE[:3]),
            "expected T_camera_world [4 4], or R [3 3] and t [3]",
            marks=pytest.mark.mistake("fit, cameras", "T_camera_world of three rows", "refused"),
        ),
        pytest.param(
            _with_camera(K=K, R=[0.1, 0.2, 0.3], t=[0, 0, 0]),
            "[0.1, 0.2, 0.3], expected T_camera_world [4 4], or R [3 3]",
            marks=pytest.mark.mistake(
                "fit, cameras", "a rotation vector or quaternion for R", "refused"
            ),
        ),
        (_with_camera(K=K, R=SKEW, t=[0, 0, 0]), "R = "),
        pytest.param(
            _with_camera(K=K, R=FLIP, t=[0, 0, 0]),
            "expected a rotation (R R^T = 1, det R = 1)",
            marks=pytest.mark.mistake("fit, cameras", "a rotation that mirrors", "refused"),
        ),
        (_with_camera(K=K, R=FLIP), "found None"),
        pytest.param(
            _with_camera(K=K, T_camera_world=EYE, R=FLIP),
            "T_camera_world and R or t",
            marks=pytest.mark.mistake("fit, cameras", "T_camera_world and R and t", "refused"),
        ),
        pytest.param(
            _with_camera(K=K, depth="no.png"),
            "no.png: found no such file",
            marks=pytest.mark.mistake(
                "fit, depth maps",
                "a path that is not relative to the evidence file",
                "refused, with the path",
            ),
        ),
        pytest.param(
            _with_camera(K=K, depth="x.exr"),
            "x.exr: found a file of type '.exr', expected a depth map: .png of 16 bits",
            marks=pytest.mark.mistake("fit, depth maps", ".exr, .tiff or .jpg", "refused"),
        ),
        (_with_camera(K=K, image="no.jpg"), "no.jpg"),
        (_with_camera(K=K, point={}), "'point'"),
        ({"cameras": {"a": {"K": K, "points": _points(3)}}}, "at most 3 keypoints"),
        ({"joints": JOINTS, "scan": "a\0.ply"}, "the path of a file"),
        ({"joints": JOINTS, "scan": "a" * 300 + ".ply"}, "the path of a file"),
        pytest.param(
            {"frames": {"0": {"joints": JOINTS}}},
            "frames of a dict, expected a list of frames",
            marks=pytest.mark.mistake(
                "fit, frames and films", "frames by name or number", "refused"
            ),
        ),
        ({"frames": [3, 4]}, "frame 0: found a int"),
        ({"frames": [{}, None]}, "frame 0: found 0 joints"),
        (_with_start(angles_rad={"x": 1}), "angle 'x'"),
        (_with_start(angles_rad={}, T_frame_model=3), "found 3"),
        (_with_start(angles_rad=[0.3]), "angles_rad of a list"),
        pytest.param(
            _with_start(angles_rad={"index1_z": 60}, T_frame_model=EYE),
            "index1_z: found 60, expected an angle in radians",
            marks=pytest.mark.mistake("fit, start", "degrees, of more than 3", "refused"),
        ),
        pytest.param(
            _with_start(angles_rad={}),
            "expected a start {",
            marks=pytest.mark.mistake("fit, start", "angles without T_frame_model", "refused"),
        ),
        ({"joints": JOINTS, "start": 3}, "a start of a int"),
        ({"joints": JOINTS, "cameras": [1]}, "cameras of a list"),
        ({"joints": JOINTS, "cameras": {"a": 3}}, "camera a: found a int"),
        (
            {"cameras": {"a": {"K": K}}, "frames": [{"joints": JOINTS, "cameras": {"a": 3}}]},
            "a int",
        ),
        pytest.param(
            {
                "cameras": {"front": {"K": K}},
                "frames": [{"cameras": {"Front": {"points": _points()}}}],
            },
            "camera Front: found None, expected K as",
            marks=pytest.mark.mistake(
                "fit, frames and films",
                "a camera's name of the frames that the shared ones lack",
                "refused",
            ),
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


@pytest.mark.mistake(
    "fit, joints", "null, NaN or a confidence of 0 for what was not measured", "left out"
)
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


@pytest.mark.mistake(
    "fit, frames and films",
    "a frame that cannot be used, or null",
    "left out with the reason, the others are fitted",
)
def test_one_bad_frame_costs_no_other(tmp_path):
    good, bad = {"joints": JOINTS}, {"joints": {"nose": [0, 0, 0]}}
    empty = {"joints": {"wrist": [0, 0, 0, 0]}}
    content = {"sequence": True, "frames": [bad, good, None, empty, 3, good, {"scan": "no.ply"}]}
    read = read_evidence(_write(tmp_path, content), NAMES)
    assert read.numbers == (1, 5) and [f.name for f in read.frames] == ["a_0001", "a_0005"]
    assert (read.num_frames, read.sequence) == (7, True)
    places = [str(error).split("a.json, ")[1] for error in read.refused]
    assert [place[:7] for place in places] == ["frame 0", "frame 4", "frame 6"]


@pytest.mark.mistake("fit, depth maps", "NaN as background", "understood: not measured")
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


@pytest.mark.mistake(
    "fit, scans", "a path with `~`, `..` or an umlaut typed on another system", "understood"
)
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
        pytest.param(
            "d.png",
            cv2.imencode(".png", np.zeros((5, 5), np.uint8))[1].tobytes(),
            "a picture of uint8 [5, 5], expected a complete picture of one channel of 16 bits",
            marks=pytest.mark.mistake("fit, depth maps", "8 bits instead of 16", "refused"),
        ),
        pytest.param(
            "d.png",
            cv2.imencode(".png", np.zeros((5, 5, 3), np.uint8))[1].tobytes(),
            "a picture of uint8 [5, 5, 3], expected",
            marks=pytest.mark.mistake(
                "fit, depth maps", "a coloured picture of the depth", "refused"
            ),
        ),
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
    ("value", "found"),
    [
        pytest.param(
            -1.0,
            "a depth that is negative",
            marks=pytest.mark.mistake("fit, depth maps", "-1 or infinity as background", "refused"),
        ),
        (np.inf, "a depth that is negative or infinite"),
    ],
)
def test_other_marks_of_a_background_are_refused(value, found, tmp_path):
    np.save(tmp_path / "d.npy", np.where(_depth() == 0, value, _depth()))
    with pytest.raises(BadInputError, match=f"d.npy: found {found}.*expected depths >= 0, or NaN"):
        read_evidence(_write(tmp_path, _with_depth(depth="d.npy")), NAMES)


@pytest.mark.mistake("fit", "a scan, a picture or a depth map as evidence", "refused")
@pytest.mark.parametrize("name", ["a.ply", "a.png", "a.npy", "a"])
def test_files_of_another_type_are_refused(name, tmp_path):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(BadInputError, match=r"a file of type '.*', expected evidence as .json or"):
        read_evidence(tmp_path / name, NAMES)


@pytest.mark.mistake(
    "fit", "JSON with a byte-order mark, as editors on Windows write it", "understood"
)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_json_of_editors_is_read(encoding, tmp_path):
    (tmp_path / "a.json").write_bytes(json.dumps({"joints": JOINTS}).encode(encoding))
    assert len(read_evidence(tmp_path / "a.json", NAMES).frames) == 1


@pytest.mark.mistake("fit, joints", 'numbers in quotes, as `"30.1"`', "understood")
def test_numbers_in_quotes_are_numbers(tmp_path):
    content = {"joints": JOINTS | {"wrist": ["30.5", "-12", "500"]}}
    (frame,) = read_evidence(_write(tmp_path, content), NAMES).frames
    np.testing.assert_array_equal(frame.joints[NAMES.index("wrist")], [30.5, -12, 500])


@pytest.mark.parametrize(
    ("unit", "mm", "refused"),
    [
        ("mm", 1.0, False),
        ("m", 1000.0, False),
        pytest.param(
            "mm",
            1000.0,
            True,
            marks=pytest.mark.mistake(
                "fit, scans", "metres instead of mm, or as the joints are not", "refused"
            ),
        ),
        ("m", 1.0, True),
    ],
)
def test_scans_are_as_large_as_a_hand_or_a_room(unit, mm, refused, tmp_path):
    write_ply(tmp_path / "scan.ply", TEMPLATE.v_template / mm, TEMPLATE.faces)
    scale = {"m": 0.001, "mm": 1.0}[unit]
    joints = {name: (np.array(point[:3]) * scale).tolist() for name, point in JOINTS.items()}
    path = _write(tmp_path, {"joints": joints, "scan": "scan.ply", "unit": unit})
    if not refused:
        (frame,) = read_evidence(path, NAMES).frames
        assert 100 < np.ptp(frame.points, axis=0).max() < 300
        return
    with pytest.raises(
        BadInputError, match=r"scan.ply: found a scan that spans .* mm, expected mm"
    ):
        read_evidence(path, NAMES)


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
