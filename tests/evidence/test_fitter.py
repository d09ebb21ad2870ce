"""Hands of a model, fitted to evidence with each kind of start."""

import json

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dhm.evidence.files import EvidenceFile, read_evidence
from dhm.evidence.fitter import FrameFitter, stack_evidence
from dhm.evidence.plausibility import Residuals, check_fit
from dhm.formats.ply import write_ply

K = np.array([[800.0, 0, 160], [0, 800, 120], [0, 0, 1]])
T = np.array([[0, -1.0, 0, 60], [0, 0, -1, 5], [1, 0, 0, 600], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def hand(toy_model):
    """A bent hand before a camera: joints by name, vertices, faces, and an inexact start."""
    _, model, variables = toy_model
    names = model.template.joint_names
    theta = np.zeros((1, 28), np.float32)
    theta[0, 10::5] = 0.4
    output = model.apply(variables, jnp.asarray(theta), method="decode")
    joints, vertices = (
        np.float64(x[0]) @ T[:3, :3].T + T[:3, 3] for x in (output.joints, output.vertices)
    )
    shifted = T.copy()
    shifted[:3, 3] += [3, -2, 4]
    return dict(zip(names, joints, strict=True)), vertices, model.template.faces, shifted


@pytest.fixture(scope="module")
def fitter(toy_model):
    _, model, variables = toy_model
    return FrameFitter(model, variables)


def _read(path, content, hand):
    path.write_text(json.dumps(content))
    return read_evidence(path, tuple(hand[0]))


def _joints(model, fitted):
    """The model's world joints of each frame."""
    _, model, variables = model
    joints = model.apply(variables, jnp.asarray(fitted.pose.theta), method="decode").joints
    T_world = fitted.pose.T_world_model
    turned = np.einsum("fij,fkj->fki", T_world[:, :3, :3], joints)
    return turned + T_world[:, None, :3, 3]


def test_a_scan_without_joints_is_fitted_from_a_given_start(toy_model, hand, fitter, tmp_path):
    joints, vertices, faces, start = hand
    write_ply(tmp_path / "scan.ply", vertices, faces)
    content = {"scan": "scan.ply", "start": {"T_frame_model": start.tolist()}}
    fitted = fitter(_read(tmp_path / "a.json", content, hand))
    assert np.isnan(fitted.joint_error).all() and np.isnan(fitted.pixel_error).all()
    assert fitted.matched[0] > 0.9 and fitted.surface_error[0] < 1
    off = np.linalg.norm(_joints(toy_model, fitted)[0] - [*joints.values()], axis=-1)
    assert off.mean() < 3  # from 5.4 for the root alone, and the fingers' 0.4 rad


def _mixed_frames(hand):
    """Frames with a given start, with joints, and with the keypoints of one camera."""
    joints, _, _, start = hand
    rows = {name: point.tolist() for name, point in joints.items()}
    pixels = {name: (point @ K.T / point[2])[:2].tolist() for name, point in joints.items()}
    two = {name: rows[name] for name in ("wrist", "middle1")}
    return [
        {"joints": two, "start": {"T_frame_model": start.tolist()}},
        {"joints": rows},
        {"cameras": {"a": {"K": K.tolist(), "points": pixels}}},
    ]


def test_each_kind_of_evidence_has_its_starts(hand, fitter, tmp_path):
    film = _read(tmp_path / "film.json", {"frames": _mixed_frames(hand)}, hand)
    starts = fitter._starts(list(film.frames), stack_evidence(film.frames))
    assert starts.theta.shape == (3, 24, 28)  # as many for all as one view needs
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(starts))
    np.testing.assert_array_equal(starts.T_world_model[0], np.tile(np.float32(hand[3]), (24, 1, 1)))
    assert len(np.unique(starts.T_world_model[1], axis=0)) == 2  # two poses aligned to the joints
    assert len(np.unique(starts.T_world_model[2], axis=0)) == 24


@pytest.mark.slow
def test_a_sequence_whose_frames_have_different_kinds_of_start(toy_model, hand, fitter, tmp_path):
    joints = hand[0]
    content = {"sequence": True, "frames": _mixed_frames(hand)}
    film = _read(tmp_path / "film.json", content, hand)
    fitted = fitter(film)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(fitted.pose))
    assert fitted.joint_error[0] < 1 and fitted.joint_error[1] < 1
    assert fitted.pixel_error[2] < 1 and np.isnan(fitted.joint_error[2])
    off = np.linalg.norm(_joints(toy_model, fitted) - [*joints.values()], axis=-1).mean(axis=-1)
    assert off[1] < 1 and off[2] < 5  # the pose before tells the depth


def _before_a_wall(vertices, faces):
    side = np.linspace(-400.0, 400.0, 60)
    x, y = np.meshgrid(side, side)
    wall = np.stack([x.ravel(), y.ravel(), np.full(3600, 800.0)], axis=1)
    index = np.arange(3600).reshape(60, 60) + len(vertices)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    quads = np.stack([a, d, c, a, c, b], axis=-1).reshape(-1, 3)  # towards the camera
    return np.concatenate([vertices, wall]), np.concatenate([faces, quads])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(
            _before_a_wall,
            "of the skin's points meet the hand",
            marks=pytest.mark.mistake(
                "fit, scans",
                "a table, a wall or the body in the scan",
                "`doubtful`: the share on the hand",
            ),
        ),
        pytest.param(
            lambda vertices, faces: (vertices, faces[:, ::-1]),
            "The scan's faces look inwards",
            marks=pytest.mark.mistake(
                "fit, scans", "faces that look inwards", "`doubtful`, with the reason"
            ),
        ),
        pytest.param(
            lambda vertices, faces: (vertices[:, [0, 2, 1]] * [1, 1, -1], faces),
            "the scan's unit, axes or place may be wrong",
            marks=pytest.mark.mistake(
                "fit, scans",
                "other axes than the joints or the start",
                "`doubtful`: the share on the hand",
            ),
        ),
    ],
)
def test_scans_that_are_not_where_the_hand_is(change, said, hand, fitter, tmp_path):
    _, vertices, faces, start = hand
    write_ply(tmp_path / "scan.ply", *change(vertices, faces))
    content = {"scan": "scan.ply", "start": {"T_frame_model": start.tolist()}}
    (frame,) = read_evidence(_path(tmp_path, content), tuple(hand[0])).frames
    fitted = fitter(EvidenceFile((frame,), False))
    residuals = Residuals(np.nan, np.nan, fitted.surface_error[0], fitted.matched[0], 1.0)
    doubts = check_fit("a", frame, frame.joints, residuals)
    assert any(said in doubt for doubt in (*frame.doubts, *doubts))


def _seen_depth(vertices):
    """A depth map of discs at the vertices; 0: background."""
    at = vertices[np.argsort(-vertices[:, 2])]
    depth = np.zeros((240, 320))
    for u, v, z in zip(*(at @ K.T / at[:, 2:]).T[:2], at[:, 2], strict=True):
        cv2.circle(depth, (round(u), round(v)), 4, z, -1)
    return depth


def _doubts_of_depth(depth, hand, fitter, folder):
    """What is said of a depth map, fitted from a start near the hand."""
    np.save(folder / "d.npy", depth)
    content = {"cameras": {"a": {"K": K.tolist(), "depth": "d.npy"}}}
    content["start"] = {"T_frame_model": hand[3].tolist()}
    (frame,) = read_evidence(_path(folder, content), tuple(hand[0])).frames
    fitted = fitter(EvidenceFile((frame,), False))
    residuals = Residuals(np.nan, np.nan, fitted.surface_error[0], fitted.matched[0], 1.0)
    return check_fit("a", frame, frame.joints, residuals)


@pytest.mark.mistake(
    "fit, depth maps", "65535 or a wall as background", "`doubtful`: the share on the hand"
)
@pytest.mark.parametrize("background", [65535, 1800])
def test_a_background_in_the_depth_map_is_doubtful(background, hand, fitter, tmp_path):
    depth = _seen_depth(hand[1])
    (doubt,) = _doubts_of_depth(np.where(depth == 0, background, depth), hand, fitter, tmp_path)
    assert "of the skin's points meet the hand: the depth map's unit" in doubt


@pytest.mark.mistake(
    "fit, depth maps",
    "distances along the ray instead of z",
    "not noticed: near the middle of the picture they are the same but for some mm",
)
def test_distances_along_the_ray_are_not_told_from_depths(hand, fitter, tmp_path):
    v, u = np.indices((240, 320))
    along = np.sqrt(((u - 160) / 800) ** 2 + ((v - 120) / 800) ** 2 + 1)
    assert _doubts_of_depth(_seen_depth(hand[1]) * along, hand, fitter, tmp_path) == ()


@pytest.mark.slow
@pytest.mark.mistake(
    "fit, cameras",
    "another focal length or side, or fingers that changed places, with one camera alone",
    "not noticed: another hand in another place gives almost the same keypoints",
)
@pytest.mark.parametrize("change", ["focal length", "side"])
def test_one_camera_alone_does_not_tell_its_mistakes(change, hand, fitter, tmp_path):
    rows = {name: (point @ K.T / point[2])[:2] for name, point in hand[0].items()}
    own = K.copy()
    if change == "focal length":
        own[[0, 1], [0, 1]] *= 1.5
    else:
        rows = {name: [320 - u, v] for name, (u, v) in rows.items()}
    points = {name: [float(x) for x in row] for name, row in rows.items()}
    content = {"cameras": {"a": {"K": own.tolist(), "points": points}}}
    (frame,) = read_evidence(_path(tmp_path, content), tuple(hand[0])).frames
    fitted = fitter(EvidenceFile((frame,), False))
    residuals = Residuals(np.nan, float(fitted.pixel_error[0]), np.nan, np.nan, 1.0)
    joints = np.tile([0.0, 0, 600], (len(points), 1))
    assert check_fit("a", frame, joints, residuals) == ()


def _path(folder, content):
    (folder / "a.json").write_text(json.dumps(content))
    return folder / "a.json"
