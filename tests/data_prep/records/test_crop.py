"""Plans and crops of views: pixels, depth maps and K agree; unusable views have a reason."""

import dataclasses
import itertools

import cv2
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from data_prep.captures.release_capture import read_release_capture
from data_prep.records.crop import Unusable, crop_view, limit_depth, plan_crop
from dhm.data.depth_codec import DEPTH_RANGE_MM
from dhm.errors import BadInputError
from dhm.formats.release_annotations import write_depth_pickle
from tests.data_prep import synthetic

SIZE = 24


def project(K, T, points):
    in_camera = points.astype(np.float64) @ T[:3, :3].T + T[:3, 3]
    pixels = in_camera @ np.asarray(K, np.float64).T
    return pixels[:, :2] / pixels[:, 2:]


def source_pixels(K_crop, K_source):
    """Where the rays of the crop's pixel centres meet the source picture."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    rays = np.stack([columns, rows, np.ones((SIZE, SIZE))], axis=-1) @ np.linalg.inv(K_crop).T
    pixels = rays @ K_source.T
    return pixels[..., 0], pixels[..., 1]


def test_the_box_is_one_and_a_half_times_the_joints_box(tmp_path):
    view = synthetic.view(tmp_path)
    view = dataclasses.replace(view, joints=view.joints * np.float32([0.7, 0.7, 1]))
    K_crop = plan_crop(view, SIZE).A_crop_view @ view.K
    joints = project(K_crop, view.T_camera_world, view.joints)
    # The joints fill the middle two thirds of the crop, whose edges are -0.5 and SIZE - 0.5.
    np.testing.assert_allclose(joints.min(axis=0), SIZE / 6 - 0.5, atol=1e-4)
    np.testing.assert_allclose(joints.max(axis=0), SIZE * 5 / 6 - 0.5, atol=1e-4)


def test_the_box_is_clipped_to_the_picture(tmp_path):
    view = synthetic.view(tmp_path)
    view = dataclasses.replace(view, joints=view.joints + np.float32([100, 0, 0]))
    A = plan_crop(view, SIZE).A_crop_view
    corner = np.linalg.solve(A, [SIZE - 0.5, SIZE - 0.5, 1])
    assert corner[0] == pytest.approx(synthetic.K_SIZE[1] - 0.5)
    low = np.linalg.solve(A, [-0.5, -0.5, 1])
    assert low[0] > 0


@pytest.mark.parametrize("image_size", [(60, 40), (150, 100), (30, 20)])
@pytest.mark.parametrize("depth_size", [(60, 40), (30, 20), (120, 80)])
def test_pixels_and_K_of_the_crop_agree(tmp_path, image_size, depth_size):
    view = synthetic.view(tmp_path)
    view.image_path.parent.mkdir(parents=True)
    rows, columns = np.mgrid[: image_size[0], : image_size[1]]
    step = 240 / max(image_size)
    ramp = np.stack([step * columns, step * rows, 0 * rows], axis=-1)
    path = view.image_path.with_suffix(".png")
    cv2.imwrite(str(path), cv2.cvtColor(ramp.round().astype(np.uint8), cv2.COLOR_RGB2BGR))
    K_depth = synthetic.scaled_K(depth_size)
    plane, background = synthetic.plane_depth(K_depth, depth_size), depth_size[1] // 6
    plane[:, :background] = 0
    write_depth_pickle(view.depth_path, plane)
    view = dataclasses.replace(view, image_path=path)
    cropped = crop_view(view, plan_crop(view, SIZE))

    x, y = source_pixels(cropped.K, synthetic.scaled_K(image_size))
    inside = (x >= 0) & (x <= image_size[1] - 1) & (y >= 0) & (y <= image_size[0] - 1)
    # The pictures' margins shift a low-passed ramp a little.
    inner = inside & (np.minimum(x, image_size[1] - 1 - x) > 4) & (np.minimum(y, y.max() - y) > 4)
    error = cropped.image[..., :2] - step * np.stack([x, y], axis=-1)
    assert np.abs(error[inner].mean(axis=0)).max() < 0.15 * step
    assert np.abs(error[inner]).max() < 1.5

    x, y = source_pixels(cropped.K, K_depth)
    inside = (x >= background) & (x <= depth_size[1] - 1) & (y >= 0) & (y <= depth_size[0] - 1)
    expected = synthetic.plane_depth(cropped.K, (SIZE, SIZE))
    assert inside.sum() > SIZE**2 / 2
    np.testing.assert_allclose(cropped.depth[inside], expected[inside], atol=1e-3)
    # The check above has teeth: half a pixel of the crop would be far outside its tolerance.
    assert np.abs(np.diff(expected, axis=1)).min() / 2 > 0.1


def test_a_view_without_depth_map_is_cropped(tmp_path):
    view = dataclasses.replace(synthetic.view(tmp_path), depth_path=None)
    synthetic.write_view(view)
    cropped = crop_view(view, plan_crop(view, SIZE))
    assert cropped.depth is None
    assert cropped.image.shape == (SIZE, SIZE, 3)


def moved(view, offset):
    return dataclasses.replace(view, joints=view.joints + np.float32(offset))


def test_unusable_views_have_a_reason(tmp_path):
    view = synthetic.view(tmp_path)
    two = np.array([True, False, True, False])
    assert plan_crop(dataclasses.replace(view, joint_valid=two), SIZE) is Unusable.TOO_FEW_JOINTS
    assert plan_crop(moved(view, [0, 0, -505]), SIZE) is Unusable.BEHIND_CAMERA
    assert plan_crop(moved(view, [2000, 0, 0]), SIZE) is Unusable.OUTSIDE_IMAGE
    assert plan_crop(moved(view, [0, 0, 5000]), SIZE) is Unusable.TOO_SMALL
    on_a_line = view.joints * np.float32([1, 0, 1])
    assert plan_crop(dataclasses.replace(view, joints=on_a_line), SIZE) is Unusable.TOO_SMALL


def test_invalid_joints_do_not_move_the_box(tmp_path):
    view = synthetic.view(tmp_path)
    more = dataclasses.replace(
        view,
        joints=np.concatenate([view.joints, np.zeros((1, 3), np.float32)]),
        joint_valid=np.array([True] * 4 + [False]),
    )
    np.testing.assert_array_equal(
        plan_crop(view, SIZE).A_crop_view, plan_crop(more, SIZE).A_crop_view
    )


def test_depth_that_cannot_belong_to_the_hand_is_dropped_and_counted():
    depth = np.array([[0, 299.0, 300.0], [500.0, 300 + DEPTH_RANGE_MM, 301 + DEPTH_RANGE_MM]])
    limited, dropped = limit_depth(depth, 300.0)
    assert dropped == 2
    np.testing.assert_array_equal(limited, [[0, 0, 300.0], [500.0, 300 + DEPTH_RANGE_MM, 0]])


def test_a_picture_of_another_aspect_ratio_is_refused(tmp_path):
    view = synthetic.view(tmp_path)
    synthetic.write_view(view, size=(40, 60))
    with pytest.raises(BadInputError, match="40 rows and 60 columns, expected the aspect ratio"):
        crop_view(view, plan_crop(view, SIZE))


def test_projected_joints_hit_the_hand_in_the_foreign_capture(release_mini):
    """Joints lie inside the hand: the surface before them is near, and there is foreground."""
    hits = []
    for view in read_release_capture(release_mini, 4).views:
        cropped = crop_view(view, plan_crop(view, 256))
        joints = view.joints[view.joint_valid]
        u, v = project(cropped.K, view.T_camera_world, joints).round().astype(int).T
        z = joints @ view.T_camera_world[2, :3] + view.T_camera_world[2, 3]
        inside = (u >= 0) & (u < 256) & (v >= 0) & (v < 256)
        surface = cropped.depth[v[inside], u[inside]]
        hits.append(np.mean((surface > 0) & (surface < z[inside] + 1)))
    assert len(hits) == 15
    assert np.mean(hits) > 0.95


@pytest.mark.parametrize("frame", [34, 1207, 1210])
def test_views_of_a_foreign_capture_agree_on_the_surface(release_mini, frame):
    """34 and 1210 have depth maps of half the size: half a pixel aside shifts views by 0.2 mm."""
    views = [v for v in read_release_capture(release_mini, 4).views if v.frame == frame][:3]
    crops = [crop_view(view, plan_crop(view, 256)) for view in views]
    for here, there in itertools.permutations(range(len(views)), 2):
        T = views[there].T_camera_world
        camera = _unproject(crops[here], views[here]) @ T[:3, :3].T + T[:3, 3]
        pixels = ((camera / camera[:, 2:]) @ crops[there].K.T)[:, 1::-1].T
        smooth, nearest = (map_coordinates(crops[there].depth, pixels, order=o) for o in (1, 0))
        difference = smooth - camera[:, 2]
        same = (smooth > 0) & (np.abs(smooth - nearest) < 3) & (np.abs(difference) < 5)
        assert same.sum() > 5000
        assert abs(np.median(difference[same])) < 0.05


def _unproject(crop, view):
    rows, columns = np.nonzero(crop.depth)
    rays = np.stack([columns, rows, np.ones_like(rows)], axis=1) @ np.linalg.inv(crop.K).T
    camera = rays * crop.depth[rows, columns][:, None]
    return (camera - view.T_camera_world[:3, 3]) @ view.T_camera_world[:3, :3]
