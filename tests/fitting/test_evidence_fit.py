"""Hands of the toy rig found again from keypoints, noisy joints, skin and in films."""

from functools import partial

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_prep.toy.hand import make_toy_template
from dhm.errors import BadInputError
from dhm.fitting.evidence import (
    no_evidence,
    spread_sample,
    starts_from_joints,
    starts_from_one_view,
    triangulate,
)
from dhm.fitting.evidence_fit import DEFAULTS, FitSettings, fit_evidence, fit_sequence
from dhm.fitting.joint_fit import default_starts
from dhm.fitting.rig import HandPose, SkinSample, make_rig, pose_rig, posed_joints, skin_points
from dhm.geometry.mesh import vertex_normals
from dhm.geometry.transforms import transform_points
from dhm.networks.hand_model import inverse_bind_pose
from dhm.types import Camera
from tests.references import geometry as twin

TEMPLATE = make_toy_template(800)
RIG = make_rig(jnp.asarray(TEMPLATE.T_parent_joint), TEMPLATE.parents, TEMPLATE.joint_names)
SIZE = 8
PLACE = np.array([2000.0, -3000, 500])


def _true_pose(seed, scale=1.0):
    rng = np.random.default_rng(seed)
    middle, half = (RIG.low + RIG.high) / 2, (RIG.high - RIG.low) / 2
    theta = middle + half * rng.uniform(-0.5, 0.6, (SIZE, 28))
    T = np.tile(np.eye(4), (SIZE, 1, 1))
    T[:, :3, :3] = twin.random_rotation(rng, SIZE)
    T[:, :3, 3] = rng.normal(scale=40, size=(SIZE, 3)) + PLACE
    return HandPose(jnp.float32(theta), jnp.float32(T), jnp.full(SIZE, scale))


def _joints(pose):
    joints = posed_joints(RIG, pose.theta) * pose.scale[:, None, None]
    return np.asarray(transform_points(pose.T_world_model, joints))


def _cameras(count):
    """Around the hands, 900 mm away."""
    K = np.tile([[900.0, 0, 320], [0, 900, 240], [0, 0, 1]], (SIZE, count, 1, 1))
    T = np.tile(np.eye(4), (SIZE, count, 1, 1))
    T[..., :3, :3] = twin.random_rotation(np.random.default_rng(7), count)
    T[..., :3, 3] = [0, 0, 900] - T[..., :3, :3] @ PLACE
    return Camera(K, T)


def _keypoints(joints, camera):
    at = np.einsum("bcij,bkj->bcki", camera.T_camera_world[..., :3, :3], joints)
    at = at + camera.T_camera_world[..., None, :3, 3]
    pixels = np.einsum("bcij,bckj->bcki", camera.K, at)
    return pixels[..., :2] / pixels[..., 2:]


def _seen(pixels, camera, weights=None):
    weights = np.ones(pixels.shape[:3]) if weights is None else weights
    return no_evidence(SIZE, 22, pixels.shape[1])._replace(
        keypoints=np.float32(pixels), keypoint_weight=np.float32(weights),
        camera=Camera(*(np.float32(x) for x in camera)),
    )  # fmt: skip


def _given(joints):
    return no_evidence(*joints.shape[:2])._replace(
        joints=np.float32(joints), joint_weight=np.ones(joints.shape[:2], np.float32)
    )


@jax.jit
def _fit_with(evidence, fit_scale, prior_width):
    theta = jnp.tile(default_starts(RIG), (len(evidence.joints), 1, 1))
    settings = DEFAULTS._replace(fit_scale=fit_scale, prior_width=prior_width)
    return fit_evidence(RIG, evidence, starts_from_joints(RIG, evidence, theta), settings)


def _fit(evidence, fit_scale=False, prior_width=DEFAULTS.prior_width):
    return _fit_with(evidence, fit_scale, prior_width)


def _error(fitted, joints):
    return np.linalg.norm(_joints(fitted.pose) - joints, axis=-1).mean(axis=1)


def test_exact_joints_are_followed_and_noisy_ones_not_into_odd_poses():
    joints = _joints(_true_pose(0))
    exact = _fit(_given(joints))
    assert _error(exact, joints).max() < 0.1
    np.testing.assert_allclose(exact.joint_error, _error(exact, joints), atol=5e-3)
    assert np.isnan(exact.pixel_error).all()
    noisy = joints + np.random.default_rng(1).normal(scale=3, size=joints.shape)
    heeding, blind = _fit(_given(noisy)), _fit(_given(noisy), prior_width=1e6)
    assert _error(heeding, joints).mean() < 3
    assert _error(heeding, joints).mean() < _error(blind, joints).mean() - 0.1


def test_four_views_with_two_pixels_of_noise_come_within_two_millimetres():
    joints, camera = _joints(_true_pose(2)), _cameras(4)
    pixels = _keypoints(joints, camera) + np.random.default_rng(0).normal(
        scale=2, size=(SIZE, 4, 22, 2)
    )
    fitted = _fit(_seen(pixels, camera))
    assert _error(fitted, joints).mean() < 2
    assert 1 < float(fitted.pixel_error.mean()) < 3
    # A seventh of them somewhere else, and a joint that nobody sees.
    rng, weights = np.random.default_rng(5), np.ones((SIZE, 4, 22))
    wrong = rng.random(weights.shape) < 0.14
    pixels[wrong] += rng.normal(scale=150, size=(wrong.sum(), 2))
    weights[:, :, 6] = 0
    robust = _fit(_seen(pixels, camera, weights))
    assert np.median(_error(robust, joints)) < 2.5


def test_the_size_of_the_hand_is_found_from_four_views():
    joints, camera = _joints(_true_pose(3, scale=1.12)), _cameras(4)
    fitted = _fit(_seen(_keypoints(joints, camera), camera), fit_scale=True)
    np.testing.assert_allclose(fitted.pose.scale, 1.12, atol=0.01)
    assert _error(fitted, joints).max() < 1
    fixed = _fit(_seen(_keypoints(joints, camera), camera))
    np.testing.assert_array_equal(fixed.pose.scale, 1)


def test_triangulation_agrees_with_opencv():
    joints, camera = _joints(_true_pose(4)), _cameras(2)
    pixels = _keypoints(joints, camera)
    weights = np.ones((SIZE, 2, 22))
    weights[:, 1, 3] = 0
    points, found = jax.jit(triangulate)(
        jnp.float32(pixels), jnp.float32(weights), Camera(*(jnp.float32(x) for x in camera))
    )
    P = camera.K @ camera.T_camera_world[..., :3, :]
    expected = cv2.triangulatePoints(P[0, 0], P[0, 1], pixels[0, 0].T, pixels[0, 1].T)
    expected = (expected[:3] / expected[3]).T
    use = np.arange(22) != 3
    np.testing.assert_allclose(points[0, use], expected[use], atol=0.5)
    assert float(found[:, 3].max()) == 0
    assert float(found[:, use].min()) > 0.9


def test_one_view_places_a_hand_whose_angles_are_known():
    pose, camera = _true_pose(6), _cameras(1)
    joints = _joints(pose)
    evidence = _seen(_keypoints(joints, camera), camera)

    @jax.jit
    def fit(evidence, theta):
        starts = starts_from_one_view(RIG, evidence, theta)
        return fit_evidence(RIG, evidence, starts, FitSettings(prior=8.0), prior_pose=theta)

    fitted = fit(evidence, pose.theta)
    assert float(fitted.pixel_error.max()) < 1
    assert np.median(_error(fitted, joints)) < 3


def _surface():
    sample = spread_sample(TEMPLATE.v_template, 400)
    normals = vertex_normals(TEMPLATE.v_template, TEMPLATE.faces)[sample]
    rest = jnp.asarray(TEMPLATE.v_template[sample])
    return SkinSample(
        jnp.asarray(TEMPLATE.lbs_weights[sample]),
        jnp.asarray(inverse_bind_pose(TEMPLATE), jnp.float32),
        jnp.float32(normals), np.ones(len(sample), bool), lambda theta: rest,
    )  # fmt: skip


def test_skin_mends_what_noisy_joints_leave():
    pose, surface = _true_pose(8), _surface()
    full = SkinSample(
        jnp.asarray(TEMPLATE.lbs_weights), surface.T_joint_model, surface.normals, surface.inner,
        lambda theta: jnp.asarray(TEMPLATE.v_template),
    )  # fmt: skip

    def vertices(pose):
        skin = full.skin(pose.theta)
        return skin_points(RIG, pose_rig(RIG, pose.theta), pose, skin).position

    true = np.asarray(jax.jit(jax.vmap(vertices))(pose))
    normals = np.stack([vertex_normals(v, TEMPLATE.faces) for v in true])
    joints = _joints(pose) + np.random.default_rng(2).normal(scale=3, size=(SIZE, 22, 3))
    alone = _given(joints)
    half = np.arange(TEMPLATE.num_vertices) % 2 == 0
    both = alone._replace(
        points=np.float32(true[:, half]), normals=np.float32(normals[:, half]),
        point_weight=np.ones((SIZE, half.sum()), np.float32),
    )  # fmt: skip

    @jax.jit
    def fit(evidence):
        theta = jnp.tile(default_starts(RIG), (SIZE, 1, 1))
        starts = starts_from_joints(RIG, evidence, theta)
        return fit_evidence(RIG, evidence, starts, surface=surface)

    before, after = fit(alone), fit(both)
    assert np.isnan(before.surface_error).all()
    assert float(after.matched.min()) > 0.7

    def off(fitted):
        found = np.asarray(jax.jit(jax.vmap(vertices))(fitted.pose))
        return np.linalg.norm(found - true, axis=-1).mean()

    assert off(after) < 0.6 * off(before)


def test_in_a_film_what_a_frame_does_not_show_stays_as_it_was():
    pose = _true_pose(9)
    still = HandPose(*(jnp.repeat(x[:1], SIZE, 0) for x in pose))
    joints = _joints(still)
    evidence = _given(joints)
    index = [i for i, n in enumerate(TEMPLATE.joint_names) if n in ("index_null", "index3")]
    weights = evidence.joint_weight.copy()
    weights[4:, index] = 0
    joints = evidence.joints.copy()
    joints[4:, index] = np.nan
    hidden = evidence._replace(joints=joints, joint_weight=weights)

    @jax.jit
    def film(evidence):
        theta = jnp.tile(default_starts(RIG), (SIZE, 1, 1))
        return fit_sequence(RIG, evidence, starts_from_joints(RIG, evidence, theta))

    found = film(hidden)
    tip = TEMPLATE.joint_names.index("index_null")
    off = np.linalg.norm(_joints(found.pose)[:, tip] - _joints(still)[:, tip], axis=-1)
    assert off[4:].max() < 3
    alone = _fit(hidden)
    assert np.linalg.norm(_joints(alone.pose)[4, tip] - _joints(still)[4, tip]) > 5


def test_nothing_known_gives_the_relaxed_hand_where_it_started():
    nothing = no_evidence(2, 22)
    starts = HandPose(jnp.zeros((2, 1, 28)), jnp.tile(jnp.eye(4), (2, 1, 1, 1)), jnp.ones((2, 1)))
    fitted = jax.jit(partial(fit_evidence, RIG))(nothing, starts)
    np.testing.assert_allclose(fitted.pose.theta[0], (RIG.low + RIG.high) / 2, atol=1e-3)
    np.testing.assert_allclose(fitted.pose.T_world_model, np.tile(np.eye(4), (2, 1, 1)), atol=1e-3)
    assert np.isnan(fitted.joint_error).all()
    assert float(fitted.cost[0]) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e, s: (e._replace(joints=e.joints[:, :21]), s),
         "joints: found shape [8, 21, 3], expected [b, j, 3] with b = 8 as in theta, j = 22"),
        (lambda e, s: (e, HandPose(*(x[:2] for x in s))), "joints: found shape [8, 22, 3]"),
        (lambda e, s: (e, HandPose(*(x[:, 0] for x in s))),
         "theta: found shape [8, 28], expected [b, n, 28]"),
        (lambda e, s: (e._replace(keypoints=e.keypoints[..., :1]), s),
         "keypoints: found shape [8, 1, 22, 1], expected [b, c, j, 2]"),
    ],
)  # fmt: skip
def test_arrays_of_other_shapes_are_refused(change, message):
    starts = HandPose(jnp.zeros((8, 2, 28)), jnp.tile(jnp.eye(4), (8, 2, 1, 1)), jnp.ones((8, 2)))
    with pytest.raises(BadInputError) as refusal:
        fit_evidence(RIG, *change(no_evidence(8, 22, 1), starts))
    assert message in str(refusal.value)
