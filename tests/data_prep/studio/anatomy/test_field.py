"""The signed distance field, its narrow band, and the overlap of parts that are not adjacent."""

import numpy as np
import pytest

from data_prep.studio.anatomy.anatomy import hand_primitives, pose_anatomy
from data_prep.studio.anatomy.field import hand_distance, part_distances, smooth_minimum
from data_prep.studio.anatomy.narrow_band import (
    band_mask,
    band_points,
    band_values,
    find_band,
    find_overlaps,
    surface_overlap,
)
from data_prep.studio.anatomy.primitives import (
    PALM,
    PART_JOINTS,
    Primitive,
    adjacent_parts,
    digit_parts,
    jittered,
    pose_primitives,
)
from data_prep.studio.anatomy.proportions import subject
from tests.data_prep.studio.poses import fist, pinch, pose, random_pose, transformed


def _near_surface(anatomy, count: int = 1500) -> np.ndarray:
    points, values, _ = band_values(anatomy, find_band(anatomy, 2.5))
    near = np.flatnonzero(np.abs(values) < 1.0)
    return points[np.random.default_rng(0).choice(near, count)]


@pytest.mark.parametrize("radii", [(6.0, 3.0), (2.0, 7.0), (4.0, 4.0)])
def test_round_cone_is_the_union_of_its_spheres(radii):
    rng = np.random.default_rng(1)
    start, end = np.array([1.0, -2.0, 3.0]), np.array([9.0, 6.0, -4.0])
    primitive = Primitive(PALM, ("wrist", tuple(start)), ("wrist", tuple(end)), radii, 5.0)
    frames = {"wrist": np.eye(4)}
    points = rng.uniform(-15, 20, (400, 3))
    found = part_distances(pose_primitives([primitive], frames, frames), points)[PALM]
    t = np.linspace(0, 1, 3001)
    centres = start + t[:, None] * (end - start)
    to_centres = np.linalg.norm(points[:, None] - centres, axis=2)
    expected = (to_centres - (radii[0] + t * (radii[1] - radii[0]))).min(axis=1)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_flattened_cone_is_an_ellipsoid_with_a_lower_bound_of_the_distance():
    primitive = Primitive(
        PALM, ("wrist", (0, 0, 0)), ("wrist", (1e-3, 0, 0)), (10.0, 10.0), 5.0, flatness=0.8
    )
    frames = {"wrist": np.eye(4)}
    cones = pose_primitives([primitive], frames, frames)
    on_surface = np.array([[0, 8.0, 0], [0, 0, 10.0], [10.0, 0, 0], [0, 0, -10.0]])
    np.testing.assert_allclose(part_distances(cones, on_surface)[PALM], 0, atol=2e-3)
    outside = np.array([[0, 12.0, 0], [0, 0, 15.0]])
    assert np.all(part_distances(cones, outside)[PALM] <= np.array([4.0, 5.0]) + 1e-3)


def test_smooth_minimum_is_exact_where_the_two_differ_by_more_than_the_width():
    one, other = np.array([0.0, 5.0, -3.0, 1.0]), np.array([4.0, 0.0, 0.9, 1.0])
    found = smooth_minimum(one, other, 4.0)
    np.testing.assert_allclose(found[:2], [0.0, 0.0])
    assert found[2] < -3.0
    assert found[3] == 1.0 - 4.0 / 4.0


@pytest.mark.parametrize("theta", [pose(), fist(), pinch()], ids=["open", "fist", "pinch"])
def test_gradient_of_the_field_is_nearly_one_at_the_surface(theta):
    anatomy = pose_anatomy(subject(1), theta)
    points, e = _near_surface(anatomy), 0.02
    gradient = [
        (hand_distance(anatomy, points + e * axis) - hand_distance(anatomy, points - e * axis))
        / (2 * e)
        for axis in np.eye(3)
    ]
    steepness = np.linalg.norm(gradient, axis=0)
    assert 0.94 < np.median(steepness) < 1.02
    assert np.percentile(steepness, 5) > 0.75
    assert np.percentile(steepness, 95) < 1.1
    assert steepness.max() < 1.25


def test_parts_that_are_not_adjacent_touch_without_blending():
    anatomy = pose_anatomy(subject(3), fist())
    points = _near_surface(anatomy)
    parts = part_distances(anatomy.cones, points)
    closest = parts.argmin(axis=0)
    adjacent = adjacent_parts()[closest].T & (np.arange(len(PART_JOINTS))[:, None] != closest)
    widest = max(seam.width for seam in anatomy.seams)
    away = np.where(adjacent, parts, np.inf).min(axis=0) > parts.min(axis=0) + widest
    others = np.where(~adjacent_parts()[closest].T, parts, np.inf).min(axis=0)
    touching = away & (others < parts.min(axis=0) + 2.0)
    assert touching.sum() > 20
    found = hand_distance(anatomy, points[touching])
    np.testing.assert_allclose(found, parts.min(axis=0)[touching], atol=1e-4)


def test_adjacent_parts_are_palm_and_digits_and_consecutive_phalanges():
    near = adjacent_parts()
    assert near[PALM].sum() == 6
    first, second, third = digit_parts("ring")
    assert near[first, second]
    assert near[second, third]
    assert not near[first, third]
    assert not near[digit_parts("middle")[0], first]
    np.testing.assert_array_equal(near, near.T)


@pytest.mark.parametrize("theta", [pose(), fist(), random_pose(3)], ids=["open", "fist", "random"])
def test_narrow_band_has_the_dense_field_and_misses_no_surface(theta):
    anatomy, step = pose_anatomy(subject(2), theta), 4.0
    band = find_band(anatomy, step)
    points, values, cubes = band_values(anatomy, band)
    np.testing.assert_allclose(values, hand_distance(anatomy, points), atol=0.01)
    shape = band.cells.max(axis=0) + 5
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    dense = hand_distance(anatomy, (band.origin + step * grid).reshape(-1, 3)).reshape(shape) < 0
    corners = [
        dense[i : shape[0] - 1 + i, j : shape[1] - 1 + j, k : shape[2] - 1 + k]
        for i in (0, 1) for j in (0, 1) for k in (0, 1)
    ]  # fmt: skip
    inside = np.sum(corners, axis=0)
    crossed_in_band = (values < 0)[cubes].sum(axis=1) % 8 != 0
    assert ((inside > 0) & (inside < 8)).sum() == crossed_in_band.sum()


def test_band_mask_keeps_the_cones_that_matter():
    anatomy = pose_anatomy(subject(1), pinch())
    band = find_band(anatomy, 2.0)
    points, values, _ = band_values(anatomy, band)
    chosen = np.abs(values) < 0.5
    found = hand_distance(anatomy, points[chosen], band_mask(band, points[chosen]))
    np.testing.assert_allclose(found, values[chosen], atol=0.01)


def test_flesh_swells_on_the_palmar_side_of_a_bent_finger():
    person = subject(0)
    radius = person.radii[1][1]
    above = np.array([[0.62 * person.lengths[1][0], radius + 2.5, 0.0]])
    part, found = digit_parts("index")[0], []
    for angle in (0.0, 0.9, 1.7):
        anatomy = pose_anatomy(person, pose(index2_z=angle))
        point = transformed(anatomy.frames["index1"], above)
        found.append(part_distances(anatomy.cones, point)[part, 0])
    assert max(found[1:]) < found[0] - 0.2


def test_radii_of_muscles_are_unchanged_at_rest_and_bounded_elsewhere():
    person = subject(4)
    primitives = jittered(hand_primitives(person), person)
    radii = np.array([primitive.radii for primitive in primitives])
    np.testing.assert_allclose(pose_anatomy(person, np.zeros(28)).cones.radii, radii, rtol=1e-9)
    factors = np.array([pose_anatomy(person, random_pose(n)).cones.radii / radii for n in range(9)])
    assert factors.min() >= 0.8 - 1e-9
    assert factors.max() <= 1.4 + 1e-9
    assert factors.max(axis=0).min() >= 1.0 - 1e-9
    assert factors.max() > 1.2


def test_each_primitive_of_a_subject_has_its_own_jitter():
    person = subject(1)
    primitives = hand_primitives(person)
    factors = [
        own.radii[0] / primitive.radii[0]
        for own, primitive in zip(jittered(primitives, person), primitives, strict=True)
    ]
    assert len(set(np.round(factors, 9))) == len(primitives)
    assert 0.01 < np.std(factors) < 0.03
    template = subject(0)
    assert jittered(hand_primitives(template), template) == hand_primitives(template)


STEP = 4.0


def _dense_overlap(anatomy):
    """Twice the depth of the deepest point inside two parts that are not adjacent, pair by pair."""
    band = find_overlaps(anatomy, STEP)
    shape = np.ceil(np.array([260.0, 160.0, 200.0]) / STEP).astype(int)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, 3)
    parts = part_distances(anatomy.cones, band.origin + STEP * grid)
    near, deepest = adjacent_parts(), 0.0
    for one in range(len(PART_JOINTS)):
        for other in range(one):
            if not near[one, other]:
                inside = np.maximum(parts[one], parts[other])
                deepest = max(deepest, -2.0 * float(inside.min()))
    return deepest


@pytest.mark.parametrize(
    "theta", [fist(), pinch(), random_pose(3), random_pose(8)], ids=["fist", "pinch", "3", "8"]
)
def test_overlap_equals_that_of_a_dense_grid(theta):
    anatomy = pose_anatomy(subject(3), theta)
    expected = _dense_overlap(anatomy)
    assert surface_overlap(anatomy, STEP) == pytest.approx(expected, abs=1e-4)
    assert expected > 0  # these poses are not repaired


def test_open_hand_does_not_overlap_and_few_cells_are_evaluated():
    spread = pose(index1_y=-0.2, middle1_y=-0.04, ring1_y=0.15, pinky1_y=0.3)
    anatomy = pose_anatomy(subject(0), spread)
    assert surface_overlap(anatomy) == 0.0
    points, _ = band_points(find_overlaps(anatomy, 2.0))
    assert len(points) < 3000
