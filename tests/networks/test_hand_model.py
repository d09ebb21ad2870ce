import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dhm.geometry.hand_rig import JOINT_NAMES, dof_indices
from dhm.networks.encoder import ImageEncoder
from dhm.networks.hand_model import CORRECTIVES, HandModel, inverse_bind_pose
from dhm.types import HandTemplate
from tests.references import geometry as twin

PARENTS = (1, 2, 3, 4, 21, 6, 7, 8, 21, 10, 11, 12, 21, 14, 15, 16, 21, 18, 19, 20, 21, -1)


@functools.cache
def _template(num_vertices=60):
    rng = np.random.default_rng(0)
    T = np.tile(np.eye(4), (22, 1, 1))
    T[:, :3, :3] = twin.random_rotation(rng, 22)
    T[:, :3, 3] = rng.normal(scale=20, size=(22, 3))
    return HandTemplate(
        joint_names=JOINT_NAMES,
        parents=PARENTS,
        T_parent_joint=T,
        v_template=rng.normal(scale=50, size=(num_vertices, 3)),
        faces=rng.integers(0, num_vertices, size=(100, 3)),
        lbs_weights=rng.dirichlet(np.ones(22), size=num_vertices),
        uvs=np.zeros((1, 2)),
        faces_uv=np.zeros((100, 3), int),
    )


@functools.cache
def _model(template, **options):
    model = HandModel(template, ImageEncoder(depth=18, width=8), **options)
    return model, _init(model)


def _init(model, params_seed=0, identity_seed=7):
    # Threefry unrolled over a ResNet's tensors takes XLA ten seconds to compile.
    keys = {
        "params": jax.random.key(params_seed, impl="rbg"),
        "identity": jax.random.key(identity_seed),
    }
    return jax.jit(model.init)(keys, jnp.zeros((1, 32, 32, 3)))


def _without_correctives(variables):
    params = {
        name: jax.tree.map(jnp.zeros_like, value) if name.endswith("corrective") else value
        for name, value in variables["params"].items()
    }
    return {**variables, "params": params}


def test_rest_pose_without_correctives_gives_the_template_back():
    template = _template()
    model, variables = _model(template)
    output = model.apply(_without_correctives(variables), jnp.zeros((2, 28)), method="decode")
    np.testing.assert_allclose(output.vertices[1], template.v_template, atol=2e-3)
    np.testing.assert_allclose(output.v_zero[0], template.v_template, atol=2e-3)
    rest = np.linalg.inv(inverse_bind_pose(template))[:, :3, 3]
    np.testing.assert_allclose(output.joints[0], rest, atol=2e-3)
    np.testing.assert_allclose(output.joints_zero[0], rest, atol=2e-3)


@pytest.mark.parametrize("pose_input", ["enabled", "all"])
def test_decode_agrees_with_the_slow_twins(pose_input):
    template, rng = _template(), np.random.default_rng(1)
    model, variables = _model(template, pose_corrective_input=pose_input)
    theta = rng.uniform(-1, 1, size=(2, 28))
    root = np.eye(4)
    root[:3, :3], root[:3, 3] = twin.random_rotation(rng, 1)[0], [30, -200, 900]
    ours = model.apply(
        variables, jnp.float32(theta), jnp.float32(np.stack([root] * 2)), method="decode"
    )

    def dense(x, name):
        for i in (0, 1):
            layer = variables["params"][name][f"Dense_{i}"]
            x = x @ np.float64(layer["kernel"]) + np.float64(layer["bias"])
            x = np.maximum(x, 0) if i == 0 else x
        return x.reshape(-1, 3)

    code = np.float64(variables["identity"]["code"])
    dofs = dof_indices(JOINT_NAMES)
    for sample in range(2):
        euler = np.zeros((22, 3))
        for value, (joint, axis) in zip(theta[sample], dofs, strict=True):
            euler[joint, axis] = value
        pose = np.float64(theta[sample]) if pose_input == "enabled" else euler.ravel()
        refined = template.v_template + dense(code, "identity_corrective")
        refined = refined + dense(pose, "pose_corrective")
        skeleton = template.T_parent_joint.copy()
        skeleton[:, :3, 3] += dense(code, "skeleton_corrective")
        for pose_euler, ours_v, ours_j, T in (
            (euler, ours.vertices, ours.joints, root),
            (euler * 0, ours.v_zero, ours.joints_zero, np.eye(4)),
        ):
            posed = twin.forward_kinematics(
                skeleton, [twin.euler_matrix(e) for e in pose_euler], PARENTS
            )
            expected = twin.linear_blend_skinning(
                refined, template.lbs_weights, posed, inverse_bind_pose(template)
            )
            moved = expected @ T[:3, :3].T + T[:3, 3]
            np.testing.assert_allclose(ours_v[sample], moved, atol=0.01)
            joints = posed[:, :3, 3] @ T[:3, :3].T + T[:3, 3]
            np.testing.assert_allclose(ours_j[sample], joints, atol=0.01)


def test_no_gradient_reaches_theta_through_the_pose_corrective():
    model, variables = _model(_template())

    def loss(theta):
        return jnp.sum(model.apply(variables, theta, method="refined_mesh") ** 2)

    theta = jnp.full((1, 28), 0.3)
    assert float(jnp.abs(jax.grad(loss)(theta)).max()) == 0
    shifted = model.apply(variables, theta + 0.5, method="refined_mesh")
    assert float(jnp.abs(shifted - model.apply(variables, theta, method="refined_mesh")).max()) > 0


def test_an_ablation_lets_the_gradient_through():
    model, variables = _model(_template(), stop_pose_gradient=False)

    def loss(theta):
        return jnp.sum(model.apply(variables, theta, method="refined_mesh") ** 2)

    assert float(jnp.abs(jax.grad(loss)(jnp.full((1, 28), 0.3))).max()) > 0


@pytest.mark.parametrize("left_out", ["skeleton", "identity", "pose"])
def test_a_corrective_left_out_is_one_that_gives_nothing(left_out):
    template = _template()
    model, variables = _model(template)
    kept = tuple(name for name in CORRECTIVES if name != left_out)
    without, own = _model(template, correctives=kept)
    name = f"{left_out}_corrective"
    assert set(variables["params"]) - set(own["params"]) == {name}
    nothing = jax.tree.map(jnp.zeros_like, variables["params"][name])
    params = {key: value for key, value in variables["params"].items() if key != name}
    theta = jnp.linspace(-0.3, 0.6, 2 * 28).reshape(2, 28)
    found = without.apply({**variables, "params": params}, theta, method="decode")
    zeroed = {**variables, "params": {**params, name: nothing}}
    expected = model.apply(zeroed, theta, method="decode")
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_identity_code_comes_from_its_key_and_is_not_a_parameter():
    model, variables = _model(_template())
    same, other = _init(model, params_seed=1), _init(model, identity_seed=8)
    code = variables["identity"]["code"]
    assert code.shape == (32,)
    np.testing.assert_array_equal(code, same["identity"]["code"])
    assert float(jnp.abs(code - other["identity"]["code"]).max()) > 0.1
    assert "identity" not in variables["params"]


def test_initial_weights_outside_the_backbone_are_normal_with_a_hundredth():
    _, variables = _model(_template())
    kernels = [
        np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"])
        if "backbone" not in str(path) and "kernel" in str(path)
    ]
    assert len(kernels) == 2 + 3 * 2
    for kernel in kernels:
        assert kernel.std() == pytest.approx(0.01, rel=0.1)
        assert abs(kernel.mean()) < 1e-3


def test_encode_decode_and_both_run_under_jit_and_vmap():
    model, variables = _model(_template())
    images = jnp.uint8(np.random.default_rng(2).integers(0, 255, size=(3, 32, 32, 3)))
    theta = jax.jit(lambda x: model.apply(variables, x, method="encode"))(images)
    assert theta.shape == (3, 28)
    assert float(jnp.abs(theta).max()) < np.pi
    decode = jax.jit(lambda t: model.apply(variables, t, method="decode"))
    both_theta, both = jax.jit(lambda x: model.apply(variables, x))(images)
    np.testing.assert_allclose(both_theta, theta, atol=1e-5)
    np.testing.assert_allclose(both.vertices, decode(theta).vertices, atol=1e-3)
    mapped = jax.vmap(lambda t: decode(t[None]).vertices[0])(theta)
    np.testing.assert_allclose(mapped, both.vertices, atol=1e-3)


def test_imagenet_normalisation_and_release_head():
    encoder = ImageEncoder(depth=18, width=8, hidden=(512, 512), imagenet_normalisation=True)
    gray = jnp.full((1, 32, 32, 3), 255.0) * jnp.array([0.485, 0.456, 0.406])
    variables = jax.jit(encoder.init)(jax.random.key(0, impl="rbg"), gray)
    assert set(variables["params"]["head"]) == {"Dense_0", "Dense_1", "Dense_2"}
    plain = encoder.copy(imagenet_normalisation=False)
    np.testing.assert_allclose(
        encoder.apply(variables, gray), plain.apply(variables, gray * 0), atol=1e-6
    )
