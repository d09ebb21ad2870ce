"""The commands of one run: train, evaluate, export, report, measure, and the whole job."""

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from dhm.cli.config_flag import GivenConfig
from dhm.cli.flags import Command, UsageError
from dhm.cli.installation import has_clone, require_clone
from dhm.cli.process import keep_compiled_programs, quiet

if TYPE_CHECKING:
    from dhm.runs.records import DataSource

_PROCESSES = ("--coordinator", "--process-id", "--process-count")
_EXAMPLE = "--workdir is missing, e.g. --workdir runs/demo"


class _NoDataPrep:
    """Stands for the source of data where data_prep/ is not installed."""

    def records(self, config):
        """Says what is missing."""
        raise require_clone("a config without prepared records (config.prepared)")

    def linear_model(self):
        """Says what is missing."""
        raise require_clone("a linear decoder without a file (config.mano.path)")


def data_source() -> "DataSource":
    """What prepares the data of a config: data_prep, where it is."""
    if not has_clone():
        return _NoDataPrep()
    from data_prep import sources

    return sources


def _run(arguments: Namespace, tasks: tuple[str, ...]) -> int:
    given: GivenConfig = arguments.config
    # Slow imports come after the flags, so that a mistyped one is refused at once.
    from dhm.training.processes import is_first, join

    join(arguments.coordinator, arguments.process_id, arguments.process_count)
    if not is_first():
        quiet()
    from dhm.runs.config import require_used
    from dhm.runs.tasks import run

    require_used(given.config, given.keys)
    workdir = _workdir(arguments)
    keep_compiled_programs(workdir)
    run(tasks, given.config, workdir, data_source())
    return 0


def _workdir(arguments: Namespace) -> Path:
    """The run's folder, by default after its config."""
    return arguments.workdir or Path("runs") / arguments.config.file.stem


def _train(arguments: Namespace, tasks: tuple[str, ...]) -> int:
    if arguments.replay is None:
        return _run(arguments, tasks)
    from dhm.runs.train_task import replay

    replay(arguments.config.config, arguments.replay, data_source())
    return 0


def _export(arguments: Namespace) -> int:
    if arguments.config is not None:
        return _run(arguments, ("export",))
    if arguments.workdir is None:
        raise UsageError(f"{_EXAMPLE}, or --config")
    from dhm.runs.tasks import export

    keep_compiled_programs(arguments.workdir)
    export(arguments.workdir, data_source())
    return 0


def _report(arguments: Namespace) -> int:
    if arguments.config is None and arguments.workdir is None:
        raise UsageError(_EXAMPLE)
    from dhm.runs.tasks import report

    workdir = _workdir(arguments)
    keep_compiled_programs(workdir)
    report(arguments.config and arguments.config.config, workdir)
    return 0


_TRAINS = ("--workdir", "--replay", *_PROCESSES)
_RESUMES = (
    "A run that was stopped resumes from its newest checkpoint. Several processes train together "
    "with the address of the first; under SLURM and Open MPI 4 they find it by themselves."
)

WHOLE_JOB = Command(
    "train, evaluate, export and report",
    f"Trains, evaluates, exports and reports a personal hand model. {_RESUMES}",
    lambda arguments: _train(arguments, ("train", "evaluate", "export", "report")),
    _TRAINS,
    config="required",
)
RUN_COMMANDS = {
    "train": Command(
        "train a hand model",
        f"Trains the model of a config into the workdir. {_RESUMES}",
        lambda arguments: _train(arguments, ("train",)),
        _TRAINS,
        config="required",
    ),
    "evaluate": Command(
        "measure the errors of a trained model",
        "Measures the newest checkpoint on the held-out sequences: prints a table and writes "
        "metrics.json into the workdir.",
        lambda arguments: _run(arguments, ("evaluate",)),
        ("--workdir", *_PROCESSES),
        config="required",
    ),
    "export": Command(
        "write a trained model as plain files",
        "Writes the newest checkpoint as msgpack, with meshes and a preview, into the workdir's "
        "export/. Without --config: with the config that the workdir notes, and the records that "
        "its metrics.json names.",
        _export,
        ("--workdir", *_PROCESSES),
        config="optional",
    ),
    "report": Command(
        "write the report of a run",
        "Writes <workdir>/report.html, one page of errors, pictures, meshes and curves. A config "
        "is needed only where the data moved: --config FILE --config.prepared=DIR.",
        _report,
        ("--workdir",),
        extra="report",
        config="optional",
    ),
    "measure": Command(
        "train and evaluate",
        f"Trains and evaluates, without an export. {_RESUMES}",
        lambda arguments: _train(arguments, ("train", "evaluate")),
        _TRAINS,
        config="required",
    ),
}
