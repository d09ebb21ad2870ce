"""The MANO-style linear model: registered hands, and the model learned from them."""

import functools
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data_prep.studio.anatomy.proportions import Proportions, subject
from data_prep.studio.anatomy.rig import pose_rig
from data_prep.studio.anatomy.surface import skin_mesh
from data_prep.studio.linear_hand import build_linear_hand
from data_prep.studio.template.registration import Registration, population_member, random_pose
from dhm.evaluation.metrics import mesh_error
from dhm.formats.mano_pickle import read_mano, write_mano
from dhm.geometry.hand_rig import FINGERS, JOINT_NAMES, MANO_JOINTS
from dhm.networks.mano import mano

# Too few poses to learn pose corrections from, which the slow test does.
PERSONS, FEW_POSES, POSES = 12, 4, 60


@functools.cache
def _registration():
    return Registration()


@functools.cache
def _linear(num_poses=FEW_POSES):
    return build_linear_hand(PERSONS, num_poses)


def test_registration_of_the_average_hand_is_the_template():
    registration = _registration()
    fitted = registration.at_rest(Proportions())
    assert np.abs(fitted - registration.template.v_template).max() < 1e-3


@pytest.mark.parametrize("seed", [None, 0, 1, 2])
def test_registered_hand_lies_on_the_skin(seed):
    """Compared with scans, whose creases it leaves out: at most half a millimetre."""
    person, registration = subject(2), _registration()
    theta = np.zeros(28) if seed is None else random_pose(np.random.default_rng(seed))
    vertices = registration.at_rest(person)
    if seed is not None:
        vertices, fitted = registration.posed(person, vertices, theta)
        assert fitted.mean() > 0.95
    scan = skin_mesh(person, theta, 2.0)
    assert mesh_error(vertices, registration.template.faces, scan.vertices, scan.faces).M_err < 0.6


def test_registered_edges_have_similar_lengths_on_all_persons():
    """Correspondence: no edge is stretched by more than persons differ."""
    registration = _registration()
    ends = registration.template.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)

    def lengths(vertices):
        return np.linalg.norm(vertices[ends[:, 0]] - vertices[ends[:, 1]], axis=1)

    ratio = lengths(registration.at_rest(population_member(3))) / lengths(
        registration.template.v_template
    )
    assert np.quantile(ratio, [0.01, 0.99]) == pytest.approx([1, 1], abs=0.35)


def test_population_does_not_contain_the_subjects():
    subjects = {subject(number) for number in range(1, 5)}
    persons = {population_member(number) for number in range(64)}
    assert len(persons) == 64 and not persons & subjects


def test_model_has_the_format_of_mano(tmp_path):
    linear = _linear()
    num_vertices = len(linear.v_template)
    assert 778 <= num_vertices <= 1000
    assert linear.shapedirs.shape == (num_vertices, 3, 10)
    assert linear.posedirs.shape == (num_vertices, 3, 135)
    np.testing.assert_allclose(linear.lbs_weights.sum(axis=1), 1)
    np.testing.assert_allclose(linear.J_regressor.sum(axis=1), 1)
    np.testing.assert_allclose(linear.hands_components @ linear.hands_components.T, np.eye(45),
                               atol=1e-9)  # fmt: skip
    write_mano(tmp_path / "linear.pkl", linear)
    back = read_mano(tmp_path / "linear.pkl")
    np.testing.assert_allclose(back.v_template, linear.v_template, atol=1e-6)
    assert back.tip_vertices == linear.tip_vertices and back.parents == linear.parents


def test_regressed_joints_of_a_new_person_are_near_those_of_the_rig():
    linear, person = _linear(), population_member(200)
    rest = _registration().at_rest(person)
    frames = pose_rig(person, np.zeros(28))[:, :3, 3]
    expected = frames[[JOINT_NAMES.index(name) for name in MANO_JOINTS]]
    distance = np.linalg.norm(linear.J_regressor @ rest - expected, axis=1)
    assert distance.max() < 4 and distance.mean() < 2
    ends = frames[[JOINT_NAMES.index(f"{finger}_null") for finger in FINGERS]]
    assert np.linalg.norm(rest[list(linear.tip_vertices)] - ends, axis=1).max() < 10


def _fitted_betas(linear, rest):
    directions = linear.shapedirs.reshape(-1, linear.shapedirs.shape[-1])
    betas, *_ = np.linalg.lstsq(directions, (rest - linear.v_template).reshape(-1), rcond=None)
    return betas


def test_shape_directions_fit_a_new_person():
    linear = _linear()
    rest = _registration().at_rest(population_member(200))
    shaped = linear.v_template + (linear.shapedirs @ _fitted_betas(linear, rest))
    error = np.linalg.norm(shaped - rest, axis=1).mean()
    assert error < 2.0 and error < 0.5 * np.linalg.norm(linear.v_template - rest, axis=1).mean()


@pytest.mark.slow  # registers 60 hands in poses
def test_pose_corrections_reduce_the_error_of_a_new_person():
    linear, person = _linear(POSES), population_member(200)
    rest = _registration().at_rest(person)
    betas = _fitted_betas(linear, rest)
    plain, corrected = zip(*(_posed_errors(linear, person, rest, betas, n) for n in range(6)),
                           strict=True)  # fmt: skip
    assert np.mean(corrected) < 0.95 * np.mean(plain)


def _posed_errors(linear, person, rest, betas, number):
    """Mean distances to a registered hand in a pose, without and with pose corrections."""
    theta = random_pose(np.random.default_rng(9000 + number))
    expected, fitted = _registration().posed(person, rest, theta)
    turned = pose_rig(person, theta)[:, :3, :3]
    turned = turned @ np.swapaxes(pose_rig(person, np.zeros(28))[:, :3, :3], 1, 2)
    turned = turned[[JOINT_NAMES.index(name) for name in MANO_JOINTS]]
    relative = [turned[linear.parents[j]].T @ turned[j] for j in range(1, len(MANO_JOINTS))]
    vectors = Rotation.from_matrix(np.stack(relative)).as_rotvec().reshape(1, 45)
    errors = []
    for factor in (0.0, 1.0):
        model = replace(linear, posedirs=factor * linear.posedirs)
        found = mano(model, jnp.float32(betas[None]), jnp.float32(vectors), None, None).vertices[0]
        errors.append(np.linalg.norm(np.asarray(found) - expected, axis=1)[fitted].mean())
    return errors
