"""The paper's evidence (section 8) in one command: variants of a config, trained and compared.

Each variant runs with several seeds in a process and a workdir of its own; one that has been
measured with the same settings is not run again. What the paper says of a part is held against the
difference that leaving it out makes, and against the spread over the seeds.
"""

import logging
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dhm.errors import BadInputError, DhmError
from dhm.evaluation.penetration import PENETRATES_MM
from dhm.formats.json_file import read_json, write_json
from dhm.sweep import Job, describe, run_jobs

log = logging.getLogger(__name__)

RESULT_FILE, TABLE_FILE = "ablation.json", "ablation.md"
_METRICS_FILE = "metrics.json"  # as in dhm.tasks
_ARGUMENTS_FILE = "arguments.json"  # what a run was started with
_TASK = "measure"
# The mesh in the encoder's pose, as in the paper: else no gradient of it reaches the encoder, and
# there is nothing to see of L_pose, of the stopped gradient, or of fingers that L_penet moves.
_PAPER_POSE = ("train.mesh_pose=encoder", "train.mesh_samples=4")


class Variant(NamedTuple):
    """A config with some settings changed.

    Attributes:
        title: What it is.
        settings: "key=value" of the config.
        against: The variant that it is compared with, None for those that others are.
    """

    title: str
    settings: tuple[str, ...] = ()
    against: str | None = "full"


VARIANTS = {
    "full": Variant("ours", (), None),
    "linear": Variant(
        "linear model (MANO-style, or MANO)", ("decoder.kind=linear", "loss.laplacian=0.0")
    ),
    "coarse": Variant("ours, low resolution", ("studio.template=coarse",)),
    "no_skeleton": Variant(
        "without skeleton corrective", ("decoder.correctives=('identity','pose')",)
    ),
    "no_identity": Variant(
        "without identity corrective", ("decoder.correctives=('skeleton','pose')",)
    ),
    "no_pose": Variant("without pose corrective", ("decoder.correctives=('skeleton','identity')",)),
    "views_3": Variant("C_out = 3", ("train.num_views=3",)),
    "views_6": Variant("C_out = 6", ("train.num_views=6",)),
    "size_128": Variant("128 x 128 pixels", ("data.image_size=128",)),
    "size_256": Variant("256 x 256 pixels", ("data.image_size=256",)),
    "paper_pose": Variant("ours, meshes in the encoder's pose", _PAPER_POSE, None),
    "no_joint": Variant("the same without L_pose", (*_PAPER_POSE, "loss.joint=0.0"), "paper_pose"),
    "no_penetration": Variant(
        "the same without L_penet", (*_PAPER_POSE, "loss.penetration=0.0"), "paper_pose"
    ),
    "no_non_rigid": Variant(
        "the same without its non-rigid part", (*_PAPER_POSE, "loss.non_rigid=0.0"), "paper_pose"
    ),
    "no_stop_gradient": Variant(
        "the same without stopped gradient",
        (*_PAPER_POSE, "decoder.stop_pose_gradient=False"),
        "paper_pose",
    ),
}

_ENCODER, _FITTED = "encoder", "fitted"
# Title, where in a run's metrics, and how many decimals.
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
    "share": (f"frames > {PENETRATES_MM:g} mm", ("details", _ENCODER, "penetrating"), 2),
}
PAPER = {"linear": (13.81, 8.93), "full": (9.86, 6.55)}
"""P_err and M_err of table 1, mm: MANO and DeepHandMesh, on captures of its own."""
_RATIO = PAPER["linear"][1] / PAPER["full"][1]


class Value(NamedTuple):
    """A measure of a variant over its seeds.

    Attributes:
        mean: Over the seeds.
        spread: Largest minus smallest; 0 of one seed.
        runs: How many seeds.
    """

    mean: float
    spread: float
    runs: int


Values = Mapping[str, Mapping[str, Value]]


def ablate(
    launcher: Sequence[str],
    config: Path,
    workdir: Path,
    *,
    variants: Sequence[str] = tuple(VARIANTS),
    seeds: int = 2,
    settings: Sequence[str] = (),
) -> str:
    """Runs the variants that have not been run, and compares all.

    Args:
        launcher: The command that gets a task, `--config`, settings and `--workdir`.
        config: Config file of what the variants change.
        workdir: Folder of the runs and of ablation.json and ablation.md.
        variants: Names among `VARIANTS`.
        seeds: How many runs of each.
        settings: "--config.key=value" for all, such as fewer epochs.

    Returns:
        The tables, as they stand in ablation.md.

    Raises:
        BadInputError: If a variant is unknown, or what it is compared with is not among them.
        DhmError: If a run failed; the others are done.
        Interrupted: After SIGINT or SIGTERM; the same command goes on.
    """
    _check(variants, seeds)
    jobs = [
        Job(f"{name}_{seed}", _arguments(config, VARIANTS[name], seed, settings))
        for name in variants
        for seed in range(seeds)
    ]
    waiting = [job for job in jobs if not _is_measured(workdir / job.name, job)]
    log.info("%d of %d runs are measured already", len(jobs) - len(waiting), len(jobs))
    for job in waiting:
        (workdir / job.name).mkdir(parents=True, exist_ok=True)
        write_json(workdir / job.name / _ARGUMENTS_FILE, {"arguments": list(job.arguments)})
    outcomes = run_jobs(launcher, waiting, workdir) if waiting else []
    failed = [f"{one.name} {describe(one)}" for one in outcomes if one.exit_code]
    if failed:
        raise DhmError("; ".join(failed))
    runs = {
        name: [
            read_json(workdir / f"{name}_{seed}" / _METRICS_FILE, "the errors of the run")
            for seed in range(seeds)
        ]
        for name in variants
    }
    values = {name: collect(metrics) for name, metrics in runs.items()}
    text = describe_ablation(values)
    write_json(
        workdir / RESULT_FILE,
        {
            name: {key: value._asdict() for key, value in row.items()}
            for name, row in values.items()
        },
    )
    (workdir / TABLE_FILE).write_text(text + "\n")
    return text


def _check(variants: Sequence[str], seeds: int) -> None:
    if seeds < 1:
        raise BadInputError("--seeds", str(seeds), "1 or more")
    for name in variants:
        if name not in VARIANTS:
            raise BadInputError("--variants", repr(name), f"some of {', '.join(VARIANTS)}")
        against = VARIANTS[name].against
        if against is not None and against not in variants:
            raise BadInputError(
                "--variants", f"{name} without {against}", "what it is held against"
            )


def _arguments(
    config: Path, variant: Variant, seed: int, settings: Sequence[str]
) -> tuple[str, ...]:
    changed = [f"--config.{setting}" for setting in variant.settings]
    own = (f"--config.train.seed={seed}", "--config.eval.details_stride=1")
    return _TASK, "--config", str(config), *settings, *changed, *own


def _is_measured(workdir: Path, job: Job) -> bool:
    """Whether a run is done; it writes its metrics last."""
    path, metrics = workdir / _ARGUMENTS_FILE, workdir / _METRICS_FILE
    if not path.is_file():
        return False
    before = read_json(path, "the arguments of the run").get("arguments", [])
    if before != list(job.arguments):
        found = " ".join(map(str, before))
        raise BadInputError(path, found, f"{' '.join(job.arguments)}; give another --workdir")
    return metrics.is_file() and "details" in read_json(metrics, "the errors of the run")


def collect(metrics: Sequence[Mapping[str, Any]]) -> dict[str, Value]:
    """Every column of one variant, from the metrics.json of its seeds."""
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


def describe_ablation(values: Values) -> str:
    """Table 1, the ablations, and each claim with what was seen, in Markdown."""
    parts = []
    if "linear" in values:
        parts.append(_table_1(values))
    parts.append(_table(values))
    claims = [f"* {claim}" for claim in _claims(values)]
    return "\n\n".join([*parts, *(["\n".join(claims)] if claims else [])])


def _table_1(values: Values) -> str:
    rows = ["| | P_err | M_err | fitted P_err | fitted M_err | the paper's P_err | M_err |",
            "|---|---:|---:|---:|---:|---:|---:|"]  # fmt: skip
    keys = ("P_err", "M_err", "P_err_fitted", "M_err_fitted")
    for name in ("linear", "full", "coarse"):
        if name in values:
            cells = [_cell(values[name].get(key), COLUMNS[key][2]) for key in keys]
            paper = [f"{error:.2f}" for error in PAPER.get(name, ())] or ["-", "-"]
            rows.append(f"| {VARIANTS[name].title} | {' | '.join([*cells, *paper])} |")
    return "\n".join(rows)


def _table(values: Values) -> str:
    titles = [title for title, _, _ in COLUMNS.values()]
    rows = [f"| variant | {' | '.join(titles)} |", f"|---|{'---:|' * len(titles)}"]
    for name, row in values.items():
        cells = [_cell(row.get(key), decimals) for key, (_, _, decimals) in COLUMNS.items()]
        rows.append(f"| {VARIANTS[name].title} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _cell(value: Value | None, decimals: int) -> str:
    if value is None:
        return "-"
    mean = f"{value.mean:.{decimals}f}"
    return mean if value.runs == 1 else f"{mean} ± {value.spread / 2:.{decimals}f}"


def _claims(values: Values) -> list[str]:
    """What the paper says that each part does, and whether it was seen here."""
    claims = []
    for name, key, what in (
        ("no_joint", "P_err", "L_pose improves P_err"),
        ("no_pose", "flexed", "the pose corrective improves M_err of flexed frames"),
        ("no_identity", "M_err_fitted", "the identity corrective improves M_err"),
        ("no_skeleton", "P_err_fitted", "the skeleton corrective improves P_err"),
        ("no_stop_gradient", "P_err", "the stopped gradient improves P_err"),
        ("no_penetration", "share", "L_penet lowers the share of penetrating frames"),
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
        return f"one run each says nothing of the spread ({numbers})"
    if gain > spread:
        return f"seen ({numbers})"
    if gain < -spread:
        return f"NOT seen, rather the opposite ({numbers})"
    return f"not seen: the difference is within the spread of the seeds ({numbers})"
