"""The template: the shipped files, its triangles, charts and weights, and its skinning."""

import functools

import numpy as np
import pytest

from data_prep.studio.anatomy.proportions import subject
from data_prep.studio.anatomy.surface import smooth_normals
from data_prep.studio.motion.poses import solve_pose
from data_prep.studio.motion.spheres import sphere_hand
from data_prep.studio.sheets import skinned_template
from data_prep.studio.template.hand_template import FOLDER, build_template, hand_template
from data_prep.studio.template.remesh import triangle_quality
from dhm.formats.hand_template import read_hand_model, write_hand_model
from dhm.geometry.hand_rig import JOINT_NAMES, REQUIRED_JOINTS
from dhm.geometry.mesh import boundary_loops, unique_edges

SIZES = {"full": (12_300, 12_700), "coarse": (778, 1_000)}


@pytest.fixture(scope="module", params=SIZES)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def template(kind):
    return hand_template(kind)


@pytest.mark.parametrize("kind", ["coarse", pytest.param("full", marks=pytest.mark.slow)])
def test_shipped_template_equals_a_rebuilt_one(kind):
    built, template = build_template(kind), hand_template(kind)
    assert built.joint_names == template.joint_names and built.parents == template.parents
    np.testing.assert_array_equal(built.faces, template.faces)
    np.testing.assert_array_equal(built.faces_uv, template.faces_uv)
    np.testing.assert_allclose(built.v_template, template.v_template, atol=0.01)
    np.testing.assert_allclose(built.T_parent_joint, template.T_parent_joint, atol=0.01)
    np.testing.assert_allclose(built.lbs_weights, template.lbs_weights, atol=1e-3)
    np.testing.assert_allclose(built.uvs, template.uvs, atol=1e-3)


def test_number_of_vertices_and_size_of_the_files(kind, template):
    low, high = SIZES[kind]
    assert low <= template.num_vertices <= high
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 2e6


def test_template_is_a_disk_open_at_the_wrist(template):
    edges, counts = unique_edges(template.faces)
    assert template.num_vertices - len(edges) + len(template.faces) == 1
    assert counts.max() == 2
    (rim,) = boundary_loops(template.faces)
    assert template.v_template[rim, 0].max() < template.v_template[:, 0].min() + 4.0
    directed = np.concatenate([template.faces[:, [i, (i + 1) % 3]] for i in range(3)])
    assert len(np.unique(directed, axis=0)) == len(directed)


def test_triangles_are_well_shaped_and_oriented_outwards(template):
    quality = triangle_quality(template.v_template.astype(float), template.faces)
    assert np.quantile(quality, 0.01) > 0.5 and quality.min() > 0.3
    fingertip = template.v_template[:, 0].argmax()
    assert smooth_normals(template.v_template, template.faces)[fingertip, 0] > 0.8


def test_weights_are_convex_and_sparse(template):
    weights = template.lbs_weights
    assert (weights >= 0).all() and (weights > 0).sum(axis=1).max() <= 4
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-6)
    moving = {JOINT_NAMES[joint] for joint in np.flatnonzero(weights.max(axis=0) > 0.5)}
    assert moving >= {name for name in REQUIRED_JOINTS if "null" not in name} - {"thumb0"}


def test_template_is_preserved_by_the_released_files(template, tmp_path):
    write_hand_model(template, tmp_path)
    again = read_hand_model(tmp_path)
    np.testing.assert_allclose(again.v_template, template.v_template, atol=1e-3)
    np.testing.assert_allclose(again.lbs_weights, template.lbs_weights, atol=1e-6)
    np.testing.assert_array_equal(again.faces, template.faces)


def charts(template):
    """UV faces of each chart, found through shared UV vertices."""
    label = np.arange(len(template.uvs))
    while True:
        lowest = label.copy()
        least = label[template.faces_uv].min(axis=1)
        for corner in range(3):
            np.minimum.at(lowest, template.faces_uv[:, corner], least)
        if np.array_equal(lowest, label):
            break
        label = lowest
    of_face = label[template.faces_uv[:, 0]]
    return [template.faces_uv[of_face == chart] for chart in np.unique(of_face)]


def crosses_itself(polygon):
    """Whether any two sides of a polygon that share no corner meet."""
    start, end = polygon, np.roll(polygon, -1, axis=0)

    def side(a, b, c):
        (ux, uy), (vx, vy) = np.moveaxis(b - a, -1, 0), np.moveaxis(c - a, -1, 0)
        return np.sign(ux * vy - uy * vx)

    a, b, c, d = start[:, None], end[:, None], start[None], end[None]
    meet = (side(a, b, c) != side(a, b, d)) & (side(c, d, a) != side(c, d, b))
    index = np.arange(len(polygon))
    gap = np.abs(index[:, None] - index[None])
    return bool(meet[(gap > 1) & (gap < len(polygon) - 1)].any())


def test_no_two_triangles_overlap_in_the_atlas(template):
    """A chart whose triangles all turn the same way and whose outline does not cross itself is
    one-to-one; the charts' boxes are apart.
    """
    assert template.uvs.min() >= 0 and template.uvs.max() <= 1
    a, b, c = (template.uvs[template.faces_uv[:, corner]].astype(float) for corner in range(3))
    area = np.linalg.det(np.stack([b - a, c - a], axis=1))
    assert (area > 0).all()
    boxes = []
    for faces in charts(template):
        edges, counts = unique_edges(faces)
        assert len(np.unique(faces)) - len(edges) + len(faces) == 1
        following = dict(edges_of_outline(faces))
        assert len(following) == (counts == 1).sum()
        outline = [next(iter(following))]
        while following[outline[-1]] != outline[0]:
            outline.append(following[outline[-1]])
        assert len(outline) == len(following)
        assert not crosses_itself(template.uvs[outline].astype(float))
        uvs = template.uvs[np.unique(faces)]
        boxes.append((uvs.min(axis=0), uvs.max(axis=0)))
    assert len(boxes) == 12
    for index, (low, high) in enumerate(boxes):
        for other_low, other_high in boxes[:index]:
            assert ((low > other_high) | (high < other_low)).any()


def edges_of_outline(faces):
    half = np.concatenate([faces[:, [i, (i + 1) % 3]] for i in range(3)]).tolist()
    twins = {(b, a) for a, b in half}
    return [(a, b) for a, b in half if (a, b) not in twins]


def test_distortion_of_charts_is_bounded(template):
    corners = template.v_template[template.faces].astype(float)
    flat = template.uvs[template.faces_uv].astype(float)
    ratio = np.concatenate(
        [
            np.linalg.norm(flat[:, i] - flat[:, (i + 1) % 3], axis=1)
            / np.linalg.norm(corners[:, i] - corners[:, (i + 1) % 3], axis=1)
            for i in range(3)
        ]
    )
    low, middle, high = np.quantile(ratio, [0.01, 0.5, 0.99])
    assert low > 0.5 * middle and high < 1.6 * middle


@functools.cache
def _solved(name):
    return solve_pose(sphere_hand(subject(0)), name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fist", "pinch_index", "spread"])
def test_skinning_has_no_spikes_and_no_collapsed_joints(template, name):
    theta = _solved(name)
    posed = skinned_template(template, theta)
    edges, _ = unique_edges(template.faces)
    rest = np.linalg.norm(np.subtract(*template.v_template[edges].transpose(1, 0, 2)), axis=1)
    now = np.linalg.norm(np.subtract(*posed[edges].transpose(1, 0, 2)), axis=1)
    assert (now / rest).max() < 3.5
    assert np.quantile(now / rest, 0.999) < 2.6
    # A joint that collapsed would leave the ring of skin around it without width.
    for joint in ("index2", "middle2", "ring2", "pinky2", "thumb3"):
        ring = np.abs(template.lbs_weights[:, JOINT_NAMES.index(joint)] - 0.5) < 0.2
        if ring.sum() < 12:
            continue
        widths = [
            np.linalg.svd(v[ring] - v[ring].mean(axis=0))[1][1]
            for v in (template.v_template, posed)
        ]
        assert widths[1] > 0.6 * widths[0]


def test_skinning_at_zero_pose_returns_the_template(template):
    posed = skinned_template(template, np.zeros(28))
    np.testing.assert_allclose(posed, template.v_template, atol=1e-3)
