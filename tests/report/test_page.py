"""The page of a short run, whole and with parts missing."""

import base64
import json
import re
import shutil
from itertools import pairwise

import jax
import numpy as np
import pytest

from configs import tiny
from dhm.data.prepared_data import PreparedData
from dhm.errors import BadInputError
from dhm.evaluation.aligned_hands import make_batch
from dhm.export.package import load_model
from dhm.formats.picture import decode_picture
from dhm.networks.hand_model import decode_aligned
from dhm.report.curves import axes, read_events
from dhm.report.examples import corrective_steps, make_examples
from dhm.runs import tasks
from tests.report.html import read

NASTY = "<script>alert('x')</script>\"&"


def _report(workdir):
    return read(tasks.report(None, workdir))


def _edit_metrics(workdir, edit):
    path = workdir / "metrics.json"
    metrics = json.loads(path.read_text())
    edit(metrics)
    path.write_text(json.dumps(metrics))


def _report_without_pictures(workdir):
    """Of other data than were measured, so that nothing is rendered."""
    if (workdir / "metrics.json").exists():
        _edit_metrics(workdir, lambda metrics: metrics["data"].update(fingerprint="other"))
    return _report(workdir)


@pytest.fixture(scope="module")
def page(finished):
    return read(finished / "report.html")


def test_the_page_is_self_contained(finished, page):
    for tag, attributes in page.elements:
        for name in ("src", "href", "action", "data", "srcset", "poster", "xlink:href"):
            assert attributes.get(name, "#")[:5] in ("data:", "#") or attributes[name][0] == "#", (
                tag, attributes,
            )  # fmt: skip
        assert not any(name.startswith("on") for name in attributes), tag
        assert "url(" not in attributes.get("style", "")
    html = (finished / "report.html").read_text()
    assert "url(" not in html and "@import" not in html
    assert not re.search(r"https?://", html)
    assert len(html) < 3_000_000


def test_every_picture_is_embedded_and_described(page):
    pictures = page.all("img")
    # 2 frames are held out: 5 pictures of each, 3 of each as the worst, and the preview.
    assert (
        len(pictures) == 2 * 5 + 2 * (4 + 1) + 2 * 3 + 1
    )  # examples, correctives and scan, worst, preview
    for picture in pictures:
        assert len(picture["alt"]) > 10
        kind, content = picture["src"].split(",", 1)
        assert kind == "data:image/jpeg;base64"
        assert decode_picture(base64.b64decode(content)).max() > 80  # not all dark


def test_the_page_has_a_language_a_title_and_ordered_headings(page):
    assert page.all("html")[0]["lang"] == "en"
    assert "Hand of subject 1: run" in page.text
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    for link in page.all("a"):
        assert link["href"].removeprefix("#") in ids


def test_the_numbers_equal_those_in_the_files(finished, page):
    metrics = json.loads((finished / "metrics.json").read_text())
    for kind in ("errors", "errors_fitted", "errors_template"):
        for name, row in metrics[kind].items():
            assert name in page.text
            for key in ("P_err", "M_err", "scan_to_mesh", "chamfer"):
                assert f"{row[key]:.2f}" in page.text
    assert "18 steps" in page.text
    for key, value in (("train.log_every", "1"), ("data.test_sequences", "hook")):
        assert re.search(rf"{re.escape(key)}\s*{value}\s", page.text), key


def test_the_curves_equal_those_in_the_event_files(finished, page):
    scalars = read_events(finished / "tensorboard").scalars
    drawn = {tag: s for tag, s in scalars.items() if s.values.any()}
    charts = [a["aria-label"] for a in page.all("svg")]
    curves = [
        a["d"] for a in page.all("path") if a.get("class") == "curve logged" and "L" in a["d"]
    ]
    assert len(charts) == len(curves) == len(drawn) >= 8
    by_name = dict(zip((label.split(" over ")[0] for label in charts), curves, strict=True))
    for tag, name in (
        ("train/total", "Total loss"), ("train/P_err", "P_err"),
        ("train/learning_rate", "Learning rate"), ("train/joint", "Loss term joint"),
        ("train/depth", "Loss term depth"),
        ("train/waiting_for_input", "Share of time spent waiting for input"),
    ):  # fmt: skip
        series = scalars[tag]
        points = re.findall(r"-?[\d.]+ -?[\d.]+", by_name[name])
        assert len(points) == len(series.steps) == 18
        for point, step, value in zip(points, series.steps, series.values, strict=True):
            expected = [a.place(np.array([v]))[0] for a, v in
                        zip(axes(series), (step, value), strict=True)]  # fmt: skip
            np.testing.assert_allclose([*map(float, point.split())], expected, atol=0.006)


def test_the_worst_images_are_listed_by_the_evaluation(finished):
    metrics = json.loads((finished / "metrics.json").read_text())
    worst = metrics["worst"]
    assert len(worst) == 2  # frames
    assert [*worst[0]] == ["record", "sequence", "frame", "camera", "P_err", "M_err"]
    assert worst[0]["P_err"] >= worst[1]["P_err"] > 0
    assert worst[0]["P_err"] >= metrics["errors"]["overall"]["P_err"]
    assert {image["sequence"] for image in worst} == {"0003_RT_hook"}


def test_names_from_files_are_escaped(workdir):
    def edit(metrics):
        for kind in ("errors", "errors_fitted", "errors_template"):
            metrics[kind][NASTY] = metrics[kind]["overall"]
        metrics["worst"][0] |= {"sequence": NASTY, "camera": NASTY}

    _edit_metrics(workdir, edit)
    config = json.loads((workdir / "config.json").read_text())
    config["subject"] = config["capture"] = config[NASTY] = NASTY
    (workdir / "config.json").write_text(json.dumps(config))
    posed = sorted((workdir / "export" / "posed").glob("*.obj"))[0]
    posed.rename(posed.with_name("0 <script>alert(1)<!--.obj"))
    page = _report_without_pictures(workdir)
    assert page.text.count(NASTY) >= 8
    assert len(page.all("script")) == 2  # the meshes, the viewer
    names = [mesh["name"] for mesh in json.loads(page.content["meshes"])["meshes"]]
    assert names == ["Zero pose", "0 <script>alert(1)<!--"]


def test_without_the_data_the_page_says_what_is_left_out(workdir):
    folder = str(workdir / "gone")
    _edit_metrics(workdir, lambda metrics: metrics["data"].update(folder=folder))
    page = _report(workdir)
    assert f"The data that the errors were measured on are gone: {folder}." in page.text
    assert len(page.all("img")) == 1  # the preview
    assert "0003_RT_hook, frame" in page.text  # the worst images' names and errors stay


def test_data_with_another_fingerprint_are_not_used(workdir):
    page = _report_without_pictures(workdir)
    assert "The errors were measured on other data than those in" in page.text
    assert len(page.all("img")) == 1


def test_metrics_without_data_ask_to_evaluate_again(workdir):
    def edit(metrics):
        del metrics["data"], metrics["worst"]

    _edit_metrics(workdir, edit)
    page = _report(workdir)
    assert "does not name the data: evaluate the run again" in page.text
    assert "metrics.json does not list them" in page.text


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("metrics.json", "There is no metrics.json: the run has not been evaluated."),
        ("tensorboard", "the run has no TensorBoard files with scalars"),
        ("export", "Left out: the run has no exported meshes."),
        ("export/preview.png", "there is no export/preview.png"),
        ("export/model.json", "There is no exported model in export/"),
    ],
)
@pytest.mark.mistake(
    "report",
    "a run that is not evaluated, not exported, or without its TensorBoard files",
    "left out, with a sentence on the page",
)
def test_a_part_whose_files_are_missing_is_left_out_with_a_sentence(workdir, name, sentence):
    path = workdir / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    page = _report_without_pictures(workdir)
    assert sentence in page.text
    assert "Versions" in page.text


def test_files_that_systems_leave_are_no_meshes(workdir):
    whole = _report_without_pictures(workdir)
    posed = next((workdir / "export" / "posed").glob("*.obj"))
    posed.with_name(f"._{posed.name}").write_bytes(bytes(9))
    assert _report_without_pictures(workdir).elements == whole.elements


def test_a_folder_without_a_run_is_refused(workdir, tmp_path):
    for name in ("metrics.json", "tensorboard", "export"):
        path = workdir / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (workdir / "report.html").unlink()
    found = r"run: found no metrics\.json, .* expected a trained run"
    with pytest.raises(BadInputError, match=found):
        tasks.report(None, workdir)
    with pytest.raises(BadInputError, match=r"config\.json: found no such file, expected the con"):
        tasks.report(None, tmp_path / "nowhere")
    assert not (workdir / "report.html").exists() and not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "damaged JSON"),
        ("{}", "no errors by sequence"),
        ('{"errors": {"overall": {"P_err": "<b>"}}}', "numbers by name"),
        ('{"errors": {"overall": {}}, "errors_fitted": {"overall": {}}, '
         '"errors_template": {"overall": {}}, "worst": [3]}', "a list of images"),
        ('{"errors": {"overall": {}}, "errors_fitted": {"overall": {}}, '
         '"errors_template": {"overall": {}}, "worst": [{}]}', "its record and errors"),
    ],
)  # fmt: skip
def test_damaged_metrics_are_refused_by_name(workdir, content, message):
    (workdir / "metrics.json").write_text(content)
    with pytest.raises(BadInputError, match=message) as refused:
        tasks.report(None, workdir)
    assert refused.value.where.endswith("metrics.json")


@pytest.mark.mistake(
    "report", "the config of another model", "refused, with the first setting that differs"
)
def test_a_config_of_another_model_is_refused(workdir):
    with pytest.raises(BadInputError, match=r"config\.encoder\.width|config\.data\.image_size"):
        tasks.report(tiny.get_config(), workdir)


def test_the_correctives_are_added_one_by_one(finished):
    """The last step is the model with the fitted angles; the first is the template alone."""
    model, variables = load_model(finished / "export")
    data = PreparedData(json.loads((finished / "metrics.json").read_text())["data"]["folder"])
    examples = make_examples(model, variables, data, [0, 1])
    plain = model.clone(correctives=())

    @jax.jit
    def decode_plain(variables, batch):
        theta = model.apply(variables, batch.joints, batch.joint_valid, method="fit").theta
        return decode_aligned(plain, variables, theta, batch)[0]

    steps = corrective_steps(model, variables, data, examples)
    for example, hands in zip(examples, steps, strict=True):
        assert list(hands) == ["Template, skinned", "+ skeleton corrective",
                               "+ identity corrective", "+ pose corrective"]  # fmt: skip
        last = hands["+ pose corrective"]
        np.testing.assert_allclose(last.vertices, example.fitted.vertices, atol=0.05)
        batch = make_batch([example.record], [example.fields], [example.image])
        expected = decode_plain(variables, batch)
        found = hands["Template, skinned"].vertices
        np.testing.assert_allclose(found, expected.vertices[0], atol=0.05)
        assert np.abs(found - last.vertices).max() > 0.05
