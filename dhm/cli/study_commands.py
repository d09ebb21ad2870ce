"""The commands of several runs, and of none: sweep, ablate and benchmark."""

import math
import sys
from argparse import Namespace
from pathlib import Path

from dhm.cli.config_flag import require_equal_signs, require_runnable
from dhm.cli.flags import Command, given_path
from dhm.cli.installation import has_clone, require_clone
from dhm.cli.run_commands import data_source
from dhm.errors import BadInputError


def _launcher(command: str) -> tuple[str, str]:
    """What starts each run, in a process of its own."""
    return sys.executable, str(require_clone(command) / "launch.py")


def _sweep(arguments: Namespace) -> int:
    require_equal_signs(arguments.settings)
    launcher = _launcher("sweep")
    from dhm.runs.sweep import describe, sweep

    configs = [given_path(word) for word in arguments.words]
    for config in configs:
        require_runnable(config, arguments.settings)
    runs = arguments.workdir or Path("runs")
    outcomes = sweep(launcher, configs, runs, arguments.settings, each=arguments.jobs)
    print(*(f"{outcome.name}: {describe(outcome)}" for outcome in outcomes), sep="\n")
    return 1 if any(outcome.exit_code for outcome in outcomes) else 0


def _ablate(arguments: Namespace) -> int:
    given = arguments.config
    require_equal_signs(given.settings)
    launcher = _launcher("ablate")
    from dhm.runs.workdir import plain_config
    from dhm.studies.ablation.run import ablate
    from dhm.studies.ablation.tables import as_markdown
    from dhm.studies.ablation.variants import VARIANTS

    workdir = arguments.workdir or Path("runs") / f"ablate_{given.file.stem}"
    variants = arguments.variants or tuple(VARIANTS)
    try:
        subjects = [int(word) for word in arguments.subjects or (given.config.subject,)]
    except ValueError as error:
        found = ",".join(arguments.subjects)
        raise BadInputError("--subjects", found, "numbers: 1,2") from error
    for name in variants:
        changed = [f"--config.{one}" for one in VARIANTS[name].settings] if name in VARIANTS else []
        require_runnable(given.file, [*given.settings, *changed])
    found = ablate(
        launcher, given.file, plain_config(given.config), workdir, subjects=subjects,
        variants=variants, seeds=arguments.seeds, settings=given.settings, each=arguments.jobs,
    )  # fmt: skip
    print(as_markdown(found))
    from dhm.studies.ablation.figures import write_ablation_page  # no JAX beside the runs

    page = write_ablation_page(workdir, found, data_source(), variants=variants, subjects=subjects)
    print(f"\nPictures in {page}")
    return 0


def _benchmark(arguments: Namespace) -> int:
    step_ms, given = _step_times(arguments.step_ms), ()
    if arguments.workdir is not None:
        import dhm
        from dhm.runs.folder import files_of_run

        given = files_of_run(arguments.workdir)

        template = dhm.load(arguments.workdir).template
    elif has_clone():
        from data_prep.toy.hand import make_toy_template

        template = make_toy_template()
    else:
        from dhm.studies.procedural_hand import procedural_hand

        template = procedural_hand()
    from dhm.studies.benchmarks.report import benchmark

    benchmark(
        template, _toy_records if has_clone() else None, arguments.what, arguments.json, step_ms,
        arguments.picture, arguments.batch, given,
    )  # fmt: skip
    return 0


def _step_times(words: list[str] | None) -> tuple[float, float] | None:
    """The two times that --step-ms gives."""
    if words is None:
        return None
    try:
        few, many = map(float, words)
    except ValueError:
        few, many = 0.0, 0.0
    if not 0 < few <= many < math.inf:
        found = repr(",".join(words))
        raise BadInputError("--step-ms", found, "two times in ms, with 8 and with 32 images: 6,16")
    return few, many


def _toy_records(folder: Path) -> Path:
    """Prepares a small capture at the paper's size of pictures, for the benchmark of the input.

    In a process of its own, as a run finds its data: what has just prepared some reads slower.
    """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(_prepare_toy_records, folder).result()


def _prepare_toy_records(folder: Path) -> Path:
    has_clone()  # a process of its own has to find data_prep, too
    from data_prep.prepare import prepare
    from data_prep.toy.capture import write_toy_capture

    write_toy_capture(folder / "capture", num_cameras=8, frames_per_sequence=2)
    prepare(folder / "capture", 1, folder / "prepared", image_size=256)
    return folder / "prepared"


STUDY_COMMANDS = {
    "sweep": Command(
        "train several configs, queued over the devices",
        "Runs the whole job for each config, one at a time on each device or --jobs of them, in "
        "folders under the workdir. What a run prints goes to sweep.log there. Settings are for "
        "all. A stopped sweep goes on with the same command.",
        _sweep,
        ("--workdir", "--jobs"),
        config="settings",
        words=("CONFIG", "config files, e.g. configs/subject*.py"),
        workdir="folder of the runs' folders (default: runs)",
    ),
    "ablate": Command(
        "train variants of a config and compare them",
        "Trains and measures variants of a config, without one loss or corrective each, and prints "
        "tables of their errors. What was measured is not run again.",
        _ablate,
        ("--workdir", "--variants", "--subjects", "--seeds", "--jobs"),
        config="required",
        workdir="folder of the runs' folders (default: runs/ablate_<name of the config>)",
    ),
    "benchmark": Command(
        "measure the speed of this machine",
        "Times the rasterizer, the losses, a training step, one picture and the input, and models "
        "what more devices bring. Outside of a clone the hand is simpler and there is no input.",
        _benchmark,
        ("--workdir", "--what", "--batch", "--json", "--picture", "--step-ms"),
        workdir="folder of a run, whose exported hand takes the place of the built-in one",
    ),
}
