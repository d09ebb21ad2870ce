import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dhm.geometry.hand_rig import (
    ALIGNMENT_JOINTS,
    JOINT_NAMES,
    dof_indices,
    dof_names,
    joint_indices,
    pose_to_euler,
)
from dhm.geometry.kinematics import forward_kinematics, linear_blend_skinning, tree_levels
from dhm.geometry.transforms import (
    euler_angles_to_matrix,
    invert_rigid,
    make_transform,
    skew_symmetric,
    transform_points,
)
from tests.references import geometry as twin


@given(st.lists(st.floats(-10, 10), min_size=3, max_size=3))
@settings(max_examples=30, deadline=None)
def test_euler_angles_agree_with_scipy(euler):
    ours = euler_angles_to_matrix(jnp.array(euler, jnp.float32))
    np.testing.assert_allclose(ours, twin.euler_matrix(euler), atol=3e-6)


@pytest.mark.parametrize("convert", [np.asarray, jnp.float32], ids=["NumPy", "JAX"])
def test_skew_symmetric_matrices_are_cross_products(convert):
    one, other = np.random.default_rng(0).normal(size=(2, 4, 5, 3))
    found = skew_symmetric(convert(one))
    assert isinstance(found, type(convert(one)))
    expected = np.cross(one, other)
    np.testing.assert_allclose((found @ convert(other)[..., None])[..., 0], expected, atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_forward_kinematics_agrees_with_recursion_on_unsorted_trees(seed):
    rng = np.random.default_rng(seed)
    parents, T = twin.random_rig(rng, 15)
    rotations = twin.random_rotation(rng, 15)
    ours = jax.jit(forward_kinematics, static_argnums=2)(
        jnp.float32(T), jnp.float32(rotations), parents
    )
    np.testing.assert_allclose(ours, twin.forward_kinematics(T, rotations, parents), atol=2e-3)


def test_forward_kinematics_batches_like_vmap():
    rng = np.random.default_rng(0)
    parents, T = twin.random_rig(rng, 8)
    rotations = jnp.float32(twin.random_rotation(rng, 5 * 8).reshape(5, 8, 3, 3))
    batched = forward_kinematics(jnp.float32(T), rotations, parents)
    mapped = jax.vmap(lambda r: forward_kinematics(jnp.float32(T), r, parents))(rotations)
    np.testing.assert_allclose(batched, mapped, atol=1e-4)


def test_forward_kinematics_of_a_hand_takes_two_batch_axes():
    """XLA:CPU failed to compile the products of such a tree as dots."""
    rng = np.random.default_rng(0)
    parents = (-1, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5)
    T = jnp.float32(twin.random_rig(rng, 11)[1])
    rotations = jnp.float32(twin.random_rotation(rng, 66).reshape(2, 3, 11, 3, 3))
    pose = jax.jit(lambda rotations: forward_kinematics(T, rotations, parents))
    expected = pose(rotations.reshape(6, 11, 3, 3)).reshape(2, 3, 11, 4, 4)
    np.testing.assert_allclose(pose(rotations), expected, atol=1e-4)
    np.testing.assert_allclose(jax.vmap(jax.vmap(pose))(rotations), expected, atol=1e-4)


@pytest.mark.parametrize("parents", [(-1, -1), (1, 0), (0,), (-1, 2, 1)])
def test_trees_without_one_root_or_with_cycles_are_refused(parents):
    with pytest.raises(ValueError, match=r"root"):
        tree_levels(parents)


def test_skinning_agrees_with_the_loop():
    rng = np.random.default_rng(1)
    parents, T = twin.random_rig(rng, 6)
    rest = twin.forward_kinematics(T, np.tile(np.eye(3), (6, 1, 1)), parents)
    posed = twin.forward_kinematics(T, twin.random_rotation(rng, 6), parents)
    weights = rng.dirichlet(np.ones(6), size=40)
    vertices = rng.normal(scale=60, size=(40, 3))
    inverse = np.linalg.inv(rest)
    ours = linear_blend_skinning(*map(jnp.float32, (vertices, weights, posed, inverse)))
    expected = twin.linear_blend_skinning(vertices, weights, posed, inverse)
    np.testing.assert_allclose(ours, expected, atol=2e-3)
    at_rest = linear_blend_skinning(*map(jnp.float32, (vertices, weights, rest, inverse)))
    np.testing.assert_allclose(at_rest, vertices, atol=1e-3)


def test_a_rigid_motion_of_ten_metres_commutes_to_a_hundredth_of_a_millimetre():
    rng = np.random.default_rng(2)
    parents, T = twin.random_rig(rng, 22)
    rotations = twin.random_rotation(rng, 22)
    weights = rng.dirichlet(np.ones(22), size=500)
    vertices = rng.normal(scale=60, size=(500, 3))
    root = np.eye(4)
    root[:3, :3] = twin.random_rotation(rng, 1)[0]
    root[:3, 3] = 10_000 * np.array([0.6, -0.64, 0.48])
    rest = np.linalg.inv(twin.forward_kinematics(T, np.tile(np.eye(3), (22, 1, 1)), parents))

    def deform(first):
        moved = jnp.float32(T).at[parents.index(-1)].set(jnp.float32(first @ T[parents.index(-1)]))
        world = forward_kinematics(moved, jnp.float32(rotations), parents)
        return linear_blend_skinning(
            jnp.float32(vertices), jnp.float32(weights), world, jnp.float32(rest)
        )

    posed = twin.forward_kinematics(T, rotations, parents)
    here = np.asarray(deform(np.eye(4)), np.float64)
    exact = twin.linear_blend_skinning(vertices, weights, posed, rest)
    np.testing.assert_allclose(here, exact, atol=0.01)
    for there in (deform(root), transform_points(jnp.float32(root), jnp.float32(here))):
        np.testing.assert_allclose(there, exact @ root[:3, :3].T + root[:3, 3], atol=0.01)


def test_inverse_undoes_a_transform():
    rng = np.random.default_rng(3)
    T = make_transform(
        jnp.float32(twin.random_rotation(rng, 4)), jnp.float32(rng.normal(scale=900, size=(4, 3)))
    )
    np.testing.assert_allclose(invert_rigid(T) @ T, np.tile(np.eye(4), (4, 1, 1)), atol=1e-3)


def test_the_28_degrees_of_freedom_follow_the_names_wherever_the_joints_stand():
    names = tuple(np.random.default_rng(4).permutation(JOINT_NAMES))
    dofs = dof_indices(names)
    assert len(dofs) == 28
    assert dof_names(names)[:8] == (
        *(f"thumb{i}_{axis}" for i in (0, 1) for axis in "xyz"), "thumb2_z", "thumb3_z",
    )  # fmt: skip
    euler = pose_to_euler(jnp.arange(1.0, 29.0), dofs, 22)
    assert euler[names.index("thumb1"), 2] == 6
    assert euler[names.index("pinky3"), 2] == 28
    assert euler[names.index("pinky1")].tolist() == [24, 25, 26]
    assert float(jnp.abs(euler[names.index("wrist")]).sum()) == 0
    assert int((euler != 0).sum()) == 28


def test_the_gradient_of_a_pose_is_its_enabled_entries():
    dofs = dof_indices(JOINT_NAMES)
    cotangent = jnp.arange(66.0).reshape(22, 3)
    (gradient,) = jax.vjp(lambda t: pose_to_euler(t, dofs, 22), jnp.zeros(28))[1](cotangent)
    assert gradient.tolist() == [float(cotangent[j, a]) for j, a in dofs]


def test_a_missing_joint_is_named():
    with pytest.raises(ValueError, match="pinky1"):
        joint_indices(("wrist", "index1", "middle1", "ring1"), ALIGNMENT_JOINTS)
