"""Trains variants of a config with several seeds and subjects, and compares their errors.

Each run is a process with a workdir of its own. Runs that are measured already are not repeated.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dhm.errors import BadInputError, DhmError
from dhm.evaluation.metrics_file import METRICS_FILE, read_metrics
from dhm.formats.json_file import flat_fields, read_json, write_json
from dhm.formats.paths import require_folder
from dhm.runs.sweep import Job, describe, run_jobs
from dhm.studies.ablation.tables import (
    Findings,
    Runs,
    as_markdown,
    find,
    over_subjects,
    summarise_runs,
)
from dhm.studies.ablation.variants import VARIANTS, run_name

log = logging.getLogger(__name__)

RESULT_FILE, TABLE_FILE = "ablation.json", "ablation.md"
_ARGUMENTS_FILE = "arguments.json"  # of a run: its command line and config
_TASK = "measure"


class _Run(NamedTuple):
    variant: str
    subject: int
    job: Job


def ablate(
    launcher: Sequence[str],
    config: Path,
    values: Mapping[str, Any],
    workdir: Path,
    *,
    subjects: Sequence[int],
    variants: Sequence[str] = tuple(VARIANTS),
    seeds: int = 2,
    settings: Sequence[str] = (),
    each: int = 1,
) -> Findings:
    """Trains and measures the variants that are not measured yet, and compares all of them.

    Args:
        launcher: The command line that takes a task, `--config`, settings and `--workdir`.
        config: The config file that the variants change.
        values: Its content; existing runs of another content are refused.
        workdir: Folder of the runs, ablation.json and ablation.md.
        subjects: Numbers of the subjects that each variant is trained on.
        variants: Names among `VARIANTS`.
        seeds: Runs of each variant and subject, at most `Variant.most_seeds`.
        settings: "--config.key=value" for all variants.
        each: Number of runs at a time on each device.

    Returns:
        The tables and claims, which ablation.md holds too.

    Raises:
        BadInputError: If a variant is unknown or its reference is not among the variants, or if
            there is a run with other arguments.
        DhmError: If a run failed; the others are finished.
        Interrupted: After SIGINT or SIGTERM; the same command resumes.
    """
    _check(variants, seeds, subjects)
    require_folder("--workdir", workdir)
    # Seed by seed: the second seed finds the programs that the first has compiled.
    runs = [
        _Run(name, subject, _job(config, name, subject, seed, settings))
        for seed in range(seeds)
        for name in variants
        if seed < (VARIANTS[name].most_seeds or seeds)
        for subject in subjects
    ]
    arguments = {
        run.job.name: {"arguments": list(run.job.arguments), "config": values} for run in runs
    }
    waiting = [
        run.job for run in runs if not _is_measured(workdir / run.job.name, arguments[run.job.name])
    ]
    log.info("%d of %d runs are measured already", len(runs) - len(waiting), len(runs))
    for job in waiting:
        (workdir / job.name).mkdir(parents=True, exist_ok=True)
        write_json(workdir / job.name / _ARGUMENTS_FILE, arguments[job.name])
    outcomes = run_jobs(launcher, waiting, workdir, each=each) if waiting else []
    failed = [f"{one.name} {describe(one)}" for one in outcomes if one.exit_code]
    if failed:
        raise DhmError("; ".join(failed))
    by_subject = summarise_runs(_measured(runs, workdir))
    measures = over_subjects(by_subject)
    findings = find(measures, by_subject)
    write_json(
        workdir / RESULT_FILE,
        {
            name: {key: value._asdict() for key, value in row.items()}
            for name, row in measures.items()
        },
    )
    (workdir / TABLE_FILE).write_text(as_markdown(findings) + "\n")
    return findings


def _check(variants: Sequence[str], seeds: int, subjects: Sequence[int]) -> None:
    if seeds < 1:
        raise BadInputError("--seeds", str(seeds), "1 or more")
    if not subjects or min(subjects) < 1 or len(set(subjects)) < len(subjects):
        raise BadInputError("--subjects", repr(list(subjects)), "different numbers from 1 on")
    if len(set(variants)) < len(variants):
        raise BadInputError("--variants", repr(list(variants)), "different variants")
    for name in variants:
        if name not in VARIANTS:
            raise BadInputError("--variants", repr(name), f"some of {', '.join(VARIANTS)}")
        against = VARIANTS[name].against
        if against is not None and against not in variants:
            raise BadInputError(
                "--variants", f"{name} without {against}", "the variant that it is compared with"
            )


def _job(config: Path, name: str, subject: int, seed: int, settings: Sequence[str]) -> Job:
    changed = [f"--config.{setting}" for setting in VARIANTS[name].settings]
    own = (
        f"--config.subject={subject}",
        f"--config.train.seed={seed}",
        "--config.eval.details_stride=1",
    )
    arguments = (_TASK, "--config", str(config), *settings, *changed, *own)
    return Job(run_name(name, subject, seed), arguments)


def _is_measured(workdir: Path, arguments: Mapping[str, Any]) -> bool:
    """Returns whether a run has finished; it writes its metrics last.

    Raises:
        BadInputError: If the run had other arguments.
    """
    path, metrics = workdir / _ARGUMENTS_FILE, workdir / METRICS_FILE
    if not path.is_file():
        return False
    before = flat_fields(read_json(path, "the arguments of the run"))
    for key, value in flat_fields(dict(arguments)).items():
        if before.get(key) != value:
            found, expected = f"{key} = {before.get(key)!r}", f"{value!r}; give another --workdir"
            raise BadInputError(path, found, expected)
    return metrics.is_file() and "details" in read_json(metrics, "the errors of the run")


def _measured(runs: Sequence[_Run], workdir: Path) -> Runs:
    """Returns the metrics of the runs by variant and subject, one entry a seed."""
    found: Runs = {}
    for run in runs:
        metrics = read_metrics(workdir / run.job.name / METRICS_FILE)
        found.setdefault(run.variant, {}).setdefault(run.subject, []).append(metrics)
    return found
