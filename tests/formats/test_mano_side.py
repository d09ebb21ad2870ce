"""Which hand a file of MANO's form is, and left hands with the right hand's shape directions."""

import dataclasses
import logging

import jax.numpy as jnp
import numpy as np
import pytest

from dhm.errors import BadInputError
from dhm.formats.mano_pickle import read_mano, write_mano
from dhm.formats.mano_side import (
    MIRROR,
    right_hand_file,
    shape_agreement,
    side_of_name,
    side_of_shape,
)
from dhm.networks.mano import mano
from tests.references.mano import random_mano


def right_hand(turn=None):
    """A right hand of 21 vertices, joints and tips, palm down, fingers along -z; sizes vary."""
    joints = {0: [0, 0, 60.0]}
    for first, x in ((1, -24), (4, -8), (10, 8), (7, 24)):  # index, middle, ring, little finger
        joints |= {first + k: [x, 0, -30.0 * k] for k in range(3)}
    joints |= {13: [-25, -6, 40], 14: [-45, -14, 20], 15: [-55, -20, 0]}
    tips = [[-60, -25, -20], *([x, 0, -90] for x in (-24, -8, 8, 24))]
    vertices = np.array([*(joints[k] for k in range(16)), *tips], float)
    rng = np.random.default_rng(0)
    sizes = rng.normal(0, 0.1, (21, 3, 3))
    sizes[..., 0] += 0.05 * (vertices - vertices.mean(axis=0))
    bends = np.zeros((15, 3))
    bends[:12, 0] = -0.4  # about x: from -z to -y, the palm's side
    R = np.eye(3) if turn is None else turn
    model = random_mano(0, num_vertices=21, num_shapes=3)
    return dataclasses.replace(
        model,
        v_template=vertices @ R.T,
        shapedirs=np.einsum("ab,vbk->vak", R, sizes),
        J_regressor=np.eye(16, 21),
        tip_vertices=tuple(range(16, 21)),
        hands_mean=(bends @ R.T).ravel(),
    )


def left_hand(right, own_shapes=True):
    """The mirrored hand, with its own or the right hand's shape directions."""
    axes = right.hands_mean.reshape(-1, 3) * [1, -1, -1]
    return dataclasses.replace(
        right,
        v_template=right.v_template * MIRROR,
        shapedirs=right.shapedirs * (MIRROR if own_shapes else np.ones(3))[:, None],
        posedirs=right.posedirs * MIRROR[:, None],
        hands_mean=axes.ravel(),
    )


def rotation(seed):
    R = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    return R * np.sign(np.linalg.det(R))


@pytest.mark.parametrize("seed", range(5))
def test_the_side_follows_from_the_shape_in_any_frame(seed):
    model = right_hand(rotation(seed))
    assert side_of_shape(model) == "right" and side_of_shape(left_hand(model)) == "left"
    flat = dataclasses.replace(model, hands_mean=np.zeros(45))
    assert side_of_shape(flat) == "right"  # by the thumb alone
    wrong = dataclasses.replace(model, hands_mean=-model.hands_mean)
    assert side_of_shape(wrong) is None  # thumb and mean pose contradict each other


def test_points_that_are_no_hand_have_no_side():
    assert {side_of_shape(random_mano(seed, 60, 2)) for seed in range(50)} == {None}


@pytest.mark.parametrize(
    ("name", "side", "right"),
    [
        ("MANO_LEFT.pkl", "left", "MANO_RIGHT.pkl"),
        ("left.pkl", "left", "right.pkl"),
        ("Left hand.pkl", "left", "Right hand.pkl"),
        ("MANO_RIGHT.pkl", "right", "MANO_RIGHT.pkl"),
        ("hand.pkl", None, "hand.pkl"),
        ("left_of_right.pkl", None, "right_of_right.pkl"),
    ],
)
def test_names_of_files(tmp_path, name, side, right):
    assert side_of_name(tmp_path / name) == side
    assert right_hand_file(tmp_path / name).name == right


def written(path, model):
    """Writes a model as MANO's authors do, without the key that says the side."""
    write_mano(path, dataclasses.replace(model, side=None))
    return path


def mean_error_mm(left, right, betas):
    betas, pose = jnp.array(betas, jnp.float32), jnp.zeros(45)
    ours = np.asarray(mano(left, betas, pose).vertices)
    return np.linalg.norm(ours - np.asarray(mano(right, betas, pose).vertices) * MIRROR, axis=-1)


@pytest.mark.mistake(
    "MANO",
    "the left file as published, with the right hand's shapes",
    "understood: mended, with a warning",
)
def test_a_left_file_with_the_right_hands_shapes_is_mended_and_said(tmp_path, caplog):
    right = right_hand()
    faulty = written(tmp_path / "hand.pkl", left_hand(right, own_shapes=False))
    found = read_mano(faulty)
    assert "hand.pkl: the shape directions of this left hand are the right hand's" in caplog.text
    assert found.side == "left"
    np.testing.assert_allclose(found.shapedirs, left_hand(right).shapedirs)
    assert mean_error_mm(found, right, [2, -1, 1]).max() < 1e-4
    # Written and read again it is not turned back.
    caplog.clear()
    write_mano(tmp_path / "again.pkl", found)
    np.testing.assert_allclose(read_mano(tmp_path / "again.pkl").shapedirs, found.shapedirs)
    assert not caplog.text


def test_a_left_file_with_its_own_shapes_and_a_right_file_stay(tmp_path, caplog):
    right = right_hand()
    for model, side in ((right, "right"), (left_hand(right), "left")):
        found = read_mano(written(tmp_path / "hand.pkl", model))
        assert found.side == side
        np.testing.assert_allclose(found.shapedirs, model.shapedirs)
    assert not caplog.text
    assert shape_agreement(right) > 0.9 and shape_agreement(left_hand(right)) > 0.9


@pytest.mark.parametrize("own_shapes", [True, False])
def test_the_right_hands_file_beside_it_decides(tmp_path, caplog, own_shapes):
    """Of random points neither the side nor the fault could be told from the file alone."""
    right = random_mano(1, 40, 4)
    written(tmp_path / "MANO_RIGHT.pkl", right)
    path = written(tmp_path / "MANO_LEFT.pkl", left_hand(right, own_shapes))
    found = read_mano(path)
    np.testing.assert_allclose(found.shapedirs, left_hand(right).shapedirs)
    assert ("are the right hand's" in caplog.text) != own_shapes


def test_what_nothing_tells_is_said(tmp_path, caplog):
    right = random_mano(1, 40, 4)
    path = written(tmp_path / "MANO_LEFT.pkl", left_hand(right))
    np.testing.assert_allclose(read_mano(path).shapedirs, left_hand(right).shapedirs)
    assert "nothing tells whether" in caplog.text and "as MANO_RIGHT.pkl" in caplog.text
    caplog.clear()
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(b"damaged")
    read_mano(path)
    assert "cannot be compared with the right hand" in caplog.text
    caplog.clear()
    assert read_mano(written(tmp_path / "hand.pkl", right)).side is None
    assert not caplog.text


@pytest.mark.mistake(
    "MANO",
    "a right hand's file that is called MANO_LEFT.pkl",
    "understood by the shape, with a warning",
)
def test_a_name_that_contradicts_the_shape_is_said(tmp_path, caplog):
    assert read_mano(written(tmp_path / "MANO_LEFT.pkl", right_hand())).side == "right"
    assert "by its shape a right hand" in caplog.text


@pytest.mark.mistake("MANO", "MANO_LEFT.pkl as config.mano.path", "refused")
def test_the_other_hand_is_refused_where_one_is_needed(tmp_path, caplog):
    caplog.set_level(logging.CRITICAL)
    right = right_hand()
    path = written(tmp_path / "hand.pkl", left_hand(right))
    said = "found the model of a left hand, expected that of a right hand"
    with pytest.raises(BadInputError, match=said):
        read_mano(path, "right")
    by_name = written(tmp_path / "MANO_LEFT.pkl", random_mano(0, 40, 2))
    with pytest.raises(BadInputError, match=said):
        read_mano(by_name, "right")
    assert read_mano(written(tmp_path / "hand.pkl", right), "right").side == "right"
    assert read_mano(written(tmp_path / "hand.pkl", random_mano(0, 40, 2)), "right").side is None


def test_a_side_that_is_none_is_refused(tmp_path):
    write_mano(tmp_path / "hand.pkl", dataclasses.replace(right_hand(), side="both"))
    with pytest.raises(BadInputError, match="found side both, expected 'left' or 'right'"):
        read_mano(tmp_path / "hand.pkl")
