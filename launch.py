"""Trains, evaluates, exports and reports a personal hand model, applies it, or times this machine.

    python launch.py [train|evaluate|export] --config configs/x.py
                     [--config.key=value ...] [--workdir DIR] [--replay FILE]
                     [--coordinator HOST:PORT --process-id N --process-count N]
    python launch.py report --workdir DIR [--config configs/x.py]
    python launch.py sweep configs/a.py configs/b.py ... [--config.key=value ...] [--workdir DIR]
                     [--jobs N]
    python launch.py ablate --config configs/x.py [--variants a,b] [--seeds N]
                     [--subjects 1,2] [--workdir DIR] [--jobs N]
    python launch.py predict --workdir DIR --images 'photos/*.jpg' --out DIR [--bbox x,y,w,h|whole]
                     [--keypoints FILE] [--detector FILE.task] [--left] [--focal PX] [--refine]
                     [--mesh-every N]
    python launch.py fit --workdir DIR --evidence FILE_OR_PATTERN --out DIR [--left]
    python launch.py benchmark [--what step|input|infer|raster|losses|scaling|all]
                     [--json FILE] [--picture FILE] [--step-ms A,B]

Without a task: train, then evaluate, then export, then report. --replay shows a step that training
stopped at. A report is one page, <workdir>/report.html; to write it again takes the workdir alone.
"measure" is train, then evaluate. An ablation does that with variants of a config, and compares.
A sweep runs each config, in folders under its workdir. Both start one run at a time on each device,
or --jobs of them: two small ones keep two cores busier than one.
Processes that train together find each other by the first one's address; under SLURM and Open MPI 4
by themselves.
"""

import errno
import logging
import math
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NoReturn

from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

from dhm.cli.memory import keep_freed_memory
from dhm.errors import BadInputError, DhmError, Interrupted

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, e.g. configs/tiny.py.")
_WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "Folder of the run, default runs/<config name>; of a sweep's runs, default runs.",
)
_REPLAY = flags.DEFINE_string("replay", None, "Step to look at, a file in the run's replay/.")
_WHAT = flags.DEFINE_string("what", "all", "Part to benchmark, e.g. step; all of them.")
_BATCH = flags.DEFINE_integer("batch", None, "Pictures of the benchmark's training step.", 1)
_PICTURE = flags.DEFINE_string("picture", None, "PNG that gets a timeline of the training step.")
_STEP_MS = flags.DEFINE_list(
    "step-ms", None, "For --what scaling: ms of a device's step with 8 and with 32 images."
)
_VARIANTS = flags.DEFINE_list("variants", None, "Of an ablation; all of them.")
_SUBJECTS = flags.DEFINE_list("subjects", None, "Numbers of an ablation's people; the config's.")
_SEEDS = flags.DEFINE_integer("seeds", 2, "Runs of each variant of an ablation.")
_JOBS = flags.DEFINE_integer("jobs", 1, "Runs at a time on each device, of several.", 1)
_IMAGES = flags.DEFINE_multi_string("images", None, "Pictures, videos, patterns or folders.")
_OUT = flags.DEFINE_string("out", None, "Folder that gets the predicted or fitted hands.")
_BBOX = flags.DEFINE_string("bbox", None, "x,y,w,h around the hand, pixels; or 'whole'.")
_KEYPOINTS = flags.DEFINE_string("keypoints", None, "JSON with the keypoints of the pictures.")
_DETECTOR = flags.DEFINE_string("detector", None, "MediaPipe's hand_landmarker.task.")
_LEFT = flags.DEFINE_bool("left", False, "The hands are left ones.")
_FOCAL = flags.DEFINE_float("focal", None, "Focal length of the pictures, pixels.", 1.0)
_REFINE = flags.DEFINE_bool("refine", False, "Fit the predicted angles to the keypoints.")
_MESH_EVERY = flags.DEFINE_integer("mesh-every", 0, "Mesh of every n-th frame of a video.", 0)
_EVIDENCE = flags.DEFINE_multi_string("evidence", None, "Files or patterns to fit hands to.")
_JSON = flags.DEFINE_string("json", None, "File that gets the benchmark's numbers.")
_COORDINATOR = flags.DEFINE_string("coordinator", None, "host:port of the first process.")
_PROCESS_ID = flags.DEFINE_integer("process-id", None, "Index of this process.")
_PROCESS_COUNT = flags.DEFINE_integer("process-count", None, "How many train together.")

_OWN = ("dhm", "data_prep")  # loggers
_CACHE = ".jax_cache"
_REPORT = "report"
_ALL = ("train", "evaluate", "export", _REPORT)
_MEASURE = ("train", "evaluate")
_SWEEP, _ABLATE = "sweep", "ablate"
_PREDICT, _FIT = "predict", "fit"  # tasks on a trained model; words after them are more files
_SETTING = "--config."
# What the system says of a full, read-only, foreign or failing disk needs no traceback.
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


def _parse_flags(argv: list[str]) -> list[str]:
    """Parses the command line; a mistyped key or config file is a message, not a traceback."""
    try:
        # A sweep hands the settings on; here is no config that they could change.
        sweeps = argv[1:2] == [_SWEEP]
        own = [word for word in argv if not (sweeps and word.startswith(_SETTING))]
        rest = app.parse_flags_with_usage(own)
        if sweeps:
            return [*rest, *(word for word in argv if word.startswith(_SETTING))]
        getattr(_CONFIG.value, "to_dict", None)  # raises if the config file did not load
    except (AttributeError, KeyError, OSError) as error:
        sys.exit("error: " + " ".join(str(error).replace("\\n", " ").split()))
    return rest


def _show_own_messages() -> None:
    """Shows what dhm reports; of the libraries' messages only warnings."""
    absl_logging.set_verbosity(absl_logging.WARNING)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    for name in _OWN:
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).propagate = False
    _set_level(logging.INFO)


def _set_level(level: int) -> None:
    for name in _OWN:
        logging.getLogger(name).setLevel(level)


def _keep_compiled_programs(folder: Path) -> None:
    """Lets JAX keep what it compiles beside the run, for the next launch; its own setting wins."""
    import jax

    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(folder / _CACHE))


def _toy_records(folder: Path) -> Path:
    """Prepares a small capture at the paper's size of pictures, for the input's benchmark.

    In a process of its own, as a run finds its data: what has just prepared some reads slower.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(_prepare_toy_records, folder).result()


def _prepare_toy_records(folder: Path) -> Path:
    from data_prep.prepare import prepare
    from data_prep.toy.capture import write_toy_capture

    write_toy_capture(folder / "capture", num_cameras=8, frames_per_sequence=2)
    prepare(folder / "capture", 1, folder / "prepared", image_size=256)
    return folder / "prepared"


def _step_times() -> tuple[float, float] | None:
    """The two times that --step-ms gives."""
    if _STEP_MS.value is None:
        return None
    try:
        few, many = map(float, _STEP_MS.value)
    except ValueError:
        few, many = 0.0, 0.0
    if not 0 < few <= many < math.inf:
        found = repr(",".join(_STEP_MS.value))
        raise BadInputError("--step-ms", found, "two times in ms, with 8 and with 32 images: 6,16")
    return few, many


def _sweep(words: list[str]) -> None:
    """Runs the configs among the words of a command line, with the settings among them."""
    from dhm.runs.sweep import describe, sweep

    settings = [word for word in words if word.startswith(_SETTING)]
    configs = [Path(word) for word in words if word not in settings]
    launcher = (sys.executable, __file__)
    runs = Path(_WORKDIR.value or "runs")
    outcomes = sweep(launcher, configs, runs, settings, each=_JOBS.value)
    print(*(f"{outcome.name}: {describe(outcome)}" for outcome in outcomes), sep="\n")
    if any(outcome.exit_code for outcome in outcomes):
        sys.exit(1)


def _ablate() -> None:
    """Runs the variants of the config, with the command line's settings for all of them."""
    from dhm.runs.workdir import plain_config
    from dhm.studies.ablation.run import ablate
    from dhm.studies.ablation.tables import as_markdown
    from dhm.studies.ablation.variants import VARIANTS

    config = Path(config_flags.get_config_filename(flags.FLAGS["config"]))
    workdir = Path(_WORKDIR.value or Path("runs") / f"ablate_{config.stem}")
    settings = [word for word in sys.argv if word.startswith(_SETTING)]
    launcher = (sys.executable, __file__)
    variants = _VARIANTS.value or tuple(VARIANTS)
    try:
        subjects = [int(word) for word in _SUBJECTS.value or (_CONFIG.value.subject,)]
    except ValueError as error:
        raise BadInputError("--subjects", ",".join(_SUBJECTS.value), "numbers: 1,2") from error
    found = ablate(
        launcher, config, plain_config(_CONFIG.value), workdir,
        subjects=subjects, variants=variants, seeds=_SEEDS.value, settings=settings,
        each=_JOBS.value,
    )  # fmt: skip
    print(as_markdown(found))
    from dhm.studies.ablation.figures import write_ablation_page  # no JAX beside the runs

    page = write_ablation_page(workdir, found, variants=variants, subjects=subjects)
    print(f"\nPictures in {page}")


def _apply(task: str, more: list[str]) -> None:
    """Predicts or fits hands with a trained model; exits with 1 if some input was refused."""
    given, name = (_IMAGES, "--images") if task == _PREDICT else (_EVIDENCE, "--evidence")
    for flag, word in ((_WORKDIR, "--workdir"), (given, name), (_OUT, "--out")):
        if flag.value is None:
            raise app.UsageError(f"{word} is missing")
    workdir, out, files = Path(_WORKDIR.value), Path(_OUT.value), [*given.value, *more]
    if workdir.is_dir():  # of a mistyped one nothing is made
        _keep_compiled_programs(workdir.resolve().parent)
    if task == _PREDICT:
        refused = _predict(workdir, files, out)
    else:
        from dhm.evidence.fit import fit
        from dhm.evidence.input_files import find_files

        refused = fit(workdir, find_files("--evidence", files), out, _LEFT.value)
    if refused:
        sys.exit(1)


def _predict(workdir: Path, images: list[str], out: Path) -> int:
    from dhm.photos.detectors import MediapipeDetector
    from dhm.photos.locate import parse_bbox
    from dhm.photos.predict import PredictOptions, predict

    options = PredictOptions(
        bbox=_BBOX.value and parse_bbox(_BBOX.value),
        keypoints=_KEYPOINTS.value and Path(_KEYPOINTS.value),
        left=_LEFT.value,
        detector=_DETECTOR.value and MediapipeDetector(Path(_DETECTOR.value)),
        focal_px=_FOCAL.value,
        mesh_every=_MESH_EVERY.value,
        refine=_REFINE.value,
    )
    return predict(workdir, images, out, options)


def _workdir() -> Path:
    """The run's folder, by default after its config."""
    if _WORKDIR.value:
        return Path(_WORKDIR.value)
    return Path("runs") / Path(config_flags.get_config_filename(flags.FLAGS["config"])).stem


def _end(code: int) -> NoReturn:
    """Ends; where others train with this process, without waiting for them."""
    from dhm.training.processes import end

    end(code)


def main(argv: list[str]) -> None:
    """Runs the task that the command line names."""
    _show_own_messages()
    task = argv[1] if len(argv) > 1 else None
    own = (_PREDICT, _FIT)
    if task not in (None, "benchmark", "measure", _ABLATE, _SWEEP, *own, *_ALL) or (
        len(argv) > 2 and task not in (_SWEEP, *own)
    ):
        raise app.UsageError(f"unknown task {' '.join(argv[1:])}")
    if task == _REPORT and _CONFIG.value is None and _WORKDIR.value is None:
        raise app.UsageError("--workdir is missing, e.g. --workdir runs/demo")
    if task not in ("benchmark", _SWEEP, _REPORT, *own) and _CONFIG.value is None:
        raise app.UsageError("--config is missing, e.g. --config configs/tiny.py")
    try:  # Slow imports come after the flags: a mistyped one is refused at once.
        if task == "benchmark":
            from data_prep.toy.hand import make_toy_template
            from dhm.studies.benchmarks.report import benchmark

            file, picture = (name and Path(name) for name in (_JSON.value, _PICTURE.value))
            template = make_toy_template()
            benchmark(
                template, _toy_records, _WHAT.value, file, _step_times(), picture, _BATCH.value
            )
        elif task == _SWEEP:
            _sweep(argv[2:])
        elif task == _ABLATE:
            _ablate()
        elif task in own:
            _apply(task, argv[2:])
        elif _REPLAY.value is not None:
            from dhm.runs.tasks import replay

            replay(_CONFIG.value, Path(_REPLAY.value))
        elif task == _REPORT:
            from dhm.runs.tasks import report

            workdir = _workdir()
            if workdir.is_dir():  # of a mistyped one nothing is made
                _keep_compiled_programs(workdir.resolve().parent)
            report(_CONFIG.value, workdir)
        else:
            from dhm.training.processes import is_first, join

            join(_COORDINATOR.value, _PROCESS_ID.value, _PROCESS_COUNT.value)
            if not is_first():
                _set_level(logging.WARNING)
            from dhm.runs.tasks import run

            workdir = _workdir()
            _keep_compiled_programs(workdir.resolve().parent)
            chosen = _MEASURE if task == "measure" else (task,) if task else _ALL
            run(chosen, _CONFIG.value, workdir)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        _end(130)
    except Interrupted as interruption:
        print(interruption, file=sys.stderr)
        sys.exit(interruption.exit_code)
    except (DhmError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _OF_THE_DISK:
            raise
        print(f"error: {error}", file=sys.stderr)
        _end(1)


if __name__ == "__main__":
    keep_freed_memory()
    app.run(main, flags_parser=_parse_flags)
