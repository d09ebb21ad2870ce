"""The motions: rules that every frame obeys, determinism, coverage."""

import numpy as np
import pytest

from data_prep.studio.anatomy.proportions import subject
from data_prep.studio.anatomy.rig import DOF_NAMES, JOINT_LIMITS
from data_prep.studio.motion.motions import (
    HELD_OUT_NAMES,
    TRAINING_NAMES,
    gesture_lengths,
    held_out_gesture,
    sequence_names,
    training_lengths,
    training_motion,
)
from data_prep.studio.motion.paths import (
    EXCLUSION_RADIUS,
    MAX_SPEED,
)
from data_prep.studio.motion.poses import POSES, pose_angles
from data_prep.studio.motion.repair import TOLERANCE
from data_prep.studio.motion.spheres import penetration_depth, sphere_hand
from dhm.errors import BadInputError
from dhm.geometry.hand_rig import FINGERS

NUM_TRAINING, NUM_HELD_OUT, STEP = 200, 30, 6
# A motion of each kind.
SOME, LENGTH = (0, 8, 18, 30), 25


@pytest.fixture(scope="module")
def person():
    return subject(2)


@pytest.fixture(scope="module")
def poses():
    """The average hand's poses: paths are repaired, so their contacts need not be solved here."""
    return {name: pose_angles(name) for name in POSES}


@pytest.fixture(scope="module")
def gestures(person, poses):
    lengths = enumerate(gesture_lengths(NUM_HELD_OUT))
    return [held_out_gesture(index, person, 0, length, STEP, poses) for index, length in lengths]


@pytest.fixture(scope="module")
def training(person, poses, gestures):
    lengths = enumerate(training_lengths(NUM_TRAINING))
    return [
        training_motion(index, person, 0, length, STEP, gestures, poses)
        for index, length in lengths
    ]


@pytest.fixture(scope="module")
def consecutive(person, poses, gestures):
    """Some motions at thirty frames a second."""
    return [
        *(training_motion(index, person, 0, LENGTH, 1, gestures, poses) for index in SOME),
        held_out_gesture(1, person, 0, LENGTH, 1, poses),
    ]


def _angles(motions):
    return np.concatenate([motion.theta for motion in motions])


@pytest.mark.slow
def test_there_are_40_motions_and_15_gestures_of_the_requested_length(training, gestures):
    assert (len(training), len(gestures)) == (40, 15)
    assert len(_angles(training)) == NUM_TRAINING
    assert len(_angles(gestures)) == NUM_HELD_OUT
    for motion in (*training, *gestures):
        assert motion.theta.shape[1:] == (28,)
        assert len(motion.theta) == len(motion.T_world_hand)


@pytest.mark.parametrize("num_frames", [40, 41, 100, 1500])
def test_free_motions_are_the_longest_and_lengths_sum_to_the_number_of_frames(num_frames):
    lengths = training_lengths(num_frames)
    free = ["free" in name for name in TRAINING_NAMES]
    assert (len(lengths), sum(lengths), min(lengths) >= 1) == (40, num_frames, True)
    if num_frames >= 100:
        assert np.compress(free, lengths).min() > np.compress(np.invert(free), lengths).max()
    assert np.ptp(gesture_lengths(num_frames)) <= 1


@pytest.mark.slow
def test_names_are_right_hand_sequences_of_every_subject(training, gestures):
    names = [motion.name for motion in (*training, *gestures)]
    assert names == [*sequence_names()[0], *sequence_names()[1]]
    assert len(set(names)) == len(TRAINING_NAMES) + len(HELD_OUT_NAMES) == 55
    for name in names:
        assert name.startswith("00") and "RT" in name and "ROM" not in name


@pytest.mark.slow
def test_every_frame_is_within_the_limits(training, gestures):
    low, high = JOINT_LIMITS.T
    theta = _angles([*training, *gestures])
    assert (theta >= low).all() and (theta <= high).all()


@pytest.mark.slow
def test_no_frame_penetrates(person, training, gestures):
    depths = penetration_depth(sphere_hand(person), _angles([*training, *gestures]))
    assert depths.max() <= TOLERANCE
    assert (depths > 0.1).mean() > 0.1  # hands that never touch themselves would not test it


@pytest.mark.slow
def test_motions_are_smooth_and_not_too_fast(consecutive):
    for motion in consecutive:
        steps = np.diff(motion.theta, axis=0)
        assert np.abs(steps).max() <= MAX_SPEED
        assert np.abs(np.diff(steps, axis=0)).max() < 0.3
        hand = motion.T_world_hand
        assert np.abs(np.diff(hand[:, :3, 3], axis=0)).max() < 20.0
        assert np.abs(np.diff(hand[:, :3, :3], axis=0)).max() < 0.1


@pytest.mark.slow
def test_no_training_frame_is_near_a_gesture(training, gestures):
    theta, held_out = _angles(training), _angles(gestures)
    nearest = np.abs(theta[:, None] - held_out[None]).max(axis=-1).min()
    assert nearest > EXCLUSION_RADIUS


@pytest.mark.slow
def test_larger_frame_step_samples_the_same_motion(consecutive, person, poses):
    motion = held_out_gesture(1, person, 0, LENGTH // STEP, STEP, poses)
    every = consecutive[4]
    np.testing.assert_allclose(motion.T_world_hand, every.T_world_hand[:-1:STEP])
    few, all_frames = (np.abs(np.diff(theta, axis=0)) for theta in (motion.theta, every.theta))
    assert few.max() > 2 * all_frames.max()


@pytest.mark.slow
@pytest.mark.parametrize("index", SOME)
def test_motion_is_reproducible(person, poses, training, gestures, index):
    alone = training_motion(index, person, 0, len(training[index].theta), STEP, gestures, poses)
    np.testing.assert_array_equal(alone.theta, training[index].theta)
    np.testing.assert_array_equal(alone.T_world_hand, training[index].T_world_hand)


def test_motions_depend_on_the_seed(person, poses):
    one, other = (held_out_gesture(4, person, seed, 10, 1, poses).theta for seed in (0, 1))
    assert np.abs(one - other).max() > 0.01


@pytest.mark.slow
def test_training_covers_the_range_of_every_rotation(training):
    low, high = JOINT_LIMITS.T
    first, last = np.quantile(_angles(training), [0.01, 0.99], axis=0)
    assert ((last - first) / (high - low)).min() > 0.5
    flexions = [i for i, name in enumerate(DOF_NAMES) if name.endswith(("1_z", "2_z"))]
    assert ((last - first) / (high - low))[flexions].min() > 0.75


@pytest.mark.slow
@pytest.mark.parametrize("joint", [1, 2])
def test_fingers_move_independently(training, joint):
    columns = [DOF_NAMES.index(f"{finger}{joint}_z") for finger in FINGERS[1:]]
    correlation = np.corrcoef(_angles(training)[:, columns].T)
    assert np.abs(correlation[~np.eye(4, dtype=bool)]).max() < 0.75
    free = np.corrcoef(_angles(training[20:])[:, columns].T)
    assert np.abs(free[~np.eye(4, dtype=bool)]).max() < 0.5


@pytest.mark.slow
def test_hands_are_upright_near_the_centre_of_the_studio(training):
    T = np.concatenate([motion.T_world_hand for motion in training])
    R = T[:, :3, :3]
    np.testing.assert_allclose(
        R @ np.swapaxes(R, 1, 2), np.tile(np.eye(3), (len(R), 1, 1)), atol=1e-9
    )
    np.testing.assert_allclose(np.linalg.det(R), 1.0)
    middle = R @ np.array([80.0, 0.0, 0.0]) + T[:, :3, 3]
    assert np.abs(middle).max() < 40.0
    assert (R[:, 2, 0] > 0.5).all()  # fingers up


def test_fewer_frames_than_motions_are_refused():
    with pytest.raises(BadInputError, match="at least one for each of 40"):
        training_lengths(39)
    with pytest.raises(BadInputError, match="at least one for each of 15"):
        gesture_lengths(14)
