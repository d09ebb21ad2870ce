"""FreiHAND in its own layout, read and cropped; and damaged files."""

import json
import re

import numpy as np
import pytest

from data_prep.captures.frames import NO_PICTURE, OUTSIDE_CENTRE, TOO_FEW_JOINTS
from data_prep.captures.freihand import BAD_ANNOTATION, TEST_SEQUENCES, VERSIONS, read_freihand
from data_prep.captures.plausibility import doubts
from data_prep.prepare import PrepareOptions, main, prepare_views
from data_prep.records.splits import assign_sequences
from data_prep.studio.template.hand_template import hand_template
from dhm.data.prepared_data import PreparedData
from dhm.errors import BadInputError
from tests.data_prep.captures import foreign


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return foreign.write_freihand(tmp_path_factory.mktemp("freihand"))


@pytest.fixture(scope="module")
def template():
    return hand_template("coarse")


@pytest.fixture(scope="module")
def prepared(root, template, tmp_path_factory):
    """All frames as training records: the official test split has later frames only."""
    out = tmp_path_factory.mktemp("out") / "prepared"
    options = PrepareOptions(1, image_size=128)
    return prepare_views(read_freihand(root, template), root, out, options), PreparedData(out)


def test_joints_project_onto_their_colours_in_every_version(prepared):
    info, data = prepared
    assert info.num_records == {"train": 8}
    for record in range(8):
        assert foreign.assert_joints_on_their_colours(data, "train", record) == 21


def test_all_versions_have_the_mask_of_the_first(prepared):
    _, data = prepared
    masks = [data.decode_mask("train", i, data.record("train", i)) for i in range(8)]
    for mask in masks:
        assert 0.1 < mask.mean() < 0.9
        assert mask[64, 64] and not mask[0].any()
    for version in range(1, 4):
        np.testing.assert_array_equal(masks[version], masks[0])


def test_versions_are_views_of_one_frame_with_their_own_pictures(prepared):
    _, data = prepared
    index = data.split_index("train")
    assert index.frame.tolist() == [0] * 4 + [1] * 4
    assert index.frame_id.tolist() == [0] * 4 + [1] * 4
    greys = {"gs": 200, "hom": 60, "sample": 100, "auto": 140}
    for record in range(8):
        camera = data.index.cameras[index.camera_id[record]]
        corner = data.image("train", record)[2, 2]
        np.testing.assert_allclose(corner, greys[camera], atol=4)


def test_the_last_thousands_are_held_out_by_default():
    names = sorted({f"frames_{frame // 1000:02d}" for frame in range(32560)})
    splits = assign_sequences(names, TEST_SEQUENCES)
    assert splits["test"] == ("frames_30", "frames_31", "frames_32")
    assert len(splits["train"]) == 30
    held_out = sum(f"frames_{frame // 1000:02d}" in splits["test"] for frame in range(32560))
    assert held_out == 2560


@pytest.mark.mistake(
    "prepare, FreiHAND",
    "a part of the data set that ends before frame 30,000",
    "refused: nothing would be held out; with the names for --test-sequences",
)
def test_the_command_line(root, tmp_path, capsys):
    arguments = ["--dataset", "freihand", "--capture", str(root), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--image-size", "32"]) == 1
    assert "'^frames_3[0-2]$', which matches none" in capsys.readouterr().err
    assert main([*arguments, "--every", "0"]) == 1
    assert "every: found 0" in capsys.readouterr().err


def test_every_nth_frame_keeps_its_versions(root, template):
    views = read_freihand(root, template, every=2).views
    assert [(v.frame, v.camera) for v in views] == [(0, name) for name in sorted(VERSIONS)]


@pytest.mark.mistake(
    "prepare, FreiHAND",
    "the first version, one picture a frame",
    "left out and counted: the pictures of the other backgrounds",
)
def test_pictures_of_one_version_are_enough(tmp_path, template):
    root = foreign.write_freihand(tmp_path)
    for number in range(2, 8):
        (root / "training" / "rgb" / f"{number:08d}.jpg").unlink()
    capture = read_freihand(root, template)
    assert capture.skipped[NO_PICTURE] == 6
    assert [(view.frame, view.camera) for view in capture.views] == [(0, "gs"), (1, "gs")]


@pytest.mark.mistake(
    "prepare, FreiHAND", "no folder of masks", "warning: backgrounds cannot be replaced"
)
def test_missing_masks_are_said(tmp_path, template):
    root = foreign.write_freihand(tmp_path)
    (root / "training" / "mask").rename(root / "mask")
    (note,) = read_freihand(root, template).notes
    assert "no picture has a mask in" in note and "training/mask" in note


def test_a_missing_picture_is_counted_and_a_missing_mask_is_none(tmp_path, template):
    root = foreign.write_freihand(tmp_path)
    (root / "training" / "rgb" / "00000003.jpg").unlink()
    (root / "training" / "mask" / "00000000.jpg").unlink()
    capture = read_freihand(root, template)
    assert capture.skipped == {NO_PICTURE: 1, TOO_FEW_JOINTS: 0}
    assert [(v.frame, v.camera, v.mask is None) for v in capture.views] == [
        (0, "auto", True), (0, "gs", True), (0, "hom", True), (0, "sample", True),
        (1, "auto", False), (1, "gs", False), (1, "sample", False),
    ]  # fmt: skip


def test_joints_that_were_not_measured_are_invalid(tmp_path, template):
    root = foreign.write_freihand(tmp_path)
    path = root / "training_xyz.json"
    content = json.loads(path.read_text())
    content[0][0], content[0][1][2], content[1] = None, float("nan"), None
    path.write_text(json.dumps(content))
    capture = read_freihand(root, template)
    assert capture.skipped == {NO_PICTURE: 0, TOO_FEW_JOINTS: 4}
    assert {view.frame for view in capture.views} == {0}
    view = capture.views[0]
    missing = {name for name, valid in zip(template.joint_names, view.joint_valid, strict=True)
               if not valid}  # fmt: skip
    assert missing == {"wrist", "thumb1", "thumb0"} and np.isfinite(view.joints).all()


def _rewrite(path, change):
    content = json.loads(path.read_text())
    content = change(content)
    path.write_text(json.dumps(content))


def _put(index, value):
    def change(content):
        content[index] = value
        return content

    return change


DAMAGE = {
    "no list": ("xyz", lambda c: {"0": c}, "JSON of a dict"),
    "empty": ("xyz", lambda c: [], "an empty list"),
    "one less": ("xyz", lambda c: c[:-1], "1 frames, expected 2"),
}
DAMAGED_FRAMES = {
    "twenty joints": ("xyz", _put(1, [[0, 0, 1]] * 20), "frame 1: found "),
    "ragged": ("xyz", _put(1, [[0, 0, 1]] * 20 + [[0, 1]]), "frame 1: found "),
    "null": ("K", _put(1, None), "frame 1: found None"),
    "infinite": ("xyz", _put(0, [[0, 0, float("inf")]] * 21), "frame 0: found inf in "),
    "huge": ("xyz", _put(0, [[0, 0, 10**400]] * 21), "frame 0: found "),
    "text": ("K", _put(1, "K"), "frame 1: found 'K'"),
    "negative focal length": ("K", _put(1, [[-1, 0, 0], [0, 1, 0], [0, 0, 1]]), "frame 1: "),
    "not affine": ("K", _put(1, [[1, 0, 0], [0, 1, 0], [0, 1, 1]]), "frame 1: "),
}


@pytest.mark.mistake("prepare, FreiHAND", "K and joints of different numbers of frames", "refused")
@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_annotations_are_named(tmp_path, template, case):
    name, change, message = DAMAGE[case]
    root = foreign.write_freihand(tmp_path)
    _rewrite(root / f"training_{name}.json", change)
    with pytest.raises(BadInputError, match=rf"training_{name}\.json.*{message}"):
        read_freihand(root, template)


@pytest.mark.mistake(
    "prepare, FreiHAND", "null or text for a frame, 20 joints", "left out and counted"
)
@pytest.mark.parametrize("case", DAMAGED_FRAMES)
def test_a_damaged_frame_is_left_out_and_named(tmp_path, template, case):
    name, change, message = DAMAGED_FRAMES[case]
    root = foreign.write_freihand(tmp_path)
    _rewrite(root / f"training_{name}.json", change)
    capture = read_freihand(root, template)
    assert capture.skipped == {NO_PICTURE: 0, TOO_FEW_JOINTS: 0, BAD_ANNOTATION: 1}
    assert re.search(rf"training_{name}\.json.*{message}", capture.faults[BAD_ANNOTATION])
    assert len(capture.views) == 4


def test_more_than_the_share_of_damaged_frames_is_refused_with_the_counts(tmp_path, template):
    root = foreign.write_freihand(tmp_path / "set")
    _rewrite(root / "training_xyz.json", _put(0, "none"))
    arguments = (root, tmp_path / "out")
    info = prepare_views(read_freihand(root, template), *arguments, PrepareOptions(1, 32))
    assert info.skipped[BAD_ANNOTATION] == 1 and info.num_records == {"train": 4}
    strict = PrepareOptions(1, 32, faulty_share=0.1)
    with pytest.raises(BadInputError, match=r"1 of 5 items .*1 x frame whose annot.*at most 10%"):
        prepare_views(read_freihand(root, template), *arguments, strict)


def _bent(frame=0):
    joints = foreign.hand([4.0 * frame, 0, 420], **foreign.BENT)
    return [(joints[name] / 1000).tolist() for name in foreign.NAMES]


TIP_FIRST = [0, *(1 + 4 * finger + part for finger in range(5) for part in (3, 2, 1, 0))]


def test_bent_hands_are_not_doubted(tmp_path, template):
    root = foreign.write_freihand(tmp_path)
    _rewrite(root / "training_xyz.json", lambda _: [_bent(), _bent(1)])
    assert not doubts(read_freihand(root, template))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(
            lambda frames: [[points[joint] for joint in TIP_FIRST] for points in frames],
            "another order",
            marks=pytest.mark.mistake(
                "prepare, FreiHAND", "fingers from the tip to the palm", "warning"
            ),
        ),
        pytest.param(
            lambda frames: [[[-x, y, z] for x, y, z in points] for points in frames],
            "bend to the back of a right hand",
            marks=pytest.mark.mistake("prepare, FreiHAND", "left hands, or x mirrored", "warning"),
        ),
    ],
)
def test_other_joints_are_doubted(tmp_path, template, change, said):
    root = foreign.write_freihand(tmp_path)
    _rewrite(root / "training_xyz.json", lambda _: change([_bent(), _bent(1)]))
    assert said in " ".join(doubts(read_freihand(root, template)))


@pytest.mark.mistake(
    "prepare, FreiHAND", "joints in mm instead of metres", "refused, with the likely unit"
)
def test_joints_in_mm_are_refused(tmp_path, capsys):
    root = foreign.write_freihand(tmp_path)
    _rewrite(root / "training_xyz.json", lambda frames: (1000 * np.array(frames)).tolist())
    words = ["--dataset=freihand", f"--capture={root}", f"--out={tmp_path / 'out'}"]
    assert main([*words, "--test-sequences=frames_00"]) == 1
    assert "as of a template in metres, or joints scaled twice" in capsys.readouterr().err


@pytest.mark.mistake(
    "prepare, FreiHAND",
    "K of pictures of another size",
    "left out: the principal point is outside; else a warning",
)
def test_K_of_pictures_of_another_size(tmp_path, template):
    root = foreign.write_freihand(tmp_path)
    path = root / "training_K.json"

    def scale(factor):
        return lambda all_K: [(np.diag([factor, factor, 1.0]) @ all_K[1]).tolist(), all_K[1]]

    _rewrite(path, scale(3.0))
    assert read_freihand(root, template).skipped[OUTSIDE_CENTRE] == 1
    _rewrite(path, scale(0.5))
    said = "The principal points of 4 of 8 pictures are far from the middle"
    assert said in " ".join(doubts(read_freihand(root, template)))


@pytest.mark.mistake(
    "prepare, FreiHAND",
    "the folder training/ instead of FreiHAND_pub_v2; the evaluation set",
    "refused, with the missing file",
)
def test_other_folders_are_refused(root, template, tmp_path):
    with pytest.raises(BadInputError, match=r"training/training_K\.json: found no such file"):
        read_freihand(root / "training", template)
    (tmp_path / "evaluation_K.json").write_text("[]")
    with pytest.raises(BadInputError, match=r"training_K\.json: found no such file"):
        read_freihand(tmp_path, template)


@pytest.mark.mistake("prepare, FreiHAND", "no folder training/rgb", "refused, with the place")
def test_truncated_and_missing_files_and_missing_pictures_are_refused(tmp_path, template):
    with pytest.raises(BadInputError, match=r"training_K\.json: found no such file"):
        read_freihand(tmp_path, template)
    root = foreign.write_freihand(tmp_path)
    content = (root / "training_K.json").read_text()
    for end in (0, 1, len(content) // 2, len(content) - 1):
        (root / "training_K.json").write_text(content[:end])
        with pytest.raises(BadInputError, match=r"training_K\.json: found damaged JSON"):
            read_freihand(root, template)
    (root / "training_K.json").write_text(content)
    (root / "training" / "rgb").rename(root / "rgb")
    with pytest.raises(
        BadInputError, match=r"training/rgb: found no usable picture \(8 x annotation"
    ):
        read_freihand(root, template)


def test_joints_behind_the_camera_are_left_out(tmp_path, template):
    root = foreign.write_freihand(tmp_path / "set")
    behind = [[x, y, -z] for x, y, z in json.loads((root / "training_xyz.json").read_text())[1]]
    _rewrite(root / "training_xyz.json", _put(1, behind))
    capture = read_freihand(root, template)
    info = prepare_views(capture, root, tmp_path / "out", PrepareOptions(1, image_size=32))
    assert info.skipped["hand behind the camera"] == 4
    assert info.num_records == {"train": 4}
