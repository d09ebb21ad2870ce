"""The tables of the step, the model's parts and the input, small: every row and its numbers."""

import json
import re
from pathlib import Path

import imageio.v3 as imageio
import pytest

from data_prep.toy.hand import make_toy_template
from dhm.errors import BadInputError
from dhm.networks.build import ModelSettings
from dhm.networks.hand_model import HandModel
from dhm.studies.benchmarks import report, stages
from dhm.studies.benchmarks.model_parts import benchmark_inference
from dhm.studies.benchmarks.report import benchmark_input
from dhm.studies.benchmarks.timing import BenchmarkRow
from dhm.training.state import initial_variables
from tests.training.toy_step import SmallEncoder

SMALL = ModelSettings(depth=18, width=4, head_hidden=(8,), skeleton_hidden=8, skin_hidden=8)


@pytest.mark.slow
def test_step_table_has_the_encoder_the_floors_and_the_stages(monkeypatch, tmp_path):
    def fresh_model(template, _settings, image_size, _num_devices):
        """With an encoder that compiles in seconds."""
        model = HandModel(template, SmallEncoder(name="encoder"))
        return model, initial_variables(model, seed=0, subject=1, image_size=image_size)

    monkeypatch.setattr(stages, "fresh_model", fresh_model)
    rows = stages.benchmark_step(
        make_toy_template(300), batch_size=4, image_size=32, views=1, settings=SMALL, repeats=2,
        picture=tmp_path / "step.png",
    )  # fmt: skip
    assert [row.name.split(",")[0] for row in rows[:4]] == [
        "training step", "bare encoder's step", "whole step / bare encoder's step",
        "encoder's step / PyTorch's",
    ]  # fmt: skip
    assert len(rows) == 7
    assert rows[0].unit == rows[1].unit == "images/s" and rows[0].number > 0 < rows[1].number
    assert rows[2].number > 0
    assert rows[4].name.startswith("floor by ") and "GFLOP/s of a large product" in rows[4].name
    assert rows[4].number > 0 and rows[5].number > 0
    found = dict(re.findall(r"(\w+) ([\d.]+)%", rows[6].value))
    assert {"encode", "decode", "rasterize", "update"} <= found.keys()
    assert sum(map(float, found.values())) == pytest.approx(100, abs=1)
    assert imageio.imread(tmp_path / "step.png").shape[1:] == (1200, 3)


def test_pytorch_resnet_has_torchvisions_size():
    torch_resnet = pytest.importorskip(
        "dhm.studies.benchmarks.torch_resnet", reason="needs torch: pip install torch"
    )
    model = torch_resnet.torch_resnet(50, 64, outputs=1000, hidden=2048)
    backbone = sum(p.numel() for layer in model[:-3] for p in layer.parameters())
    assert backbone == 25_557_032 - 2048 * 1000 - 1000  # torchvision's documented count


def test_inference_and_input_tables(toy_prepared):
    template = make_toy_template(300)
    rows = benchmark_inference(template, image_size=32, settings=SMALL, repeats=2)
    size = f"{template.num_vertices} vertices"
    assert [row.name for row in rows] == [
        "encode, ResNet-18, 32x32", f"decode, {size}", f"both, ResNet-18, 32x32, {size}"
    ]  # fmt: skip
    assert rows[1].must == ">= 200 a second on 2 cores"
    assert all(row.number > 0 and row.unit == "ms" for row in rows)
    (row,) = benchmark_input(toy_prepared, batch_size=2, views=3, batches=2)
    assert row.name == "input, 32x32, 3 depth maps a sample, one core"
    assert row.number > 1


def test_rows_are_written_as_json(monkeypatch, tmp_path, capsys):
    row = BenchmarkRow("speed", "3 ms", "<= 5 ms", "", 3.0, "ms")
    monkeypatch.setattr(report, "benchmark_losses", lambda template: [row])
    template, file = make_toy_template(300), tmp_path / "numbers.json"
    report.benchmark(template, lambda folder: folder, "losses", file)
    content = json.loads(file.read_text())
    assert content["losses"] == [row._asdict()]
    assert content["machine"]["cores"] > 0
    assert "speed" in capsys.readouterr().out


def test_batch_size_reaches_the_step(monkeypatch):
    asked = []

    def benchmark_step(template, *, batch_size, picture):
        asked.append(batch_size)
        return [BenchmarkRow("speed", "3 ms")]

    monkeypatch.setattr(report, "benchmark_step", benchmark_step)
    report.benchmark(make_toy_template(300), lambda folder: folder, "step", batch_size=32)
    assert asked == [32]


@pytest.mark.mistake("benchmark", "a part that does not exist", "refused, with those that do")
def test_unknown_part_is_refused():
    with pytest.raises(BadInputError, match="--what: found 'speed', expected one of raster, loss"):
        report.benchmark(make_toy_template(300), lambda folder: Path(folder), "speed")


@pytest.mark.parametrize(
    ("json_file", "picture", "message"),
    [
        ("a.json", "a.json", "--json: found a.json over the input a.json"),
        ("model.json", None, "--json: found model.json over the input model.json"),
        ("b.json", "./model.json", "--picture: found model.json over the input"),
        ("none/a.json", None, "--json: found none/a.json, expected a file in a folder"),
        (".", None, "--json: found ., a folder"),
    ],
)
@pytest.mark.mistake(
    "benchmark",
    "--json or --picture over a file of the run or each other, or into a folder that is not there",
    "refused before anything is measured",
)
def test_results_are_not_written_over_the_hand_or_each_other(
    json_file, picture, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("model.json").write_text("mine")
    picture = picture and Path(picture)
    with pytest.raises(BadInputError, match=message):
        report.benchmark(
            None, None, "step", Path(json_file), None, picture, given=[Path("model.json")]
        )
    assert Path("model.json").read_text() == "mine"


@pytest.mark.parametrize(
    ("what", "options", "message"),
    [
        pytest.param(
            "step", {"picture": Path("step.txt")}, "--picture: found step.txt, expected the name",
            marks=pytest.mark.mistake(
                "benchmark", "--picture with another ending than .png",
                "refused before anything is measured",
            ),
        ),
        pytest.param(
            "losses", {"batch_size": 8}, "--what: found losses, expected step, which alone has --b",
            marks=pytest.mark.mistake(
                "benchmark", "--batch, --picture or --step-ms with a part that has none", "refused"
            ),
        ),
        ("raster", {"picture": Path("a.png")}, "expected step, which alone has --picture"),
        ("step", {"step_ms": (6.0, 16.0)}, "expected scaling, which alone has --step-ms, or all"),
    ],
)  # fmt: skip
def test_settings_of_other_parts_are_refused(what, options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInputError, match=message):
        report.benchmark(None, None, what, **options)
