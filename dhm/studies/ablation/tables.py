"""Tables of an ablation, and the paper's claims compared with what was measured."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dhm.evaluation.penetration import PENETRATES_MM
from dhm.studies.ablation.variants import VARIANTS

_ENCODER, _FITTED = "encoder", "fitted"
# Title, path in metrics.json, decimals.
COLUMNS: dict[str, tuple[str, tuple[str, ...], int]] = {
    "P_err": ("P_err", ("errors", "overall", "P_err"), 2),
    "M_err": ("M_err", ("errors", "overall", "M_err"), 2),
    "P_err_fitted": ("P_err, fitted", ("errors_fitted", "overall", "P_err"), 2),
    "M_err_fitted": ("M_err, fitted", ("errors_fitted", "overall", "M_err"), 2),
    "visible": ("M_err visible, fitted", ("details", _FITTED, "M_err_visible"), 2),
    "flexed": ("M_err flexed, fitted", ("details", _FITTED, "M_err_flexed"), 2),
    "contact": ("M_err contact, fitted", ("details", _FITTED, "M_err_contact"), 2),
    "depth": ("penetration mean", ("details", _ENCODER, "penetration_mean"), 2),
    "deepest": ("penetration max", ("details", _ENCODER, "penetration_max"), 2),
    "volume": ("penetration mm3", ("details", _ENCODER, "penetration_volume"), 0),
    "share": (f"hands > {PENETRATES_MM:g} mm", ("details", _ENCODER, "penetrating"), 2),
}
PAPER = {"linear": (13.81, 8.93), "full": (9.86, 6.55)}
"""P_err and M_err of the paper's table 1, mm: MANO and DeepHandMesh, on its own captures."""
_RATIO = PAPER["linear"][1] / PAPER["full"][1]


class Value(NamedTuple):
    """A measure of a variant.

    Attributes:
        mean: Over the seeds, and over the subjects.
        spread: Largest minus smallest of the seeds, averaged over the subjects; 0 for one seed.
        runs: Number of seeds.
    """

    mean: float
    spread: float
    runs: int


Values = Mapping[str, Mapping[str, Value]]
Runs = dict[str, dict[int, list[Mapping[str, Any]]]]
"""metrics.json of each seed, by variant and subject."""


def summarise_runs(runs: Runs) -> dict[int, dict[str, dict[str, Value]]]:
    """Returns the columns of every variant, by subject."""
    by_subject: dict[int, dict[str, dict[str, Value]]] = {}
    for name, subjects in runs.items():
        for subject, metrics in subjects.items():
            by_subject.setdefault(subject, {})[name] = collect(metrics)
    return by_subject


def over_subjects(by_subject: Mapping[int, Values]) -> dict[str, dict[str, Value]]:
    """Averages over the subjects the columns that all of them have."""
    first = next(iter(by_subject.values()))
    values: dict[str, dict[str, Value]] = {}
    for name, row in first.items():
        per_subject = [subject[name] for subject in by_subject.values()]
        values[name] = {
            key: Value(
                statistics.fmean(one[key].mean for one in per_subject),
                statistics.fmean(one[key].spread for one in per_subject),
                min(one[key].runs for one in per_subject),
            )
            for key in row
            if all(key in one for one in per_subject)
        }
    return values


def collect(metrics: Sequence[Mapping[str, Any]]) -> dict[str, Value]:
    """Returns the columns of one variant from the metrics.json of its seeds."""
    row = {}
    for key, (_, path, _) in COLUMNS.items():
        found = [_at(run, path) for run in metrics]
        measured = [value for value in found if value is not None]
        if measured:
            mean, spread = statistics.fmean(measured), max(measured) - min(measured)
            row[key] = Value(mean, spread, len(measured))
    return row


def _at(tree: Any, path: Sequence[str]) -> float | None:
    for key in path:
        tree = tree[key]
    return tree


class Table(NamedTuple):
    """A table of text.

    Attributes:
        title: Its heading.
        columns: Titles of the columns; cells of the first one name the rows.
        rows: Cells.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]


class Findings(NamedTuple):
    """Results of an ablation.

    Attributes:
        tables: The paper's table 1, if the linear model is among the variants, and all measures.
        claims: Claims of the paper, each with what was measured.
    """

    tables: list[Table]
    claims: list[str]


def find(values: Values, by_subject: Mapping[int, Values]) -> Findings:
    """Builds the tables and the claims.

    Args:
        values: From `over_subjects`.
        by_subject: From `summarise_runs`.
    """
    tables = [_all_measures(values)]
    if "linear" in values:
        tables.insert(0, _table_1(values, by_subject))
    return Findings(tables, _claims(values))


def as_markdown(findings: Findings) -> str:
    """Returns the tables and the list of claims as Markdown."""
    parts = []
    for _, columns, rows in findings.tables:
        lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
        parts.append("\n".join(f"| {' | '.join(cells)} |" for cells in lines))
    if findings.claims:
        parts.append("\n".join(f"* {claim}" for claim in findings.claims))
    return "\n\n".join(parts)


def _table_1(values: Values, by_subject: Mapping[int, Values]) -> Table:
    """Builds the table of P_err and M_err by subject, with the encoder's and with fitted angles."""
    shown = {f"subject {subject}": rows for subject, rows in by_subject.items()}
    if len(shown) > 1:
        shown["mean"] = values
    columns = [""]
    for title in (*shown, "the paper's mean"):
        columns += [f"{title}: P_err", "M_err"]
    rows = []
    for suffix, title in (("", ""), ("_fitted", ", fitted angles")):
        for name in ("linear", "full", "coarse"):
            if name not in values:
                continue
            cells = [
                _cell(measured[name].get(key + suffix), 2)
                for measured in shown.values()
                for key in ("P_err", "M_err")
            ]
            paper = ["-", "-"]
            if not suffix and name in PAPER:
                paper = [f"{error:.2f}" for error in PAPER[name]]
            rows.append([VARIANTS[name].title + title, *cells, *paper])
    return Table("Against a linear model (table 1), mm", columns, rows)


def _all_measures(values: Values) -> Table:
    columns = ["variant", *(title for title, _, _ in COLUMNS.values())]
    rows = [
        [VARIANTS[name].title]
        + [_cell(row.get(key), decimals) for key, (_, _, decimals) in COLUMNS.items()]
        for name, row in values.items()
    ]
    return Table("What each part does, mm", columns, rows)


def _cell(value: Value | None, decimals: int) -> str:
    if value is None:
        return "-"
    mean = f"{value.mean:.{decimals}f}"
    return mean if value.runs == 1 else f"{mean} ± {value.spread / 2:.{decimals}f}"


def _claims(values: Values) -> list[str]:
    """Returns each claim of the paper about a part, and whether it was seen."""
    claims = []
    for name, key, what in (
        ("no_joint", "P_err", "L_pose improves P_err"),
        ("no_pose", "flexed", "the pose corrective improves M_err of flexed frames"),
        ("no_identity", "M_err_fitted", "the identity corrective improves M_err"),
        ("no_skeleton", "P_err_fitted", "the skeleton corrective improves P_err"),
        ("no_stop_gradient", "P_err", "the stopped gradient improves P_err"),
        ("no_penetration", "share", "L_penet lowers the share of penetrating hands"),
        ("no_penetration", "M_err", "L_penet improves M_err"),
        ("paper_penetration", "share", "leaving out what overlaps at rest lowers that share"),
        ("no_non_rigid", "contact", "the non-rigid part improves M_err of frames in contact"),
        ("linear", "P_err", "P_err is better than the linear model's"),
    ):
        base = VARIANTS[name].against
        if name in values and key in values[name] and key in values[base]:
            claims.append(f"{what}: {_difference(values[base][key], values[name][key], key)}.")
    if "linear" in values:
        for key, pose in (("M_err", "encoder"), ("M_err_fitted", "fitted angles")):
            ratio = values["linear"][key].mean / values["full"][key].mean
            claims.append(
                f"The linear model's M_err is {ratio:.2f} times ours with {pose}; "
                f"the paper's ratio is {_RATIO:.2f}."
            )
    return claims


def _difference(kept: Value, left_out: Value, key: str) -> str:
    decimals = COLUMNS[key][2]
    gain, spread = left_out.mean - kept.mean, (left_out.spread + kept.spread) / 2
    numbers = f"{kept.mean:.{decimals}f} with, {left_out.mean:.{decimals}f} without"
    if min(kept.runs, left_out.runs) == 1:
        return f"one run each does not show the spread of the seeds ({numbers})"
    if gain > spread:
        return f"seen ({numbers})"
    if gain < -spread:
        return f"NOT seen, the opposite was ({numbers})"
    return f"not seen: the difference is within the spread of the seeds ({numbers})"
