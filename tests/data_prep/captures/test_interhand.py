"""InterHand2.6M in its own layout, read, mirrored and cropped; and damaged files."""

import json
import re

import cv2
import numpy as np
import pytest

from data_prep.captures.frames import (
    LYING,
    NO_CAMERA,
    NO_PICTURE,
    SECOND_PICTURE,
    TOO_FEW_JOINTS,
)
from data_prep.captures.interhand import BAD_ANNOTATION, NO_FRAME, read_interhand
from data_prep.captures.plausibility import doubts
from data_prep.prepare import main, prepare
from data_prep.studio.template.hand_template import hand_template
from dhm.data.augmentation import Augmentation
from dhm.data.input_pipeline import make_dataset
from dhm.data.prepared_data import PreparedData
from dhm.errors import BadInputError
from tests.data_prep.captures import foreign

ROM = "Capture0_ROM01_No_Interaction_2_Hand"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return foreign.write_interhand(tmp_path_factory.mktemp("interhand"))


@pytest.fixture(scope="module")
def template():
    return hand_template("coarse")


@pytest.fixture(scope="module")
def prepared(root, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "prepared"
    prepare(root, 1, out, dataset="interhand", image_size=128)
    return PreparedData(out)


@pytest.mark.parametrize("split", ["train", "test"])
def test_each_hand_is_a_view_of_both_cameras(prepared, split):
    index = prepared.split_index(split)
    rows = [
        (prepared.sequence(split, i), int(index.frame[i]), prepared.index.cameras[camera])
        for i, camera in enumerate(index.camera_id)
    ]
    assert rows == [
        (f"{split}_{ROM}{side}", frame, camera)
        for side, frames in (("", (1000, 1012)), ("_left", (1006, 1012)))
        for frame in frames
        for camera in ("400262", "400263")
    ]


@pytest.mark.parametrize("split", ["train", "test"])
def test_joints_project_onto_their_colours_mirrored_or_not(prepared, split):
    for record in range(8):
        is_left = "left" in prepared.sequence(split, record)
        checked = foreign.assert_joints_on_their_colours(prepared, split, record)
        assert checked == (21 if is_left else 20)  # thumb1 of the right hand is not valid


def test_cameras_of_a_frame_see_one_world(root, template):
    views = [v for v in read_interhand(root, template).views if v.sequence.endswith("_left")]
    for one, other in zip(views[::2], views[1::2], strict=True):
        assert one.frame == other.frame and one.camera != other.camera
        np.testing.assert_array_equal(one.joints, other.joints)
    right = foreign.hand([-60, 20, 1000])  # the left hand's mirror image
    for joint in np.flatnonzero(views[0].joint_valid):
        name = template.joint_names[joint]
        np.testing.assert_allclose(views[0].joints[joint], right[name], atol=1e-3)


@pytest.mark.mistake("prepare, InterHand2.6M", "one of the splits alone", "understood")
def test_every_nth_picture_and_splits_that_are_there(tmp_path, template):
    root = foreign.write_interhand(tmp_path)
    assert len(read_interhand(root, template, every=4).views) == 6
    (root / "annotations" / "train").rename(root / "annotations" / "elsewhere")
    assert {v.sequence.split("_")[0] for v in read_interhand(root, template).views} == {"test"}


def test_other_sequences_can_be_held_out(root, tmp_path):
    info = prepare(
        root, 1, tmp_path, dataset="interhand", image_size=32, test_sequences="^test.*_left$"
    )
    assert info.num_records == {"train": 8, "test": 4}
    assert info.skipped["sequence in neither split"] == 4


@pytest.mark.mistake("prepare, InterHand2.6M", "pictures missing", "left out and counted")
def test_a_missing_picture_is_counted(tmp_path, template):
    root = foreign.write_interhand(tmp_path)
    next((root / "images" / "train").rglob("image1012.jpg")).unlink()
    capture = read_interhand(root, template)
    assert capture.skipped == {NO_PICTURE: 1, TOO_FEW_JOINTS: 0}
    assert len(capture.views) == 14


def _change(root, name, change):
    path = root / "annotations" / "train" / f"InterHand2.6M_train_{name}.json"
    content = json.loads(path.read_text())
    result = change(content)
    path.write_text(json.dumps(content if result is None else result))


def test_a_hand_with_few_joints_in_the_picture_is_left_out(tmp_path, template):
    root = foreign.write_interhand(tmp_path)

    def hide(data):
        data["annotations"][0]["joint_valid"][:11] = [0] * 11  # 10 of the right hand's are left

    _change(root, "data", hide)
    capture = read_interhand(root, template)
    assert capture.skipped[TOO_FEW_JOINTS] == 1
    assert (f"train_{ROM}", 1000, "400262") not in {
        (v.sequence, v.frame, v.camera) for v in capture.views
    }


def test_invalid_joints_may_have_any_coordinates(tmp_path, template):
    root = foreign.write_interhand(tmp_path)

    def spoil(joints):
        joints["0"]["1000"]["world_coord"][3] = [float("nan"), None, 1e30]

    _change(root, "joint_3d", spoil)
    view = next(v for v in read_interhand(root, template).views if "train" in v.sequence)
    thumb1 = template.joint_names.index("thumb1")
    assert not view.joint_valid[thumb1] and not view.joints[thumb1].any()


def test_joints_that_were_not_measured_are_invalid(tmp_path, template):
    root = foreign.write_interhand(tmp_path)

    def spoil(joints):
        entry = joints["0"]["1000"]
        entry["world_coord"][2], entry["world_coord"][20][0] = None, float("nan")
        entry["joint_valid"][3] = None

    _change(root, "joint_3d", spoil)
    capture = read_interhand(root, template)
    view = next(v for v in capture.views if "train" in v.sequence and v.frame == 1000)
    missing = {name for name, valid in zip(template.joint_names, view.joint_valid, strict=True)
               if not valid}  # fmt: skip
    assert missing == {"thumb0", "thumb1", "thumb2", "wrist"} and np.isfinite(view.joints).all()
    _change(root, "joint_3d", lambda joints: joints["0"]["1000"].update(world_coord=None))
    fewer = read_interhand(root, template)
    assert fewer.skipped[TOO_FEW_JOINTS] > capture.skipped[TOO_FEW_JOINTS]


def _annotation(key, value):
    return "data", lambda data: data["annotations"][1].__setitem__(key, value)


def _image(key, value):
    return "data", lambda data: data["images"][1].__setitem__(key, value)


def _camera(key, value):
    return "camera", lambda cameras: cameras["0"][key].__setitem__("400262", value)


def _frame(key, value):
    return "joint_3d", lambda joints: joints["0"]["1000"].__setitem__(key, value)


NAN = float("nan")
FILES = {
    "no dictionary": (("data", lambda _: []), "JSON of a list"),
    "no images": (("data", lambda data: data.pop("images") and None), "images = None"),
}
ITEMS = {
    "an unknown picture": (
        _annotation("image_id", 77),
        "an annotation of picture 77",
        BAD_ANNOTATION,
    ),
    "hand type": (_annotation("hand_type", "both"), "hand_type 'both'", BAD_ANNOTATION),
    "21 flags": (
        _annotation("joint_valid", [1] * 21),
        "picture 1, joint_valid: found ",
        BAD_ANNOTATION,
    ),
    "flags of 2": (
        _annotation("joint_valid", [2] * 42),
        "picture 1, joint_valid: found ",
        BAD_ANNOTATION,
    ),
    "no flags": (
        _annotation("joint_valid", None),
        "picture 1, joint_valid: found None",
        BAD_ANNOTATION,
    ),
    "up": (
        _image("file_name", "../../../secret.jpg"),
        "file_name '../../../secret.jpg'",
        BAD_ANNOTATION,
    ),
    "root": (_image("file_name", "/etc/passwd"), "file_name '/etc/passwd'", BAD_ANNOTATION),
    "sequence": (_image("seq_name", "a/b"), "sequence 'a/b'", BAD_ANNOTATION),
    "dots": (_image("seq_name", ".."), r"sequence '\.\.'", BAD_ANNOTATION),
    "frame": (_image("frame_idx", "7"), "frame_idx = '7'", BAD_ANNOTATION),
    "a frame before the first": (
        _image("frame_idx", -1),
        "height, width and frame",
        BAD_ANNOTATION,
    ),
    "a huge frame": (_image("frame_idx", 10**30), "height, width and frame", BAD_ANNOTATION),
    "no height": (_image("height", 0), "height, width and frame", BAD_ANNOTATION),
    "flag as frame": (_image("frame_idx", True), "frame_idx = True", BAD_ANNOTATION),
    "no such frame": (_image("frame_idx", 7), "capture 0: found 7 = None", NO_FRAME),
    "no such capture": (_image("capture", 3), "found 3 = None", NO_FRAME),
    "no such camera": (
        _image("camera", "410001"),
        "capture 0, campos of 410001: found None",
        NO_CAMERA,
    ),
    "twice": (_image("camera", "400262"), "frame 1000 a second time", SECOND_PICTURE),
    "20 joints": (_frame("world_coord", [[0, 0, 1]] * 20), "1000, world_coord: found ", NO_FRAME),
    "infinite": (
        _frame("world_coord", [[0, 0, float("inf")]] * 42),
        "frame 1000, world_coord: found inf in ",
        NO_FRAME,
    ),
    "no coordinates": (
        _frame("world_coord", "none"),
        "frame 1000, world_coord: found 'none'",
        NO_FRAME,
    ),
    "position": (_camera("campos", [0, 0]), "capture 0, campos of 400262: found ", NO_CAMERA),
    "no rotation": (
        _camera("camrot", [[1, 0, 0], [0, 1, 0], [0, 0, 2]]),
        "camrot of 400262 = ",
        NO_CAMERA,
    ),
    "reflection": (
        _camera("camrot", [[1, 0, 0], [0, 1, 0], [0, 0, -1]]),
        "camrot of 400262 = ",
        NO_CAMERA,
    ),
    "focal": (_camera("focal", [0, 1200]), "focal of 400262 = ", NO_CAMERA),
    "NaN focal": (_camera("focal", [NAN, 1200]), "focal of 400262: found nan in ", NO_CAMERA),
}


@pytest.mark.parametrize("case", FILES)
def test_damaged_files_are_named(tmp_path, template, case):
    (name, change), message = FILES[case]
    root = foreign.write_interhand(tmp_path)
    _change(root, name, change)
    with pytest.raises(BadInputError, match=message):
        read_interhand(root, template)


@pytest.mark.mistake(
    "prepare, InterHand2.6M",
    "21 flags, an unknown hand_type, a path that leaves images",
    "left out and counted",
)
@pytest.mark.parametrize("case", ITEMS)
def test_damaged_items_are_left_out_and_named(tmp_path, template, case):
    (name, change), message, reason = ITEMS[case]
    root = foreign.write_interhand(tmp_path)
    _change(root, name, change)
    if case in ("up", "root"):
        (tmp_path / "images" / "secret.jpg").write_text("")
    capture = read_interhand(root, template)
    assert re.search(message, capture.faults[reason])
    # A frame is seen by two cameras; the camera sees three frames.
    count = {"joint_3d": 2, "camera": 3}.get(name, 1)
    assert {key: n for key, n in capture.skipped.items() if n} == {reason: count}
    lost = 4 if name == "camera" else count  # one of the three frames has two hands
    assert len(capture.views) == 16 - lost


@pytest.mark.mistake(
    "prepare, InterHand2.6M", "pictures that lie on their side", "left out and counted"
)
def test_a_camera_of_pictures_on_their_side_is_left_out(tmp_path):
    """By the picture's shape, or by K where the annotation has the lying shape as well."""
    root = foreign.write_interhand(tmp_path / "set")
    for split in ("train", "test"):
        for path in (root / "images" / split).rglob("cam400263/*.jpg"):
            foreign.save(path, cv2.resize(cv2.imread(str(path)), (512, 334)))
    info = prepare(root, 1, tmp_path / "out", dataset="interhand", image_size=128)
    assert info.skipped[LYING] == 8 and info.num_records == {"train": 4, "test": 4}
    data = PreparedData(tmp_path / "out")
    for record in range(4):
        assert foreign.assert_joints_on_their_colours(data, "train", record) >= 20

    def lie(data):
        for image in data["images"]:
            if image["camera"] == "400263":
                image["height"], image["width"] = 334, 512

    _change(root, "data", lie)
    info = prepare(root, 1, tmp_path / "out", dataset="interhand", image_size=128)
    assert info.skipped[LYING] == 3 + 4 and info.num_records == {"train": 4, "test": 4}


@pytest.mark.mistake(
    "prepare, InterHand2.6M", "the folder above InterHand2.6M, or its annotations/", "refused"
)
def test_other_folders_are_refused(root, template):
    for folder in (root.parent, root / "annotations"):
        with pytest.raises(BadInputError, match="found no folder of annotations in it"):
            read_interhand(folder, template)


def _bent(change):
    """Gives every frame bent hands, and changes their 42 points."""
    right = foreign.hand([-60, 0, 1000], **foreign.BENT)
    left = foreign.hand([60, 20, 1000], is_left=True, **foreign.BENT)
    points = np.stack([side[name] for side in (right, left) for name in foreign.INTERHAND_ORDER])

    def apply(joints):
        for entry in joints["0"].values():
            entry["world_coord"] = change(points).tolist()
            entry["joint_valid"] = [1] * 42

    return apply


def _everywhere(root, name, change):
    for split in ("train", "test"):
        path = root / "annotations" / split / f"InterHand2.6M_{split}_{name}.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(
            lambda points: np.roll(points, 21, axis=0),
            "bend to the back of a right hand",
            marks=pytest.mark.mistake(
                "prepare, InterHand2.6M", "the left hand's joints first", "warning"
            ),
        ),
        pytest.param(
            lambda points: np.concatenate([points[[20, *range(20)]], points[[41, *range(21, 41)]]]),
            "another order",
            marks=pytest.mark.mistake("prepare, InterHand2.6M", "the wrist first", "warning"),
        ),
    ],
)
def test_other_joints_are_doubted(tmp_path, template, change, said):
    root = foreign.write_interhand(tmp_path)
    _everywhere(root, "joint_3d", _bent(lambda points: points))
    assert not doubts(read_interhand(root, template))
    _everywhere(root, "joint_3d", _bent(change))
    assert said in " ".join(doubts(read_interhand(root, template)))


def _prepared(root, tmp_path, capsys):
    """Runs the command; returns its exit code and what it said."""
    words = ["--dataset=interhand", f"--capture={root}", f"--out={tmp_path / 'out'}"]
    return main([*words, "--image-size=32"]), capsys.readouterr().err


@pytest.mark.mistake("prepare, InterHand2.6M", "joints in metres", "refused, with the unit")
def test_joints_in_metres_are_refused(tmp_path, capsys):
    root = foreign.write_interhand(tmp_path / "set")
    _everywhere(root, "joint_3d", _bent(lambda points: points / 1000))
    code, error = _prepared(root, tmp_path, capsys)
    assert code == 1 and "as of a file in metres" in error


def _translation(cameras):
    for name, position in cameras["0"]["campos"].items():
        cameras["0"]["campos"][name] = (-np.array(cameras["0"]["camrot"][name]) @ position).tolist()


def _opengl(cameras):
    for name, R in cameras["0"]["camrot"].items():
        cameras["0"]["camrot"][name] = (np.diag([1, -1, -1]) @ R).tolist()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            _translation,
            marks=pytest.mark.mistake(
                "prepare, InterHand2.6M",
                "t of a world-to-camera transform as campos",
                "refused, with the convention",
            ),
        ),
        pytest.param(
            _opengl,
            marks=pytest.mark.mistake(
                "prepare, InterHand2.6M", "OpenGL's axes", "refused, with the convention"
            ),
        ),
    ],
)
def test_cameras_of_other_conventions_are_refused(tmp_path, capsys, change):
    root = foreign.write_interhand(tmp_path / "set")
    _everywhere(root, "camera", change)
    code, error = _prepared(root, tmp_path, capsys)
    assert code == 1
    assert re.search("no usable view in .*cameras map the world to the camera in mm", error)


@pytest.mark.mistake(
    "prepare, InterHand2.6M",
    "K of the full pictures, not of 334 x 512",
    "refused: the principal points are outside",
)
def test_K_of_the_full_pictures_is_refused(tmp_path, template):
    root = foreign.write_interhand(tmp_path)

    def full(cameras):
        for key in ("focal", "princpt"):
            for name, numbers in cameras["0"][key].items():
                cameras["0"][key][name] = [8 * number for number in numbers]

    _everywhere(root, "camera", full)
    with pytest.raises(BadInputError, match="12 x camera whose principal point lies outside"):
        read_interhand(root, template)


def test_truncated_and_missing_files_are_refused(tmp_path, template):
    with pytest.raises(BadInputError, match="found no folder of annotations"):
        read_interhand(tmp_path, template)
    root = foreign.write_interhand(tmp_path)
    for name in ("camera", "joint_3d", "data"):
        path = root / "annotations" / "train" / f"InterHand2.6M_train_{name}.json"
        content = path.read_text()
        path.write_text(content[: len(content) // 2])
        with pytest.raises(BadInputError, match=rf"train_{name}\.json: found damaged JSON"):
            read_interhand(root, template)
        path.unlink()
        with pytest.raises(BadInputError, match=rf"train_{name}\.json: found no such file"):
            read_interhand(root, template)
        path.write_text(content)
    (root / "images").rename(root / "pictures")
    with pytest.raises(BadInputError, match=r"found no usable hand"):
        read_interhand(root, template)


def test_a_hand_behind_the_camera_is_left_out(tmp_path):
    root = foreign.write_interhand(tmp_path / "set")

    def behind(joints):
        for point in joints["0"]["1000"]["world_coord"]:
            point[2] -= 3000

    _change(root, "joint_3d", behind)
    info = prepare(root, 1, tmp_path / "out", dataset="interhand", image_size=32)
    assert info.skipped["hand behind the camera"] == 2
    assert info.num_records == {"train": 6, "test": 8}


@pytest.mark.mistake(
    "backgrounds", "config.augment.background with records without masks and depth maps", "warning"
)
def test_backgrounds_that_cannot_be_replaced_are_said(prepared, caplog):
    options = {"batch_size": 2, "num_views": 0, "seed": 0, "shuffle": True}
    make_dataset(prepared, "train", **options, augmentation=Augmentation(background=0.5))
    assert "augment.background has no effect: the records of " in caplog.text
