"""MANO against a slow twin and, where it is installed, against smplx."""

import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dhm.formats.mano_pickle import write_mano
from dhm.geometry.hand_rig import FINGERS, MANO_JOINTS
from dhm.geometry.hand_rig import JOINT_NAMES as RIG_NAMES
from dhm.geometry.transforms import axis_angle_to_matrix
from dhm.networks.mano import (
    OUTPUT_NAMES,
    ManoOutput,
    mano,
    mano_pose_vector,
    mano_shape,
)
from tests.references import mano as twin

TOLERANCE = 1e-4  # mm


@functools.cache
def _model(num_vertices=778, num_shapes=10):
    return twin.random_mano(0, num_vertices, num_shapes)


def _inputs(model, batch=3, seed=1, num_shapes=None):
    rng = np.random.default_rng(seed)
    scales = {"betas": 1.5, "pose": 0.7, "global_orient": 1.5, "translation": 50}
    sizes = (num_shapes or model.shapedirs.shape[-1], 45, 3, 3)
    return {
        name: jnp.asarray(rng.normal(scale=scale, size=(batch, size)), jnp.float32)
        for (name, scale), size in zip(scales.items(), sizes, strict=True)
    }


def test_names_are_this_projects():
    assert set(OUTPUT_NAMES) <= set(RIG_NAMES)
    assert len(set(OUTPUT_NAMES)) == 21
    assert MANO_JOINTS[7:10] == ("pinky1", "pinky2", "pinky3")


@pytest.mark.parametrize(("num_vertices", "num_shapes"), [(778, 10), (40, 3)])
def test_agrees_with_the_twin(num_vertices, num_shapes):
    model = _model(num_vertices, num_shapes)
    inputs = _inputs(model)
    found = jax.jit(functools.partial(mano, model))(**inputs)
    for i in range(3):
        one = {name: np.asarray(value[i], np.float64) for name, value in inputs.items()}
        vertices, joints = twin.mano(model, **one)
        np.testing.assert_allclose(found.vertices[i], vertices, atol=TOLERANCE, rtol=0)
        np.testing.assert_allclose(found.joints[i], joints, atol=TOLERANCE, rtol=0)


def test_shape_alone_is_the_zero_pose():
    model = _model(40)
    betas = _inputs(model)["betas"]
    v_shaped, joints = mano_shape(model, betas)
    posed = mano(model, betas, jnp.zeros((3, 45)))
    np.testing.assert_allclose(posed.vertices, v_shaped, atol=TOLERANCE)
    np.testing.assert_allclose(posed.joints[:, :16], joints, atol=TOLERANCE)
    expected = model.J_regressor @ np.asarray(v_shaped, np.float64)
    np.testing.assert_allclose(joints, expected, atol=TOLERANCE)


def test_shape_coefficients_left_out_are_zero():
    model = _model(40)
    inputs = _inputs(model, num_shapes=4)
    padded = inputs | {"betas": jnp.pad(inputs["betas"], ((0, 0), (0, 6)))}
    few, all_of_them = mano(model, **inputs), mano(model, **padded)
    np.testing.assert_allclose(few.vertices, all_of_them.vertices, atol=TOLERANCE)


def test_one_shape_serves_many_poses():
    model = _model(40)
    inputs = _inputs(model)
    shared = mano(model, **inputs | {"betas": inputs["betas"][:1]})
    repeated = mano(model, **inputs | {"betas": jnp.repeat(inputs["betas"][:1], 3, axis=0)})
    np.testing.assert_allclose(shared.vertices, repeated.vertices, atol=TOLERANCE)


def test_global_orientation_turns_about_the_wrist():
    model = _model(40)
    inputs = _inputs(model)
    turned = mano(model, inputs["betas"], inputs["pose"], inputs["global_orient"])
    still = mano(model, inputs["betas"], inputs["pose"])
    wrist = still.joints[:, :1]
    np.testing.assert_allclose(turned.joints[:, :1], wrist, atol=TOLERANCE)
    for i, vector in enumerate(inputs["global_orient"]):
        expected = Rotation.from_rotvec(vector).apply(still.vertices[i] - wrist[i]) + wrist[i]
        np.testing.assert_allclose(turned.vertices[i], expected, atol=2 * TOLERANCE)


def test_fingertips_are_vertices():
    model = _model()
    found = mano(model, **_inputs(model))
    np.testing.assert_array_equal(found.joints[:, 16:], found.vertices[:, twin.MANO_TIPS, :])


@pytest.mark.parametrize("flat", [True, False])
def test_pose_vectors(flat):
    model = _model(40)
    mean = 0 if flat else model.hands_mean
    given = np.random.default_rng(2).normal(size=(2, 45)).astype(np.float32)
    for count in (6, 45):
        found = mano_pose_vector(model, jnp.array(given[:, :count]), pca=True, flat_hand_mean=flat)
        expected = given[:, :count].astype(float) @ model.hands_components[:count] + mean
        np.testing.assert_allclose(found, expected, atol=2e-6)
    found = mano_pose_vector(model, jnp.array(given), pca=False, flat_hand_mean=flat)
    np.testing.assert_allclose(found, given + mean, atol=1e-6)


def test_numbers_that_do_not_fit_are_refused():
    model = _model(40, 3)
    with pytest.raises(ValueError, match="4 shape coefficients for a model of 3"):
        mano_shape(model, jnp.zeros((1, 4)))
    with pytest.raises(ValueError, match="46 numbers, expected 45 at most"):
        mano_pose_vector(model, jnp.zeros((1, 46)), pca=True, flat_hand_mean=True)
    with pytest.raises(ValueError, match=r"6 numbers, expected 45$"):
        mano_pose_vector(model, jnp.zeros((1, 6)), pca=False, flat_hand_mean=True)


def test_vmap_is_a_loop():
    model = _model(40)
    inputs = _inputs(model)
    mapped = jax.vmap(lambda one: mano(model, **one))(inputs)
    batched = mano(model, **inputs)
    looped = [mano(model, **{name: value[i] for name, value in inputs.items()}) for i in range(3)]
    looped = ManoOutput(*(jnp.stack(part) for part in zip(*looped, strict=True)))
    for found in (mapped, batched):
        np.testing.assert_allclose(found.vertices, looped.vertices, atol=TOLERANCE)
        np.testing.assert_allclose(found.joints, looped.joints, atol=TOLERANCE)


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_gradients_are_those_of_finite_differences(scale):
    """At no rotation above all, where Rodrigues' formula divides zero by zero."""
    model = _model(40)
    inputs = {name: scale * value[0] for name, value in _inputs(model).items()}
    target = np.random.default_rng(3).normal(size=(40, 3))

    def loss(one):
        return (mano(model, **one).vertices * jnp.asarray(target, jnp.float32)).sum()

    def exact(one):
        one = {name: np.asarray(value, np.float64) for name, value in one.items()}
        return (twin.mano(model, **one)[0] * target).sum()

    found = jax.jit(jax.grad(loss))(inputs)
    for name, index in [("betas", 0), ("pose", 0), ("pose", 31), ("global_orient", 1)]:
        assert np.isfinite(found[name]).all()
        step = np.zeros(inputs[name].shape)
        step[index] = 1e-5
        base = np.asarray(inputs[name], np.float64)
        ahead, behind = (exact(inputs | {name: base + sign * step}) for sign in (1, -1))
        expected = (ahead - behind) / 2e-5
        np.testing.assert_allclose(found[name][index], expected, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("angle", [0, 1e-6, 1e-3, 0.0999, 0.1001, 1, 3.1, np.pi, 6.2, 20])
def test_rotation_matrices_of_every_angle(angle):
    axis = np.random.default_rng(4).normal(size=(5, 3))
    vectors = angle * axis / np.linalg.norm(axis, axis=1, keepdims=True)
    vectors = vectors.astype(np.float32)
    found = axis_angle_to_matrix(jnp.asarray(vectors))
    expected = Rotation.from_rotvec(vectors.astype(float)).as_matrix()
    # The length of a float32 vector is rounded to some 1e-7 of itself.
    np.testing.assert_allclose(found, expected, atol=6e-7 + 1e-7 * angle)
    for vector, matrix in zip(vectors, expected, strict=True):
        np.testing.assert_allclose(twin.rodrigues(vector.astype(float)), matrix, atol=1e-12)
    slopes = jax.vmap(jax.jacobian(axis_angle_to_matrix))(jnp.asarray(vectors))
    assert np.isfinite(slopes).all()
    if angle == 0:  # the generators of rotations
        assert slopes[0, 2, 1, 0] == slopes[0, 0, 2, 1] == slopes[0, 1, 0, 2] == 1


@pytest.mark.parametrize("side", ["RIGHT", "LEFT"])
@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("components", [12, None])
def test_agrees_with_smplx(tmp_path, side, flat, components):
    smplx = pytest.importorskip("smplx", reason="needs smplx and torch: pip install smplx torch")
    torch = pytest.importorskip("torch", reason="needs smplx and torch: pip install smplx torch")
    model = twin.random_mano(seed=5 + len(side))
    path = tmp_path / f"MANO_{side}.pkl"
    write_mano(path, model)
    batch = 8
    inputs = _inputs(model, batch, seed=6)
    given = inputs.pop("pose")[:, :components]
    pca = components is not None
    theirs = smplx.MANO(
        str(path), is_rhand=side == "RIGHT", use_pca=pca, flat_hand_mean=flat, batch_size=batch,
        num_pca_comps=components or 45, dtype=torch.float64,
    )  # fmt: skip
    exact = {name: torch.tensor(np.asarray(value, np.float64)) for name, value in inputs.items()}
    exact["transl"] = exact.pop("translation") / 1000
    hand_pose = torch.tensor(np.asarray(given, np.float64))
    expected = theirs(hand_pose=hand_pose, **exact)
    pose = mano_pose_vector(model, given, pca=pca, flat_hand_mean=flat)
    found = mano(model, pose=pose, **inputs)
    vertices = 1000 * expected.vertices.detach().numpy()
    joints = 1000 * expected.joints.detach().numpy()
    known = importlib.import_module("smplx.vertex_ids").vertex_ids["mano"]
    tips = vertices[:, [known[finger] for finger in FINGERS]]
    for ours, other in [
        (found.vertices, vertices), (found.joints[:, :16], joints), (found.joints[:, 16:], tips)
    ]:  # fmt: skip
        difference = np.abs(np.asarray(ours, np.float64) - other).max()
        print(f"{side} flat={flat} components={components}: {difference:.2e} mm")
        assert difference < TOLERANCE
