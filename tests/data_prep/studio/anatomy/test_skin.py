"""The skin: what is drawn on it moves with it, and bending changes creases and wrinkles."""

from dataclasses import replace

import numpy as np
import pytest

from data_prep.studio.anatomy.anatomy import pose_anatomy
from data_prep.studio.anatomy.field import part_distances
from data_prep.studio.anatomy.joint_tree import axis_rotation
from data_prep.studio.anatomy.noise import value_noise
from data_prep.studio.anatomy.parts import PALM, PART_JOINTS
from data_prep.studio.anatomy.proportions import subject
from data_prep.studio.anatomy.rig import rest_frames
from data_prep.studio.anatomy.skin import at_joint, digit_measures, nail_distance, skin_relief
from data_prep.studio.anatomy.skin_coordinates import SkinCoordinates, skin_coordinates
from data_prep.studio.anatomy.surface import hand_surface
from tests.data_prep.studio.motion.named_poses import fist, pose, transformed

STRAIGHT = dict.fromkeys(PART_JOINTS[1:], 0.0)


def _on_skin(person, joint: str, local: np.ndarray) -> SkinCoordinates:
    count = len(local)
    rest = transformed(rest_frames(person)[joint], np.asarray(local, float))
    return SkinCoordinates(np.full(count, PART_JOINTS.index(joint)), rest, np.ones(count))


@pytest.fixture(scope="module")
def open_hand():
    return hand_surface(subject(1), pose(), 2.0)


def _carried(anatomy, surface, part: int, least_x: float):
    """Vertices of a part, beyond some distance from its joint, at rest and in the pose."""
    joint = PART_JOINTS[part]
    local = at_joint(surface.skin.rest, anatomy.rest[joint])
    chosen = np.flatnonzero((surface.skin.part == part) & (local[:, 0] > least_x))
    return surface.skin.rest[chosen], transformed(anatomy.frames[joint], local[chosen])


@pytest.mark.parametrize("joint", ["index3", "thumb3", "pinky3"])
def test_details_move_with_the_skin(open_hand, joint):
    person, part = subject(1), PART_JOINTS.index(joint)
    theta = pose(index1_z=0.7, index1_y=0.2, thumb1_y=0.3, thumb2_z=0.4, pinky2_z=0.5)
    anatomy = pose_anatomy(person, theta)
    rest, posed = _carried(anatomy, open_hand, part, 9.0)
    assert len(rest) > 100
    found = skin_coordinates(anatomy, posed, part_distances(anatomy.cones, posed))
    np.testing.assert_array_equal(found.part, part)
    np.testing.assert_allclose(found.rest, rest, atol=0.1)
    before = skin_relief(person, SkinCoordinates(found.part, rest, found.free), STRAIGHT)
    after = skin_relief(person, found, anatomy.flexions)
    np.testing.assert_allclose(after, before, atol=0.02)


def test_turning_the_whole_hand_leaves_the_skin_as_it_is(open_hand):
    anatomy = pose_anatomy(subject(1), pose())
    T = np.eye(4)
    T[:3, :3] = axis_rotation(0, 0.7) @ axis_rotation(2, -1.1)
    T[:3, 3] = 30.0, -200.0, 900.0
    frames = {name: T @ frame for name, frame in anatomy.frames.items()}
    points = open_hand.vertices[::7]
    distances = part_distances(anatomy.cones, points)
    still = skin_coordinates(anatomy, points, distances)
    turned = skin_coordinates(replace(anatomy, frames=frames), transformed(T, points), distances)
    for one, other in zip(still, turned, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_at_rest_the_skin_lies_where_it_lies(open_hand):
    moved = np.linalg.norm(open_hand.vertices - open_hand.skin.rest, axis=1)
    assert moved.max() < 1.6  # the relief itself


def test_creases_deepen_with_flexion():
    person = subject(3)
    x = np.linspace(-3, 3, 61)
    line = np.stack([x, np.full(61, 8.0), np.zeros(61)], axis=1)
    skin = _on_skin(person, "middle2", line)
    straight, half, full = (
        skin_relief(person, skin, STRAIGHT | {"middle2": angle}).min() for angle in (0.0, 0.8, 1.6)
    )
    assert straight < -0.2
    assert half < straight - 0.15
    assert full < half - 0.15


def test_wrinkles_on_the_back_vanish_with_flexion():
    person = subject(3)
    x = np.linspace(-5, 5, 101)
    line = np.stack([x, np.full(101, -8.0), np.zeros(101)], axis=1)
    skin = _on_skin(person, "middle2", line)
    straight, bent, more = (
        skin_relief(person, skin, STRAIGHT | {"middle2": angle}) for angle in (0.0, 1.2, 1.7)
    )
    assert (bent - straight).max() > 0.25
    np.testing.assert_array_equal(bent, more)


def test_creases_stay_on_their_own_finger():
    person = subject(1)
    coordinates = hand_surface(person, pose(), 3.0).skin
    bent = skin_relief(person, coordinates, STRAIGHT | {"middle2": 1.5})
    changed = np.abs(bent - skin_relief(person, coordinates, STRAIGHT)) > 1e-6
    parts = {PART_JOINTS[part] for part in np.unique(coordinates.part[changed])}
    assert parts == {"middle1", "middle2"}


@pytest.mark.parametrize("joint", ["thumb3", "index3", "pinky3"])
def test_a_nail_stands_out_on_the_back_only(joint):
    person = replace(subject(0), seed=5)
    length, _, radius = digit_measures(person, joint)
    across = np.linspace(-radius, radius, 81)
    back, front = (
        np.stack([np.full(81, 0.68 * length), np.full(81, side * radius), across], axis=1)
        for side in (-0.9, 0.9)
    )
    relief = skin_relief(person, _on_skin(person, joint, back), STRAIGHT)
    distance = nail_distance(back, length, radius)
    assert relief[distance < 0.9].mean() > relief[np.abs(distance - 1.1) < 0.05].mean() + 0.3
    palmar = skin_relief(person, _on_skin(person, joint, front), STRAIGHT)
    assert np.abs(np.diff(palmar)).max() < 0.1


def test_skin_that_is_touched_is_smooth():
    surface = hand_surface(subject(1), fist(), 2.5)
    free = surface.skin.free
    assert free.min() < 0.05
    assert np.mean(free > 0.99) > 0.7
    relief = skin_relief(subject(1), surface.skin._replace(free=np.zeros_like(free)), STRAIGHT)
    np.testing.assert_array_equal(relief, 0.0)


def test_the_palm_has_lines_and_the_back_tendons():
    person = subject(0)
    size = person.roots[2][0]
    across = np.linspace(0.45, 0.75, 121) * size
    palm = np.stack([across, np.full(121, 14.0), np.full(121, -0.05 * size)], axis=1)
    skin = SkinCoordinates(np.full(121, PALM), palm, np.ones(121))
    assert np.ptp(skin_relief(person, skin, STRAIGHT)) > 0.5
    z = np.linspace(-12, 12, 121)
    back = np.stack([np.full(121, 60.0), np.full(121, -12.0), z], axis=1)
    relief = skin_relief(person, SkinCoordinates(np.full(121, PALM), back, np.ones(121)), STRAIGHT)
    assert 0.25 < np.ptp(relief) < 1.6


def test_noise_is_smooth_bounded_and_drawn_from_its_seed():
    points = np.random.default_rng(0).uniform(-90, 90, (4000, 3))
    noise = value_noise(points, 6.0, 3)
    assert np.abs(noise).max() <= 1.0
    assert noise.std() > 0.2
    assert abs(noise.mean()) < 0.05
    assert np.abs(value_noise(points + 0.005, 6.0, 3) - noise).max() < 0.01
    np.testing.assert_array_equal(noise, value_noise(points, 6.0, 3))
    assert abs(np.corrcoef(noise, value_noise(points, 6.0, 4))[0, 1]) < 0.1
