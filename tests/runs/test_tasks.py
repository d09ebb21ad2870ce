import shutil

import pytest

from configs import tiny
from data_prep import sources
from dhm.data.prepared_data import PreparedData
from dhm.errors import BadInputError, DhmError
from dhm.runs import tasks, workdir


class _Unwanted:
    def records(self, config):
        raise AssertionError("the data were prepared")


@pytest.mark.parametrize("task", ["evaluate", "export"])
def test_nothing_is_prepared_for_a_run_that_cannot_start(tmp_path, task):
    with pytest.raises(DhmError, match="holds no checkpoint: train first"):
        tasks.run((task,), tiny.get_config(), tmp_path, _Unwanted())
    config = tiny.get_config()
    config.train.epochs = 0
    with pytest.raises(BadInputError, match=r"config\.train\.epochs: found 0"):
        tasks.run(("train", task), config, tmp_path, _Unwanted())
    assert not any(tmp_path.iterdir())


def test_an_export_by_the_workdir_alone_needs_a_run(tmp_path):
    with pytest.raises(BadInputError, match=r"config\.json: found no such file"):
        tasks.export(tmp_path, _Unwanted())


@pytest.fixture
def trained(toy_prepared, tmp_path, monkeypatch):
    """A workdir whose run is noted to have been begun on the toy's records, and its config."""
    config = tiny.get_config()
    config.prepared, config.data.image_size = str(toy_prepared), 32
    data = PreparedData(toy_prepared)
    (tmp_path / "run").mkdir()
    for module in (workdir, tasks):
        monkeypatch.setattr(module, "newest_step", lambda _: 60)
    workdir.claim_data(config, tmp_path / "run", data.info.fingerprint)
    return tmp_path / "run", config, data


def _warnings(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.mistake(
    "evaluate", "a run that is not trained to its end", "warning, with the step and their number"
)
@pytest.mark.mistake(
    "export", "a run that is not trained to its end", "warning, with the step and their number"
)
@pytest.mark.parametrize("task", ["evaluate", "export"])
def test_a_run_that_is_not_finished_is_said_to_be_so(task, trained, monkeypatch, caplog):
    folder, config, _ = trained  # 60 epochs of one batch
    done = []
    monkeypatch.setattr(tasks, f"{task}_task", lambda *_: done.append(task))
    for step in (59, 60):
        caplog.clear()
        monkeypatch.setattr(workdir, "newest_step", lambda _, step=step: step)
        tasks.run((task,), config, folder, _Unwanted())
        said = f"{folder} is not trained to the end: its newest checkpoint is of step 59 of 60"
        assert _warnings(caplog) == ([said] if step == 59 else [])
    assert done == [task, task]


@pytest.mark.mistake(
    "evaluate", "records of another split or capture than the training's",
    "warning: the model may have seen them in its training",
)  # fmt: skip
def test_errors_on_other_records_than_the_training_s_are_said_to_be(trained, caplog):
    folder, _, data = trained
    (folder / "data.fingerprint").write_text("a" * 64 + "\n")
    tasks._note_training(folder, 60, data)
    (message,) = _warnings(caplog)
    assert f"{folder} was trained on other records than those of {data.root}" in message


@pytest.mark.mistake(
    "train", "gone on with, and the export, errors and report of before kept",
    "warning: `export`, `evaluate` and `report` write them again",
)  # fmt: skip
def test_results_of_an_earlier_step_are_named(trained, caplog):
    folder, *_ = trained
    (folder / "export").mkdir()
    (folder / "metrics.json").touch()
    for tasks_of_run, before, named in (
        (("train",), 50, ["metrics.json", "export"]),
        (("train", "evaluate"), 50, ["export"]),
        (("train",), 60, []),  # nothing was trained
        (("train",), None, []),
    ):
        caplog.clear()
        tasks._note_older_results(tasks_of_run, folder, before)
        found = _warnings(caplog)
        assert len(found) == len(named)
        for message, name in zip(found, named, strict=True):
            assert f"{folder / name} is of step 50 or earlier, the training is at 60" in message


@pytest.mark.mistake("train", "a subject that the capture does not have", "refused")
def test_a_subject_that_the_capture_does_not_have_is_refused(toy_prepared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = tiny.get_config()
    config.capture, config.subject = str(toy_prepared.parent / "capture"), 7
    with pytest.raises(BadInputError, match="subject_7"):
        tasks.run(("train",), config, tmp_path / "run", sources)


@pytest.mark.mistake("train", "a prepared folder as config.capture", "refused")
def test_prepared_records_are_no_capture(toy_prepared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = tiny.get_config()
    config.capture = str(toy_prepared)
    with pytest.raises(BadInputError, match=str(toy_prepared)):
        tasks.run(("train",), config, tmp_path / "run", sources)


@pytest.mark.mistake("prepared data", "folders with spaces, brackets or umlauts", "understood")
def test_records_are_read_from_folders_of_any_name(toy_prepared, tmp_path):
    folder = shutil.copytree(toy_prepared, tmp_path / "my data [1], ü@2" / "prepared (copy)")
    data = PreparedData(folder)
    assert data.record("train", 0).image == PreparedData(toy_prepared).record("train", 0).image
