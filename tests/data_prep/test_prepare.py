"""Preparations: counts, when they are repeated, what stops them, the command line."""

import dataclasses
import errno
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


@pytest.fixture
def flags(toy_prepared, tmp_path, capsys):
    """A function that runs the command on the toy capture with other flags.

    Returns its exit code and what it said; the folder is `tmp_path / "out"`.
    """

    def run(**changes):
        values = {
            "capture": toy_prepared.parent / "capture", "subject": 1, "out": tmp_path / "out",
            "image-size": 32, "test-sequences": "spread",
        } | {name.replace("_", "-"): value for name, value in changes.items()}  # fmt: skip
        words = [f"--{name}={value}" for name, value in values.items() if value is not None]
        try:
            code = main(words)
        except SystemExit as usage:
            code = usage.code
        return code, capsys.readouterr().err

    return run


WRONG_FLAGS = [
    pytest.param(
        {"capture": "capture/images"},
        1,
        "images: found no folder images in it, expected a capture",
        marks=pytest.mark.mistake(
            "prepare", "a folder in the capture, or the one above it", "refused"
        ),
    ),
    pytest.param({"capture": "capture/.."}, 1, "found no folder images in it, expected a capture"),
    pytest.param(
        {"capture": "capture", "subject": 7},
        1,
        "found subject_1, expected a folder subject_7",
        marks=pytest.mark.mistake(
            "prepare", "a subject that the capture lacks", "refused, with those it has"
        ),
    ),
    pytest.param(
        {"subject": None},
        2,
        "--subject is needed with a capture; --dataset names a data set",
        marks=pytest.mark.mistake(
            "prepare", "neither --subject nor --dataset", "refused, exit code 2"
        ),
    ),
    pytest.param(
        {"capture": "capture", "dataset": "rhd", "test_sequences": None},
        1,
        "anno_training.pickle: found no such file",
        marks=pytest.mark.mistake(
            "prepare", "--dataset of another layout", "refused, with the missing file"
        ),
    ),
    pytest.param(
        {"test_sequences": "*spread*"},
        1,
        r"test_sequences: found '\*spread\*' .*regular expression",
        marks=pytest.mark.mistake(
            "prepare",
            "--test-sequences as a pattern of file names, such as `*spread*`",
            "refused: not a regular expression",
        ),
    ),
    pytest.param(
        {"test_sequences": "0001_RT_fist,0002_RT_spread"},
        1,
        "which matches none, expected one of .*fist.*spread",
        marks=pytest.mark.mistake(
            "prepare", "--test-sequences with names between commas", "refused, with the names"
        ),
    ),
    pytest.param(
        {"test_sequences": "RT"},
        1,
        "test_sequences: found every sequence .*some left to train on",
        marks=pytest.mark.mistake("prepare", "--test-sequences of everything", "refused"),
    ),
    pytest.param(
        {"faulty_share": 50},
        1,
        "faulty_share: found 50.0, expected a share from 0 to below 1",
        marks=pytest.mark.mistake("prepare", "--faulty-share in percent", "refused"),
    ),
    pytest.param(
        {"image_size": "256x256"},
        2,
        "--image-size: invalid int value: '256x256'",
        marks=pytest.mark.mistake("prepare", "--image-size 256x256", "refused, exit code 2"),
    ),
    pytest.param(
        {"every": 10},
        1,
        "every: found a value with the released layout",
        marks=pytest.mark.mistake("prepare", "--every with a capture", "refused"),
    ),
    pytest.param(
        {"foreground": "hand"},
        1,
        "foreground: found 'hand' with release, expected the data set rhd",
        marks=pytest.mark.mistake("prepare", "--foreground without RHD", "refused"),
    ),
    pytest.param(
        {"template": "export"},
        1,
        "export: found .*NumPy arrays",
        marks=pytest.mark.mistake("prepare", "--template: the export's folder", "refused"),
    ),
    pytest.param(
        {"template": "export/params.msgpack"},
        1,
        "params.msgpack: found a damaged file",
        marks=pytest.mark.mistake("prepare", "--template: another file of the export", "refused"),
    ),
    pytest.param(
        {"out": "notes.txt"},
        1,
        "--out: found .*notes.txt, a file, expected a folder",
        marks=pytest.mark.mistake("prepare", "--out: a file", "refused"),
    ),
    pytest.param(
        {"out": "notes.txt/out"},
        1,
        "--out: found .*notes.txt, a file, expected a folder",
        marks=pytest.mark.mistake("prepare", "--out: below a file", "refused"),
    ),
]


@pytest.mark.parametrize(("changes", "code", "said"), WRONG_FLAGS)
def test_wrong_flags_are_refused_in_one_line(
    flags, tmp_path, toy_prepared, exported_run, changes, code, said
):
    places = {"capture": toy_prepared.parent, "export": exported_run, "notes.txt": tmp_path}
    (tmp_path / "notes.txt").write_text("mine")
    changes = {
        name: places[value.split("/")[0]] / value
        if isinstance(value, str) and value.split("/")[0] in places else value
        for name, value in changes.items()
    }  # fmt: skip
    found, error = flags(**changes)
    assert found == code and re.search(said, error), error
    assert not (tmp_path / "out").exists() and (tmp_path / "notes.txt").read_text() == "mine"
    if code == 1:
        assert error.startswith("error: ") and error.count("\n") == 1


@pytest.mark.mistake(
    "prepare",
    "no --test-sequences",
    "warning: the table says that the evaluation is on training frames",
)
def test_no_held_out_sequence_is_said(flags, caplog):
    caplog.set_level(logging.INFO)
    assert flags(test_sequences="")[0] == 0
    assert "no sequence is held out: the evaluation is on training frames" in caplog.text


@pytest.mark.mistake(
    "prepare", "a full disk, or a folder that may not be written", "refused in one line"
)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_a_disk_that_refuses_is_said_in_one_line(flags, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number), "out")

    monkeypatch.setattr(module, "write_index", refuse)
    code, error = flags()
    assert code == 1 and error == f"error: [Errno {number}] {os.strerror(number)}: 'out'\n"


def test_other_errors_are_not_hidden(flags, monkeypatch):
    monkeypatch.setattr(module, "write_index", lambda *_: {}["nothing"])
    with pytest.raises(KeyError):
        flags()


@pytest.mark.mistake("prepare", "~, spaces, umlauts and brackets in the paths", "understood")
def test_paths_may_have_any_letters(flags, toy_prepared, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copytree(toy_prepared.parent / "capture", tmp_path / "Bänder [1]" / "my capture")
    assert flags(capture="~/Bänder [1]/my capture", out="~/Bänder [1]/out *")[0] == 0
    assert PreparedData(tmp_path / "Bänder [1]" / "out *").num_train == 6


def test_command_line_reports_bad_input(tmp_path, capsys):
    arguments = ["--capture", str(tmp_path / "no"), "--subject", "4", "--out", str(tmp_path / "o")]
    assert main(arguments) == 1
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


@pytest.mark.mistake(
    "prepare", "--out: the capture, a folder above it, or one with other files", "refused"
)
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
