import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dhm.geometry.hand_rig import JOINT_NAMES
from dhm.geometry.spheres import penetration_parts, sphere_centers, sphere_radii
from dhm.losses.objective import ObjectiveSettings, rigid_penetration_term
from dhm.losses.penetration import non_rigid_penetration_loss, rigid_penetration_loss
from dhm.types import HandTemplate
from tests.references import losses as twin

# thumb_null..thumb0, four fingers (null, 3, 2, 1), wrist
PARENTS = (1, 2, 3, 4, 21, 6, 7, 8, 21, 10, 11, 12, 21, 14, 15, 16, 21, 18, 19, 20, 21, -1)


def _hand(rng, num_vertices=120):
    """A random cloud of vertices around a random chain of joints, in the released joint order."""
    joints = np.zeros((22, 3))
    for j in np.argsort([0 if p < 0 else 1 for p in PARENTS], kind="stable")[::-1]:
        joints[j] = rng.normal(scale=25, size=3)
    weights = rng.dirichlet(np.full(22, 0.1), size=num_vertices)
    template = HandTemplate(
        joint_names=JOINT_NAMES,
        parents=PARENTS,
        T_parent_joint=np.tile(np.eye(4), (22, 1, 1)),
        v_template=rng.normal(scale=25, size=(num_vertices, 3)),
        faces=rng.integers(0, num_vertices, size=(50, 3)),
        lbs_weights=weights,
        uvs=np.zeros((1, 2)),
        faces_uv=np.zeros((50, 3), int),
    )
    return template, joints


def _both(seed, K=10):
    rng = np.random.default_rng(seed)
    template, zero = _hand(rng)
    v_zero = template.v_template
    joints = zero + rng.normal(scale=15, size=zero.shape)
    vertices = v_zero + rng.normal(scale=15, size=v_zero.shape)
    parts = penetration_parts(template)
    radii = sphere_radii(sphere_centers(jnp.float32(zero), parts, K), jnp.float32(v_zero))
    centers = sphere_centers(jnp.float32(joints), parts, K)
    slow = twin.spheres(joints, PARENTS, v_zero, zero, K)
    palm = vertices[np.isin(template.lbs_weights.argmax(1), (3, 21))]
    return parts, centers, radii, jnp.float32(vertices), slow, palm


def test_184_pairs_of_the_released_rig_share_no_joint():
    parts = penetration_parts(_hand(np.random.default_rng(0))[0])
    assert len(parts.bones) == 21
    assert len(parts.pairs) == 184
    assert [parts.bones[t] for t in parts.tips] == [(6, 5), (10, 9), (14, 13), (18, 17)]


@pytest.mark.parametrize("seed", range(4))
def test_spheres_and_losses_agree_with_the_loops(seed):
    parts, centers, radii, vertices, slow, palm = _both(seed)
    for s, bone in enumerate(parts.bones):
        np.testing.assert_allclose(centers[s], [c for c, _ in slow[bone]], atol=1e-4)
        np.testing.assert_allclose(radii[s], [r for _, r in slow[bone]], atol=2e-3)
    rigid = rigid_penetration_loss(centers, radii, parts)
    assert rigid.shape == (184, 10, 10)
    assert float(rigid.sum()) == pytest.approx(twin.rigid_penetration(slow), rel=1e-3)
    soft = non_rigid_penetration_loss(centers, radii, vertices, parts)
    expected = twin.non_rigid_penetration(slow, (5, 9, 13, 17), palm)
    assert float(soft.sum()) == pytest.approx(expected, rel=1e-3, abs=1e-2)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("rest_overlap", ["counts", "allowed"])
def test_the_term_of_a_hand_agrees_with_the_loops_whatever_rest_counts(seed, rest_overlap):
    rng = np.random.default_rng(seed + 20)
    template, zero = _hand(rng)
    parts, v_zero = penetration_parts(template), template.v_template
    joints = zero + rng.normal(scale=8, size=(2, *zero.shape))
    settings = ObjectiveSettings(1, 1, 1, 1, 1, 1, "image", "sum", 1.0, rest_overlap)

    def term(joints, v_zero):
        return rigid_penetration_term(joints, jnp.float32(zero)[None], v_zero, parts, settings)

    found = term(jnp.float32(joints), jnp.float32(v_zero)[None])
    at_rest = twin.spheres(zero, PARENTS, v_zero, zero, 10)
    free = at_rest if rest_overlap == "allowed" else None
    for value, posed in zip(found, joints, strict=True):
        slow = twin.rigid_penetration(twin.spheres(posed, PARENTS, v_zero, zero, 10), free)
        assert slow > 10
        assert float(value) == pytest.approx(slow, rel=2e-3)
    at_zero = term(jnp.float32(zero)[None], jnp.float32(v_zero)[None])
    assert (float(at_zero[0]) == 0) == (rest_overlap == "allowed")
    moved = jax.grad(lambda v: term(jnp.float32(joints), v).sum())(jnp.float32(v_zero)[None])
    assert float(jnp.abs(moved).max()) == 0


def test_the_non_rigid_term_is_seen_in_these_hands():
    hands = map(_both, range(4))
    values = [float(non_rigid_penetration_loss(c, r, v, p).sum()) for p, c, r, v, *_ in hands]
    assert max(values) > 1


@pytest.mark.parametrize("seed", range(2))
def test_gradients_agree_with_finite_differences_of_the_loops(seed):
    rng = np.random.default_rng(seed + 10)
    template, zero = _hand(rng)
    parts, K = penetration_parts(template), 4
    joints = zero + rng.normal(scale=15, size=zero.shape)
    vertices = template.v_template + rng.normal(scale=15, size=template.v_template.shape)
    on_palm = np.isin(template.lbs_weights.argmax(1), (3, 21))
    radii = sphere_radii(
        sphere_centers(jnp.float32(zero), parts, K), jnp.float32(template.v_template)
    )

    def fast(joints, vertices):
        centers = sphere_centers(joints, parts, K)
        soft = non_rigid_penetration_loss(centers, radii, vertices, parts)
        return rigid_penetration_loss(centers, radii, parts).sum() + 5 * soft.sum()

    def slow(joints, vertices):
        spheres = twin.spheres(joints, PARENTS, template.v_template, zero, K)
        soft = twin.non_rigid_penetration(spheres, (5, 9, 13, 17), vertices[on_palm])
        return twin.rigid_penetration(spheres) + 5 * soft

    gradients = jax.grad(fast, argnums=(0, 1))(jnp.float32(joints), jnp.float32(vertices))
    for argument, gradient in enumerate(gradients):
        gradient = np.asarray(gradient)
        busiest = np.argsort(-np.abs(gradient).max(1))[:3]
        for row in (*busiest, 0):
            step = np.zeros_like((joints, vertices)[argument])
            step[row] = 1e-3 * np.array([0.6, -0.64, 0.48])
            ends = []
            for sign in (1, -1):
                inputs = [joints, vertices]
                inputs[argument] = inputs[argument] + sign * step
                ends.append(slow(*inputs))
            expected = (ends[0] - ends[1]) / 2
            assert float(np.sum(gradient * step)) == pytest.approx(expected, rel=5e-3, abs=1e-5)


def test_nothing_touches_in_an_open_hand_and_the_entering_sphere_starts_the_count():
    rng = np.random.default_rng(5)
    template, joints = _hand(rng)
    parts = penetration_parts(template)
    apart = jnp.float32(joints * 100)
    centers = sphere_centers(apart, parts)
    radii = jnp.full(centers.shape[:-1], 1.0)
    assert float(rigid_penetration_loss(centers, radii, parts).max()) == 0
    far = jnp.full((len(template.v_template), 3), 1e5)
    assert float(non_rigid_penetration_loss(centers, radii, far, parts).max()) == 0
    tip = parts.tips[1]
    touching = far.at[parts.palm_vertices[0]].set(centers[tip, 6])
    soft = non_rigid_penetration_loss(centers, radii, touching, parts)
    assert (np.asarray(soft[1]) > 0).tolist() == [False] * 6 + [True] * 4
    assert float(soft[1, 6]) == pytest.approx(1)


def test_gradients_are_finite_for_coincident_spheres_and_a_zero_bone():
    template, _ = _hand(np.random.default_rng(6))
    parts = penetration_parts(template)
    vertices = jnp.zeros((len(template.v_template), 3))

    def loss(joints, vertices):
        centers = sphere_centers(joints, parts)
        radii = jnp.ones(centers.shape[:-1])
        soft = non_rigid_penetration_loss(centers, radii, vertices, parts)
        return rigid_penetration_loss(centers, radii, parts).sum() + soft.sum()

    value, gradients = jax.value_and_grad(loss, argnums=(0, 1))(jnp.zeros((22, 3)), vertices)
    assert float(value) > 0
    assert all(np.isfinite(g).all() for g in gradients)


def test_batches_like_vmap_and_radii_carry_no_gradient():
    rng = np.random.default_rng(7)
    template, zero = _hand(rng)
    parts = penetration_parts(template)
    joints = jnp.float32(zero + rng.normal(scale=10, size=(3, 22, 3)))
    vertices = jnp.float32(template.v_template + rng.normal(scale=5, size=(3, 120, 3)))

    def both(joints, vertices):
        centers = sphere_centers(joints, parts)
        radii = sphere_radii(centers, vertices)
        soft = non_rigid_penetration_loss(centers, radii, vertices, parts)
        return rigid_penetration_loss(centers, radii, parts), soft

    for batched, mapped in zip(
        both(joints, vertices), jax.vmap(both)(joints, vertices), strict=True
    ):
        np.testing.assert_allclose(batched, mapped, atol=1e-3)
    gradient = jax.grad(lambda v: sphere_radii(sphere_centers(joints, parts), v).sum())(vertices)
    assert float(jnp.abs(gradient).max()) == 0
