"""Sequences and views by split."""

import dataclasses

import numpy as np
import pytest

from data_prep.records.crop import Unusable
from data_prep.records.splits import NO_SPLIT, assign_sequences, plan_splits
from dhm.errors import BadInputError
from tests.data_prep import synthetic

NAMES = ("0001_RT_fist", "0002_RT_wave", "0003_RT_point")


@pytest.mark.parametrize("test", ["wave|point", ["0002_RT_wave", "0003_RT_point"]])
def test_all_other_sequences_are_for_training(test):
    assert assign_sequences(NAMES, test) == {"train": NAMES[:1], "test": NAMES[1:]}


def test_a_training_pattern_may_leave_sequences_out():
    assert assign_sequences(NAMES, "wave", "fist") == {"train": NAMES[:1], "test": NAMES[1:2]}


@pytest.mark.parametrize("nothing", ["", [], ()])
def test_nothing_held_out_means_no_test_split(nothing):
    assert assign_sequences(NAMES, nothing) == {"train": NAMES}


@pytest.mark.parametrize(
    ("test", "train", "message"),
    [
        ("fits", None, "test_sequences: found 'fits', which matches none, expected one of .*fist"),
        ("fist", "wav$", "train_sequences: found 'wav\\$', which matches none"),
        ("(", None, "test_sequences: found .*expected a regular expression"),
        (["0009"], None, r"test_sequences: found unknown sequences \['0009'\]"),
        ("wave", "RT", r"train_sequences: found \['0002_RT_wave'\], held out for testing"),
        ("RT", None, "test_sequences: found every sequence"),
    ],
)
def test_impossible_patterns_are_refused(test, train, message):
    with pytest.raises(BadInputError, match=message):
        assign_sequences(NAMES, test, train)


def capture_of(views):
    return synthetic.Capture(synthetic.template(), tuple(views), {"decoy": 2})


def far_away(view):
    return dataclasses.replace(view, joints=view.joints + np.float32([0, 0, 5000]))


def test_every_view_is_planned_or_counted(tmp_path):
    views = [synthetic.view(tmp_path, name, frame) for name in NAMES for frame in (1, 2)]
    views[0] = far_away(views[0])
    splits, skipped = plan_splits(capture_of(views), 24, "wave", "fist")
    assert [planned.view for planned in splits["train"]] == [views[1]]
    assert [planned.view for planned in splits["test"]] == views[2:4]
    assert {reason: n for reason, n in skipped.items() if n} == {
        "decoy": 2,
        NO_SPLIT: 2,
        Unusable.TOO_SMALL: 1,
    }


def test_a_split_without_usable_views_is_refused(tmp_path):
    near, far = (synthetic.view(tmp_path, name) for name in NAMES[:2])
    with pytest.raises(BadInputError, match=r"test_sequences: found no usable view in .*wave"):
        plan_splits(capture_of([near, far_away(far)]), 24, "wave", None)
