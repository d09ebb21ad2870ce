"""metrics.json: written, read, refused when damaged."""

import subprocess
import sys

import pytest

from dhm.errors import BadInputError
from dhm.evaluation.metrics_file import read_metrics, write_metrics

GOOD = {
    "errors": {"a": {"P_err": 1.5, "images": 3}, "overall": {"P_err": 1.5, "M_err": None}},
    "errors_fitted": {"overall": {}},
    "errors_template": {"overall": {}},
    "worst": [{"record": 0, "P_err": 2.0, "M_err": None}],
}


def test_metrics_are_read_as_they_were_written(tmp_path):
    write_metrics(tmp_path / "metrics.json", GOOD)
    assert read_metrics(tmp_path / "metrics.json") == GOOD


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"errors": None}, "no errors by sequence and overall"),
        ({"errors_fitted": {"a": {}}}, "no errors_fitted by sequence and overall"),
        ({"errors": {"overall": {"P_err": "<b>"}}}, "numbers by name"),
        ({"errors": {"overall": {"P_err": float("nan")}}}, "numbers by name"),
        ({"worst": [3]}, "a list of images"),
        ({"worst": [{}]}, "its record and errors"),
    ],
)
@pytest.mark.mistake("metrics.json", "numbers as text, NaN, tables that are missing", "refused")
def test_other_content_is_refused(tmp_path, change, message):
    path = tmp_path / "metrics.json"
    write_metrics(path, GOOD | change)
    with pytest.raises(BadInputError, match=message) as refused:
        read_metrics(path)
    assert refused.value.where == str(path)


@pytest.mark.mistake("metrics.json", "missing or cut short", "refused: evaluate first")
def test_a_missing_or_damaged_file_is_refused(tmp_path):
    path = tmp_path / "metrics.json"
    with pytest.raises(BadInputError, match="no such file, expected the errors of the run"):
        read_metrics(path)
    path.write_text("{")
    with pytest.raises(BadInputError, match="damaged JSON"):
        read_metrics(path)


def test_reading_needs_no_jax():
    code = "import sys, dhm.evaluation.metrics_file; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
