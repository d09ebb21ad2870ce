"""Joints under wrong names, of the other side, in another order or of another size."""

import jax.numpy as jnp
import numpy as np
import pytest

from dhm.evidence.cameras import CameraView
from dhm.evidence.files import EvidenceFile, FrameEvidence
from dhm.evidence.fitter import FrameFitter
from dhm.evidence.readings import _ORDERS, reading_doubts
from dhm.geometry.hand_rig import FINGERS, JOINT_NAMES

PARTS = ("_null", "3", "2", "1")


@pytest.fixture(scope="module")
def hand(toy_model):
    """Joints of a bent hand of the model, by name, somewhere in the world."""
    _, model, variables = toy_model
    theta = np.zeros((1, 28), np.float32)
    theta[0, 10::5] = 0.4
    joints = model.apply(variables, jnp.asarray(theta), method="decode").joints[0]
    place = np.float64(joints) @ np.array([[0, -1.0, 0], [0, 0, -1], [1, 0, 0]]).T + [60, 5, 600]
    return dict(zip(model.template.joint_names, place, strict=True))


def _noisy(hand, seed, scale):
    rng = np.random.default_rng(seed)
    return {name: point + rng.normal(scale=scale, size=3) for name, point in hand.items()}


def _exchanged(hand, one, other):
    names = {f"{a}{part}": f"{b}{part}" for a, b in ((one, other), (other, one)) for part in PARTS}
    return {name: hand[names.get(name, name)] for name in hand}


def _base_to_tip(hand):
    turned = {
        f"{f}{a}": f"{f}{b}" for f in FINGERS for a, b in zip(PARTS, PARTS[::-1], strict=True)
    }
    return {name: hand[turned.get(name, name)] for name in hand}


def _in_order_of(hand, order):
    return dict(zip(hand, (hand[name] for name in order), strict=False))


def _scaled(hand, scale):
    return {name: scale * point for name, point in hand.items()}


def _other_handed(hand):
    return {name: point * [1, 1, -1] for name, point in hand.items()}


SEEN = "keypoints of two cameras"
NOTHING, SWAP = "", "With the joints of index and middle exchanged it is"
CASES = {
    "exact": (lambda hand: hand, NOTHING),
    **{
        f"noise {seed}": (lambda hand, seed=seed: _noisy(hand, seed, 3), NOTHING)
        for seed in range(4)
    },
    "index and middle": (lambda hand: _exchanged(hand, "index", "middle"), SWAP),
    "index and middle, noise": (
        lambda hand: _noisy(_exchanged(hand, "index", "middle"), 5, 1),
        SWAP,
    ),
    "thumb and pinky": (lambda hand: _exchanged(hand, "thumb", "pinky"), "thumb and pinky exch"),
    "base to tip": (_base_to_tip, "With the joints of each finger in reverse order it is 0."),
    "Unity": (_other_handed, "As a left hand it is 0."),
    "larger": (lambda hand: _scaled(hand, 1.25), 'With "fit_scale" it is 0.'),
    **{
        name: (
            lambda hand, order=order: _in_order_of(hand, order),
            f"in the order of {name} it is 0.",
        )
        for name, order in _ORDERS.items()
    },
}
FEW = ("exact", "noise 0", "index and middle", "MediaPipe, OpenPose and FreiHAND")


def _seen_by_two(hand):
    """The hand as keypoints of two cameras alone."""
    joints = np.stack([*hand.values()])
    K = np.array([[800.0, 0, 160], [0, 800, 120], [0, 0, 1]])
    turned = np.eye(4)
    turned[:3, :3] = [[0.8, 0, -0.6], [0, 1, 0], [0.6, 0, 0.8]]
    turned[:3, 3] = [0, 0, 700] - turned[:3, :3] @ joints.mean(axis=0)
    views = []
    for T in (np.eye(4), turned):
        pixels = (joints @ T[:3, :3].T + T[:3, 3]) @ K.T
        points = pixels[:, :2] / pixels[:, 2:]
        views.append(CameraView("a", K, T, points, np.ones(len(hand))))
    nothing = np.zeros((0, 3))
    zeros = np.zeros((len(hand), 3)), np.zeros(len(hand))
    return FrameEvidence("a", *zeros, tuple(views), nothing, nothing, side="right")


def _doubts(toy_model, hand, names):
    """What is said of some cases, and of keypoints that two cameras see."""
    _, model, variables = toy_model
    fitter = FrameFitter(model, variables)
    frames = []
    for name in names:
        joints = CASES[name][0](hand)
        known = np.array([float(name in joints) for name in hand])
        rows = np.stack([joints.get(name, np.zeros(3)) for name in hand])
        nothing = np.zeros((0, 3))
        frames.append(FrameEvidence("a", rows, known, (), nothing, nothing, side="right"))
    fitted = fitter(EvidenceFile(tuple(frames), False))
    seen = _seen_by_two(_exchanged(hand, "index", "middle"))
    fitted = fitted._replace(  # all that is read of a hand
        joint_error=np.append(fitted.joint_error, np.nan),
        pixel_error=np.append(fitted.pixel_error, 3.5),
    )
    content = EvidenceFile((*frames, seen), False)
    doubts = reading_doubts(fitter, content, fitted, tuple(hand))
    return {name: " ".join(found) for name, found in zip([*names, SEEN], doubts, strict=True)}


@pytest.fixture(scope="module")
def said(toy_model, hand):
    """What is said of a few cases."""
    return _doubts(toy_model, hand, FEW)


@pytest.fixture(scope="module")
def all_said(toy_model, hand):
    """What is said of all cases."""
    return _doubts(toy_model, hand, tuple(CASES))


@pytest.mark.mistake(
    "fit, joints", "two fingers that changed places", "`doubtful`, with the fingers' names"
)
@pytest.mark.mistake(
    "fit, joints",
    "fingers from base to tip instead of tip to base",
    "`doubtful`, with what is right",
)
@pytest.mark.mistake(
    "fit, joints",
    "the order of MediaPipe, OpenPose, FreiHAND, RHD or InterHand2.6M under the model's names",
    "`doubtful`, with what is right",
)
@pytest.mark.mistake(
    "fit, joints", "axes of a left-handed system, as Unity's", '`doubtful`: "As a left hand ..."'
)
@pytest.mark.mistake(
    "fit, joints",
    "a larger or smaller person's, without `fit_scale`",
    "`doubtful`, with `fit_scale`",
)
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_another_reading_is_named_where_it_explains_the_joints(all_said, case):
    _, expected = CASES[case]
    assert expected in all_said[case] if expected else all_said[case] == ""


@pytest.mark.parametrize("case", FEW)
def test_another_reading_is_named_where_it_explains_a_few(said, case):
    _, expected = CASES[case]
    assert expected in said[case] if expected else said[case] == ""


@pytest.mark.mistake(
    "fit, cameras", "two fingers that changed places in all cameras", "`doubtful`, with their names"
)
def test_another_reading_of_keypoints_that_two_cameras_see(said):
    assert said[SEEN].startswith(SWAP)


def test_orders_name_21_joints_of_the_model_once():
    for order in _ORDERS.values():
        assert len(set(order)) == 21 and set(order) <= set(JOINT_NAMES)
