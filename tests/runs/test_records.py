import json

import pytest

from configs import tiny
from dhm.data.prepared_data import PreparedData
from dhm.errors import BadInputError
from dhm.evaluation.metrics_file import ERROR_KINDS, MissingData
from dhm.runs.records import measured_records, open_records, require_measured_records


@pytest.fixture
def config(toy_prepared):
    """Records of subject 1 at 32 pixels, made by hand."""
    config = tiny.get_config()
    config.prepared = str(toy_prepared)
    config.data.image_size = 32
    return config


def test_records_that_exist_are_opened(config, toy_prepared):
    assert open_records(config, None).root == toy_prepared


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("subject", 2, "config.subject: found 2, expected 1, as in"),
        ("data.image_size", 64, "config.data.image_size: found 64, expected 32, as in"),
        ("data.test_sequences", "fist", "config.data.test_sequences: found 'fist', expected noth"),
        ("data.train_sequences", "fist", "config.data.train_sequences: found 'fist', expected no"),
    ],
)
@pytest.mark.mistake(
    "prepared data",
    "another subject or image size than the config's, or a split beside `prepared`",
    "refused, with the records' own",
)
def test_settings_that_the_records_contradict_are_refused(config, key, value, message):
    config.update_from_flattened_dict({key: value})
    with pytest.raises(BadInputError, match=message):
        open_records(config, None)


def test_other_records_are_the_source_s_matter(config):
    class Source:
        def records(self, config):
            return config.capture

    config.capture = "elsewhere"
    assert open_records(config, Source()) == "elsewhere"


@pytest.fixture
def workdir(toy_prepared, tmp_path):
    """Of a run that was measured on the toy's records."""
    data = {"folder": str(toy_prepared), "fingerprint": PreparedData(toy_prepared).info.fingerprint}
    errors = {kind: {"overall": {}} for kind in ERROR_KINDS}
    (tmp_path / "metrics.json").write_text(json.dumps(errors | {"data": data}))
    return tmp_path


def test_the_records_that_errors_were_measured_on_are_opened(workdir, toy_prepared, tmp_path):
    assert measured_records(workdir).root == toy_prepared
    moved = tmp_path / "moved"
    moved.symlink_to(toy_prepared)
    assert measured_records(workdir, str(moved)).root == moved
    assert require_measured_records(workdir).root == toy_prepared


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda metrics: metrics.pop("data"), "metrics.json does not name the data"),
        (lambda metrics: metrics["data"].update(folder="gone"), "measured on are gone: gone."),
        (lambda metrics: metrics["data"].update(folder="."), "measured on are damaged: "),
        (lambda metrics: metrics["data"].update(fingerprint="x"), "measured on other data than"),
    ],
)
@pytest.mark.mistake(
    "report",
    "data that moved, changed or were prepared anew since the evaluation",
    "left out: the page says why and has no pictures; an export is refused",
)
def test_records_that_cannot_be_used_come_with_the_reason(workdir, change, reason):
    metrics = json.loads((workdir / "metrics.json").read_text())
    change(metrics)
    (workdir / "metrics.json").write_text(json.dumps(metrics))
    found = measured_records(workdir)
    assert isinstance(found, MissingData) and reason in found.reason
    with pytest.raises(BadInputError, match="expected those of the evaluation"):
        require_measured_records(workdir)


@pytest.mark.mistake(
    "export", "a run that was not evaluated, without --config", "refused: evaluate first"
)
def test_a_run_that_was_not_measured_names_no_records(tmp_path):
    assert "evaluate the run" in measured_records(tmp_path).reason
