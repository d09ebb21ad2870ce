"""Preparations: counts, when they are repeated, what stops them, the command line."""

import dataclasses
import json
import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_prep import prepare as module
from data_prep.captures.frames import LYING, MaskFile
from data_prep.prepare import BAD_SCAN, PrepareOptions, format_table, main, prepare, prepare_views
from data_prep.records.crop import BAD_DEPTH, BAD_PICTURE, BAD_SHAPE
from dhm.data.prepared_data import PreparedData
from dhm.errors import BadInputError
from dhm.formats.release_annotations import write_depth_pickle
from tests.conftest import REPOSITORY
from tests.data_prep import synthetic

OPTIONS = PrepareOptions(subject=4, image_size=24, test_sequences="wave")


@pytest.fixture
def capture(tmp_path):
    return synthetic.write_capture(tmp_path / "capture")


def build(tmp_path, capture, **changes):
    options = dataclasses.replace(OPTIONS, **changes)
    return prepare_views(capture, tmp_path / "capture", tmp_path / "out", options)


def stamp(tmp_path):
    """When the folder was written."""
    return (tmp_path / "out" / "prepared.json").stat().st_ino


def test_counts(tmp_path, capture):
    info = build(tmp_path, capture)
    assert info.num_records == {"train": 6, "test": 9}
    assert info.num_without_depth == {"train": 1, "test": 0}
    assert info.skipped["decoy"] == 2
    assert info.evaluation_split == "test"
    table = format_table(info)
    assert "train: of these without depth" in table
    assert "skipped: decoy" in table


def test_a_second_run_does_nothing(tmp_path, capture, caplog):
    caplog.set_level(logging.INFO)
    first = build(tmp_path, capture)
    before = stamp(tmp_path)
    assert build(tmp_path, capture, workers=1) == first
    assert stamp(tmp_path) == before
    assert "is up to date" in caplog.text


def touch_image(tmp_path, capture):
    os.utime(capture.views[0].image_path, ns=(0, 0))
    return capture


def move_joint(tmp_path, capture):
    view = capture.views[2]
    moved = dataclasses.replace(view, joints=view.joints + np.float32([0, 0, 1e-3]))
    return dataclasses.replace(capture, views=(*capture.views[:2], moved, *capture.views[3:]))


def add_mask(tmp_path, capture):
    cv2.imwrite(str(tmp_path / "mask.png"), np.zeros(synthetic.K_SIZE, np.uint8))
    view = dataclasses.replace(capture.views[1], mask=MaskFile(tmp_path / "mask.png", 1, 9))
    return dataclasses.replace(capture, views=(capture.views[0], view, *capture.views[2:]))


def mirror(tmp_path, capture):
    view = dataclasses.replace(capture.views[0], mirrored=True)
    return dataclasses.replace(capture, views=(view, *capture.views[1:]))


def change_template(tmp_path, capture):
    template = dataclasses.replace(capture.template, parents=(1, 2, -1, 1))
    return dataclasses.replace(capture, template=template)


def delete_records(tmp_path, capture):
    next((tmp_path / "out" / "records").glob("*train*")).unlink()
    return capture


def damage_info(tmp_path, capture):
    (tmp_path / "out" / "prepared.json").write_text("{")
    return capture


@pytest.mark.parametrize(
    "change",
    [touch_image, move_joint, add_mask, mirror, change_template, delete_records, damage_info],
)
def test_changed_inputs_are_prepared_again(tmp_path, capture, change):
    build(tmp_path, capture)
    before = stamp(tmp_path)
    build(tmp_path, change(tmp_path, capture))
    assert stamp(tmp_path) != before
    assert len(PreparedData(tmp_path / "out").depth("train", 5)) == 24


@pytest.mark.parametrize("option", [{"image_size": 32}, {"test_sequences": "fist"}, {"subject": 3}])
def test_changed_options_are_prepared_again(tmp_path, capture, option):
    first = build(tmp_path, capture)
    assert build(tmp_path, capture, **option).fingerprint != first.fingerprint


def test_a_capture_can_move(tmp_path, capture):
    first = build(tmp_path, capture)
    (tmp_path / "capture").rename(tmp_path / "elsewhere")

    def move(path):
        return path and tmp_path / "elsewhere" / path.relative_to(tmp_path / "capture")

    views = tuple(
        dataclasses.replace(
            view,
            image_path=move(view.image_path),
            depth_path=move(view.depth_path),
            scan_path=move(view.scan_path),
        )
        for view in capture.views
    )
    moved = dataclasses.replace(capture, views=views)
    again = prepare_views(moved, tmp_path / "elsewhere", tmp_path / "out", OPTIONS)
    assert again == first


def test_an_interrupted_build_never_looks_complete(tmp_path, capture, monkeypatch):
    monkeypatch.setattr(module, "write_index", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, capture)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / ".out.building").exists()


def test_number_of_workers_does_not_change_a_record(tmp_path, capture):
    records = {}
    for workers in (1, 3):
        out = tmp_path / f"out{workers}"
        options = dataclasses.replace(OPTIONS, workers=workers)
        prepare_views(capture, tmp_path / "capture", out, options)
        data = PreparedData(out)
        records[workers] = [data.record("train", i) for i in range(data.num_train)]
    for one, three in zip(records[1], records[3], strict=True):
        assert one.image == three.image
        assert one.depth == three.depth
        assert (one.sequence, one.frame, one.camera) == (three.sequence, three.frame, three.camera)


def _cut(path):
    path.write_bytes(path.read_bytes()[:30])


def _lay(path):
    cv2.imwrite(str(path), cv2.rotate(cv2.imread(str(path)), cv2.ROTATE_90_CLOCKWISE))


def _widen(path):
    cv2.imwrite(str(path), np.zeros((40, 90, 3), np.uint8))


def _other_depth(path):
    write_depth_pickle(path, np.ones((40, 90)))


FAULTS = {
    "missing": ("image_path", Path.unlink, BAD_PICTURE),
    "damaged": ("image_path", _cut, BAD_PICTURE),
    "lying": ("image_path", _lay, LYING),
    "other shape": ("image_path", _widen, BAD_SHAPE),
    "no depth": ("depth_path", Path.unlink, BAD_DEPTH),
    "damaged depth": ("depth_path", _cut, BAD_DEPTH),
    "depth of other shape": ("depth_path", _other_depth, BAD_DEPTH),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_view_that_cannot_be_used_is_left_out_counted_and_named(tmp_path, capture, caplog, case):
    file, damage, reason = FAULTS[case]
    path = getattr(capture.views[4], file)
    damage(path)
    info = build(tmp_path, capture)
    assert info.skipped[reason] == 1 and sum(info.num_records.values()) == 14
    assert f"left out: 1 x {reason}, first: {path}: found" in caplog.text
    assert "1 of 15 pictures cannot be used; up to 50 % may be left out" in caplog.text
    data = PreparedData(tmp_path / "out")
    for split, count in info.num_records.items():  # records and index still agree
        index = data.split_index(split)
        assert len(index.frame) == count
        for record in range(count):
            fields = data.record(split, record)
            assert (fields.frame, fields.camera) == (
                index.frame[record], data.index.cameras[index.camera_id[record]],
            )  # fmt: skip


def test_too_many_views_that_cannot_be_used_are_refused_with_the_counts(tmp_path, capture):
    for view in capture.views[:8:2]:
        view.image_path.unlink()
    for view in capture.views[8::2]:
        _lay(view.image_path)
    said = rf"8 of 15 items .*4 x {BAD_PICTURE}, first: .*; 4 x {LYING}, first: .*at most 50%"
    with pytest.raises(BadInputError, match=said):
        build(tmp_path, capture)
    assert not (tmp_path / "out").exists()
    assert sum(build(tmp_path, capture, faulty_share=0.6).num_records.values()) == 7


def test_a_split_of_which_nothing_can_be_used_is_refused(tmp_path, capture):
    lost = [view for view in capture.views if "wave" not in view.sequence]
    for view in lost:
        view.image_path.unlink()
    assert len(lost) <= 7
    with pytest.raises(BadInputError, match=f"train_sequences: found no view .*{len(lost)} x"):
        build(tmp_path, capture)


def test_a_damaged_scan_is_left_out(tmp_path, capture):
    path = next(view.scan_path for view in capture.views if "wave" in view.sequence)
    path.write_text("v 1 2\n")
    info = build(tmp_path, capture)
    assert info.skipped[BAD_SCAN] == 1 and sum(info.num_records.values()) == 15
    data = PreparedData(tmp_path / "out")
    assert sum(data.scan("test", record) is None for record in range(9)) == 3


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"image_size": 8}, "image_size: found 8, expected 16 to 4096 pixels"),
        ({"workers": 0}, "workers: found 0, expected 1 or more threads"),
    ],
)
def test_impossible_options_are_refused(tmp_path, capture, option, message):
    with pytest.raises(BadInputError, match=message):
        build(tmp_path, capture, **option)


def test_without_held_out_sequences_the_training_frames_are_evaluated(tmp_path, capture):
    info = build(tmp_path, capture, test_sequences="")
    assert info.evaluation_split == "train"
    assert "the evaluation is on training frames" in format_table(info)
    vertices, faces = PreparedData(tmp_path / "out").scan("train", 0)
    np.testing.assert_array_equal(vertices[0], [0, 0, 3])
    np.testing.assert_array_equal(faces, [[0, 1, 2]])


def test_only_evaluated_frames_have_scans(tmp_path, capture):
    build(tmp_path, capture)
    data = PreparedData(tmp_path / "out")
    assert data.scan("train", 0) is None
    frames = data.split_index("test").frame
    for record in range(9):
        assert data.scan("test", record)[0][0, 2] == frames[record]


def test_the_foreign_capture(release_mini, tmp_path):
    info = prepare(release_mini, 4, tmp_path / "out", image_size=64)
    data = PreparedData(tmp_path / "out")
    assert info.num_records == {"train": 15}
    assert sorted(set(data.split_index("train").frame.tolist())) == [34, 1207, 1210, 12345]
    assert sum(info.skipped.values()) == 3
    assert info.num_without_depth == {"train": 0}


def test_splits_of_the_foreign_capture_share_no_sequence(release_mini, tmp_path):
    prepare(release_mini, 4, tmp_path / "out", image_size=64, test_sequences="spread")
    data = PreparedData(tmp_path / "out")
    sequences = {
        split: {data.sequence(split, i) for i in range(count)}
        for split, count in data.info.num_records.items()
    }
    assert sequences == {"train": {"0005_RT_fist"}, "test": {"0006_RT_spread"}}


def test_command_line_reports_bad_input(tmp_path, capsys):
    arguments = ["--capture", str(tmp_path / "no"), "--subject", "4", "--out", str(tmp_path / "o")]
    assert main(arguments) == 2
    assert str(tmp_path / "no") in capsys.readouterr().err


def run_python(*arguments):
    command = [sys.executable, *map(str, arguments)]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_command_line(toy_prepared, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    capture, out = toy_prepared.parent / "capture", tmp_path / "out"
    arguments = ["--capture", capture, "--subject", 1, "--out", out, "--image-size", 32]
    assert main([*map(str, arguments), "--test-sequences", "spread"]) == 0
    assert re.search("test: records +6", caplog.text)
    assert json.loads((out / "prepared.json").read_text())["num_records"]["train"] == 6
    assert PreparedData(out).scan("test", 1) is not None


def test_preparing_and_reading_never_import_tensorflow(tmp_path, capture):
    build(tmp_path, capture)
    run_python(
        "-c",
        "import sys\n"
        "import data_prep.prepare\n"
        "from dhm.data.input_pipeline import make_dataset\n"
        "options = dict(batch_size=2, num_views=1, seed=0, shuffle=True)\n"
        "next(iter(make_dataset(sys.argv[1], 'train', **options)))\n"
        "assert 'tensorflow' not in sys.modules",
        tmp_path / "out",
    )


def test_records_hold_the_pictures_of_the_capture(tmp_path, capture):
    build(tmp_path, capture)
    data = PreparedData(tmp_path / "out")
    original = cv2.cvtColor(cv2.imread(str(capture.views[0].image_path)), cv2.COLOR_BGR2RGB)
    np.testing.assert_allclose(data.image("train", 0)[12, 12], original[30, 20], atol=3)


def test_a_rig_without_a_joint_that_the_model_needs_is_refused(release_mini, tmp_path):
    shutil.copytree(release_mini, tmp_path / "capture", copy_function=os.symlink)
    for file in (tmp_path / "capture" / "hand_model").glob("*.txt"):
        text = file.read_text().replace("b_r_index1 ", "b_r_forefinger1 ")
        file.unlink()
        file.write_text(text)
    with pytest.raises(BadInputError, match=r"skeleton\.txt: found no joint 'index1'"):
        prepare(tmp_path / "capture", 4, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_input_in_the_output_folder_is_refused(toy_prepared, tmp_path, monkeypatch):
    capture, own = toy_prepared.parent / "capture", tmp_path / "own"
    shutil.copytree(toy_prepared, own)
    template, before = own / "template.npz", (own / "template.npz").read_bytes()
    for out, given in ((own, {"template": template}), (capture, {}), (capture.parent, {})):
        with pytest.raises(BadInputError, match=r"--out: found .*, which holds the input"):
            prepare(capture, 1, out, image_size=32, **given)
    assert template.read_bytes() == before
    (own / "notes.txt").touch()
    with pytest.raises(BadInputError, match=r"other contents \(notes\.txt\)"):
        prepare(capture, 1, own, image_size=16)
    monkeypatch.setenv("HOME", str(tmp_path))
    prepare(capture, 1, "~/made", image_size=16)
    assert (tmp_path / "made" / "prepared.json").is_file()
