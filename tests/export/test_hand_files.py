"""The files of a hand, read back by other libraries: trimesh, json, Pillow."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from data_prep.studio.template.hand_template import hand_template
from dhm.export.hand import angle_names
from dhm.export.hand_files import (
    CAMERA,
    LEFT,
    PredictedHand,
    mirror_transform,
    placed_points,
    write_hand,
)
from dhm.formats.glb import encode_glb
from dhm.formats.obj import ObjMesh, read_obj
from dhm.geometry.hand_rig import dof_names
from dhm.geometry.mesh import vertex_normals
from tests.references.geometry import random_rotation


def _glb_attribute(glb: bytes, name: str) -> np.ndarray:
    """Three floats a vertex as they are in the file; trimesh would mend what it reads."""
    (length,) = struct.unpack_from("<I", glb, 12)
    tree, binary = json.loads(glb[20 : 20 + length]), glb[28 + length :]
    accessor = tree["accessors"][tree["meshes"][0]["primitives"][0]["attributes"][name]]
    start = tree["bufferViews"][accessor["bufferView"]].get("byteOffset", 0)
    return np.frombuffer(binary, "<f4", 3 * accessor["count"], start).reshape(-1, 3)


@pytest.fixture(scope="module")
def template():
    return hand_template("coarse")


def _transform(seed: int) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = random_rotation(np.random.default_rng(seed), 1)[0]
    T[:3, 3] = [30.0, -20.0, 600.0]
    return T


def _hand(template, **changes) -> PredictedHand:
    rng = np.random.default_rng(0)
    joints = rng.normal(0, 40, (template.num_joints, 3))
    theta = rng.uniform(-0.5, 0.5, 28)
    return PredictedHand(template.v_template, joints, theta)._replace(**changes)


def _volume(vertices, faces) -> float:
    a, b, c = (np.asarray(vertices)[faces[:, i]] for i in range(3))
    return float(np.einsum("fi,fi->", a, np.cross(b, c)) / 6)


def test_all_files_describe_the_same_hand(template, tmp_path):
    T, K = _transform(1), np.array([[500, 0, 320], [0, 510, 240], [0, 0, 1.0]])
    overlay = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    hand = _hand(template, frame=CAMERA, T_frame_model=T, K=K, reprojection_error_px=1.5,
                 source="a.jpg", notes=("assumed",), details={"box": [1, 2, 3, 4]})  # fmt: skip
    paths = write_hand(tmp_path / "deep" / "er", "a", hand, template, overlay)
    assert {path.name for path in paths} == {"a.obj", "a.glb", "a.json", "a_overlay.png"}
    assert sorted(paths) == sorted((tmp_path / "deep" / "er").iterdir())
    expected = template.v_template @ T[:3, :3].T + T[:3, 3]
    mesh = read_obj(paths[0])
    np.testing.assert_allclose(mesh.vertices, expected, atol=1e-4)
    np.testing.assert_array_equal(mesh.faces_uv, template.faces_uv)
    content = json.loads((tmp_path / "deep" / "er" / "a.json").read_text())
    assert content["side"] == "right" and content["frame"] == "camera"
    joints = np.array([content["joints"][name] for name in template.joint_names])
    np.testing.assert_allclose(joints, hand.joints @ T[:3, :3].T + T[:3, 3])
    names = dof_names(template.joint_names)
    np.testing.assert_allclose([content["angles_rad"][name] for name in names], hand.theta)
    np.testing.assert_allclose(
        [content["angles_deg"][name] for name in names], hand.theta * 180 / np.pi
    )
    np.testing.assert_allclose(content["T_frame_model"], T)
    assert content["reprojection_error_px"] == 1.5 and content["box"] == [1, 2, 3, 4]
    with Image.open(tmp_path / "deep" / "er" / "a_overlay.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), overlay)


@pytest.mark.mistake(
    "exported models", "mm expected of a result's .glb, or metres of its .obj",
    "not noticed: another program reads them; the .json beside them has the units",
)  # fmt: skip
@pytest.mark.parametrize("side", ["right", LEFT])
def test_the_glb_has_the_same_textured_surface_in_metres(template, tmp_path, side):
    hand = _hand(template, side=side, frame=CAMERA, T_frame_model=_transform(2))
    write_hand(tmp_path, "a", hand, template)
    units = json.loads((tmp_path / "a.json").read_text())["units"]
    assert units == {"joints": "mm", "obj": "mm", "glb": "m", "angles": "rad and deg"}
    obj = read_obj(tmp_path / "a.obj")
    scene = trimesh.load(tmp_path / "a.glb")
    (mesh,) = scene.geometry.values()
    # Corner by corner, whatever vertices the seams became.
    upright = obj.vertices[obj.faces] * [1e-3, -1e-3, -1e-3]
    np.testing.assert_allclose(mesh.vertices[mesh.faces], upright, atol=1e-6)
    np.testing.assert_allclose(mesh.visual.uv[mesh.faces], obj.uvs[obj.faces_uv], atol=1e-6)
    geometric = np.cross(*(mesh.vertices[mesh.faces[:, i]] - mesh.vertices[mesh.faces[:, 0]]
                           for i in (1, 2)))  # fmt: skip
    assert (
        np.einsum("fi,fi->f", geometric, mesh.vertex_normals[mesh.faces[:, 0]]) > 0
    ).mean() > 0.9


def test_normals_in_the_glb_have_unit_length_where_faces_have_no_area():
    """A tetrahedron, a face pinched to a point on it, one beside it, and loose vertices."""
    vertices = np.array([[0, 0, 0], [9, 0, 0], [0, 9, 0], [0, 0, 9], [0, 0, 9], [0, 0, 9],
                         [20, 0, 0], [30, 0, 0], [40, 0, 0], [50, 0, 0.0]])  # fmt: skip
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3], [3, 4, 5], [6, 7, 8], [9, 9, 9]])
    uvs = np.zeros((1, 2))
    glb = encode_glb(
        ObjMesh(vertices, faces, uvs, np.zeros_like(faces)), vertex_normals(vertices, faces), "x"
    )
    positions, normals = _glb_attribute(glb, "POSITION"), _glb_attribute(glb, "NORMAL")
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-6)
    tip = (positions == np.float32([0, 0, 0.009])).all(axis=1)
    assert tip.sum() == 3  # the pinched face's vertices have the normal of the tip they are at
    np.testing.assert_allclose(normals[tip], normals[tip][:1].repeat(3, axis=0), atol=1e-6)
    np.testing.assert_array_equal(normals[positions[:, 0] > 0.01], [[0, 0, 1]] * 4)


def test_a_left_hand_is_the_mirror_image_with_outward_faces(template, tmp_path):
    for side in ("right", LEFT):
        write_hand(tmp_path, side, _hand(template, side=side), template)
    right, left = (read_obj(tmp_path / f"{side}.obj") for side in ("right", LEFT))
    np.testing.assert_allclose(left.vertices, right.vertices * [-1, 1, 1], atol=1e-6)
    assert _volume(right.vertices, right.faces) > 0
    assert _volume(left.vertices, left.faces) == pytest.approx(
        _volume(right.vertices, right.faces), rel=1e-4
    )
    names = [json.loads((tmp_path / f"{side}.json").read_text()) for side in ("right", LEFT)]
    assert names[0]["angles_rad"] == names[1]["angles_rad"]
    assert names[0]["frame"] == "model" and names[0]["T_frame_model"] is None


def test_the_mirrored_transform_places_a_left_hand(template):
    T = _transform(3)
    right = _hand(template, frame=CAMERA, T_frame_model=T)
    left = right._replace(side=LEFT, T_frame_model=mirror_transform(T))
    np.testing.assert_allclose(
        placed_points(left.joints, left), placed_points(right.joints, right) * [-1, 1, 1], atol=1e-9
    )
    assert np.linalg.det(left.T_frame_model[:3, :3]) == pytest.approx(1)


def test_a_linear_models_angles_have_names(template):
    names = angle_names(template, 45)
    assert len(set(names)) == 45 and names[0] == "index1_x"
    assert len(set(angle_names(template, 28))) == 28


def test_a_failed_write_leaves_the_old_files(template, tmp_path, monkeypatch):
    write_hand(tmp_path, "a", _hand(template), template)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(path, text, *args, **kwargs):
        path.write_bytes(text.encode()[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        write_hand(tmp_path, "a", _hand(template, theta=np.ones(28)), template)
    for name, data in before.items():
        assert (tmp_path / name).read_bytes() == data
