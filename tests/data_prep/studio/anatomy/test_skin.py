"""The skin: coordinates that move with it, relief that changes with flexion, and colours."""

from dataclasses import replace

import numpy as np
import pytest

from data_prep.studio.anatomy.albedo import TONES, random_tone, skin_albedo
from data_prep.studio.anatomy.anatomy import pose_anatomy
from data_prep.studio.anatomy.array_math import value_noise
from data_prep.studio.anatomy.field import part_distances
from data_prep.studio.anatomy.primitives import PALM, PART_JOINTS
from data_prep.studio.anatomy.proportions import subject
from data_prep.studio.anatomy.rig import axis_rotation, rest_frames
from data_prep.studio.anatomy.skin import (
    SkinCoordinates,
    in_joint_frame,
    nail_distance,
    skin_coordinates,
    skin_relief,
)
from data_prep.studio.anatomy.surface import skin_mesh
from tests.data_prep.studio.poses import fist, pose, transformed

STRAIGHT = dict.fromkeys(PART_JOINTS[1:], 0.0)


def _on_skin(person, joint: str, local: np.ndarray) -> SkinCoordinates:
    count = len(local)
    rest = transformed(rest_frames(person)[joint], np.asarray(local, float))
    return SkinCoordinates(np.full(count, PART_JOINTS.index(joint)), rest, np.ones(count))


@pytest.fixture(scope="module")
def open_hand():
    return skin_mesh(subject(1), pose(), 2.0)


def _carried(anatomy, surface, part: int, least_x: float):
    """Vertices of a part beyond a distance from its joint, at rest and in the pose."""
    joint = PART_JOINTS[part]
    local = in_joint_frame(surface.skin.rest, anatomy.rest[joint])
    chosen = np.flatnonzero((surface.skin.part == part) & (local[:, 0] > least_x))
    return surface.skin.rest[chosen], transformed(anatomy.frames[joint], local[chosen])


@pytest.mark.parametrize("joint", ["index3", "thumb3", "pinky3"])
def test_skin_coordinates_and_relief_do_not_depend_on_the_pose(open_hand, joint):
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


def test_skin_coordinates_do_not_depend_on_a_rigid_motion(open_hand):
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


def test_rest_coordinates_of_the_rest_pose_are_its_positions(open_hand):
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


def test_flexion_removes_wrinkles_on_the_back():
    person = subject(3)
    x = np.linspace(-5, 5, 101)
    line = np.stack([x, np.full(101, -8.0), np.zeros(101)], axis=1)
    skin = _on_skin(person, "middle2", line)
    straight, bent, more = (
        skin_relief(person, skin, STRAIGHT | {"middle2": angle}) for angle in (0.0, 1.2, 1.7)
    )
    assert (bent - straight).max() > 0.25
    np.testing.assert_array_equal(bent, more)


def test_flexion_changes_the_relief_of_its_own_finger_only():
    person = subject(1)
    coordinates = skin_mesh(person, pose(), 3.0).skin
    bent = skin_relief(person, coordinates, STRAIGHT | {"middle2": 1.5})
    changed = np.abs(bent - skin_relief(person, coordinates, STRAIGHT)) > 1e-6
    parts = {PART_JOINTS[part] for part in np.unique(coordinates.part[changed])}
    assert parts == {"middle1", "middle2"}


@pytest.mark.parametrize("joint", ["thumb3", "index3", "pinky3"])
def test_nail_is_on_the_back_only(joint):
    person = replace(subject(0), seed=5)
    length, _, radius = person.bone(joint)
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


def test_skin_in_contact_has_no_relief():
    surface = skin_mesh(subject(1), fist(), 2.5)
    free = surface.skin.free
    assert free.min() < 0.05
    assert np.mean(free > 0.99) > 0.7
    relief = skin_relief(subject(1), surface.skin._replace(free=np.zeros_like(free)), STRAIGHT)
    np.testing.assert_array_equal(relief, 0.0)


def test_palm_has_lines_and_back_has_tendons():
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


def test_noise_is_smooth_bounded_and_determined_by_its_seed():
    points = np.random.default_rng(0).uniform(-90, 90, (4000, 3))
    noise = value_noise(points, 6.0, 3)
    assert np.abs(noise).max() <= 1.0
    assert noise.std() > 0.2
    assert abs(noise.mean()) < 0.05
    assert np.abs(value_noise(points + 0.005, 6.0, 3) - noise).max() < 0.01
    np.testing.assert_array_equal(noise, value_noise(points, 6.0, 3))
    assert abs(np.corrcoef(noise, value_noise(points, 6.0, 4))[0, 1]) < 0.1


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_palms_of_dark_hands_are_paler_and_creases_are_darker_than_their_surroundings(number):
    person = subject(number)
    surface = skin_mesh(person, np.zeros(28), 2.0)
    colours = skin_albedo(person, surface, TONES[number])
    assert colours.min() >= 0.01 and colours.max() <= 0.95
    assert (colours[:, 0] > colours[:, 2]).mean() > 0.99  # skin is red rather than blue
    rest = surface.skin.rest
    flat = (rest[:, 0] > 30) & (rest[:, 0] < 70) & (np.abs(rest[:, 2]) < 15)
    palm, back = flat & (rest[:, 1] > 10), flat & (rest[:, 1] < -8)
    paler = colours[palm].mean() / colours[back].mean()
    assert paler > 1.25 if number in (3, 4) else 0.85 < paler < 1.15
    deep = palm & (surface.relief < -0.35)
    assert deep.sum() > 10
    assert colours[deep].mean() < 0.9 * colours[palm & (surface.relief > -0.1)].mean()


def test_colour_has_no_edge_at_the_base_of_the_thumb():
    """There the part of the palm meets that of the thumb: the dark back must continue."""
    person = subject(3)
    surface = skin_mesh(person, np.zeros(28), 2.0)
    colours = skin_albedo(person, surface, TONES[3]).mean(axis=1)
    one, other = surface.faces[:, [0, 1, 2]].ravel(), surface.faces[:, [1, 2, 0]].ravel()
    parts = surface.skin.part
    border = ((parts[one] == 0) & (parts[other] == 1)) | ((parts[one] == 1) & (parts[other] == 0))
    step = np.abs(colours[one] - colours[other]) / colours.mean()
    assert border.sum() > 20
    assert np.quantile(step[border], 0.9) < 0.35


def test_random_tones_are_in_the_range_of_the_subjects():
    tones = np.array([random_tone(np.random.default_rng(seed)) for seed in range(200)])
    assert ((tones[:, 0] > tones[:, 1]) & (tones[:, 1] > tones[:, 2])).mean() > 0.95  # skin is red
    low, high = np.min(TONES, axis=0), np.max(TONES, axis=0)
    assert (tones > 0.7 * low).all() and (tones < 1.3 * high).all()
    # All of the range is used.
    assert (tones.min(axis=0) < 1.5 * low).all() and (tones.max(axis=0) > 0.85 * high).all()
    assert random_tone(np.random.default_rng(5)) == tuple(tones[5])
