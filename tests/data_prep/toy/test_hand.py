"""The toy hand: a valid template, and another person's hand with the same topology."""

import jax.numpy as jnp
import numpy as np
import pytest

from data_prep.toy.hand import make_toy_subject, make_toy_template, model_from_hand
from dhm.geometry.hand_rig import (
    FINGERS,
    JOINT_NAMES,
    PALM_JOINTS,
    dof_indices,
    dof_names,
    pose_to_euler,
)
from dhm.geometry.kinematics import forward_kinematics, linear_blend_skinning
from dhm.geometry.mesh import boundary_loops, dominant_joint
from dhm.geometry.transforms import euler_angles_to_matrix


@pytest.fixture(scope="module")
def template():
    return make_toy_template(800)


def pose(template, **angles: float):
    """Returns joints and surface in the model's frame for named angles, all others 0."""
    dofs, names = dof_indices(template.joint_names), dof_names(template.joint_names)
    theta = jnp.array([angles.get(name, 0.0) for name in names])
    rotations = euler_angles_to_matrix(pose_to_euler(theta, dofs, template.num_joints))
    local, rest = jnp.asarray(template.T_parent_joint), jnp.tile(jnp.eye(3), (22, 1, 1))
    T = forward_kinematics(local, rotations, template.parents)
    T_rest = forward_kinematics(local, rest, template.parents)
    surface = linear_blend_skinning(
        jnp.asarray(template.v_template),
        jnp.asarray(template.lbs_weights),
        T,
        jnp.linalg.inv(T_rest),
    )
    return np.asarray(T), np.asarray(surface)


def components(template) -> list[np.ndarray]:
    """Returns the faces of each connected part, by flooding over shared vertices."""
    label = np.arange(template.num_vertices)
    while True:
        lowest = label.copy()
        for corner in range(3):
            np.minimum.at(lowest, template.faces[:, corner], label[template.faces].min(axis=1))
        if (lowest == label).all():
            break
        label = lowest
    of_face = label[template.faces[:, 0]]
    return [template.faces[of_face == part] for part in np.unique(of_face)]


def signed_volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    a, b, c = (vertices[faces[:, corner]].astype(np.float64) for corner in range(3))
    return float(np.einsum("fi,fi->", a, np.cross(b, c)) / 6.0)


@pytest.mark.parametrize("target", [800, 3000, 12500])
def test_number_of_vertices_is_near_the_target(target):
    tolerance = 0.05 if target < 3000 else 0.02
    assert make_toy_template(target).num_vertices == pytest.approx(target, rel=tolerance)


def test_rig_is_the_released_one(template):
    assert template.joint_names == JOINT_NAMES
    assert len(dof_indices(template.joint_names)) == 28
    assert template.parents[template.joint_names.index("index1")] == 21
    assert template.parents[template.joint_names.index("thumb_null")] == 1
    R = template.T_parent_joint[:, :3, :3]
    np.testing.assert_allclose(R @ R.swapaxes(1, 2), np.tile(np.eye(3), (22, 1, 1)), atol=1e-6)
    # Rotated rest frames, as in the released rig: tests that assume the identity fail on them.
    turned = np.abs(R - np.eye(3)).max(axis=(1, 2)) > 0.05
    assert turned[[JOINT_NAMES.index(name) for name in ("wrist", "thumb0", "index1")]].all()


def test_each_vertex_has_one_to_four_weights_that_sum_to_one(template):
    weights = template.lbs_weights
    assert weights.shape == (template.num_vertices, 22) and (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-6)
    assert set((weights > 0).sum(axis=1)) <= {1, 2, 3, 4}
    tips = [joint for joint, name in enumerate(JOINT_NAMES) if name.endswith("_null")]
    dominated = set(dominant_joint(weights))
    assert dominated == set(range(22)) - set(tips)
    palm = [JOINT_NAMES.index(name) for name in PALM_JOINTS]
    assert np.isin(dominant_joint(weights), palm).mean() > 0.2


def test_weights_are_smooth_along_the_surface():
    fine = make_toy_template(12500)
    corners = fine.lbs_weights[fine.faces]
    length = np.linalg.norm(np.diff(fine.v_template[fine.faces], axis=1), axis=2).max(axis=1)
    assert (np.ptp(corners, axis=1).max(axis=1) / length).max() < 0.2  # per mm


def test_only_the_forearm_is_open_and_faces_are_oriented_outwards(template):
    loops = boundary_loops(template.faces)
    assert len(loops) == 1
    directed = np.concatenate([template.faces[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))])
    assert len(np.unique(directed, axis=0)) == len(directed)
    parts = components(template)
    assert len(parts) == 6
    # Relative to the centre of the opening, the missing lid has no volume.
    rim = template.v_template[loops[0]].mean(axis=0)
    for faces in parts:
        assert signed_volume(template.v_template - rim, faces) > 5e3  # mm^3


def test_texture_coordinates_do_not_overlap(template):
    assert template.uvs.min() >= 0 and template.uvs.max() <= 1
    a, b, c = (template.uvs[template.faces_uv[:, corner]].astype(np.float64) for corner in range(3))
    points = np.random.default_rng(0).random((1500, 1, 2))

    def cross(u, v):
        return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]

    sides = np.stack([cross(q - p, points - p) for p, q in ((a, b), (b, c), (c, a))])
    inside = (sides > 1e-9).all(axis=0) | (sides < -1e-9).all(axis=0)
    covering = inside.sum(axis=1)
    assert covering.max() == 1 and covering.mean() > 0.5
    assert (np.abs(cross(b - a, c - a)) > 1e-7).all()


def test_skinning_at_rest_returns_the_template(template):
    T, surface = pose(template)
    np.testing.assert_allclose(surface, template.v_template, atol=1e-3)
    np.testing.assert_allclose(T[21], model_from_hand(), atol=1e-5)
    for finger in FINGERS:
        # The tip joint is at the end of its finger, and every bone lies along its x axis.
        tip = T[JOINT_NAMES.index(f"{finger}_null")]
        assert 0.3 < np.linalg.norm(template.v_template - tip[:3, 3], axis=1).min() < 5
        bone = tip[:3, 3] - T[JOINT_NAMES.index(f"{finger}3")][:3, 3]
        np.testing.assert_allclose(bone / np.linalg.norm(bone), tip[:3, 0], atol=1e-4)


@pytest.mark.parametrize("finger", ["index", "middle", "ring", "pinky"])
def test_positive_z_is_flexion_and_reaches_the_palm(template, finger):
    T, surface = pose(template, **{f"{finger}{i}_z": a for i, a in ((1, 1.2), (2, 1.4), (3, 0.8))})
    T_rest, _ = pose(template)
    to_hand = np.linalg.inv(model_from_hand())
    tip = JOINT_NAMES.index(f"{finger}_null")
    before, after = (to_hand @ transforms[tip] for transforms in (T_rest, T))
    assert after[0, 3] < before[0, 3] - 60 and after[1, 3] > 10  # back, on the palm's side
    moved = np.linalg.norm(surface - template.v_template, axis=1)
    joints = [JOINT_NAMES.index(f"{finger}{part}") for part in (1, 2, 3)]
    own = template.lbs_weights[:, joints].sum(axis=1)
    assert (moved[own == 0] < 1e-3).all() and (moved[own > 0.9] > 0.5).mean() > 0.9


def test_another_person_has_the_same_topology_and_other_bones(template):
    person = make_toy_subject(5, 800)
    np.testing.assert_array_equal(person.faces, template.faces)
    np.testing.assert_array_equal(person.faces_uv, template.faces_uv)
    bones, others = (hand.T_parent_joint[:21, :3, 3] for hand in (person, template))
    ratio = np.linalg.norm(bones, axis=1) / np.linalg.norm(others, axis=1)
    assert 0.88 < ratio.min() < ratio.max() < 1.12 and np.ptp(ratio) > 0.01
    np.testing.assert_array_equal(make_toy_subject(5, 800).v_template, person.v_template)
    assert np.abs(make_toy_subject(6, 800).v_template - person.v_template).max() > 1
