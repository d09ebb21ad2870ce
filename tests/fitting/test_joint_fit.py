import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from data_prep.toy.hand import make_toy_template
from dhm.fitting import fit_pose
from dhm.geometry.hand_rig import dof_indices, joint_limits
from tests.references import geometry as twin

RIG = make_toy_template(800)
DOFS = dof_indices(RIG.joint_names)
LOW, HIGH = joint_limits(RIG.joint_names)


def _joints(theta, T_parent_joint=RIG.T_parent_joint):
    euler = np.zeros((22, 3))
    for value, (joint, axis) in zip(theta, DOFS, strict=True):
        euler[joint, axis] = value
    rotations = [twin.euler_matrix(e) for e in euler]
    return twin.forward_kinematics(T_parent_joint, rotations, RIG.parents)[:, :3, 3]


def _poses(rng, n):
    """Random poses, most of them well inside the limits and bent more than stretched."""
    return rng.uniform(0.7 * LOW, 0.85 * HIGH, size=(n, 28)) * rng.uniform(0.3, 1, size=(n, 1))


def _place(rng, joints, distance=1000.0):
    R = twin.random_rotation(rng, len(joints))
    return joints @ R.transpose(0, 2, 1) + rng.normal(size=(len(joints), 1, 3)) * distance


@jax.jit
def _fit(target, valid):
    rest = jnp.float32(RIG.T_parent_joint)
    return fit_pose(rest, RIG.parents, RIG.joint_names, target, valid)


def test_reaches_joints_that_the_rig_can_reach():
    rng = np.random.default_rng(0)
    theta = _poses(rng, 40)
    target = _place(rng, np.stack([_joints(t) for t in theta]))
    fitted = _fit(jnp.float32(target), jnp.ones((40, 22), bool))
    assert float(fitted.residual.max()) < 0.1
    assert float(np.median(fitted.residual)) < 0.02
    for sample in range(3):
        placed = _joints(np.float64(fitted.theta[sample])) @ fitted.T_world_model[sample, :3, :3].T
        error = placed + fitted.T_world_model[sample, :3, 3] - target[sample]
        distance = np.linalg.norm(error, axis=1).mean()
        assert distance == pytest.approx(float(fitted.residual[sample]), abs=5e-3)


def test_bent_fingers_get_their_angles_back():
    rng = np.random.default_rng(1)
    theta = np.zeros((8, 28))
    flexion = [i for i, (_, axis) in enumerate(DOFS) if axis == 2 and i >= 8]
    theta[:, flexion] = rng.uniform(0.3, 1.2, size=(8, len(flexion)))
    target = _place(rng, np.stack([_joints(t) for t in theta]))
    fitted = _fit(jnp.float32(target), jnp.ones((8, 22), bool))
    np.testing.assert_allclose(fitted.theta[:, flexion], theta[:, flexion], atol=0.05)


@pytest.mark.slow
def test_ends_where_a_slow_optimiser_ends_from_many_starts():
    """Joints of another hand: the best pose leaves some millimetres."""
    rng, other = np.random.default_rng(2), RIG.T_parent_joint.copy()
    other[:, :3, 3] *= rng.uniform(0.85, 1.15, size=(22, 1))
    target = np.stack([_joints(t, other) for t in _poses(rng, 3)])
    target += rng.normal(scale=2, size=target.shape)
    fitted = _fit(jnp.float32(target), jnp.ones((3, 22), bool))

    def residuals(theta, points):
        joints = _joints(theta)
        mean = joints.mean(axis=0), points.mean(axis=0)
        R, _ = Rotation.align_vectors(points - mean[1], joints - mean[0])
        error = R.apply(joints - mean[0]) - (points - mean[1])
        return np.concatenate([error.ravel(), 0.5 * theta])

    for points, theta in zip(target, np.float64(fitted.theta), strict=True):
        inside = np.clip(theta, LOW, HIGH)
        starts = [np.zeros(28), *(_poses(rng, 3))]
        best = min(
            least_squares(residuals, start, args=(points,), bounds=(LOW, HIGH), max_nfev=40).cost
            for start in starts
        )
        ours = 0.5 * np.sum(residuals(inside, points) ** 2)
        assert ours < 1.02 * best


def test_limits_hold_and_missing_joints_do_not_count():
    rng = np.random.default_rng(3)
    theta = np.tile(2 * HIGH, (4, 1))
    target = _place(rng, np.stack([_joints(t) for t in theta]))
    valid = np.ones((4, 22), bool)
    valid[1:, [0, 5, 13]] = False
    spoilt = np.where(valid[..., None], target, 1e6)
    fitted = _fit(jnp.float32(spoilt), jnp.array(valid))
    assert (np.asarray(fitted.theta) >= np.float32(LOW)).all()
    assert (np.asarray(fitted.theta) <= np.float32(HIGH)).all()
    zeroed = _fit(jnp.float32(np.where(valid[..., None], target, 0)), jnp.array(valid))
    np.testing.assert_allclose(fitted.theta, zeroed.theta, atol=1e-4)
    nothing = _fit(jnp.float32(target), jnp.zeros((4, 22), bool))
    np.testing.assert_allclose(nothing.theta, 0, atol=1e-3)


def test_ten_metres_away_and_alone_the_pose_is_the_same():
    rng = np.random.default_rng(4)
    joints = np.stack([_joints(t) for t in _poses(rng, 4)])
    valid = jnp.ones((4, 22), bool)
    here = _fit(jnp.float32(joints), valid)
    there = _fit(jnp.float32(joints + np.array([6000, -6400, 4800])), valid)
    assert float(jnp.abs(here.residual - there.residual).max()) < 0.02
    alone = _fit(jnp.float32(joints[:1]), valid[:1])
    np.testing.assert_allclose(alone.theta[0], here.theta[0], atol=1e-2)


@pytest.mark.mistake(
    "dhm.fit_pose",
    "metres, or joints of another order",
    "not noticed: compiled code has no notes; a `residual` of centimetres is all that says so",
)
@pytest.mark.mistake(
    "dhm.fit_pose",
    "NaN in a joint that is `valid`",
    "doubtful: its frame's residual is NaN",
)
def test_the_residual_alone_tells_of_wrong_joints():
    joints = np.stack([_joints(t) for t in _poses(np.random.default_rng(5), 4)])
    joints[0] /= 1000
    joints[1] = joints[1, ::-1]
    joints[2, 7, 1] = np.nan
    residual = np.asarray(_fit(jnp.float32(joints), jnp.ones((4, 22), bool)).residual)
    assert residual[0] > 20 and residual[1] > 10
    assert np.isnan(residual[2])
    assert residual[3] < 0.1
