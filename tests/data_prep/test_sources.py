import functools

import pytest

from configs import demo, general_demo, rhd, subject2, tiny
from data_prep import sources
from data_prep.toy import capture as toy_capture
from data_prep.toy.capture import TOY_HELD_OUT
from dhm.errors import BadInputError


def test_every_capture_and_split_gets_a_folder_of_its_own(tmp_path):
    config = tiny.get_config()
    same = [sources._name(tmp_path / "a" / "capture", config, ("x", None)) for _ in range(2)]
    others = {
        sources._name(tmp_path / "b" / "capture", config, ("x", None)),
        sources._name(tmp_path / "a" / "capture", config, ("y", None)),
        sources._name(tmp_path / "a" / "capture", config, ("x", "z")),
    }
    assert same[0] == same[1]
    assert len(others | {same[0]}) == 4


def test_without_a_capture_the_toy_hand_is_written_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    smaller = functools.partial(toy_capture.write_toy_capture, num_vertices=800)
    monkeypatch.setattr(toy_capture, "write_toy_capture", smaller)
    config = tiny.get_config()
    config.data.image_size = 32
    data = sources.records(config)
    held_out = {data.sequence("test", record) for record in range(data.info.num_records["test"])}
    assert held_out == set(TOY_HELD_OUT)
    (capture,) = (tmp_path / "data").glob("toy_*")
    written = capture.stat().st_mtime_ns
    assert sources.records(config).info == data.info
    assert capture.stat().st_mtime_ns == written


@pytest.mark.parametrize("module", [demo, subject2])
def test_the_studio_films_the_config_s_subject(tmp_path, monkeypatch, caplog, module):
    """With the config's settings, into a folder of its own, and its gestures are held out."""
    from data_prep.studio.stage import capture
    from data_prep.studio.stage.settings import check_settings

    monkeypatch.chdir(tmp_path)
    calls = []

    def write_capture(settings, folder, workers):
        check_settings(settings)
        calls.append((settings, folder))
        return folder

    monkeypatch.setattr(capture, "write_capture", write_capture)
    caplog.set_level("INFO")
    config = module.get_config()
    _, held_out = sources._built_in_capture(config)
    config.studio.seed = 1
    sources._built_in_capture(config)
    (settings, folder), (_, other) = calls
    assert settings.subject == config.subject and settings.frames == config.studio.frames
    assert folder != other and folder.parent.name == "data"
    assert len(held_out) == 15 and all("gesture" in name for name in held_out)
    assert f"the data are synthetic, subject {config.subject} of the built-in studio" in caplog.text


def test_another_template_is_no_reason_to_film_again(tmp_path, monkeypatch):
    from data_prep.studio.stage import capture
    from data_prep.studio.template.hand_template import hand_template
    from data_prep.toy.capture import write_toy_capture

    monkeypatch.chdir(tmp_path)

    def write_capture(settings, folder, workers):
        assert settings.template == "full"
        if not folder.is_dir():
            write_toy_capture(
                folder, subject=1, num_cameras=2, frames_per_sequence=2, num_vertices=800,
                sequences={"0001_RT_fist": "fist", "0041_RT_gesture_thumbs_up": "spread"},
            )  # fmt: skip
        return folder

    monkeypatch.setattr(capture, "write_capture", write_capture)
    config = demo.get_config()
    config.data.image_size, config.data.test_sequences = 32, "gesture"
    filmed = sources.records(config)
    config.studio.template = "coarse"
    coarse = sources.records(config)
    assert len(list((tmp_path / "data").glob("studio_*"))) == 1
    full_size, coarse_size = (one.template.num_vertices for one in (filmed, coarse))
    assert full_size != coarse_size == hand_template("coarse").num_vertices
    assert filmed.root != coarse.root
    assert coarse.info.num_records == filmed.info.num_records == {"train": 4, "test": 4}
    assert sources.records(config).info == coarse.info


def test_a_data_set_of_many_people_is_prepared_with_the_trained_decoder_s_template(
    tmp_path, monkeypatch
):
    from data_prep.studio.template.hand_template import hand_template
    from dhm.formats.hand_template import write_template
    from tests.data_prep.captures import foreign

    monkeypatch.chdir(tmp_path)
    both = foreign.rhd_entry(
        left=foreign.hand([45, -5, 400], is_left=True), right=foreign.hand([-40, 10, 420])
    )
    config = tiny.get_config()
    config.capture = str(
        foreign.write_rhd(
            tmp_path / "RHD", {"training": {0: both, 1: both}, "evaluation": {0: both}}
        )
    )
    config.dataset, config.data.image_size = "rhd", 32
    data = sources.records(config)
    assert data.info.num_records == {"train": 4, "test": 2}
    assert data.template.num_vertices == hand_template("full").num_vertices
    (tmp_path / "export").mkdir()
    write_template(tmp_path / "export" / "template.npz", hand_template("coarse"))
    config.decoder.trained = "export"
    other = sources.records(config)
    assert other.root != data.root
    assert other.template.num_vertices == hand_template("coarse").num_vertices


def test_several_people_of_the_studio_are_one_set_of_records(tmp_path, monkeypatch, caplog):
    """Each is filmed once; the gestures of all are held out, whoever shows them."""
    from data_prep.captures.release_capture import read_release_capture
    from data_prep.studio.stage import capture
    from data_prep.toy.capture import write_toy_capture

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(capture, "held_out_sequences", lambda: ("0002_RT_spread",))
    filmed = []

    def film_subjects(settings, subjects, root, workers):
        filmed.append((settings, subjects, root))
        people = {}
        for number in subjects:
            folder = root / f"subject_{number}"
            if not folder.is_dir():
                write_toy_capture(
                    folder, subject=number, num_cameras=2, frames_per_sequence=2, num_vertices=800,
                    sequences={"0001_RT_fist": "fist", "0002_RT_spread": "spread"}, seed=number,
                )  # fmt: skip
            people[number] = read_release_capture(folder, number)
        return capture.merge_subjects(people)

    monkeypatch.setattr(capture, "film_subjects", film_subjects)
    caplog.set_level("INFO")
    config = general_demo.get_config()
    config.studio.subjects = (2, 4)
    config.data.image_size = 32
    data = sources.records(config)
    assert data.info.num_records == {"train": 8, "test": 8}
    assert {data.sequence("test", i) for i in range(8)} == {f"s{n}_0002_RT_spread" for n in (2, 4)}
    assert sources.records(config).info == data.info
    (settings, subjects, root), _ = filmed
    assert settings.varied and settings.depth_maps == "none" and subjects == (2, 4)
    assert "subjects 2, 4 of the studio" in caplog.text
    config.studio.subjects = (2,)
    sources.records(config)
    assert filmed[-1][2] != root


@pytest.mark.mistake("config.capture", "config.dataset without a folder", "refused")
def test_a_data_set_needs_its_folder():
    config = rhd.get_config()
    with pytest.raises(
        BadInputError, match=r"config\.capture: found '', expected the folder of rhd"
    ):
        sources.records(config)


WRONG_DATA = [
    pytest.param(
        {"capture": "rhd"},
        "rhd: found no folder images in it, expected a capture",
        marks=pytest.mark.mistake(
            "config.capture", "a data set without config.dataset", "refused: no capture"
        ),
    ),
    pytest.param(
        {"capture": "capture", "dataset": "interhand"},
        "found no folder of annotations in it, expected InterHand2.6M",
        marks=pytest.mark.mistake("config.capture", "config.dataset of another layout", "refused"),
    ),
    pytest.param(
        {"capture": "capture/images"},
        "images: found no folder images in it",
        marks=pytest.mark.mistake("config.capture", "a folder in the capture", "refused"),
    ),
    pytest.param(
        {"capture": "capture", "subject": 3},
        "found subject_1, expected a folder subject_3",
        marks=pytest.mark.mistake(
            "config.capture", "config.subject that the capture lacks", "refused, with those it has"
        ),
    ),
    pytest.param(
        {"capture": "capture", "data.test_sequences": "gesture"},
        "test_sequences: found 'gesture', which matches none, expected one of .*fist",
        marks=pytest.mark.mistake(
            "config.capture",
            "config.data.test_sequences of another capture",
            "refused, with the names",
        ),
    ),
    pytest.param(
        {"capture": "capture", "data.test_sequences": ("spread",)},
        r"test_sequences: found unknown sequences \['spread'\], expected some of",
        marks=pytest.mark.mistake(
            "config.capture",
            "a tuple of parts of names in config.data.test_sequences",
            "refused, with the names",
        ),
    ),
    pytest.param(
        {"capture": "capture", "data.test_sequences": "fist", "data.train_sequences": "RT"},
        "train_sequences: found .*fist.*, held out for testing",
        marks=pytest.mark.mistake(
            "config.capture", "sequences both to train and to test on", "refused"
        ),
    ),
    pytest.param(
        {"capture": "capture", "prepared": "capture"},
        "--out: found .*, which holds the input",
        marks=pytest.mark.mistake(
            "config.capture", "config.prepared: the capture itself", "refused"
        ),
    ),
]


@pytest.mark.parametrize(("settings", "said"), WRONG_DATA)
def test_mistakes_in_the_data_of_a_config_are_refused(
    toy_prepared, tmp_path, monkeypatch, settings, said
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rhd" / "training").mkdir(parents=True)
    (tmp_path / "capture").symlink_to(toy_prepared.parent / "capture")
    config = tiny.get_config()
    with config.ignore_type():
        config.update_from_flattened_dict({"data.image_size": 32} | settings)
    with pytest.raises(BadInputError, match=said):
        sources.records(config)
    assert (toy_prepared.parent / "capture" / "hand_model").is_dir()
