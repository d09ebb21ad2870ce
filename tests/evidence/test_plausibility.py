"""Units and conventions that evidence says, and the mistakes in them that are found."""

import json

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data_prep.toy.hand import make_toy_template
from dhm.errors import BadInputError
from dhm.evidence.files import read_evidence
from dhm.evidence.plausibility import (
    Residuals,
    check_evidence,
    check_fit,
    distance_doubt,
    keypoint_doubt,
    outside_doubt,
    principal_point_doubt,
    require_pixels,
)
from dhm.evidence.units import Units
from tests.references.geometry import forward_kinematics

TEMPLATE = make_toy_template(800)
NAMES = TEMPLATE.joint_names
ZERO = forward_kinematics(
    TEMPLATE.T_parent_joint, np.tile(np.eye(3), (len(NAMES), 1, 1)), TEMPLATE.parents
)[:, :3, 3]
# The hand before the first camera, and another camera that looks at it from the side; world mm.
JOINTS = ZERO @ Rotation.from_euler("xyz", [1.2, 0.3, 0.4]).as_matrix().T
JOINTS += [0, 0, 600] - JOINTS.mean(axis=0)
K = np.array([[500.0, 0, 160], [0, 500, 120], [0, 0, 1]])
SIDE = np.eye(4)
SIDE[:3, :3] = Rotation.from_euler("xyz", [15, 50, -20], degrees=True).as_matrix()
SIDE[:3, 3] = [0, 30, 750] - SIDE[:3, :3] @ [0, 0, 600]
CAMERAS = {"front": np.eye(4), "side": SIDE}
FLIP = np.diag([1.0, -1.0, -1.0, 1.0])


def _named(rows):
    return dict(zip(NAMES, np.asarray(rows, float).tolist(), strict=True))


def _camera(T, joints=JOINTS):
    pixels = (joints @ T[:3, :3].T + T[:3, 3]) @ K.T
    return {"K": K.tolist(), "T_camera_world": T.tolist(),
            "points": _named(pixels[:, :2] / pixels[:, 2:])}  # fmt: skip


def _evidence(cameras=CAMERAS, joints=JOINTS):
    found = {name: _camera(T) for name, T in cameras.items()}
    return {"joints": _named(joints), "cameras": found}


def _read(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    (frame,) = read_evidence(path, NAMES).frames
    return frame


def _as_written(T, convention="opencv", camera_to_world=False, mm=1.0):
    """A camera's extrinsics as a tool with other conventions writes them."""
    if convention == "opengl":
        T = FLIP @ T
    if camera_to_world:
        T = np.linalg.inv(T)
    T = T.copy()
    T[:3, 3] /= mm
    return T


OTHERS = [
    {"convention": "opengl"},
    {"camera_to_world": True},
    {"convention": "opengl", "camera_to_world": True},
    {"unit": "m"},
]


def _file_in(other):
    mm = 1000.0 if "unit" in other else 1.0
    how = {key: value for key, value in other.items() if key != "unit"}
    content = _evidence(joints=JOINTS / mm)
    for name, T in CAMERAS.items():
        content["cameras"][name]["T_camera_world"] = _as_written(T, **how, mm=mm).tolist()
    return content


def test_exact_evidence_raises_no_doubt(tmp_path):
    assert check_evidence("a", _read(tmp_path, _evidence()), ZERO) == ()
    left = _evidence(joints=JOINTS * [-1, 1, 1]) | {"cameras": {}}
    assert check_evidence("a", _read(tmp_path, left), ZERO) == ()
    views_alone = _evidence() | {"joints": {}}
    assert check_evidence("a", _read(tmp_path, views_alone), ZERO) == ()


@pytest.mark.parametrize("other", OTHERS)
def test_what_a_file_says_of_units_and_cameras_is_applied(tmp_path, other):
    expected = _read(tmp_path, _evidence())
    frame = _read(tmp_path, _file_in(other) | other)
    np.testing.assert_allclose(frame.joints, expected.joints, atol=1e-9)
    for view, same in zip(frame.views, expected.views, strict=True):
        np.testing.assert_allclose(view.T_camera_world, same.T_camera_world, atol=1e-9)
        raw = view.units.from_project(view.T_camera_world)
        np.testing.assert_allclose(view.units.to_project(raw), view.T_camera_world, atol=1e-9)
    assert check_evidence("a", frame, ZERO) == ()


def test_a_camera_s_own_units_come_before_the_frame_s(tmp_path):
    content = _evidence() | {"unit": "cm"}
    content["cameras"]["side"]["unit"] = "mm"
    frame = _read(tmp_path, content)
    assert frame.views[0].units.mm == 10 and frame.views[1].units == Units()
    np.testing.assert_allclose(frame.joints, 10 * JOINTS)


@pytest.mark.mistake(
    "fit, cameras", "OpenGL's axes", 'refused or `doubtful`, with `"convention"` to say'
)
@pytest.mark.mistake(
    "fit, cameras",
    "camera to world instead of world to camera",
    'refused or `doubtful`, with `"camera_to_world"` to say',
)
@pytest.mark.parametrize("keep_joints", [True, False])
@pytest.mark.parametrize("other", OTHERS)
def test_what_a_file_does_not_say_is_found(tmp_path, other, keep_joints):
    """Refused, or a sentence that names what would explain the evidence."""
    content = _file_in(other)
    if not keep_joints:
        content["joints"] = {}
    frame = _read(tmp_path, content)
    named = (
        '"unit": "m"' if "unit" in other else f'"convention": "{other.get("convention", "opencv")}"'
    )
    try:
        doubts = " ".join(check_evidence("a.json", frame, ZERO))
    except BadInputError as error:
        doubts = str(error)
    assert named in doubts


@pytest.mark.mistake("fit, joints", "metres or centimetres", 'refused, with `"unit"` to say')
@pytest.mark.parametrize(("mm", "unit"), [(1000.0, "m"), (10.0, "cm")])
def test_joints_in_another_unit_are_refused_by_name(tmp_path, mm, unit):
    frame = _read(tmp_path, {"joints": _named(JOINTS / mm)})
    with pytest.raises(BadInputError, match=f'span .* mm.*they look like {unit}: say "unit"'):
        check_evidence("a", frame, ZERO)
    with pytest.raises(BadInputError, match="span"):
        check_evidence("a", frame._replace(fit_scale=True), ZERO)


@pytest.mark.mistake(
    "fit, joints", "a size that no person's hand has, below 0.45 or above 1.6", "`doubtful`"
)
def test_a_child_s_hand_and_a_fist_are_plausible_and_odd_sizes_are_not(tmp_path):
    for scale, is_doubtful in ((0.75, False), (1.2, False), (0.35, True), (2.5, True)):
        frame = _read(tmp_path, {"joints": _named(JOINTS * scale)})
        assert bool(check_evidence("a", frame, ZERO)) == is_doubtful, scale
        assert not check_evidence("a", frame._replace(fit_scale=True), ZERO)


def _depth_map(T):
    """Discs at the joints, a thumb's breadth wide: the skin is 8 mm before the bones."""
    at = JOINTS @ T[:3, :3].T + T[:3, 3]
    depth = np.zeros((240, 320))
    for joint in at[np.argsort(-at[:, 2])]:
        pixel = (joint @ K.T)[:2] / joint[2]
        cv2.circle(depth, tuple(np.rint(pixel).astype(int).tolist()), 8, joint[2] - 8, -1)
    return depth


@pytest.mark.mistake(
    "fit, depth maps", "another step than 1 mm", '`doubtful`, with `"depth_unit_mm"` to say'
)
@pytest.mark.parametrize("step", [1.0, 0.25, 0.1, 1000.0, 10.0])
def test_the_unit_of_a_depth_map_is_applied_and_otherwise_named(tmp_path, step):
    np.save(tmp_path / "depth.npy", _depth_map(np.eye(4)) / step)
    content = _evidence({"front": np.eye(4)})
    content["cameras"]["front"]["depth"] = "depth.npy"
    doubts = " ".join(check_evidence("a", _read(tmp_path, content), ZERO))
    assert (f'"depth_unit_mm": {step:g}' in doubts) == (step != 1), doubts
    content["depth_unit_mm"] = step
    frame = _read(tmp_path, content)
    assert check_evidence("a", frame, ZERO) == ()
    depths = frame.points[:, 2]
    assert depths.min() > 500 and depths.max() < 700


@pytest.mark.mistake("fit", "a unit or convention of another name", "refused, with the known ones")
@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("unit", "inch", "unit = 'inch', expected one of mm, cm, m"),
        ("unit", 1000, "unit = 1000"),
        ("convention", "blender", "convention = 'blender', expected one of opencv, opengl"),
        ("camera_to_world", 1, "camera_to_world = 1, expected true or false"),
        ("depth_unit_mm", 0, "depth_unit_mm = 0"),
        ("depth_unit_mm", "m", "depth_unit_mm"),
    ],
)
def test_unknown_units_are_refused(tmp_path, field, value, said):
    with pytest.raises(BadInputError, match=said):
        _read(tmp_path, _evidence() | {field: value})


def test_batches_say_their_units_too(tmp_path):
    arrays = {"joints": JOINTS[None] / 1000, "unit": "m", "joint_names": np.array(NAMES)}
    np.savez(tmp_path / "a.npz", **arrays)
    (frame,) = read_evidence(tmp_path / "a.npz", NAMES).frames
    np.testing.assert_allclose(frame.joints, JOINTS)


@pytest.mark.mistake(
    "fit, cameras", "parts of the picture's size instead of pixels, in points or K", "refused"
)
def test_parts_of_a_picture_are_no_pixels():
    require_pixels("a", K, np.array([[0.0, 0.0], [300, 20]]))
    require_pixels("a", None, np.zeros((0, 2)))
    with pytest.raises(BadInputError, match=r"focal lengths of 1\.4 and 1\.9"):
        require_pixels("a", np.diag([1.4, 1.9, 1]), np.zeros((0, 2)))
    for low in (0.1, -0.4):
        with pytest.raises(BadInputError, match=f"keypoints between {low} and 0.7"):
            require_pixels("a", K, np.array([[low, 0.2], [0.7, 0.3]]))
    with pytest.raises(BadInputError, match=r"size, as said$"):
        require_pixels("a", K, np.array([[0.1, 0.2], [0.7, 0.3]]), ", as said")


@pytest.mark.parametrize("size", [(480, 640), (192, 256)])
def test_the_centre_of_a_picture_of_another_size_is_doubtful(size):
    said = principal_point_doubt(K, size)
    assert said.startswith("The principal point (160, 120) is the centre of a picture of 321 x 241")
    assert f"not of {size[1]} x {size[0]}" in said
    assert principal_point_doubt(K, (230, 340)) is None  # a lens that is not quite in the middle
    assert principal_point_doubt(K, (600, 400)) is None  # cut out of a larger picture


@pytest.mark.mistake(
    "fit, cameras",
    "K of a larger picture than `image`",
    "`doubtful`: the principal point is outside",
)
def test_intrinsics_of_another_picture_are_doubtful():
    assert principal_point_doubt(K, (240, 320)) is None
    assert "(160, 120) lies outside the picture of 160 x 120" in principal_point_doubt(
        K, (120, 160)
    )
    assert distance_doubt(600) is None and distance_doubt(50) and distance_doubt(320_464)
    spread = np.array([[0.0, 0], [300, 0]])
    assert keypoint_doubt(5.0, spread) is None
    assert "60 px from the keypoints, which extend over 300 px" in keypoint_doubt(60.0, spread)


NOTHING = float("nan")


@pytest.mark.parametrize(
    ("residuals", "said"),
    [
        (Residuals(0.5, 2.0, 0.4, 0.9, 1.0), None),
        (Residuals(NOTHING, NOTHING, NOTHING, NOTHING, 1.0), None),
        (Residuals(25.0, NOTHING, NOTHING, NOTHING, 1.0), "25 mm from the joints"),
        (Residuals(0.5, 108.0, NOTHING, NOTHING, 1.0), "108 px from the keypoints"),
        (Residuals(0.5, 1.0, NOTHING, 0.06, 1.0), "6% of the skin's points"),
        (Residuals(0.5, 1.0, 9.0, 0.8, 1.0), "9 mm from the skin"),
        (Residuals(0.5, 1.0, NOTHING, NOTHING, 0.21), "size is 0.21 of the model's"),
    ],
)
def test_what_a_fit_leaves_over(tmp_path, residuals, said):
    doubts = check_fit("a", _read(tmp_path, _evidence()), JOINTS, residuals)
    assert (said is None and doubts == ()) or (len(doubts) == 1 and said in doubts[0])


def test_a_hand_behind_its_camera_is_refused(tmp_path):
    frame, good = _read(tmp_path, _evidence()), Residuals(0.1, 0.1, NOTHING, NOTHING, 1.0)
    with pytest.raises(BadInputError, match="mm behind camera front, which sees it"):
        check_fit("a", frame, JOINTS * [1, 1, -1], good)


@pytest.mark.mistake("fit, cameras", "points of another picture than `image`", "`doubtful`")
def test_keypoints_outside_their_picture_are_doubtful():
    points = np.array([[10.0, 10], [150, 20], [318, 20]])
    assert outside_doubt(points, (240, 320)) is None
    assert outside_doubt(points[:0], (240, 320)) is None
    assert "outside the picture of 100 x 80 pixels" in outside_doubt(points, (80, 100))
    assert outside_doubt(points - 200, (240, 320))


def _said_of_cameras(tmp_path, change):
    content = _evidence()
    for camera in content["cameras"].values():
        change(camera)
    try:
        return " ".join(check_evidence("a.json", _read(tmp_path, content), ZERO))
    except BadInputError as error:
        return str(error)


@pytest.mark.mistake(
    "fit, cameras",
    "the camera's place for t, or R transposed",
    "refused or `doubtful`, with what would be right",
)
def test_the_camera_s_place_for_t_and_a_transposed_R_are_named(tmp_path):
    def place(camera):
        T = np.array(camera.pop("T_camera_world"))
        camera |= {"R": T[:3, :3].tolist(), "t": (-T[:3, :3].T @ T[:3, 3]).tolist()}

    def transpose(camera):
        T = np.array(camera.pop("T_camera_world"))
        camera |= {"R": T[:3, :3].T.tolist(), "t": T[:3, 3].tolist()}

    assert "with -R t in place of t" in _said_of_cameras(tmp_path, place)
    assert "with R transposed" in _said_of_cameras(tmp_path, transpose)


@pytest.mark.parametrize("ratio", [0.5, 2.0, 1.5])
@pytest.mark.mistake(
    "fit, cameras",
    "K of another size of the picture, with joints",
    "`doubtful`, with how many times as large",
)
def test_a_K_of_another_size_of_the_picture_is_named(tmp_path, ratio):
    def shrink(camera):
        camera["K"] = (np.diag([1 / ratio, 1 / ratio, 1]) @ camera["K"]).tolist()

    said = _said_of_cameras(tmp_path, shrink)
    assert f"with K of a picture {ratio:g} times as large they would" in said


@pytest.mark.mistake(
    "fit, cameras", "translations in metres, joints in mm", '`doubtful`, with `"unit"`'
)
def test_translations_in_another_unit_than_the_joints_are_named(tmp_path):
    def in_metres(camera):
        T = np.array(camera["T_camera_world"])
        T[:3, 3] /= 1000
        camera["T_camera_world"] = T.tolist()

    assert '"unit": "m"' in _said_of_cameras(tmp_path, in_metres)


@pytest.mark.mistake(
    "fit, depth maps", "an empty one, such as metres in whole numbers", "`doubtful`"
)
def test_a_depth_map_without_a_surface_is_said(tmp_path):
    np.save(tmp_path / "depth.npy", np.uint16(_depth_map(np.eye(4)) / 1000))
    content = _evidence({"front": np.eye(4)})
    content["cameras"]["front"]["depth"] = "depth.npy"
    doubts = check_evidence("a", _read(tmp_path, content), ZERO)
    assert doubts == ("The depth map of camera front shows no surface.",)
    content["joints"] = {}
    assert len(check_evidence("a", _read(tmp_path, content), ZERO)) == 1
