"""Trains variants of a config, several seeds and subjects each, and compares them.

Each run has a process and a workdir of its own; one that has been measured with the same settings
is not run again.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dhm.errors import BadInputError, DhmError
from dhm.formats.json_file import flat_fields, read_json, write_json
from dhm.runs.sweep import Job, describe, run_jobs
from dhm.studies.ablation.tables import (
    Findings,
    Runs,
    as_markdown,
    find,
    over_subjects,
    summarise_runs,
)
from dhm.studies.ablation.variants import VARIANTS, Variant, run_name

log = logging.getLogger(__name__)

RESULT_FILE, TABLE_FILE = "ablation.json", "ablation.md"
_METRICS_FILE = "metrics.json"  # as in dhm.runs.model
_ARGUMENTS_FILE = "arguments.json"  # what a run was started with
_TASK = "measure"


class _Run(NamedTuple):
    variant: str
    subject: int
    seed: int
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
    """Runs the variants that have not been run, and compares all.

    Args:
        launcher: The command that gets a task, `--config`, settings and `--workdir`.
        config: Config file of what the variants change.
        values: What is in it now: runs of another content are not taken for measured.
        workdir: Folder of the runs and of ablation.json and ablation.md.
        subjects: Numbers of the people that each variant is trained on.
        variants: Names among `VARIANTS`.
        seeds: How many runs of each, but for those that take too long (`Variant.most_seeds`).
        settings: "--config.key=value" for all, such as fewer epochs.
        each: Runs at a time on each device.

    Returns:
        What was found; its tables stand in ablation.md.

    Raises:
        BadInputError: If a variant is unknown, or what it is compared with is not among them.
        DhmError: If a run failed; the others are done.
        Interrupted: After SIGINT or SIGTERM; the same command goes on.
    """
    _check(variants, seeds, subjects)
    # Seed by seed: the second finds compiled what it would compile again beside the first.
    runs = [
        _run(config, name, subject, seed, settings)
        for seed in range(seeds)
        for name in variants
        if seed < (VARIANTS[name].most_seeds or seeds)
        for subject in subjects
    ]
    told = {run.job.name: {"arguments": list(run.job.arguments), "config": values} for run in runs}
    waiting = [
        run.job for run in runs if not _is_measured(workdir / run.job.name, told[run.job.name])
    ]
    log.info("%d of %d runs are measured already", len(runs) - len(waiting), len(runs))
    for job in waiting:
        (workdir / job.name).mkdir(parents=True, exist_ok=True)
        write_json(workdir / job.name / _ARGUMENTS_FILE, told[job.name])
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
    for name in variants:
        if name not in VARIANTS:
            raise BadInputError("--variants", repr(name), f"some of {', '.join(VARIANTS)}")
        against = VARIANTS[name].against
        if against is not None and against not in variants:
            raise BadInputError(
                "--variants", f"{name} without {against}", "what it is held against"
            )


def _run(config: Path, name: str, subject: int, seed: int, settings: Sequence[str]) -> _Run:
    arguments = _arguments(config, VARIANTS[name], subject, seed, settings)
    return _Run(name, subject, seed, Job(run_name(name, subject, seed), arguments))


def _arguments(
    config: Path, variant: Variant, subject: int, seed: int, settings: Sequence[str]
) -> tuple[str, ...]:
    changed = [f"--config.{setting}" for setting in variant.settings]
    own = (
        f"--config.subject={subject}",
        f"--config.train.seed={seed}",
        "--config.eval.details_stride=1",
    )
    return _TASK, "--config", str(config), *settings, *changed, *own


def _is_measured(workdir: Path, told: Mapping[str, Any]) -> bool:
    """Whether a run that was told the same is done; it writes its metrics last."""
    path, metrics = workdir / _ARGUMENTS_FILE, workdir / _METRICS_FILE
    if not path.is_file():
        return False
    before = flat_fields(read_json(path, "the arguments of the run"))
    for key, value in flat_fields(dict(told)).items():
        if before.get(key) != value:
            found, expected = f"{key} = {before.get(key)!r}", f"{value!r}; give another --workdir"
            raise BadInputError(path, found, expected)
    return metrics.is_file() and "details" in read_json(metrics, "the errors of the run")


def _measured(runs: Sequence[_Run], workdir: Path) -> Runs:
    """The metrics of every run, by variant and subject, one a seed."""
    found: Runs = {}
    for run in runs:
        metrics = read_json(workdir / run.job.name / _METRICS_FILE, "the errors of the run")
        found.setdefault(run.variant, {}).setdefault(run.subject, []).append(metrics)
    return found
