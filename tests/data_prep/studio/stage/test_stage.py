"""Cameras, light, pictures and noise on scenes with a known result."""

import numpy as np
import pytest
import trimesh

from data_prep.captures.release_capture import K_SIZE
from data_prep.studio.stage.cameras import CENTRE, render_depth_maps, render_views, studio_cameras
from data_prep.studio.stage.lighting import (
    Lighting,
    ambient_occlusion,
    diffuse_light,
    specular_light,
)
from data_prep.studio.stage.sensors import (
    dark_background,
    noisy_depth,
    photograph,
    random_background,
)
from dhm.errors import BadInputError

LAMP = Lighting(np.array([[0.0, 0.0, 1.0]]), np.array([[1.0, 1.0, 1.0]]), np.zeros(3))


def ball(radius=20.0, centre=(0.0, 0.0, 0.0)):
    mesh = trimesh.creation.icosphere(4, radius)
    normals = np.array(mesh.vertices) / radius
    return np.array(mesh.vertices) + centre, np.array(mesh.faces), normals


@pytest.mark.parametrize("count", [1, 16, 80])
def test_cameras_look_at_the_hand_from_one_metre(count):
    cameras = studio_cameras(count, 0)
    assert len(cameras) == count and all(name.startswith("40") for name in cameras)
    eyes = []
    for camera in cameras.values():
        R, t = camera.T_camera_world[:3, :3], camera.T_camera_world[:3, 3]
        np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(R) > 0
        at = camera.K @ (R @ CENTRE + t)
        assert 960 < at[2] < 1040
        middle = at[:2] / at[2]
        np.testing.assert_allclose(middle, [K_SIZE[1] / 2, K_SIZE[0] / 2], atol=5.0)
        eyes.append((-R.T @ t - CENTRE) / 1000.0)
    if count > 1:
        eyes = np.array(eyes)
        apart = np.linalg.norm(eyes[:, None] - eyes[None], axis=-1)[~np.eye(count, dtype=bool)]
        assert apart.min() > 1.2 / np.sqrt(count)
        assert (eyes[:, 1] < 0.2).mean() > 0.6  # more in front of the palm than behind
        assert eyes[:, 2].max() > 0.7 and eyes[:, 0].min() < -0.6 and eyes[:, 0].max() > 0.6


def test_cameras_are_determined_by_the_seed():
    one, same, other = (studio_cameras(4, seed)["400002"].K for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0.1
    with pytest.raises(BadInputError, match="cameras: found 401, expected 1 to 400"):
        studio_cameras(401, 0)


def test_padding_the_mesh_does_not_change_the_views():
    vertices, faces, _ = ball()
    camera = next(iter(studio_cameras(1, 0).values()))
    vertices = vertices + CENTRE
    views = render_views(vertices, faces, [camera], K_SIZE)
    np.testing.assert_array_equal(views.depth, render_depth_maps(vertices, faces, [camera], K_SIZE))
    assert views.pix_to_face.max() < len(faces)
    at = camera.T_camera_world[:3, :3] @ CENTRE + camera.T_camera_world[:3, 3]
    assert abs(views.depth[0][views.depth[0] > 0].min() - (at[2] - 20.0)) < 0.2
    area = np.pi * (20.0 * camera.K[0, 0] / np.sqrt(at[2] ** 2 - 400.0)) ** 2
    assert abs((views.depth > 0).sum() / area - 1.0) < 0.02


def test_ball_casts_a_shadow_on_what_is_below_it():
    above, faces, normals = ball(10.0, (0.0, 0.0, 60.0))
    below, _, _ = ball(30.0)
    vertices = np.concatenate([below, above])
    both = np.concatenate([faces, faces + len(below)])
    light, lit = diffuse_light(vertices, both, np.concatenate([normals, normals]), LAMP)
    x, y, z = below.T
    facing = z > 5.0
    shaded = facing & (np.hypot(x, y) < 8.0)
    free = facing & (np.hypot(x, y) > 13.0)
    assert lit[: len(below)][shaded].max() < 0.2 and lit[: len(below)][free].min() > 0.8
    free &= lit[: len(below), 0] == 1.0
    assert free.sum() > 100
    cosine = normals[free, 2]
    wrap = np.array([0.32, 0.16, 0.12])
    expected = (cosine[:, None] + wrap) / (1 + wrap)
    np.testing.assert_allclose(light[: len(below)][free], expected, atol=0.02)


def test_ambient_occlusion_of_one_ball_and_of_the_gap_between_two():
    one, faces, normals = ball(20.0)
    assert ambient_occlusion(one, faces, normals).min() > 0.9
    other, _, _ = ball(20.0, (38.0, 0.0, 0.0))
    vertices = np.concatenate([one, other])
    both = np.concatenate([faces, faces + len(one)])
    openness = ambient_occlusion(vertices, both, np.concatenate([normals, normals]))[: len(one)]
    assert openness[normals[:, 0] > 0.9].mean() < 0.6 < 0.9 < openness[normals[:, 0] < -0.5].min()


def test_gloss_is_brightest_where_the_lamp_is_reflected():
    vertices, _, normals = ball()
    gloss = specular_light(
        vertices, normals, np.ones((len(vertices), 1)), LAMP, np.array([1e6, 0, 0.0])
    )
    brightest = normals[gloss[:, 0].argmax()]
    assert brightest @ np.array([np.sqrt(0.5), 0, np.sqrt(0.5)]) > 0.99
    assert gloss[normals[:, 2] < 0].max() == 0.0


def test_picture_has_the_colours_of_the_mesh_and_keeps_the_background():
    vertices, faces, _ = ball(30.0, CENTRE)
    camera = next(iter(studio_cameras(1, 0).values()))
    views = render_views(vertices, faces, [camera], K_SIZE)
    rng = np.random.default_rng(0)
    background = dark_background(K_SIZE, rng)
    colours = np.tile([0.5, 0.25, 0.1], (len(vertices), 1))
    picture = photograph(views, 0, faces, colours, background, rng)
    seen = views.pix_to_face[0] >= 0
    rows, columns = np.nonzero(seen)
    middle = picture[int(rows.mean()) - 5 :, int(columns.mean()) - 5 :][:10, :10]
    np.testing.assert_allclose(
        middle.mean(axis=(0, 1)), 255 * np.array([0.5, 0.25, 0.1]) ** (1 / 2.2), atol=1.0
    )
    far = np.ones(K_SIZE, bool)
    far[rows.min() - 3 : rows.max() + 4, columns.min() - 3 : columns.max() + 4] = False
    np.testing.assert_array_equal(picture[far], background[far])
    nothing = views._replace(pix_to_face=np.full_like(views.pix_to_face, -1))
    np.testing.assert_array_equal(
        photograph(nothing, 0, faces, colours, background, rng), background
    )


def test_random_backgrounds_differ_in_brightness_and_colour():
    rooms = [random_background((64, 48), np.random.default_rng(seed)) for seed in range(8)]
    assert {room.shape for room in rooms} == {(64, 48, 3)}
    means = np.array([room.mean(axis=(0, 1)) for room in rooms])
    assert np.ptp(means, axis=0).min() > 10.0
    np.testing.assert_array_equal(rooms[3], random_background((64, 48), np.random.default_rng(3)))


def test_depth_sensor_adds_noise_and_loses_surfaces_at_grazing_angles():
    K = np.array([[500.0, 0, 50], [0, 500, 50], [0, 0, 1]])
    rng = np.random.default_rng(0)
    wall = np.full((100, 100), 1000.0, np.float32)
    wall[:, :10] = 0.0
    noisy = noisy_depth(wall, K, 0.5, rng)
    assert not noisy[:, :10].any()
    left = noisy[5:-5, 15:-5]
    assert (left > 0).all() and abs((left - 1000.0).std() - 0.5) < 0.03
    columns = np.arange(100)
    # A plane whose normal is at 80 degrees to the rays through the middle.
    tilted = np.tile(1000.0 / (1.0 - np.tan(np.radians(80)) * (columns - 50) / 500.0), (100, 1))
    lost = noisy_depth(tilted[:, 40:60], K, 0.5, rng)[5:-5, 3:-3] == 0
    share = 1.0 - np.cos(np.radians(80)) / 0.35
    assert abs(lost.mean() - share) < 0.1
