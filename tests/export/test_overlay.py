"""Overlays against the projected triangles filled by OpenCV."""

import cv2
import numpy as np
import pytest

from data_prep.studio.template.hand_template import hand_template
from dhm.export.hand_files import CAMERA, LEFT, PredictedHand, mirror_transform, placed_points
from dhm.export.overlay import MAX_SIDE, canonical_view, draw_hand, limit_size, with_canonical_view
from dhm.networks.hand_model import inverse_bind_pose

GREY = 110


@pytest.fixture(scope="module")
def template():
    return hand_template("coarse")


@pytest.fixture(scope="module")
def joints(template):
    return np.linalg.inv(inverse_bind_pose(template))[:, :3, 3]


def _hand(template, joints, at=(0, 0, 600.0), **changes):
    turn = cv2.Rodrigues(np.array([1.2, 0.5, -0.3]))[0]
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = turn, np.array(at) - turn @ joints.mean(axis=0)
    K = np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]])
    hand = PredictedHand(template.v_template, joints, np.zeros(28), frame=CAMERA,
                         T_frame_model=T, K=K)  # fmt: skip
    return hand._replace(**changes)


def _filled(hand, template, shape, K):
    points = placed_points(hand.vertices, hand) @ K.T
    corners = (points[:, :2] / points[:, 2:])[template.faces]
    mask = np.zeros(shape, np.uint8)
    for triangle in corners:
        cv2.fillConvexPoly(mask, np.rint(triangle * 16).astype(np.int32), 1, shift=4)
    return mask > 0


def _overlap(a, b):
    return (a & b).sum() / (a | b).sum()


def _photo(shape=(480, 640)):
    return np.full((*shape, 3), GREY, np.uint8)


def _changed(picture):
    return np.abs(picture.astype(int) - GREY).max(axis=-1) > 3


@pytest.mark.parametrize("side", ["right", LEFT])
@pytest.mark.parametrize("at", [(0, 0, 600.0), (0, 0, 180.0), (150.0, -80, 500.0)])
def test_a_placed_hand_is_drawn_where_it_projects(template, joints, at, side):
    hand = _hand(template, joints, at)
    if side == LEFT:
        hand = hand._replace(side=LEFT, T_frame_model=mirror_transform(hand.T_frame_model))
    picture = draw_hand(_photo(), hand, template)
    assert picture.shape == (480, 640, 3)
    assert _overlap(_changed(picture), _filled(hand, template, (480, 640), hand.K)) > 0.96


def test_a_large_photo_and_its_hand_are_resized(template, joints):
    scale = 5
    K = np.array([[3000.0, 0, 1602], [0, 3000, 1202], [0, 0, 1]])
    hand = _hand(template, joints)._replace(K=K)
    picture = draw_hand(_photo((480 * scale, 640 * scale)), hand, template)
    assert picture.shape == (960, 1280, 3)
    whole = _filled(hand, template, (480 * scale, 640 * scale), K).astype(np.uint8)
    small = cv2.resize(whole, (1280, 960), interpolation=cv2.INTER_AREA) > 0.5
    assert _overlap(_changed(picture), small) > 0.96


def test_the_matrix_of_a_resized_picture():
    image = np.zeros((100, 3 * MAX_SIDE, 3), np.uint8)
    image[60:63, 900:903] = 255
    small, A = limit_size(image)
    assert small.shape[1] == MAX_SIDE
    u, v = (A @ [901, 61, 1])[:2]
    assert (v, u) == pytest.approx(np.argwhere(small[:, :, 0] > 128).mean(axis=0), abs=0.6)
    same, A = limit_size(small)
    assert same is small and (np.eye(3) == A).all()


def test_the_photo_itself_is_not_changed(template, joints):
    photo = _photo()
    draw_hand(photo, _hand(template, joints), template, np.array([[5.0, 5]]))
    assert (photo == GREY).all()


@pytest.mark.slow
@pytest.mark.parametrize("at", [(5000.0, 0, 600), (0, 0, -600.0), (0, 0, 20.0)])
def test_a_hand_out_of_sight_leaves_the_picture_unchanged(template, joints, at):
    picture = draw_hand(_photo((48, 64)), _hand(template, joints, at), template)
    assert picture.shape == (48, 64, 3)
    if at[2] != 20:
        assert (picture == GREY).all()


def test_keypoints_are_marked_and_outliers_are_red(template, joints):
    hand = _hand(template, joints, at=(5000.0, 0, 600))
    points = np.array([[50.0, 60], [200, 90], [np.nan, 3], [-900, 1e7]])
    picture = draw_hand(_photo(), hand, template, points, [False, True, False, False])
    red, green = picture[90, 200].astype(int), picture[60, 50].astype(int)
    assert red[0] > 2 * red[1] and green[1] > 2 * green[0]


@pytest.mark.parametrize("side", ["right", LEFT])
def test_the_canonical_view_shows_the_back_with_the_fingers_up(template, joints, side):
    hand = PredictedHand(template.v_template, joints, np.zeros(28), side=side)
    panel = canonical_view(hand, template, 200)
    seen = panel.max(axis=-1) > 60
    rows, columns = np.nonzero(seen)
    assert rows.min() > 2 and columns.min() > 2 and max(rows.max(), columns.max()) < 198
    assert max(np.ptp(rows), np.ptp(columns)) > 170
    # The thumb, which stands out in the middle of the rows, is at the left of a right hand.
    middle = columns[(rows > 80) & (rows < 150)]
    centre = columns[rows > rows.max() - 20].mean()  # the wrist
    reach_left, reach_right = centre - middle.min(), middle.max() - centre
    assert (reach_left > reach_right) == (side != LEFT)
    # Fingers, four of them, are at the top: more pieces in a row than at the wrist.
    pieces = [int((np.diff(seen[row].astype(int)) == 1).sum()) for row in range(200)]
    assert max(pieces[20:90]) >= 3 and pieces[rows.max() - 15] == 1


def test_the_canonical_view_is_drawn_at_the_right_of_the_photo(template, joints):
    hand = PredictedHand(template.v_template, joints, np.zeros(28))
    picture = draw_hand(_photo(), hand, template)
    assert picture.shape == (480, 640 + 480, 3)
    assert (picture[:, :640] == GREY).all()
    assert with_canonical_view(_photo((100, 80)), hand, template).shape == (256, 80 + 256, 3)
    empty = with_canonical_view(_photo(), None, template)
    assert empty.shape == picture.shape and empty[:, 640:].max() < 60
