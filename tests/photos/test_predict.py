"""Pictures in, hands out: the files written, the refusals, and the hands themselves."""

import json
import logging

import cv2
import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from data_prep.captures.frames import CaptureView
from data_prep.records.crop import CropPlan, crop_view, plan_crop
from dhm.errors import BadInputError
from dhm.evidence.input_files import find_files
from dhm.evidence.keypoints import Detection
from dhm.export.hand_files import placed_points
from dhm.formats.obj import read_obj
from dhm.formats.photo import Photo
from dhm.photos.locate import locate_hand
from dhm.photos.predict import PredictOptions, predict, predict_files
from dhm.photos.predictor import predict_hand
from tests.launcher import launch_here

SIZE = (90, 120)
K = np.array([[110.0, 0, 59.5], [0, 110, 44.5], [0, 0, 1]])
BOX = PredictOptions(bbox=(30, 20, 50, 45))
RESULTS = {f"{stem}{end}" for stem in ("plain", "deep", "grey", "phone")
           for end in (".obj", ".glb", ".json", "_overlay.png")}  # fmt: skip


def _photo(seed=0, size=SIZE):
    small = np.random.default_rng(seed).integers(0, 255, (9, 12, 3), np.uint8)
    return cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC)


def _write_good(folder):
    """JPEG, 16-bit PNG, greyscale, and a rotated JPEG as phones write it."""
    photo = _photo()
    Image.fromarray(photo).save(folder / "plain.jpg", quality=95)
    cv2.imwrite(str(folder / "deep.png"), photo[:, :, ::-1].astype(np.uint16) * 257)
    Image.fromarray(photo).convert("L").save(folder / "grey.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0xA405] = 26
    Image.fromarray(np.rot90(photo, 1)).save(folder / "phone.jpg", exif=exif, quality=95)


def _write_bad(folder):
    (folder / "empty.jpg").touch()
    (folder / "notes.jpg").write_text("The hand was raised.\n")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    _write_good(folder)
    return folder


def _keypoints(predictor, seed=0, noise=0.0):
    """Keypoints of the hand that the model predicts, placed in front of the camera."""
    rng = np.random.default_rng(seed)
    located = locate_hand(
        "", SIZE, Detection(None, {}, None), predictor.template.joint_names, BOX.bbox, False
    )
    theta = predictor.encode(predictor.crop(_photo(seed), located.low, located.high))
    joints = predictor.decode(theta)[1]
    turn = cv2.Rodrigues(np.array([1.3, 0.4, -0.2]))[0]
    points = (joints - joints.mean(axis=0)) @ turn.T + [5, 8, 450]
    pixels = points @ K.T
    pixels = pixels[:, :2] / pixels[:, 2:] + rng.normal(0, noise, (len(points), 2))
    named = zip(predictor.template.joint_names, pixels.tolist(), strict=True)
    return {name: [*point, 1.0] for name, point in named}, points


@pytest.mark.slow
def test_the_launcher_predicts_pictures_and_reports_the_refused_ones(
    exported_run, photos, tmp_path
):
    _write_bad(photos)
    done = launch_here(tmp_path, "predict", "--workdir", str(exported_run), "--images", "photos/*",
                  "--bbox", "30,20,50,45", "--out", "hands")  # fmt: skip
    assert done.returncode == 1, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert "4 of 6 done, in hands" in lines and "2 refused:" in lines
    summary = lines[lines.index("2 refused:") + 1 :]
    assert [line.split(":")[0].strip() for line in summary] == [
        "photos/empty.jpg", "photos/notes.jpg",
    ]  # fmt: skip
    assert "found an empty file" in summary[0] and "found a text file" in summary[1]
    assert "canonical view" in done.stdout
    assert {path.name for path in (tmp_path / "hands").iterdir()} == RESULTS


@pytest.mark.mistake(
    "predict, pictures", "a folder in which other files are, too",
    "refused one by one, and the pictures are predicted",
)  # fmt: skip
def test_pictures_are_predicted_and_unusable_ones_refused(predictor, photos, tmp_path, caplog):
    _write_bad(photos)
    with caplog.at_level(logging.INFO, "dhm"):
        assert predict_files(predictor, sorted(photos.iterdir()), tmp_path / "hands", BOX) == 2
    assert "4 of 6 done" in caplog.text and "canonical view" in caplog.text
    assert "empty.jpg: found an empty file" in caplog.text
    assert "notes.jpg: found a text file" in caplog.text
    assert {path.name for path in (tmp_path / "hands").iterdir()} == RESULTS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            ("--images", "photos/*"),
            "--out is missing",
            marks=pytest.mark.mistake("predict, flags", "no --out or no --images", "refused"),
        ),
        (("--out", "o"), "--images is missing"),
        pytest.param(
            ("--image", "photos/*", "--output", "o"),
            "predict has no flag --image; did you mean --images?",
            marks=pytest.mark.mistake(
                "predict, flags", "--image or --output", "refused, with the flag that is meant"
            ),
        ),
        pytest.param(
            ("--images", "photos/*", "--out", "o", "--focal", "26mm", "--bbox", "whole"),
            "--focal: found '26mm', expected a number from 1.0 on",
            marks=pytest.mark.mistake("predict, flags", "--focal with a unit", "refused"),
        ),
        pytest.param(
            ("--images", "photos/*", "--out", "o", "--bbox", "whole", "--refine"),
            "--refine: found no keypoints, expected --keypoints or --detector to refine by",
            marks=pytest.mark.mistake("predict, flags", "--refine without keypoints", "refused"),
        ),
    ],
)
def test_missing_flags_are_refused(exported_run, photos, tmp_path, arguments, message):
    refused = launch_here(tmp_path, "predict", "--workdir", str(exported_run), *arguments)
    assert refused.returncode in (1, 2)
    assert message in refused.stderr + refused.stdout


@pytest.mark.mistake(
    "predict, flags", "no --bbox, --keypoints or --detector", "refused, with all three"
)
@pytest.mark.mistake("predict, flags", "--images that match no file", "refused")
def test_hands_that_nothing_locates_are_refused_before_anything_is_written(photos, tmp_path):
    message = "found no option that locates the hands, expected where the hand is: --bbox"
    with pytest.raises(BadInputError, match=message):
        predict(tmp_path, [str(photos)], tmp_path / "out", PredictOptions())
    with pytest.raises(BadInputError, match=r"--images: found '.*\.gif'"):
        predict(tmp_path, [f"{photos}/*.gif"], tmp_path / "out", BOX)
    assert not (tmp_path / "out").exists()


def test_all_picture_formats_give_the_same_prediction(predictor, photos, tmp_path):
    assert predict_files(predictor, sorted(photos.iterdir()), tmp_path / "out", BOX) == 0
    content = {stem: json.loads((tmp_path / "out" / f"{stem}.json").read_text())
               for stem in ("plain", "deep", "phone")}  # fmt: skip
    deep = np.array(list(content["deep"]["angles_rad"].values()))
    for stem in ("plain", "phone"):
        angles = np.array(list(content[stem]["angles_rad"].values()))
        np.testing.assert_allclose(angles, deep, atol=0.02)  # JPEG's own losses
    assert content["phone"]["crop"] == content["deep"]["crop"]


def test_meshes_and_overlay_can_be_left_out(predictor, photos, tmp_path):
    picture, contents = photos / "deep.png", {}
    for meshes, overlay, files in (
        (True, True, {"deep.obj", "deep.glb", "deep_overlay.png", "deep.json"}),
        (False, True, {"deep_overlay.png", "deep.json"}),
        (True, False, {"deep.obj", "deep.glb", "deep.json"}),
        (False, False, {"deep.json"}),
    ):
        out = tmp_path / f"{meshes}_{overlay}"
        options = BOX._replace(meshes=meshes, overlay=overlay)
        assert predict_files(predictor, [picture], out, options) == 0
        assert {path.name for path in out.iterdir()} == files
        contents[out] = (out / "deep.json").read_text()
    assert len(set(contents.values())) == 1


def test_the_network_sees_the_crop_of_the_training_data(predictor, photos, tmp_path):
    """Angles and mesh in the files are those of a crop by the preparation."""
    predict_files(predictor, [photos / "deep.png"], tmp_path / "out", BOX)
    corners = np.array([[30.0, 20], [80, 65], [55, 40]])
    joints = np.c_[(corners - K[:2, 2]) / 110 * 500, np.full(3, 500.0)]
    Image.fromarray(_photo()).save(tmp_path / "view.png")
    view = CaptureView("s", 0, "c", tmp_path / "view.png", None, K, SIZE, np.eye(4), joints,
                       np.ones(3, bool), None)  # fmt: skip
    plan = plan_crop(view, 32)
    assert isinstance(plan, CropPlan)
    crop = crop_view(view, plan).image
    theta = predictor.encode(crop)
    content = json.loads((tmp_path / "out" / "deep.json").read_text())
    np.testing.assert_allclose(list(content["angles_rad"].values()), theta, atol=1e-4)
    mesh = read_obj(tmp_path / "out" / "deep.obj")
    np.testing.assert_allclose(mesh.vertices, predictor.decode(theta)[0], atol=1e-2)
    assert content["frame"] == "model" and "canonical view" in content["notes"][0]
    assert iio.imread(tmp_path / "out" / "deep_overlay.png").shape[1] > SIZE[1]


@pytest.mark.mistake(
    "predict, keypoints", "a name that no picture has, such as one without its ending",
    "warning; a picture without an entry is refused",
)  # fmt: skip
def test_keypoints_place_the_hand_in_the_camera(predictor, photos, tmp_path, caplog):
    named, points = _keypoints(predictor)
    entry = {"keypoints": named, "K": K.tolist(), "bbox": list(BOX.bbox)}
    file = tmp_path / "keypoints.json"
    hands = {"deep.png": {}, str(photos / "deep.png"): entry, "gone.png": {}, "plain.jpg": {}}
    file.write_text(json.dumps(hands))
    options = PredictOptions(keypoints=file)
    logging.getLogger("dhm").propagate = True
    with caplog.at_level(logging.INFO, "dhm"):
        paths = [photos / name for name in ("deep.png", "phone.jpg", "plain.jpg")]
        refused = predict_files(predictor, paths, tmp_path / "out", options)
    assert refused == 2  # neither a box nor keypoints for one, no entry for the other
    assert "no picture for gone.png" in caplog.text  # and deep.png by its path, not by its name
    assert "plain.jpg: found no box and 0 keypoints" in caplog.text
    assert "phone.jpg: found no entry in" in caplog.text
    content = json.loads((tmp_path / "out" / "deep.json").read_text())
    assert content["frame"] == "camera" and content["reprojection_error_px"] < 0.1
    np.testing.assert_allclose(list(content["joints"].values()), points, atol=0.5)
    said = ["Camera: K from the keypoints file.", "Taken as a right hand: nothing says the side."]
    assert content["notes"] == said
    assert content["verdict"] == "plausible"
    assert iio.imread(tmp_path / "out" / "deep_overlay.png").shape == (*SIZE, 3)


@pytest.mark.mistake(
    "predict, keypoints", "K of a larger picture", "doubtful: its principal point lies outside"
)
def test_intrinsics_of_another_picture_are_doubtful_and_parts_of_one_refused(
    predictor, photos, tmp_path, caplog
):
    named, _ = _keypoints(predictor)
    larger, parts = np.diag([2.0, 2, 1]) @ K, np.diag([1 / 120, 1 / 90, 1]) @ K
    of_parts = {name: [u / 120, v / 90] for name, (u, v, *_) in named.items()}
    file = tmp_path / "keypoints.json"
    file.write_text(json.dumps({
        "deep.png": {"keypoints": named, "K": larger.tolist()},
        "grey.jpg": {"keypoints": named, "K": parts.tolist()},
        "plain.jpg": {"keypoints": of_parts, "bbox": list(BOX.bbox)},
    }))  # fmt: skip
    logging.getLogger("dhm").propagate = True
    with caplog.at_level(logging.INFO, "dhm"):
        paths = [photos / name for name in ("deep.png", "grey.jpg", "plain.jpg")]
        options = PredictOptions(keypoints=file)
        assert predict_files(predictor, paths, tmp_path / "out", options) == 2
    content = json.loads((tmp_path / "out" / "deep.json").read_text())
    assert content["verdict"] == "doubtful"
    assert "(119, 89) lies outside the picture of 120 x 90" in content["notes"][-1]
    assert "DOUBTFUL: The principal point (119, 89)" in caplog.text
    assert "focal lengths of 0.91" in caplog.text and "keypoints between 0." in caplog.text
    assert '"size": [1, 1] says so' in caplog.text


def _predicted(predictor, photos, tmp_path, entry, name="deep.png", **options):
    """The .json of a picture with an entry in a keypoints file."""
    file = tmp_path / "keypoints.json"
    file.write_text(json.dumps({name: entry}))
    options = PredictOptions(keypoints=file, meshes=False, overlay=False, **options)
    assert predict_files(predictor, [photos / name], tmp_path / "out", options) == 0
    return json.loads((tmp_path / "out" / (name.split(".")[0] + ".json")).read_text())


def _changed(named, change):
    return {name: [*change(np.array(point[:2])).tolist(), 1.0] for name, point in named.items()}


def test_keypoints_of_a_copy_of_the_picture_give_the_same_hand(predictor, photos, tmp_path):
    named, _ = _keypoints(predictor)
    entry = {"keypoints": named, "K": K.tolist(), "bbox": list(BOX.bbox)}
    expected = _predicted(predictor, photos, tmp_path, entry)
    half = np.array([[0.5, 0, -0.25], [0, 0.5, -0.25], [0, 0, 1]])
    x, y, w, h = BOX.bbox
    smaller = {"keypoints": _changed(named, lambda p: p / 2 - 0.25), "K": (half @ K).tolist(),
               "bbox": [x / 2 - 0.25, y / 2 - 0.25, w / 2, h / 2], "size": [60, 45]}  # fmt: skip
    size = np.array(SIZE[::-1])
    parts = {"keypoints": _changed(named, lambda p: (p + 0.5) / size),
             "bbox": [(x + 0.5) / 120, (y + 0.5) / 90, w / 120, h / 90],
             "K": [[110 / 120, 0, 0.5], [0, 110 / 90, 0.5], [0, 0, 1]], "size": [1, 1]}  # fmt: skip
    for other, note in ((smaller, "for 60 x 45 pixels by their file"), (parts, "are parts of the")):
        found = _predicted(predictor, photos, tmp_path, other)
        for key in ("K", "crop", "T_frame_model"):
            np.testing.assert_allclose(found[key], expected[key], atol=1e-3)
        assert found["verdict"] == "plausible" and note in " ".join(found["notes"])
        assert found["reprojection_error_px"] == pytest.approx(
            expected["reprojection_error_px"], abs=1e-3
        )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(
            lambda named: {"keypoints": dict(zip(named, list(named.values())[::-1], strict=True))},
            "the side, the camera or the keypoints' names may be wrong",
            marks=pytest.mark.mistake(
                "predict, keypoints", "points under other joints' names", "doubtful"
            ),
        ),
        pytest.param(
            lambda named: {"keypoints": named, "K": (np.diag([0.5, 0.5, 1]) @ K).tolist()},
            "(30, 22) is the centre of a picture of 60 x 46 pixels, not of 120 x 90: K may be",
            marks=pytest.mark.mistake(
                "predict, keypoints", "K of a smaller picture", "doubtful: its principal point"
            ),
        ),
        (
            lambda named: {"keypoints": named | {"wrist": [0, 0]}},
            "Keypoints at (0, 0) or (-1, -1) count as not measured: wrist.",
        ),
    ],
)  # fmt: skip
def test_keypoints_that_no_such_hand_has_are_doubtful(predictor, photos, tmp_path, change, said):
    entry = {"K": K.tolist()} | change(_keypoints(predictor)[0])
    content = _predicted(predictor, photos, tmp_path, entry)
    assert (content["verdict"] == "doubtful") == ("not measured" not in said)
    assert said in " ".join(content["notes"])


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            lambda named: {"keypoints": _changed(named, lambda p: p[::-1])},
            marks=pytest.mark.mistake(
                "predict, keypoints", "[v, u] instead of [u, v], or v upwards",
                "not noticed of a flat hand, whose mirror image is nearly its other side; doubtful "
                "if the points lie outside the picture or the keypoints' error is large",
            ),
        ),
        lambda named: {"keypoints": _changed(named, lambda p: p * [1, -1] + [0, 89])},
        pytest.param(
            lambda named: {"keypoints": named, "side": "left"},
            marks=pytest.mark.mistake(
                "predict, keypoints", "the other side, or none for a left hand",
                "not noticed of a flat hand, as above, but for a note where nothing says the side; "
                "doubtful if the keypoints' error is large",
            ),
        ),
    ],
)  # fmt: skip
def test_mirrored_keypoints_of_a_flat_hand_are_some_hand(predictor, photos, tmp_path, change):
    entry = {"K": K.tolist(), "bbox": list(BOX.bbox)} | change(_keypoints(predictor)[0])
    content = _predicted(predictor, photos, tmp_path, entry)
    assert content["verdict"] == "plausible"
    assert 0.1 < content["reprojection_error_px"] < 3
    assert ("Taken as a right hand: nothing says the side." in content["notes"]) == (
        "side" not in entry
    )


@pytest.mark.mistake(
    "predict, keypoints", "those of a smaller picture, without K and a size",
    "not noticed: they are a smaller hand elsewhere in the picture",
)  # fmt: skip
def test_keypoints_of_a_smaller_picture_are_some_hand(predictor, photos, tmp_path):
    named = _changed(_keypoints(predictor)[0], lambda p: p / 2)
    assert _predicted(predictor, photos, tmp_path, {"keypoints": named})["verdict"] == "plausible"


@pytest.mark.mistake(
    "predict, flags", "--focal in millimetres", "doubtful: the field of view, or the distance"
)
def test_a_focal_length_in_millimetres_is_doubtful(predictor, photos, tmp_path):
    named, _ = _keypoints(predictor)
    content = _predicted(predictor, photos, tmp_path, {"keypoints": named}, focal_px=26.0)
    assert content["verdict"] == "doubtful"
    assert "The focal length of 26 px gives a field of view of 133 degrees" in " ".join(
        content["notes"]
    )


@pytest.mark.mistake(
    "predict, pictures", "a picture that EXIF turns, with coordinates of the stored one",
    "understood as those of the upright one, with a note; doubtful if they lie outside",
)  # fmt: skip
def test_a_turned_picture_is_said_to_be_upright(predictor, photos, tmp_path):
    named, _ = _keypoints(predictor)
    content = _predicted(predictor, photos, tmp_path, {"keypoints": named}, name="phone.jpg")
    assert "turned upright by its EXIF data: box, keypoints and K are taken" in content["notes"][-1]
    plain = _predicted(predictor, photos, tmp_path, {"keypoints": named}, name="plain.jpg")
    assert not any("EXIF data:" in note for note in plain["notes"])


@pytest.mark.mistake("predict, pictures", "a black picture, or 12 bits stored in 16", "doubtful")
@pytest.mark.mistake(
    "predict, pictures", "a mirrored selfie, a picture on its side, --bbox whole for a whole scene",
    "not noticed with a box alone: it is some picture of a hand",
)  # fmt: skip
def test_a_picture_that_shows_nothing_is_doubtful(predictor, photos, tmp_path):
    dark = cv2.cvtColor(_photo(), cv2.COLOR_RGB2GRAY).astype(np.uint16) * 16
    cv2.imwrite(str(photos / "dark.png"), dark)
    Image.fromarray(_photo()[:, ::-1]).save(
        photos / "selfie.png", save_all=True, append_images=[Image.fromarray(_photo())]
    )
    options = BOX._replace(meshes=False, overlay=False)
    names = ("dark", "selfie")
    paths = [photos / f"{name}.png" for name in names]
    assert predict_files(predictor, paths, tmp_path / "out", options) == 0
    dark, selfie = (json.loads((tmp_path / "out" / f"{name}.json").read_text()) for name in names)
    assert dark["verdict"] == "doubtful" and "The crop shows no hand" in dark["notes"][-1]
    assert selfie["verdict"] == "plausible"
    assert "The file has several pictures, of which the first is read." in selfie["notes"]


def test_a_left_hand_is_the_mirrored_right_hand(predictor):
    """Picture, keypoints and camera mirrored: the same angles, the mirrored joints."""
    named, _ = _keypoints(predictor, noise=1.0)
    names, last = predictor.template.joint_names, SIZE[1] - 1
    hand = Detection(BOX.bbox, {name: tuple(point) for name, point in named.items()}, "right", K)
    x, y, w, h = BOX.bbox
    K_mirrored = np.array([[110.0, 0, last - 59.5], [0, 110, 44.5], [0, 0, 1]])
    mirrored = Detection((last - x - w, y, w, h),
                         {name: (last - u, v, c) for name, (u, v, c) in named.items()},
                         "left", K_mirrored)  # fmt: skip
    hands = []
    for image, detection in ((_photo(), hand), (_photo()[:, ::-1], mirrored)):
        located = locate_hand("", SIZE, detection, names, None, False)
        hands.append(predict_hand(predictor, Photo(image, None), located, "").hand)
    right, left = hands
    assert (right.side, left.side) == ("right", "left")
    np.testing.assert_allclose(left.theta, right.theta, atol=1e-5)
    np.testing.assert_allclose(
        placed_points(left.joints, left), placed_points(right.joints, right) * [-1, 1, 1], atol=1e-2
    )
    assert left.reprojection_error_px == pytest.approx(right.reprojection_error_px, abs=1e-3)
    pixels = placed_points(left.joints, left) @ left.K.T
    found = pixels[:, :2] / pixels[:, 2:]
    given = np.array([mirrored.keypoints[name][:2] for name in names])
    assert np.linalg.norm(found - given, axis=1).mean() == pytest.approx(
        left.reprojection_error_px, abs=1e-3
    )


def test_a_detector_finds_the_hand_and_its_side(predictor, photos, tmp_path):
    named, _ = _keypoints(predictor)
    hand = {name: tuple(point) for name, point in named.items()}
    seen = []

    def detector(image):
        seen.append(image.shape)
        if image.shape[0] > 200:
            return []
        small = Detection((0, 0, 20, 20), {}, "right")
        return [small, Detection((30, 20, 50, 45), hand, "left")]

    Image.fromarray(_photo(size=(300, 300))).save(photos / "nobody.png")
    options = PredictOptions(detector=detector, focal_px=110.0)
    paths = [photos / "deep.png", photos / "nobody.png"]
    assert predict_files(predictor, paths, tmp_path / "out", options) == 1
    assert seen == [(90, 120, 3), (300, 300, 3)]
    content = json.loads((tmp_path / "out" / "deep.json").read_text())
    assert content["side"] == "left" and content["frame"] == "camera"
    assert content["K"][0][0] == 110 and content["notes"] == ["Camera: focal length from --focal."]
    assert not (tmp_path / "out" / "nobody.json").exists()


@pytest.mark.mistake("predict, pictures", "pictures of one name in two folders", "understood")
def test_files_of_one_name_do_not_overwrite_each_other(predictor, tmp_path):
    for name in ("a/x.png", "b/x.png", "a/x.bmp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(_photo(len(name) + ord(name[0]))).save(tmp_path / name)
    images = [str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "a" / "x.png")]
    assert predict_files(predictor, find_files("", images), tmp_path / "out", BOX) == 0
    results = sorted((tmp_path / "out").glob("*.json"))
    assert len(results) == 3
    sources = {json.loads(path.read_text())["source"] for path in results}
    assert sources == {str(tmp_path / name) for name in ("a/x.png", "b/x.png", "a/x.bmp")}


@pytest.mark.mistake("predict, flags", "--workdir of no run, or of one not exported", "refused")
def test_a_run_without_an_export_is_refused(photos, tmp_path):
    expected = "expected an exported model, or a run's folder with export/"
    with pytest.raises(BadInputError, match=f"none: found no such folder, {expected}"):
        predict(tmp_path / "none", [str(photos)], tmp_path / "out", BOX)
    with pytest.raises(BadInputError, match=rf"found a folder without model\.json, {expected}"):
        predict(photos, [str(photos)], tmp_path / "out", BOX)
    assert not (tmp_path / "out").exists()


@pytest.mark.mistake("predict, flags", "the export itself as --workdir", "understood")
def test_the_folder_of_an_export_will_do(exported_run, photos, tmp_path):
    options = BOX._replace(meshes=False, overlay=False)
    name = str(photos / "plain.jpg")
    export = exported_run / "export"
    assert predict(export, name, tmp_path / "out", options) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["plain.json"]
    Image.fromarray(_photo()).save(photos / "model.png")
    with pytest.raises(BadInputError, match=r"in the input .*export"):
        predict(export, str(photos / "model.png"), export, options)


def _in(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_results_are_not_written_over_inputs(predictor, exported_run, photos, tmp_path):
    keypoints = photos / "plain.json"
    keypoints.write_text("{}")
    Image.fromarray(_photo()).save(photos / "grey_overlay.png")
    before = _in(photos)
    (tmp_path / "link").symlink_to(photos)
    options = PredictOptions(bbox=BOX.bbox, keypoints=keypoints)
    for names, given in ((["plain.jpg"], options), (["grey.jpg", "grey_overlay.png"], BOX)):
        for out in (photos, tmp_path / "link"):
            with pytest.raises(BadInputError, match=r"--out: found .* over the input"):
                predict_files(predictor, [photos / name for name in names], out, given)
            assert _in(photos) == before
    model = _in(exported_run / "export")
    Image.fromarray(_photo()).save(photos / "config.jpg")
    with pytest.raises(BadInputError, match=r"config\.json in the input .*config\.json"):
        predict(exported_run, [str(photos / "config.jpg")], exported_run, BOX)
    with pytest.raises(BadInputError, match=r"config\.obj in the input .*export"):
        predict(exported_run, [str(photos / "config.jpg")], exported_run / "export", BOX)
    assert _in(exported_run / "export") == model


def test_two_pictures_of_one_entry_are_refused(predictor, tmp_path, caplog):
    named, _ = _keypoints(predictor)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.fromarray(_photo()).save(tmp_path / folder / "x.png")
    paths, file = [tmp_path / "a" / "x.png", tmp_path / "b" / "x.png"], tmp_path / "k.json"
    entry = {"keypoints": named | {"wrist": [float("nan"), None, 0], "index1": None}}
    file.write_text(json.dumps({"x.png": entry}))
    options = PredictOptions(keypoints=file)
    assert predict_files(predictor, paths, tmp_path / "out", options) == 2
    assert "found the entry 'x.png', which 2 pictures share" in caplog.text
    bad = {"keypoints": {"nose": [1, 2]}}
    file.write_text(json.dumps({"./a/x.png": entry, "b/x.png": bad}))
    assert predict_files(predictor, paths, tmp_path / "out", options) == 1
    (result,) = (tmp_path / "out").glob("*.json")
    assert json.loads(result.read_text())["source"] == str(paths[0])
