"""Several people's captures as one, and what is varied in their pictures."""

import dataclasses

import numpy as np
import pytest

from data_prep.captures.release_capture import read_release_capture
from data_prep.studio.anatomy.complexion import TONES, random_tone
from data_prep.studio.stage import varied_set
from data_prep.studio.stage.varied_set import film_people, held_out_people, merge_people
from dhm.errors import BadInputError
from tests.data_prep.studio.conftest import SMALL


@pytest.fixture(scope="module")
def one(studio_capture):
    return read_release_capture(studio_capture, SMALL.subject)


def test_all_views_are_there_under_the_names_of_their_people(one):
    both = merge_people({2: one, 4: one})
    assert len(both.views) == 2 * len(one.views)
    keys = [(view.sequence, view.frame, view.camera) for view in both.views]
    assert keys == sorted(keys) and len(set(keys)) == len(keys)
    names = {view.sequence for view in both.views}
    assert names == {f"s{n}_{view.sequence}" for n in (2, 4) for view in one.views}
    by_key = dict(zip(keys, both.views, strict=True))
    for view in one.views[::7]:
        merged = by_key[f"s4_{view.sequence}", view.frame, view.camera]
        assert dataclasses.replace(merged, sequence=view.sequence) == view
    assert both.template is one.template
    assert both.skipped == {reason: 2 * count for reason, count in one.skipped.items()}


def test_the_gestures_of_everybody_are_held_out(one):
    both = merge_people({2: one, 4: one})
    held_out = held_out_people((2, 4))
    assert len(held_out) == 30
    tested = {view.sequence for view in both.views if view.sequence in held_out}
    assert tested == set(held_out)
    assert all("gesture" in name for name in held_out)


def test_other_joints_are_refused(one):
    names = ("palm", *one.template.joint_names[1:])
    other = dataclasses.replace(one, template=dataclasses.replace(one.template, joint_names=names))
    with pytest.raises(BadInputError, match=r"joints of subject 3: found \('palm'"):
        merge_people({1: one, 3: other})


def test_each_subject_is_filmed_into_a_folder_of_its_own(one, tmp_path, monkeypatch):
    filmed = []

    def write_capture(settings, folder, workers):
        filmed.append((settings, folder))
        return folder

    monkeypatch.setattr(varied_set, "write_capture", write_capture)
    monkeypatch.setattr(varied_set, "read_release_capture", lambda folder, number: one)
    people = film_people(SMALL, (1, 3), tmp_path, workers=1)
    assert [(one.subject, one.seed - SMALL.seed, folder.name) for one, folder in filmed] == [
        (1, 1, "subject_1"), (3, 3, "subject_3"),
    ]  # fmt: skip
    for settings, _ in filmed:
        assert dataclasses.replace(settings, subject=SMALL.subject, seed=SMALL.seed) == SMALL
    assert len(people.views) == 2 * len(one.views)


@pytest.mark.parametrize("subjects", [(), (2, 2)])
def test_nobody_and_twins_are_refused(tmp_path, subjects):
    with pytest.raises(BadInputError, match=r"studio\.subjects: found"):
        film_people(SMALL, subjects, tmp_path)
    assert not any(tmp_path.iterdir())


def test_random_tones_lie_about_the_subjects_own():
    tones = np.array([random_tone(np.random.default_rng(seed)) for seed in range(200)])
    assert ((tones[:, 0] > tones[:, 1]) & (tones[:, 1] > tones[:, 2])).mean() > 0.95  # skin is red
    low, high = np.min(TONES, axis=0), np.max(TONES, axis=0)
    assert (tones > 0.7 * low).all() and (tones < 1.3 * high).all()
    # All of the range is used.
    assert (tones.min(axis=0) < 1.5 * low).all() and (tones.max(axis=0) > 0.85 * high).all()
    assert random_tone(np.random.default_rng(5)) == tuple(tones[5])
