import math

import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from data_prep.studio.template.hand_template import hand_template
from data_prep.toy.hand import make_toy_template
from dhm.evaluation.penetration import (
    PENETRATES_MM,
    hand_parts,
    mesh_parts,
    overlap_volume,
    penetration,
    penetration_depths,
)
from dhm.geometry.hand_rig import dof_indices, dof_names, pose_to_euler
from dhm.geometry.kinematics import forward_kinematics, linear_blend_skinning
from dhm.geometry.transforms import euler_angles_to_matrix

NOTHING = (0.0, 0.0, 0.0, 0)


def _scene(*meshes, related=None):
    """Vertices of several closed meshes, each a part of its own, and the parts."""
    joined = trimesh.util.concatenate(list(meshes))
    part = np.repeat(np.arange(len(meshes)), [len(mesh.vertices) for mesh in meshes])
    names = tuple(f"part {index}" for index in range(len(meshes)))
    return np.array(joined.vertices), mesh_parts(np.array(joined.faces), part, names, related)


def _sphere(radius, centre=(0.0, 0.0, 0.0), subdivisions=4):
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)
    mesh.apply_translation(centre)
    return mesh


def _pole():
    """A direction in which icospheres have a vertex, as they have in the opposite one."""
    pole = np.array(_sphere(1.0, subdivisions=0).vertices[0])
    return pole / np.linalg.norm(pole)


def _lens(r, s, d):
    """Volume that two spheres share."""
    return math.pi * (r + s - d) ** 2 * (d**2 + 2 * d * (r + s) - 3 * (r - s) ** 2) / (12 * d)


def _random_motion(seed):
    T = trimesh.transformations.random_rotation_matrix(np.random.default_rng(seed).random(3))
    T[:3, 3] = [700.0, -1200.0, 350.0]
    return T


@pytest.mark.parametrize(("r", "s", "d"), [(20.0, 15.0, 30.0), (20.0, 15.0, 22.0), (12, 12, 14)])
def test_two_spheres(r, s, d):
    vertices, parts = _scene(_sphere(r), _sphere(s, d * _pole()))
    found = penetration(vertices, parts, spacing=0.5)
    # Facets lie up to 0.05 mm below the sphere.
    assert found.max_depth == pytest.approx(r + s - d, abs=0.06)
    assert found.volume == pytest.approx(_lens(r, s, d), rel=0.02)
    to_one = np.linalg.norm(vertices, axis=1)
    to_other = np.linalg.norm(vertices - d * _pole(), axis=1)
    depth = np.where(parts.part == 0, s - to_other, r - to_one)
    assert found.num_vertices == pytest.approx((depth > 0).sum(), rel=0.1)
    assert found.mean_depth == pytest.approx(depth[depth > 0].mean(), rel=0.06)
    np.testing.assert_allclose(penetration_depths(vertices, parts), depth.clip(0), atol=0.06)


@pytest.mark.parametrize("distance", [13.0, 17.0])
def test_two_capsules_side_by_side(distance):
    radius, length = 10.0, 30.0
    capsules = [
        trimesh.creation.capsule(height=length, radius=radius, count=[64, 64]) for _ in range(2)
    ]
    capsules[1].apply_translation([distance, 0, 0])
    vertices, parts = _scene(*capsules)
    found = penetration(vertices, parts, spacing=0.5)
    half = math.acos(distance / (2 * radius))
    area = 2 * radius**2 * (half - math.sin(half) * math.cos(half))
    assert found.max_depth == pytest.approx(2 * radius - distance, abs=0.06)
    expected = area * length + _lens(radius, radius, distance)
    assert found.volume == pytest.approx(expected, rel=0.03)


def _two_boxes(side):
    boxes = [trimesh.creation.box([side] * 3) for _ in range(2)]
    boxes[1].apply_translation([14, 8, 13])
    return _scene(*boxes)


def test_volume_of_boxes():
    """Their corners are on whole millimetres, so that every ray stands for a square of its own."""
    assert overlap_volume(*_two_boxes(20), 0.25) == pytest.approx(6 * 12 * 7, rel=1e-9)


def test_a_ray_through_an_edge_passes_through_one_of_its_faces(monkeypatch):
    """The diagonals of the boxes' faces lie on rays."""
    monkeypatch.setattr("dhm.evaluation.penetration._OFFSET", np.zeros(2))
    assert overlap_volume(*_two_boxes(21), 1.0) == pytest.approx(7 * 13 * 8, rel=1e-9)


def test_a_ray_through_a_corner_does_not_affect_other_rays(monkeypatch):
    """Rays through corners and along sides may count or not, the 5 x 11 within have to."""
    monkeypatch.setattr("dhm.evaluation.penetration._OFFSET", np.zeros(2))
    assert 5 * 11 * 7 - 1e-9 <= overlap_volume(*_two_boxes(20), 1.0) <= 7 * 13 * 7 + 1e-9


def test_the_volume_converges_with_the_spacing():
    vertices, parts = _scene(_sphere(20), _sphere(15, [11.0, 17.0, 13.0]))
    finest = overlap_volume(vertices, parts, 0.1)
    errors = [abs(overlap_volume(vertices, parts, step) / finest - 1) for step in (2.0, 0.5)]
    assert errors[0] < 0.05
    assert errors[1] < 0.004


def test_a_sphere_within_a_sphere():
    inner, outer = _sphere(8, [1.0, 2.0, -1.0], 3), _sphere(20)
    vertices, parts = _scene(inner, outer)
    found = penetration(vertices, parts, spacing=0.25)
    assert found.num_vertices == len(inner.vertices)
    assert found.volume == pytest.approx(inner.volume, rel=2e-3)
    shallow = 20 - np.linalg.norm(inner.vertices, axis=1)
    assert found.max_depth == pytest.approx(shallow.max(), abs=0.06)
    assert found.mean_depth == pytest.approx(shallow.mean(), abs=0.06)


def test_disjoint_spheres_with_overlapping_boxes():
    d = 36 / math.sqrt(3)
    assert penetration(*_scene(_sphere(20), _sphere(15, [d, d, d]))) == NOTHING
    assert penetration(*_scene(_sphere(20), _sphere(15, [200.0, 0, 0]))) == NOTHING


def test_touching_spheres():
    found = penetration(*_scene(_sphere(20), _sphere(15, 35 * _pole())), spacing=0.1)
    assert found.max_depth < 1e-9
    assert found.volume < 1e-9
    assert found.num_vertices <= 2


def test_related_parts_are_not_compared():
    meshes = _sphere(20), _sphere(15, [20.0, 0, 0]), _sphere(15, [-20.0, 0, 0])
    related = np.zeros((3, 3), bool)
    related[1, 0] = True
    vertices, parts = _scene(*meshes, related=related)
    np.testing.assert_array_equal(parts.comparable, [[0, 0, 1], [0, 0, 1], [1, 1, 0]])
    found = penetration(vertices, parts)
    only = penetration(*_scene(meshes[0], meshes[2]))
    assert found == only
    assert only.max_depth > 10


def test_inside_two_parts_the_larger_depth_counts_and_volumes_are_by_pair():
    """A small sphere within two; those two are related to each other."""
    related = np.zeros((3, 3), bool)
    related[1, 2] = True
    small = _sphere(4, subdivisions=3)
    big = _sphere(20, [9.0, 0, 0]), _sphere(20, [-3.0, 0, 0])
    vertices, parts = _scene(small, *big, related=related)
    found = penetration(vertices, parts, spacing=0.25)
    depths = [20 - np.linalg.norm(small.vertices - [x, 0, 0], axis=1) for x in (9, -3)]
    assert found.mean_depth == pytest.approx(np.max(depths, axis=0).mean(), abs=0.06)
    assert found.num_vertices == len(small.vertices)
    assert found.volume == pytest.approx(2 * small.volume, rel=5e-3)


@pytest.mark.parametrize("folded_first", [False, True])
def test_self_overlap_of_a_part_is_inside(folded_first):
    """Parity alone would call what is covered twice outside."""
    folded = trimesh.util.concatenate([_sphere(20, [5.0, 0, 0]), _sphere(20, [-5.0, 0, 0])])
    small = _sphere(5, subdivisions=3)
    vertices, parts = _scene(folded, small) if folded_first else _scene(small, folded)
    found = penetration(vertices, parts, spacing=0.25)
    assert found.num_vertices == len(small.vertices)
    assert found.volume == pytest.approx(small.volume, rel=5e-3)


@pytest.mark.parametrize("seed", range(3))
def test_depths_agree_with_trimesh(seed):
    rng = np.random.default_rng(seed)
    meshes = [
        trimesh.creation.box([20, 12, 16]).subdivide(),
        trimesh.creation.icosahedron().apply_scale(11).subdivide(),
        trimesh.creation.annulus(6, 14, 18, sections=9),
    ]
    for mesh in meshes:
        mesh.apply_transform(trimesh.transformations.random_rotation_matrix(rng.random(3)))
        mesh.apply_translation(rng.uniform(-7, 7, 3))
    vertices, parts = _scene(*meshes)
    expected = np.zeros(len(vertices))
    for index, mesh in enumerate(meshes):
        others = np.flatnonzero(parts.part != index)
        # The method without a spatial index, and the winding number written out.
        _, distance, _ = trimesh.proximity.closest_point_naive(mesh, vertices[others])
        inside = _solid_angles(mesh, vertices[others]) > 2 * np.pi
        expected[others] = np.maximum(expected[others], np.where(inside, distance, 0))
    assert (expected > 0).sum() > 5
    np.testing.assert_allclose(penetration_depths(vertices, parts), expected, atol=1e-9)


def _solid_angles(mesh, points):
    """Solid angle of a surface seen from each point (van Oosterom and Strackee, 1983)."""
    corners = mesh.triangles[None] - points[:, None, None]
    lengths = np.linalg.norm(corners, axis=-1)
    a, b, c = np.moveaxis(corners, 2, 0)
    la, lb, lc = np.moveaxis(lengths, 2, 0)
    dots = [(x * y).sum(-1) for x, y in ((a, b), (b, c), (c, a))]
    under = la * lb * lc + dots[0] * lc + dots[1] * la + dots[2] * lb
    return 2 * np.arctan2((a * np.cross(b, c)).sum(-1), under).sum(axis=1)


@pytest.mark.parametrize("cut", [0.0, 7.3, -12.0])
def test_the_parts_of_a_cut_sphere_are_closed_and_fill_it(cut):
    sphere = _sphere(20, subdivisions=3)
    part = (sphere.vertices[:, 2] > cut).astype(int)
    parts = mesh_parts(np.array(sphere.faces), part, ("low", "high"))
    assert not parts.comparable.any()
    closed = [
        trimesh.Trimesh(parts.closed_vertices(sphere.vertices), parts.closed(index), process=False)
        for index in range(2)
    ]
    assert all(mesh.is_watertight and mesh.is_winding_consistent for mesh in closed)
    assert all(mesh.volume > 0 for mesh in closed)
    # Both have the same border and so the same cap, in opposite directions.
    assert sum(mesh.volume for mesh in closed) == pytest.approx(sphere.volume, rel=1e-12)
    h = 20 - cut
    assert closed[1].volume == pytest.approx(math.pi * h**2 * (60 - h) / 3, rel=0.2)


def test_the_depth_is_measured_to_the_skin_not_to_a_cap():
    """A probe on the plane where a ball was cut in two is as deep as in the whole ball."""
    ball, probe = _sphere(20, subdivisions=4), _sphere(1, [4.0, 0, -1.5], 2)
    joined = trimesh.util.concatenate([ball, probe])
    vertices = np.array(joined.vertices)
    part = np.concatenate([(ball.vertices[:, 2] > 0).astype(int), np.full(len(probe.vertices), 2)])
    parts = mesh_parts(np.array(joined.faces), part, ("low", "high", "probe"))
    depth = penetration_depths(vertices, parts)
    inside = np.flatnonzero(part == 2)
    expected = 20 - np.linalg.norm(vertices[inside], axis=1)
    np.testing.assert_allclose(depth[inside], expected, atol=0.06)


@pytest.fixture(scope="module")
def template():
    return hand_template("full")


@pytest.fixture(scope="module")
def parts(template):
    return hand_parts(template)


def _posed(template, **angles):
    """Vertices at the named angles, such as index1_z=1.2."""
    names = dof_names(template.joint_names)
    theta = np.zeros(len(names), np.float32)
    for name, angle in angles.items():
        theta[names.index(name)] = angle
    euler = pose_to_euler(
        jnp.asarray([0 * theta, theta]), dof_indices(template.joint_names), template.num_joints
    )
    rest, frames = forward_kinematics(
        jnp.asarray(template.T_parent_joint), euler_angles_to_matrix(euler), template.parents
    )
    return np.asarray(
        linear_blend_skinning(
            jnp.asarray(template.v_template), jnp.asarray(template.lbs_weights), frames,
            jnp.linalg.inv(rest),
        )
    )  # fmt: skip


def _bent(template, *fingers, by=1.7):
    return _posed(template, **{f"{finger}{bone}_z": by for finger in fingers for bone in (1, 2, 3)})


FINGERS = ("index", "middle", "ring", "pinky")


@pytest.fixture(scope="module")
def crushed(template):
    """All fingers bent into the palm."""
    return _bent(template, *FINGERS)


def test_the_parts_of_a_hand(template, parts):
    bones = {f"{finger}{bone}" for finger in FINGERS for bone in (1, 2, 3)}
    assert set(parts.names) == {"palm", "thumb2", "thumb3"} | bones
    assert all(len(skin) > 100 for skin in parts.skins)
    assert sum(len(skin) for skin in parts.skins) == len(template.faces)

    def compared(one, other):
        return parts.comparable[parts.names.index(one), parts.names.index(other)]

    np.testing.assert_array_equal(parts.comparable, parts.comparable.T)
    apart = "palm index2, palm thumb3, index1 index3, thumb3 middle2, index2 middle2, index1 ring1"
    meeting = "palm index1, index1 index2, thumb2 palm, ring3 ring2, index1 middle1"
    for pairs, expected in ((apart, True), (meeting, False)):
        for pair in pairs.split(", "):
            assert compared(*pair.split()) == expected


@pytest.mark.parametrize("pose", ["rest", "crushed"])
def test_the_parts_of_a_hand_are_closed(template, parts, crushed, pose):
    vertices = template.v_template if pose == "rest" else crushed
    volumes = []
    for index in range(len(parts.names)):
        closed = trimesh.Trimesh(
            parts.closed_vertices(vertices), parts.closed(index), process=False
        )
        assert closed.is_watertight and closed.is_winding_consistent
        volumes.append(closed.volume)
    assert min(volumes) > 0
    if pose == "rest":
        whole = mesh_parts(template.faces, np.zeros(template.num_vertices, int), ("hand",))
        hand = trimesh.Trimesh(whole.closed_vertices(vertices), whole.closed(0), process=False)
        # The fans of the finger roots, which are not flat, leave a little between them.
        assert sum(volumes) == pytest.approx(hand.volume, rel=0.05)
        centres = parts.closed_vertices(vertices)[len(vertices) :]
        angle = _solid_angles(hand, centres)
        # In the middle of the forearm's cut, and within the hand.
        assert np.isclose(angle, 2 * np.pi, atol=0.5).sum() == 1
        assert np.isclose(angle, 4 * np.pi, atol=1e-6).sum() == len(centres) - 1


@pytest.mark.parametrize("kind", ["coarse", "toy"])
def test_the_parts_of_other_hands_are_closed(kind):
    template = make_toy_template(800) if kind == "toy" else hand_template(kind)
    parts = hand_parts(template)
    for index in range(len(parts.names)):
        faces = parts.closed(index)
        edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
        # Also where two borders meet in a point, so that four faces share an edge of the fan.
        np.testing.assert_array_equal(
            np.unique(edges, axis=0), np.unique(edges[:, ::-1], axis=0)
        )  # fmt: skip
    if kind == "coarse":
        assert penetration(template.v_template, parts).max_depth < 0.1


def test_a_hand_at_rest_does_not_penetrate(template, parts):
    found = penetration(template.v_template, parts)
    assert found.max_depth < 0.1
    assert found.volume < 1


def test_fingers_through_the_palm(template, parts, crushed):
    found = penetration(crushed, parts)
    assert found.max_depth > 5
    assert found.num_vertices > 300
    assert found.volume > 1000
    deep = np.unique(parts.part[penetration_depths(crushed, parts) > PENETRATES_MM])
    assert {parts.names[part] for part in deep} & {f"{finger}3" for finger in FINGERS}
    half = penetration(_bent(template, *FINGERS, by=0.8), parts)
    assert half.max_depth < PENETRATES_MM


def test_a_rigid_motion_changes_nothing(parts, crushed):
    depth, volume = penetration_depths(crushed, parts), overlap_volume(crushed, parts)
    for seed in range(2):
        moved = trimesh.transform_points(crushed.astype(np.float64), _random_motion(seed))
        np.testing.assert_allclose(penetration_depths(moved, parts), depth, atol=1e-6)
        assert overlap_volume(moved, parts) == pytest.approx(volume, rel=0.01)
