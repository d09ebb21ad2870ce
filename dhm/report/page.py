"""The report of a run: one self-contained HTML file, for a screen or a phone."""

import base64
import hashlib
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from dhm.data.prepared_data import PreparedData
from dhm.errors import BadInputError
from dhm.evaluation.metrics_file import OVERALL, MissingData, read_metrics
from dhm.export.package import MODEL_FILE, load_model
from dhm.files import data_paths
from dhm.formats.json_file import flat_fields
from dhm.formats.obj import read_obj
from dhm.formats.picture import read_picture
from dhm.networks.hand_model import HandModel
from dhm.networks.linear_hand_model import LinearHandModel
from dhm.report.curves import Events, draw, read_events
from dhm.report.examples import Example, corrective_steps, make_examples, spread_records
from dhm.report.html import STYLE, heat_legend, write_page
from dhm.report.pictures import Studio, as_jpeg, heat_scale
from dhm.report.viewer import SCRIPT, ViewerMesh, pack, upright
from dhm.types import HandTemplate

_TEMPLATE = "page.html.jinja"
_NUM_EXAMPLES = 4
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")

_KINDS = {
    "errors": "Angles by the encoder",
    "errors_fitted": "Angles fitted to the true joints",
    "errors_template": "Untrained template at zero pose",
}
_SHOWN = {
    "P_err": "P_err", "M_err": "M_err", "scan_to_mesh": "Scan to mesh", "chamfer": "Chamfer",
}  # fmt: skip
_COUNTS = {"images": "Images", "aligned": "Aligned", "with_scan": "With scan"}

# Tags of dhm.training.logbook, first and last on the page; those between are loss terms.
_FIRST = {"train/total": ("Total loss", ""), "train/P_err": ("P_err", "mm")}
_LAST = {
    "train/grad_norm": ("Gradient's norm", ""),
    "train/learning_rate": ("Learning rate", ""),
    "train/images_per_second": ("Speed", "images/s"),
    "train/waiting_for_input": ("Share of time spent waiting for input", ""),
    "train/dropped": ("Samples without an alignment", ""),
}


class RunFiles(NamedTuple):
    """Paths of the parts of a run.

    Attributes:
        workdir: Folder of the run.
        config: The config it was trained with, as plain values.
        metrics: File with its errors.
        events: Folder with its TensorBoard files.
        export: Folder with its exported model, meshes and preview.
    """

    workdir: Path
    config: Mapping[str, Any]
    metrics: Path
    events: Path
    export: Path


def write_report(path: Path, run: RunFiles, data: PreparedData | MissingData) -> None:
    """Writes the page, with a sentence in the place of each part whose files are missing.

    Args:
        path: The file to write.
        run: Paths of the run's parts.
        data: The records that its errors were measured on, or why they cannot be used.

    Raises:
        BadInputError: If there are neither errors nor curves nor a model, or a file is damaged.
    """
    metrics = read_metrics(run.metrics) if run.metrics.is_file() else None
    events = read_events(run.events)
    exported = load_model(run.export) if (run.export / MODEL_FILE).is_file() else None
    if metrics is None and not events.scalars and exported is None:
        raise BadInputError(
            run.workdir, f"no {run.metrics.name}, no scalars in {run.events.name}/, no model",
            "a trained run: train first",
        )  # fmt: skip
    script = SCRIPT.read_text()
    values = {
        "script": Markup(script),
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "style": STYLE,
        **_heading(run, metrics, events),
        **_errors(metrics),
        **_curves(events),
        **_meshes(run.export, exported[0].template if exported else None),
        **_pictures(run.export, exported, metrics, data),
        "config": flat_fields(run.config),
        "versions": {"Python": platform.python_version(), **{p: version(p) for p in _PACKAGES}},
    }
    write_page(path, _TEMPLATE, values)


def _heading(
    run: RunFiles, metrics: dict[str, Any] | None, events: Events
) -> dict[str, str | int | None]:
    logged = [int(series.steps[-1]) for series in events.scalars.values()]
    steps = metrics.get("step") if metrics else max(logged, default=None)
    written = run.metrics.stat().st_mtime if metrics else None
    ended = events.ended or written
    return {
        "subject": str(run.config.get("subject", "?")),
        "name": run.workdir.resolve().name,
        "steps": steps,
        "began": _time(events.began),
        "ended": _time(ended),
        "written": _time(datetime.now(UTC).timestamp()),
    }


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def _errors(metrics: dict[str, Any] | None) -> dict[str, Any]:
    if metrics is None:
        return {"tables": [], "split": None, "headline": [], "counts": _COUNTS, "shown": _SHOWN}
    kinds = [(title, metrics[kind]) for kind, title in _KINDS.items()]
    # Bars have the same scale in all tables, so that they can be compared.
    most = max(
        (row.get(key) or 0.0 for _, rows in kinds for row in rows.values() for key in _SHOWN),
        default=0.0,
    )
    tables = [
        {
            "title": title,
            "rows": [
                {"name": name, "values": row, "is_overall": name == OVERALL}
                for name, row in sorted(rows.items(), key=lambda item: item[0] != OVERALL)
            ],
        }
        for title, rows in kinds
    ]
    headline = [
        {"title": title, "P_err": rows[OVERALL].get("P_err"), "M_err": rows[OVERALL].get("M_err")}
        for title, rows in kinds
    ]
    return {
        "tables": tables, "split": metrics.get("split"), "headline": headline, "counts": _COUNTS,
        "shown": _SHOWN, "most": most or 1.0,
    }  # fmt: skip


def _curves(events: Events) -> dict[str, Any]:
    tags = list(events.scalars)
    terms = {tag: (_words(tag), "") for tag in tags if tag not in _FIRST and tag not in _LAST}
    charts, without = [], []
    for tag, (name, unit) in {**_FIRST, **terms, **_LAST}.items():
        series = events.scalars.get(tag)
        if series is None:
            continue
        if not np.isfinite(series.values).any():
            without.append(name)
        elif not series.values.any():
            without.append(f"{name} (0 throughout)")
        else:
            charts.append(draw(name, unit, series))
    return {"charts": charts, "without_chart": without, "remarks": events.remarks}


def _words(tag: str) -> str:
    return "Loss term " + tag.removeprefix("train/").replace("_", " ")


def _meshes(export: Path, template: HandTemplate | None) -> dict[str, Any]:
    """Packs the refined hand at zero pose and one posed hand for the viewer."""
    zero = export / "zero_pose.obj"
    if not zero.is_file() or template is None:
        return {"meshes": None, "num_vertices": 0}
    files = {"Zero pose": zero}
    for posed in data_paths(export / "posed", "*.obj")[:1]:
        files[posed.stem] = posed
    meshes = []
    for name, file in files.items():
        vertices = read_obj(file).vertices
        if len(vertices) != template.num_vertices:
            expected = f"{template.num_vertices}, as the exported model has"
            raise BadInputError(file, f"{len(vertices)} vertices", expected)
        meshes.append(ViewerMesh(name, upright(vertices, template)))
    return {"meshes": pack(meshes, template.faces), "num_vertices": template.num_vertices}


def _pictures(
    export: Path,
    exported: tuple[HandModel | LinearHandModel, dict[str, Any]] | None,
    metrics: dict[str, Any] | None,
    data: PreparedData | MissingData,
) -> dict[str, Any]:
    """The exported preview, and pictures rendered from the data."""
    preview = export / "preview.png"
    values: dict[str, Any] = {
        "preview": as_jpeg(read_picture(preview)) if preview.is_file() else None,
        "examples": [],
        "worst": [],
        "by_corrective": [],
        "by_corrective_mm": "",
        "worst_listed": bool(metrics and metrics.get("worst")),
        "no_pictures": "",
        "scale": None,
    }
    if exported is None:
        return values | {"no_pictures": f"There is no exported model in {export.name}/: export it."}
    if isinstance(data, MissingData):
        listed = metrics.get("worst", []) if metrics else []
        return values | {"no_pictures": data.reason, "worst": [(image, []) for image in listed]}
    model, variables = exported
    worst = {image["record"]: image for image in (metrics or {}).get("worst", [])}
    count = len(data.split_index(data.info.evaluation_split).frame)
    if count == 0 or any(not 0 <= record < count for record in worst):
        raise BadInputError(data.root, f"{count} records", "those that the errors were measured on")
    chosen = spread_records(data, _NUM_EXAMPLES)
    drawn = make_examples(model, variables, data, [*chosen, *worst])
    by_record = {example.record: example for example in drawn}
    examples = [by_record[record] for record in chosen if record in by_record]
    scale = heat_scale(hand for one in examples for hand in (one.hand, one.fitted))
    studio = Studio(model.template.faces, drawn, scale)
    has_correctives = isinstance(model, HandModel)
    steps = corrective_steps(model, variables, data, examples) if has_correctives else []
    steps_scale = heat_scale(hand for hands in steps for hand in hands.values())
    steps_studio = Studio(model.template.faces, drawn, steps_scale)
    return values | {
        "examples": [(example, studio.example(example)) for example in examples],
        "by_corrective_mm": f"{steps_scale:.3g}",
        "by_corrective": [
            (example, steps_studio.steps(example, hands))
            for example, hands in zip(examples, steps, strict=bool(steps))
        ],
        "worst": [
            (_measured(image, by_record.get(record)),
             studio.worst(by_record[record]) if record in by_record else [])
            for record, image in worst.items()
        ],
        "scale": heat_legend(scale) if any(one.scan is not None for one in examples) else None,
    }  # fmt: skip


def _measured(image: dict[str, Any], example: Example | None) -> dict[str, Any]:
    """Adds the mesh error of an image that `config.eval.mesh_stride` left out."""
    if image["M_err"] is None and example is not None:
        return image | {"M_err": example.hand.M_err}
    return image
