"""The motion set: rules that every frame keeps, determinism, coverage."""

import numpy as np
import pytest

from data_prep.studio.anatomy.proportions import subject
from data_prep.studio.anatomy.rig import JOINT_LIMITS
from data_prep.studio.motion.acceptable_path import EXCLUSION, FASTEST, near_any
from data_prep.studio.motion.collision import penetration_depth
from data_prep.studio.motion.keys import common_schedule, own_schedules, random_hand, smooth_path
from data_prep.studio.motion.motions import (
    HELD_OUT_NAMES,
    TRAINING_NAMES,
    gesture_lengths,
    held_out_gesture,
    held_out_gestures,
    sequence_names,
    training_lengths,
    training_motion,
    training_motions,
)
from data_prep.studio.motion.poses import DOFS
from data_prep.studio.motion.repair import TOLERANCE
from data_prep.studio.motion.spheres import sphere_hand
from dhm.errors import BadInputError
from dhm.geometry.hand_rig import FINGERS

NUM_TRAINING, NUM_HELD_OUT, STEP = 320, 60, 6
# A motion of each kind.
SOME, LENGTH = (0, 8, 18, 30), 25


@pytest.fixture(scope="module")
def person():
    return subject(2)


@pytest.fixture(scope="module")
def gestures(person):
    return held_out_gestures(person, 0, NUM_HELD_OUT, STEP)


@pytest.fixture(scope="module")
def training(person, gestures):
    return training_motions(person, 0, NUM_TRAINING, STEP, gestures)


@pytest.fixture(scope="module")
def slow(person, gestures):
    """Some motions frame by frame, thirty a second."""
    return [
        *(training_motion(index, person, 0, LENGTH, 1, gestures) for index in SOME),
        *(held_out_gesture(index, person, 0, LENGTH, 1) for index in (1, 9)),
    ]


def _angles(motions):
    return np.concatenate([motion.theta for motion in motions])


def test_40_motions_and_15_gestures_with_the_asked_number_of_frames(training, gestures):
    assert (len(training), len(gestures)) == (40, 15)
    assert len(_angles(training)) == NUM_TRAINING
    assert len(_angles(gestures)) == NUM_HELD_OUT
    for motion in (*training, *gestures):
        assert motion.theta.shape[1:] == (28,)
        assert len(motion.theta) == len(motion.T_world_hand)


@pytest.mark.parametrize("num_frames", [40, 41, 100, 1500])
def test_free_motions_are_the_longest_and_no_frame_is_lost(num_frames):
    lengths = training_lengths(num_frames)
    free = ["free" in name for name in TRAINING_NAMES]
    assert (len(lengths), sum(lengths), min(lengths) >= 1) == (40, num_frames, True)
    if num_frames >= 100:
        assert np.compress(free, lengths).min() > np.compress(np.invert(free), lengths).max()
    assert np.ptp(gesture_lengths(num_frames)) <= 1


def test_names_are_right_hand_sequences_of_any_subject(training, gestures):
    names = [motion.name for motion in (*training, *gestures)]
    assert names == [*sequence_names()[0], *sequence_names()[1]]
    assert len(set(names)) == len(TRAINING_NAMES) + len(HELD_OUT_NAMES) == 55
    for name in names:
        assert name.startswith("00") and "RT" in name and "ROM" not in name


def test_every_frame_keeps_to_the_limits(training, gestures):
    low, high = JOINT_LIMITS.T
    theta = _angles([*training, *gestures])
    assert (theta >= low).all() and (theta <= high).all()


def test_no_frame_penetrates(person, training, gestures):
    depths = penetration_depth(sphere_hand(person), _angles([*training, *gestures]))
    assert depths.max() <= TOLERANCE
    assert (depths > 0.1).mean() > 0.1  # hands that never touch themselves would prove nothing


def test_motions_are_smooth_and_not_too_fast(slow):
    for motion in slow:
        steps = np.diff(motion.theta, axis=0)
        assert np.abs(steps).max() <= FASTEST
        assert np.abs(np.diff(steps, axis=0)).max() < 0.3
        hand = motion.T_world_hand
        assert np.abs(np.diff(hand[:, :3, 3], axis=0)).max() < 20.0
        assert np.abs(np.diff(hand[:, :3, :3], axis=0)).max() < 0.1


def test_no_training_frame_is_near_a_gesture(training, gestures):
    theta, held_out = _angles(training), _angles(gestures)
    nearest = np.abs(theta[:, None] - held_out[None]).max(axis=-1).min()
    assert nearest > EXCLUSION


def test_near_any_takes_the_largest_difference():
    others = np.zeros((1, 28))
    theta = np.zeros((3, 28))
    theta[1] = 0.29
    theta[2, 5] = 0.31
    np.testing.assert_array_equal(near_any(theta, others, 0.3), [True, True, False])
    assert not near_any(theta, np.zeros((0, 28)), 0.3).any()


def test_frames_farther_apart_see_more_of_the_same_motion(slow, person):
    motion = held_out_gesture(1, person, 0, LENGTH // STEP, STEP)
    np.testing.assert_allclose(motion.T_world_hand, slow[4].T_world_hand[:-1:STEP])
    few, all_frames = (np.abs(np.diff(theta, axis=0)) for theta in (motion.theta, slow[4].theta))
    assert few.max() > 2 * all_frames.max()


@pytest.mark.parametrize("index", SOME)
def test_a_motion_can_be_made_alone_and_twice_the_same(person, training, gestures, index):
    alone = training_motion(index, person, 0, len(training[index].theta), STEP, gestures)
    np.testing.assert_array_equal(alone.theta, training[index].theta)
    np.testing.assert_array_equal(alone.T_world_hand, training[index].T_world_hand)


def test_another_seed_is_another_motion(person, gestures):
    one, other = (held_out_gesture(4, person, seed, 10, 1).theta for seed in (0, 1))
    assert np.abs(one - other).max() > 0.01


def test_training_covers_the_range_of_every_rotation(training):
    low, high = JOINT_LIMITS.T
    first, last = np.quantile(_angles(training), [0.01, 0.99], axis=0)
    assert ((last - first) / (high - low)).min() > 0.5
    flexions = [i for i, name in enumerate(DOFS) if name.endswith(("1_z", "2_z"))]
    assert ((last - first) / (high - low))[flexions].min() > 0.75


@pytest.mark.parametrize("joint", [1, 2])
def test_fingers_move_independently(training, joint):
    columns = [DOFS.index(f"{finger}{joint}_z") for finger in FINGERS[1:]]
    correlation = np.corrcoef(_angles(training)[:, columns].T)
    assert np.abs(correlation[~np.eye(4, dtype=bool)]).max() < 0.75
    free = np.corrcoef(_angles(training[20:])[:, columns].T)
    assert np.abs(free[~np.eye(4, dtype=bool)]).max() < 0.5


def test_hands_are_rigidly_placed_near_the_middle_of_the_studio(training):
    T = np.concatenate([motion.T_world_hand for motion in training])
    R = T[:, :3, :3]
    np.testing.assert_allclose(
        R @ np.swapaxes(R, 1, 2), np.tile(np.eye(3), (len(R), 1, 1)), atol=1e-9
    )
    np.testing.assert_allclose(np.linalg.det(R), 1.0)
    middle = R @ np.array([80.0, 0.0, 0.0]) + T[:, :3, 3]
    assert np.abs(middle).max() < 40.0
    assert (R[:, 2, 0] > 0.5).all()  # fingers up


def test_fewer_frames_than_motions_are_refused(person, gestures):
    with pytest.raises(BadInputError, match="at least one for each of 40"):
        training_motions(person, 0, 39, 1, gestures)
    with pytest.raises(BadInputError, match="at least one for each of 15"):
        held_out_gestures(person, 0, 14, 1)


def test_a_path_passes_its_keys_at_rest_and_never_overshoots():
    rng = np.random.default_rng(5)
    schedule = common_schedule(rng, 60, 1, np.zeros(5))
    keys = np.stack([random_hand(rng) for _ in range(schedule.times.shape[1])])
    np.testing.assert_array_equal(smooth_path(schedule, keys, 60)[0], keys[0])
    path = smooth_path(schedule, keys, 60)
    assert (path >= keys.min(axis=0)).all() and (path <= keys.max(axis=0)).all()
    at = schedule.times[0, 1]
    frame = round(at)
    assert np.abs(path[frame] - keys[1]).max() < 0.05 * np.abs(keys[0] - keys[2]).max()


@pytest.mark.parametrize("own", [False, True])
def test_a_path_does_not_depend_on_how_many_of_its_frames_are_kept(own):
    def path(num_frames, frame_step):
        rng = np.random.default_rng(5)
        arguments = (rng, num_frames, frame_step)
        schedule = own_schedules(*arguments) if own else common_schedule(*arguments, np.arange(5))
        keys = np.stack([random_hand(rng) for _ in range(schedule.times.shape[1])])
        return smooth_path(schedule, keys, num_frames)

    np.testing.assert_allclose(path(10, 6), path(60, 1)[::6], atol=1e-9)


def test_own_schedules_begin_before_the_first_frame_and_end_after_the_last():
    fast = own_schedules(np.random.default_rng(1), 10, 4)
    assert (fast.times[:, 0] <= 0).all() and (fast.times[:, -1] > 10).all()
    schedule = own_schedules(np.random.default_rng(1), 37, 1)
    assert (schedule.times[:, 0] <= 0).all() and (schedule.times[:, -1] > 37).all()
    assert len(np.unique(schedule.times[:, 1])) == 5
    before, after = schedule.keys_around(20)
    for digit in range(5):
        assert schedule.times[digit, before[digit]] <= 20 < schedule.times[digit, after[digit]]
