"""Figures 6, 7, 8 and 10 of the paper: the hands of an ablation's variants side by side."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from dhm.data.prepared_data import PreparedData
from dhm.evaluation.details import is_contact
from dhm.evaluation.penetration import hand_parts, penetration_depths
from dhm.networks.hand_model import HandModel
from dhm.networks.linear_hand_model import LinearHandModel
from dhm.report.examples import Example, make_examples, spread_records
from dhm.report.html import Figure, heat_legend, write_comparison
from dhm.report.pictures import Studio, heat_scale, upright_hand
from dhm.report.viewer import upright
from dhm.runs.model import load_run
from dhm.runs.records import DataSource
from dhm.studies.ablation.tables import Findings
from dhm.studies.ablation.variants import VARIANTS, run_name

PAGE_FILE = "ablation.html"

_SEED = 0  # of the runs shown
_ROWS = 3
_CANDIDATES = 45  # frames searched for those to show


class _Run(NamedTuple):
    model: HandModel | LinearHandModel
    variables: dict[str, Any]
    data: PreparedData


class _Comparison(NamedTuple):
    """A figure of the paper.

    Attributes:
        title: Its heading.
        note: How to read it.
        variants: From left to right.
        fitted: Whether angles are fitted to the true joints instead of the encoder's.
        choose: Chooses the records to draw from the variants' runs.
    """

    title: str
    note: str
    variants: tuple[str, ...]
    fitted: bool
    choose: Callable[[Sequence[_Run]], list[int]]


def _first_views(data: PreparedData) -> list[int]:
    frames = data.split_index(data.info.evaluation_split).frame_id
    return np.unique(frames, return_index=True)[1][:_CANDIDATES].tolist()


def _spread(runs: Sequence[_Run]) -> list[int]:
    return spread_records(runs[0].data, _ROWS)


def _deepest(runs: Sequence[_Run]) -> list[int]:
    """Returns the frames with the first variant's deepest penetration, one a sequence."""
    model, variables, data = runs[0]
    parts = hand_parts(model.template)
    examples = make_examples(model, variables, data, _first_views(data))
    depths = [penetration_depths(one.hand.vertices, parts).max() for one in examples]
    return _one_a_sequence([examples[i] for i in np.argsort(depths)[::-1]])


def _touching(runs: Sequence[_Run]) -> list[int]:
    """Returns frames in which a fingertip touches the hand, one a sequence."""
    model, variables, data = runs[0]
    examples = make_examples(model, variables, data, _first_views(data))
    joints = np.stack([one.fields.joints for one in examples])
    valid = np.stack([one.fields.joint_valid for one in examples])
    touches = is_contact(joints, valid, data.template.joint_names)
    return _one_a_sequence([one for one, is_one in zip(examples, touches, strict=True) if is_one])


def _one_a_sequence(examples: Sequence[Example]) -> list[int]:
    first = {}
    for example in examples:
        first.setdefault(example.fields.sequence, example.record)
    return list(first.values())[:_ROWS]


_BELOW = "Below each mesh its distance to the scan, and the mean. "
_COMPARISONS = (
    _Comparison(
        "L_pose (figure 6, left)",
        _BELOW + "Angles by the encoder.",
        ("no_joint", "paper_pose"),
        False,
        _spread,
    ),
    _Comparison(
        "L_penet (figure 6, right, and figure 7)",
        _BELOW
        + "Angles by the encoder, in the frames where the model without it penetrates deepest.",
        ("no_penetration", "full"),
        False,
        _deepest,
    ),
    _Comparison(
        "L_penet's non-rigid part",
        _BELOW + "Angles fitted to the true joints, in frames where a fingertip touches the hand.",
        ("no_non_rigid", "full"),
        True,
        _touching,
    ),
    _Comparison(
        "Against a linear model (figure 10)",
        _BELOW + "Angles by the encoder.",
        ("linear", "coarse", "full"),
        False,
        _spread,
    ),
    _Comparison(
        "Against a linear model, the decoders alone",
        _BELOW + "Angles fitted to the true joints.",
        ("linear", "coarse", "full"),
        True,
        _spread,
    ),
)
_NEEDED = 2  # columns that make a comparison


def write_ablation_page(
    workdir: Path,
    findings: Findings,
    source: DataSource,
    *,
    variants: Sequence[str],
    subjects: Sequence[int],
) -> Path:
    """Writes the tables and pictures of an ablation as one HTML page.

    Args:
        workdir: Folder of the runs.
        findings: Of `ablate`.
        source: As in `load_run`.
        variants: Names of the variants that ran.
        subjects: Numbers of the subjects.

    Returns:
        The path of the page.

    Raises:
        BadInputError: If a run's data or model cannot be used.
    """

    @cache  # a model is in several figures
    def load(variant: str, subject: int) -> _Run:
        return _Run(*load_run(workdir / run_name(variant, subject, _SEED), source))

    figures = []
    for comparison in _COMPARISONS:
        names = [name for name in comparison.variants if name in variants]
        if len(names) >= _NEEDED:
            figures.append(_figure(comparison, names, subjects, load))
    if "full" in variants:
        figures.append(_identities(subjects, load))
    path = workdir / PAGE_FILE
    write_comparison(
        path,
        "What each part of the hand model does",
        "Millimetres, held-out gestures. Across a row the camera and the light are the same.",
        tables=findings.tables,
        claims=findings.claims,
        figures=figures,
    )
    return path


def _figure(
    comparison: _Comparison,
    names: Sequence[str],
    subjects: Sequence[int],
    load: Callable[[str, int], _Run],
) -> Figure:
    drawn = []
    for subject in subjects:
        runs = [load(name, subject) for name in names]
        records = comparison.choose(runs)
        columns = [make_examples(*run, records) for run in runs]
        drawn.append((subject, runs, columns))
    scale = heat_scale(
        _hand(example, comparison.fitted)
        for _, _, columns in drawn
        for examples in columns
        for example in examples
    )
    rows = []
    for subject, runs, columns in drawn:
        studios = [
            Studio(run.model.template.faces, examples, scale)
            for run, examples in zip(runs, columns, strict=True)
        ]
        for examples in zip(*columns, strict=True):
            pictures = [
                studio.measured(example, _hand(example, comparison.fitted), VARIANTS[name].title)
                for studio, example, name in zip(studios, examples, names, strict=True)
            ]
            pictures += studios[0].scan(examples[0])
            rows.append((f"Subject {subject}: {examples[0].name}", pictures))
    return Figure(comparison.title, comparison.note, heat_legend(scale), rows)


def _hand(example: Example, fitted: bool):
    return example.fitted if fitted else example.hand


def _identities(subjects: Sequence[int], load: Callable[[str, int], _Run]) -> Figure:
    """Draws figure 8: refined hands at zero pose."""
    pictures = []
    for subject in subjects:
        model, variables, _ = load("full", subject)
        template = model.template
        if not pictures:
            standing = upright(np.asarray(template.v_template), template)
            pictures.append(upright_hand(standing, template.faces, "The template"))
        zero = model.apply(variables, jnp.zeros((1, model.encoder.num_dofs)), method="decode")
        standing = upright(np.asarray(zero.v_zero[0]), template)
        pictures.append(upright_hand(standing, template.faces, f"Subject {subject}"))
    note = "The template and the refined hands, all at zero pose and one scale."
    return Figure(
        "Identities (figure 8)", note, None, [("From the back and from the palm", pictures)]
    )
