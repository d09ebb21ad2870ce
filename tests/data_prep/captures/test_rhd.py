"""RHD in its own layout, read, mirrored and cropped; and damaged files."""

import pickle
import pickletools
import re

import numpy as np
import pytest

from data_prep.captures.datasets import read_dataset
from data_prep.captures.frames import NO_PICTURE, OUTSIDE_CENTRE, TOO_FEW_JOINTS
from data_prep.captures.plausibility import doubts
from data_prep.captures.rhd import BAD_ANNOTATION, read_annotations, read_rhd
from data_prep.prepare import main, prepare
from data_prep.records.crop import BAD_MASK, BAD_PICTURE, BAD_SHAPE
from data_prep.studio.template.hand_template import hand_template
from dhm.data.prepared_data import PreparedData
from dhm.errors import BadInputError
from tests.data_prep.captures import foreign

RIGHT, LEFT = foreign.hand([-40, 10, 420]), foreign.hand([45, -5, 400], is_left=True)


def entries():
    """A right hand, a left one, both, both with few visible joints, and both of another split."""
    return {
        "training": {
            0: foreign.rhd_entry(right=RIGHT),
            1: foreign.rhd_entry(left=LEFT),
            7: foreign.rhd_entry(left=LEFT, right=RIGHT),
            9: foreign.rhd_entry(left=LEFT, right=RIGHT, visible=(10, 11)),
        },
        "evaluation": {0: foreign.rhd_entry(left=LEFT, right=RIGHT)},
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return foreign.write_rhd(tmp_path_factory.mktemp("rhd"), entries())


@pytest.fixture(scope="module")
def template():
    return hand_template("coarse")


@pytest.fixture(scope="module")
def prepared(root, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "prepared"
    prepare(root, 1, out, dataset="rhd", image_size=128)
    return PreparedData(out)


def test_each_hand_is_a_view_and_the_splits_are_the_official_ones(prepared):
    found = {
        split: sorted(
            (prepared.sequence(split, i), int(frame))
            for i, frame in enumerate(prepared.split_index(split).frame)
        )
        for split in ("train", "test")
    }
    assert found == {
        "train": [("training", 0), ("training", 7), ("training", 9),
                  ("training_left", 1), ("training_left", 7)],
        "test": [("evaluation", 0), ("evaluation_left", 0)],
    }  # fmt: skip
    # Of picture 0 the left hand, of 1 the right one, of 9 the left one with its ten joints.
    assert prepared.info.skipped[TOO_FEW_JOINTS] == 3
    assert prepared.info.skipped[NO_PICTURE] == 0


@pytest.mark.parametrize(("split", "count"), [("train", 5), ("test", 2)])
def test_joints_project_onto_their_colours_mirrored_or_not(prepared, split, count):
    for record in range(count):
        assert foreign.assert_joints_on_their_colours(prepared, split, record) == 21


def test_a_mirrored_left_hand_is_the_right_hand_it_mirrors(root, template):
    views = {(v.sequence, v.frame): v for v in read_rhd(root, template).views}
    right, left = foreign.hand([-45, -5, 400]), views["training_left", 1]
    names = template.joint_names
    for joint in np.flatnonzero(left.joint_valid):
        np.testing.assert_allclose(left.joints[joint], right[names[joint]], atol=1e-3)
    assert [names[joint] for joint in np.flatnonzero(~left.joint_valid)] == ["thumb0"]
    assert left.mirrored and not views["training", 0].mirrored


def test_masks_keep_the_person_or_the_hand(root, template, prepared, tmp_path):
    prepare(root, 1, tmp_path / "hand", dataset="rhd", image_size=128, foreground="hand")
    other = PreparedData(tmp_path / "hand")
    for record in range(5):
        hand = other.decode_mask("train", record, other.record("train", record))
        fields = other.record("train", record)
        points = fields.joints[fields.joint_valid] @ fields.T_camera_world[:3, :3].T
        at = np.rint(foreign.project(points, fields.K)).astype(int)
        assert hand[at[:, 1].clip(0, 127), at[:, 0].clip(0, 127)].all()
        whole = prepared.decode_mask("train", record, prepared.record("train", record))
        assert not (hand & ~whole).any()
        if "left" in fields.sequence:
            assert whole.mean() > hand.mean() + 0.2


def test_a_mask_is_flipped_with_its_picture(prepared):
    frames, sequences = prepared.split_index("train"), prepared.index.sequences
    (left,) = [i for i in range(5) if sequences[frames.sequence_id[i]] == "training_left"
               and frames.frame[i] == 7]  # fmt: skip
    fields = prepared.record("train", left)
    mask = prepared.decode_mask("train", left, fields)
    # In the pictures the person stands at the right, in the flipped ones at the left, and ends
    # where K says, which has the crop folded in.
    last, centre = 319 - foreign.PERSON_FROM, 319 - foreign.RHD_K[0, 2]
    edge = fields.K[0, 0] / foreign.RHD_K[0, 0] * (last + 0.5 - centre) + fields.K[0, 2]
    assert 30 < edge < 98
    assert mask[:, : int(edge)].all()
    assert mask[:, int(edge) + 2 :].mean() < 0.6


@pytest.mark.mistake("prepare, RHD", "annotations written again by another Python", "understood")
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_pickles_of_other_protocols_give_the_same(root, template, tmp_path, protocol):
    other = foreign.write_rhd(tmp_path, entries(), protocol)
    for one, same in zip(
        read_rhd(root, template).views, read_rhd(other, template).views, strict=True
    ):
        np.testing.assert_array_equal(one.joints, same.joints)
        np.testing.assert_array_equal(one.K, same.K)


def test_every_nth_picture(root, template):
    views = read_rhd(root, template, every=2).views
    assert {(v.sequence, v.frame) for v in views} == {
        ("training", 0), ("training", 7), ("training_left", 7), ("evaluation", 0),
        ("evaluation_left", 0),
    }  # fmt: skip


@pytest.mark.mistake("prepare, RHD", "a picture missing", "left out and counted")
def test_an_annotation_without_its_picture_is_counted(tmp_path, template):
    root = foreign.write_rhd(tmp_path, entries())
    (root / "training" / "color" / "00007.png").unlink()
    capture = read_rhd(root, template)
    assert capture.skipped[NO_PICTURE] == 1
    assert {v.frame for v in capture.views if v.sequence.startswith("training")} == {0, 1, 9}


@pytest.mark.mistake(
    "prepare, RHD", "no folder of masks", "warning: backgrounds cannot be replaced"
)
def test_missing_masks_are_said(tmp_path, template):
    root = foreign.write_rhd(tmp_path, entries())
    assert not read_rhd(root, template).notes
    for split in ("training", "evaluation"):
        (root / split / "mask").rename(root / split / "masks")
    (note,) = read_rhd(root, template).notes
    assert "no picture has a mask in" in note and "training/mask" in note


def test_a_missing_mask_leaves_the_record_without_one(tmp_path):
    root = foreign.write_rhd(tmp_path, entries())
    (root / "training" / "mask" / "00000.png").unlink()
    prepare(root, 1, tmp_path / "out", dataset="rhd", image_size=64)
    data = PreparedData(tmp_path / "out")
    assert data.decode_mask("train", 0, data.record("train", 0)) is None
    assert data.decode_mask("train", 1, data.record("train", 1)) is not None


@pytest.mark.mistake(
    "prepare, RHD", "pictures or masks of another shape, or damaged", "left out and counted"
)
@pytest.mark.parametrize(
    ("name", "damaged", "misshapen"),
    [("color/00000.png", BAD_PICTURE, BAD_SHAPE), ("mask/00001.png", BAD_MASK, BAD_MASK)],
)
def test_a_damaged_or_misshapen_picture_is_left_out_and_named(
    tmp_path, caplog, name, damaged, misshapen
):
    root = foreign.write_rhd(tmp_path / "rhd", entries())
    path = root / "training" / name
    path.write_bytes(path.read_bytes()[:60])
    info = prepare(root, 1, tmp_path / "out", dataset="rhd", image_size=64)
    assert info.skipped[damaged] == 1 and info.num_records == {"train": 4, "test": 2}
    assert re.search(f"1 x {damaged}.*{name}: found a PNG chunk of .* before the end", caplog.text)
    foreign.save(path, np.zeros((200, 320, 3), np.uint8))
    info = prepare(root, 1, tmp_path / "out", dataset="rhd", image_size=64)
    assert info.skipped[misshapen] == 1 and info.num_records == {"train": 4, "test": 2}
    assert re.search(f"{name}: found 200 rows", caplog.text)
    for record in range(4):
        assert PreparedData(tmp_path / "out").image("train", record).any()


@pytest.mark.mistake(
    "prepare, RHD", "larger pictures than the published ones", "left out: K is of 320 x 320"
)
def test_a_mirrored_picture_of_another_size_is_refused(tmp_path):
    root = foreign.write_rhd(tmp_path / "rhd", {
        "training": {1: foreign.rhd_entry(left=LEFT)},
        "evaluation": {1: foreign.rhd_entry(left=LEFT)},
    })  # fmt: skip
    foreign.save(root / "training" / "color" / "00001.png", np.zeros((640, 640, 3), np.uint8))
    with pytest.raises(BadInputError, match="found 640 rows, 640 columns, expected 320 rows"):
        prepare(root, 1, tmp_path / "out", dataset="rhd", image_size=64)


def test_a_hand_behind_the_camera_is_left_out(tmp_path):
    wrong = entries()
    wrong["training"][0]["xyz"][21:, 2] -= 0.45
    root = foreign.write_rhd(tmp_path / "rhd", wrong)
    info = prepare(root, 1, tmp_path / "out", dataset="rhd", image_size=64)
    assert info.skipped["hand behind the camera"] == 1


def _without(key):
    def change(entry):
        del entry[key]

    return change


def _with(key, value):
    return lambda entry: entry.__setitem__(key, value)


def _infinite(entry):
    entry["xyz"][3, 1] = np.inf


def _nan(entry):
    entry["K"][0, 2] = np.nan


def test_joints_that_were_not_measured_are_invalid(tmp_path, template):
    wrong = entries()
    wrong["training"][0]["xyz"][21 + 4, 1] = np.nan
    capture = read_rhd(foreign.write_rhd(tmp_path, wrong), template)
    view = next(v for v in capture.views if (v.sequence, v.frame) == ("training", 0))
    missing = {name for name, valid in zip(template.joint_names, view.joint_valid, strict=True)
               if not valid}  # fmt: skip
    assert missing == {"thumb0", "thumb1"} and np.isfinite(view.joints).all()


DAMAGE = {
    "no K": (_without("K"), "no K of picture 7"),
    "transposed": (_with("xyz", np.zeros((3, 42))), r"picture 7: xyz \[3, 42\]"),
    "one hand": (_with("uv_vis", np.zeros((21, 3))), r"picture 7: uv_vis \[21, 3\]"),
    "infinite": (_infinite, "picture 7: xyz with inf"),
    "NaN in K": (_nan, "picture 7: K with nan"),
    "no focal length": (_with("K", np.diag([0.0, 280, 1])), "picture 7: K = "),
    "not affine": (_with("K", np.full((3, 3), 9.0)), "picture 7: K = "),
    "text": (_with("K", "K"), "picture 7: K: a str instead of an array"),
    "objects": (_with("K", np.array([[None] * 3] * 3)), "picture 7: K: dtype"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_entries_are_named(tmp_path, template, case):
    change, message = DAMAGE[case]
    wrong = entries()
    root = foreign.write_rhd(tmp_path, wrong)
    change(wrong["training"][7])
    (root / "training" / "anno_training.pickle").write_bytes(pickle.dumps(wrong["training"], 3))
    with pytest.raises(BadInputError, match=rf"anno_training\.pickle: found.*{message}"):
        read_annotations(root / "training" / "anno_training.pickle")
    capture = read_rhd(root, template)
    assert capture.skipped[BAD_ANNOTATION] == 1
    assert re.search(rf"anno_training\.pickle: found.*{message}", capture.faults[BAD_ANNOTATION])
    frames = [v.frame for v in capture.views if v.sequence.startswith("training")]
    assert sorted(frames) == [0, 1, 9]


@pytest.mark.mistake(
    "prepare, RHD",
    "K of larger pictures",
    "left out: the principal point is outside",
)
def test_a_camera_whose_principal_point_is_outside_is_left_out(tmp_path, template):
    wrong = entries()
    wrong["training"][0]["K"] = np.array([[0.9, 0, 0.5], [0, 0.9, -40], [0, 0, 1]])
    root = foreign.write_rhd(tmp_path, wrong)
    assert read_rhd(root, template).skipped[OUTSIDE_CENTRE] == 1


@pytest.mark.parametrize("content", [{}, [], {"a": {}}, {-1: {}}, {10**5: {}}, {3: []}])
def test_pickles_without_pictures_are_refused(root, tmp_path, template, content):
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "anno_training.pickle").write_bytes(pickle.dumps(content, 3))
    with pytest.raises(BadInputError, match="anno_training"):
        read_rhd(tmp_path, template)


class Runs:
    def __reduce__(self):
        return (open, ("pwned", "w"))


def test_nothing_of_a_hostile_pickle_runs(tmp_path, template, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = foreign.write_rhd(tmp_path, entries())
    for protocol in (0, 2, 3, 4):
        content = pickle.dumps({0: {"xyz": Runs()}}, protocol)
        (root / "training" / "anno_training.pickle").write_bytes(content)
        with pytest.raises(BadInputError, match=r"refers to _?io\.open"):
            read_rhd(root, template)
    assert not (tmp_path / "pwned").exists()


def test_every_truncation_of_the_pickle_is_refused(tmp_path, template):
    root = foreign.write_rhd(tmp_path, {"training": {0: foreign.rhd_entry(right=RIGHT)}})
    path = root / "training" / "anno_training.pickle"
    content = path.read_bytes()
    for end in range(0, len(content), 7):
        path.write_bytes(content[:end])
        with pytest.raises(BadInputError, match=r"anno_training\.pickle"):
            read_rhd(root, template)


def _in_mm(entry):
    entry["xyz"] = entry["xyz"] * 1000


def _right_first(entry):
    for name in ("xyz", "uv_vis"):
        entry[name] = np.roll(entry[name], 21, axis=0)


def _other_order(entry):
    """OpenPose's: each finger from the palm."""
    order = [0, *(1 + 4 * finger + part for finger in range(5) for part in (3, 2, 1, 0))]
    for name in ("xyz", "uv_vis"):
        entry[name] = entry[name][[*order, *(21 + joint for joint in order)]]


def _changed(tmp_path, change):
    """Writes a data set of bent hands with changed annotations."""
    wrong = {
        split: {number: foreign.rhd_entry(
            left=foreign.hand([45, -5, 400], is_left=True, **foreign.BENT),
            right=foreign.hand([-40, 10, 420], **foreign.BENT),
        ) for number in (0, 1)} for split in ("training", "evaluation")
    }  # fmt: skip
    root = foreign.write_rhd(tmp_path / "rhd", wrong)
    for split, of_split in wrong.items():
        for entry in of_split.values():
            change(entry)
        (root / split / f"anno_{split}.pickle").write_bytes(pickle.dumps(of_split, 3))
    return root


@pytest.mark.mistake(
    "prepare, RHD", "joints in mm instead of metres", "refused, with the likely unit"
)
def test_joints_in_mm_are_refused(tmp_path, capsys):
    root = _changed(tmp_path, _in_mm)
    arguments = ["--dataset=rhd", f"--capture={root}", f"--out={tmp_path / 'out'}"]
    assert main([*arguments, "--image-size=32"]) == 1
    assert re.search("error: .*times the template's, as of a template in metres, or joints scaled "
                     "twice", capsys.readouterr().err)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(
            _right_first,
            "bend to the back of a right hand",
            marks=pytest.mark.mistake("prepare, RHD", "the right hand's joints first", "warning"),
        ),
        pytest.param(
            _other_order,
            "another order",
            marks=pytest.mark.mistake(
                "prepare, RHD", "fingers from the palm to the tip", "warning"
            ),
        ),
    ],
)
def test_other_joints_are_doubted(tmp_path, template, change, said):
    straight = read_rhd(_changed(tmp_path / "right", lambda entry: None), template)
    assert not doubts(straight)
    assert said in " ".join(doubts(read_rhd(_changed(tmp_path / "wrong", change), template)))


@pytest.mark.mistake(
    "prepare, RHD", "a folder above or below RHD_published_v2; no evaluation/", "refused"
)
def test_other_folders_are_refused(root, template, tmp_path):
    for folder in (root.parent, root / "training"):
        with pytest.raises(BadInputError, match=r"anno_training\.pickle: found no such file"):
            read_rhd(folder, template)
    (tmp_path / "training").symlink_to(root / "training")
    with pytest.raises(BadInputError, match=r"anno_evaluation\.pickle: found no such file"):
        read_rhd(tmp_path, template)


@pytest.mark.mistake(
    "prepare, RHD", "pictures as .jpg", "refused: none of the annotations has its picture"
)
def test_pictures_of_another_kind_are_not_found(tmp_path, template):
    root = foreign.write_rhd(tmp_path, entries())
    for path in list(root.glob("*/color/*.png")):
        path.rename(path.with_suffix(".jpg"))
    with pytest.raises(BadInputError, match=r"found no usable hand \(5 x annotation without its"):
        read_rhd(root, template)


@pytest.mark.mistake("prepare, RHD", "--foreground or --dataset misspelt, --every 0", "refused")
def test_missing_files_and_wrong_options_are_named(tmp_path, root, template):
    with pytest.raises(BadInputError, match=r"anno_training\.pickle: found no such file"):
        read_rhd(tmp_path, template)
    with pytest.raises(BadInputError, match="foreground: found 'arm'"):
        read_rhd(root, template, foreground="arm")
    for color in root.glob("*/color"):
        color.rename(color.with_name("elsewhere"))
    try:
        with pytest.raises(BadInputError, match=r"found no usable hand \(.* x annotation without"):
            read_rhd(root, template)
    finally:
        for color in root.glob("*/elsewhere"):
            color.rename(color.with_name("color"))
    with pytest.raises(BadInputError, match="dataset: found 'stb'"):
        read_dataset("stb", root, None)
    with pytest.raises(BadInputError, match="every: found 0"):
        read_dataset("rhd", root, None, every=0)


def test_the_number_of_opcodes_is_bounded_by_the_size_of_the_file(tmp_path):
    path, entry = tmp_path / "many.pickle", foreign.rhd_entry(right=RIGHT)
    many = {number: {name: array.copy() for name, array in entry.items()} for number in range(1100)}
    path.write_bytes(pickle.dumps(many, 4))
    assert len(list(pickletools.genops(path.read_bytes()))) > 1 << 16
    assert len(read_annotations(path)) == 1100
    path.write_bytes(b"\x80\x02" + b"}" * 200_000 + b".")
    with pytest.raises(BadInputError, match="more than 90536 opcodes"):
        read_annotations(path)
