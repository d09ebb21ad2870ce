"""The terms' gradients against those of their costs, by autodiff through the positions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import lsq_linear

from data_prep.toy.hand import make_toy_template
from dhm.fitting.levenberg_marquardt import NormalEquations, minimise, normal_equations
from dhm.fitting.rig import HandPose, Points, joint_points, make_rig, move_pose, pose_rig
from dhm.fitting.terms import (
    Matches,
    bone_spheres,
    joint_term,
    keypoint_term,
    penetration_term,
    prior_term,
    surface_term,
)
from dhm.types import Camera

TEMPLATE = make_toy_template(800)
RIG = make_rig(jnp.asarray(TEMPLATE.T_parent_joint), TEMPLATE.parents, TEMPLATE.joint_names)
RNG = np.random.default_rng(0)
POSE = HandPose(
    jnp.float32(RNG.uniform(0.2, 0.5, 28)),
    jnp.eye(4).at[:3, 3].set(jnp.array([5.0, -9.0, 20.0])),
    jnp.float32(1.05),
)
AT = jax.jit(lambda pose: joint_points(RIG, pose_rig(RIG, pose.theta), pose))(POSE)
CAMERA = Camera(
    jnp.float32(np.tile([[500.0, 2, 310], [0, 510, 230], [0, 0, 1]], (2, 1, 1))),
    jnp.float32(np.stack([
        np.block([[np.eye(3), np.array([[0], [0], [600.0]])], [0, 0, 0, 1]]),
        np.block([[np.diag([-1.0, 1, -1]), np.array([[10], [0], [700.0]])], [0, 0, 0, 1]]),
    ])),
)  # fmt: skip
PIXELS = jnp.float32(RNG.normal(300, 40, (2, 22, 2)))
WEIGHTS = jnp.float32(RNG.uniform(0, 1, (2, 22)) * (RNG.random((2, 22)) > 0.3))
SPHERES = bone_spheres(
    TEMPLATE, pose_rig(RIG, jnp.zeros(28)).joints, jnp.asarray(TEMPLATE.v_template)
)


def _joint(points):
    return joint_term(points, jnp.float32(TARGET), WEIGHTS[0])


def _keypoints(points):
    return keypoint_term(points, PIXELS, WEIGHTS, CAMERA, jnp.array([1.2, 1.4]), 30.0)


def _surface(points):
    normal = TARGET / np.linalg.norm(TARGET, axis=1, keepdims=True)
    matches = Matches(jnp.arange(22)[::-1], jnp.float32(normal), WEIGHTS[0])
    return surface_term(points, jnp.float32(TARGET), matches, 20.0)


TARGET = np.asarray(AT.position) + RNG.normal(scale=20, size=(22, 3))


@pytest.mark.parametrize("term", [_joint, _keypoints, _surface])
def test_gradient_is_half_that_of_the_cost(term):
    def cost(position):
        return term(Points(position, AT.jacobian)).cost

    by_position = jax.grad(cost)(AT.position)
    expected = np.einsum("ni,nip->p", by_position, AT.jacobian) / 2
    found = term(AT)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found.gradient, expected, atol=1e-4 * scale)
    eigenvalues = np.linalg.eigvalsh(np.float64(found.hessian))
    assert eigenvalues[-1] > 0
    assert eigenvalues[0] > -1e-5 * eigenvalues[-1]


def test_penetration_grows_with_the_overlap_and_its_step_undoes_it():
    """Fingers that cross: along minus the gradient the cost falls as fast as the gradient says."""
    theta = np.zeros(28, np.float32)
    theta[[9, 14]] = 0.5, -0.5  # the index and the middle finger turned into each other
    crossed = None
    for sign in (1, -1):
        pose = HandPose(jnp.float32(sign * theta), jnp.eye(4), jnp.float32(1))
        term = penetration_term(joint_points(RIG, pose_rig(RIG, pose.theta), pose), SPHERES, 1.0)
        if float(term.cost) > 1:
            crossed = pose, term
    assert crossed is not None
    pose, term = crossed
    direction = -term.gradient / jnp.linalg.norm(term.gradient)
    moved = move_pose(RIG, pose, 1e-3 * direction)
    after = penetration_term(joint_points(RIG, pose_rig(RIG, moved.theta), moved), SPHERES, 1.0)
    fall = float(term.cost - after.cost) / 1e-3
    assert fall == pytest.approx(2 * float(jnp.linalg.norm(term.gradient)), rel=0.1)
    rest = HandPose(jnp.zeros(28), jnp.eye(4), jnp.float32(1))
    assert float(penetration_term(joint_points(RIG, pose_rig(RIG, rest.theta), rest), SPHERES,
                                  1.0).cost) < 1e-3  # fmt: skip


def test_what_lies_behind_a_camera_costs_as_much_as_anything_can():
    behind = CAMERA._replace(T_camera_world=CAMERA.T_camera_world.at[:, 2, 3].set(-600.0))
    term = keypoint_term(AT, PIXELS, WEIGHTS, behind, jnp.ones(2), 30.0)
    assert float(term.cost) == pytest.approx(float(WEIGHTS.sum()) * 900, rel=1e-5)
    assert float(jnp.abs(term.gradient).max()) == 0
    assert np.isfinite(term.hessian).all()


def test_the_prior_pulls_angles_and_scale_alone():
    pull = prior_term(POSE, jnp.zeros(28), 2.0, 3.0)
    cost = 4 * np.sum(np.square(POSE.theta)) + 9 * np.log(1.05) ** 2
    assert float(pull.cost) == pytest.approx(cost, rel=1e-5)
    np.testing.assert_array_equal(pull.gradient[28:34], 0)
    assert float(pull.gradient[34]) == pytest.approx(9 * np.log(1.05), rel=1e-4)


def test_a_bounded_linear_problem_ends_where_scipy_ends():
    rng = np.random.default_rng(3)
    A, b = rng.normal(size=(20, 6)), rng.normal(size=20)
    low, high = -np.full(6, 0.1), np.full(6, 0.15)

    def linearise(x) -> NormalEquations:
        return normal_equations(jnp.float32(A) @ x - jnp.float32(b), jnp.float32(A))

    def fixed(x, gradient):
        return ((x <= low) & (gradient > 0)) | ((x >= high) & (gradient < 0))

    found, cost = minimise(
        linearise, lambda x, step: jnp.clip(x + step, low, high), fixed, jnp.zeros(6), 30
    )
    expected = lsq_linear(A, b, (low, high))
    np.testing.assert_allclose(found, expected.x, atol=1e-4)
    assert float(cost) == pytest.approx(2 * expected.cost, rel=1e-4)


def test_a_problem_that_is_nan_stays_where_it_started():
    def linearise(x) -> NormalEquations:
        return normal_equations(jnp.log(x - 2), jnp.eye(3))

    found, _ = minimise(
        linearise, lambda x, step: x + step, lambda x, g: jnp.zeros(3, bool), jnp.ones(3), 5
    )
    np.testing.assert_array_equal(found, 1)
