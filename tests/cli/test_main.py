"""The command line in this process: what it refuses, what it hands over, and what it prints."""

import glob
import re
import shlex
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

import dhm
from dhm.cli import installation, run_commands, study_commands
from dhm.cli.config_flag import read_config
from dhm.cli.flags import FLAGS, UsageError, split_command
from dhm.cli.main import _ALL, COMMANDS, main
from dhm.errors import DhmError, Interrupted
from dhm.export.package import save_model
from dhm.studies.benchmarks import report
from tests.conftest import REPOSITORY

TINY = str(REPOSITORY / "configs" / "tiny.py")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def calls(monkeypatch):
    """What commands are called with, instead of what they do."""
    found: list[Namespace] = []
    for name, command in _ALL.items():
        monkeypatch.setitem(
            _ALL, name, command._replace(run=lambda arguments: (found.append(arguments), 0)[1])
        )
    return found


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("frobnicate", 2, "error: unknown task frobnicate (flags: "),
        ("report --workdir x --jobs 2", 2, "--jobs is a flag of sweep, ablate, not of report"),
        ("--config TINY --seeds 2", 2, "--seeds is a flag of ablate, not of the whole job"),
        ("predict --config TINY", 2, "--config is a flag of train, evaluate, export, report, "),
        ("fit --config.subject=2", 2, "--config.key is a flag of "),
        ("evaluate", 2, "error: --config is missing"),
        ("measure --workdir x", 2, "error: --config is missing"),
        ("ablate", 2, "error: --config is missing"),
        ("export", 2, "error: --workdir is missing, e.g. --workdir runs/demo, or --config"),
        ("predict --workdir x --out o", 2, "error: --images is missing"),
        ("predict --workdir x --images a", 2, "error: --out is missing"),
        ("predict --images a --out o", 2, "error: --workdir is missing"),
        ("fit --workdir x --out o", 2, "error: --evidence is missing"),
        ("predict --focal 0.5", 2, "--focal: found '0.5', expected a number from 1.0 on"),
        ("predict --focal nan", 2, "--focal: found 'nan', expected a number from 1.0 on"),
        ("predict --mesh-every -1", 2, "--mesh-every: found '-1', expected a whole number from 0"),
        ("sweep --jobs two", 2, "--jobs: found 'two', expected a whole number from 1 on"),
        ("train --config TINY --process-id a", 2, "--process-id: found 'a', expected a whole"),
        ("train --workdir", 2, "--workdir: expected one argument"),
        ("ablate --config TINY --config.train.epochs 2", 2, "write it as --config.key=value"),
        ("benchmark --step-ms six,16", 1, "--step-ms: found 'six,16', expected two times in ms"),
        ("--config TINY --config.train.batch_size", 1, "batch_size"),
        ("--config TINY --config.data.image_size=9000", 1,
         "config.data.image_size: found 9000, expected 32 to"),
        ("--config TINY --config.train.batch_size=0", 1,
         "config.train.batch_size: found 0, expected 1 or more"),
        ("--config TINY --config.encoder.depth=51", 1,
         "config.encoder.depth: found 51, expected one of 18, 34"),
    ],
)  # fmt: skip
def test_wrong_commands_are_refused_in_a_line(words, code, message, capsys, home):
    assert main(words.replace("TINY", TINY).split()) == code
    said = capsys.readouterr()
    assert message in said.err and said.err.startswith("error: "), said.err
    assert len(said.err.strip().splitlines()) == 1 and not said.out
    assert not any(home.iterdir())


@pytest.mark.parametrize("task", [None, "train", "evaluate", "export", "report", "measure"])
def test_the_flags_of_a_run_in_any_order(task, calls):
    own = ["--workdir=x", "--config.train.epochs", "3", "--config", TINY, "--config.subject=2"]
    for at in {0, 1, 3, 5, 6} if task else {0}:
        assert main([*own[:at], *([task] if task else []), *own[at:]]) == 0
        given = calls.pop()
        assert given.workdir == Path("x")
        assert (given.config.config.train.epochs, given.config.config.subject) == (3, 2)
        assert given.config.file == Path(TINY)
        assert set(given.config.keys) == {"train.epochs", "subject"}


def test_settings_keep_the_types_of_the_config(calls):
    words = ["--config.studio.varied", "--config.encoder.head_hidden=(8,9)",
             "--config.profile.steps=(20, 25)", "--config.train.learning_rate=1e-3",
             "--config.data.test_sequences=a|b", "--config.decoder.correctives=('pose',)",
             "--noconfig.decoder.stop_pose_gradient"]  # fmt: skip
    main(["train", "--config", TINY, *words])
    config = calls[0].config.config
    assert config.studio.varied is True and config.decoder.stop_pose_gradient is False
    assert (config.encoder.head_hidden, config.profile.steps) == ((8, 9), (20, 25))
    assert (config.train.learning_rate, config.data.test_sequences) == (1e-3, "a|b")
    assert config.decoder.correctives == ("pose",)


def test_a_switch_of_the_config_may_stand_before_the_command(calls):
    main(["--config", TINY, "--config.studio.varied", "evaluate"])
    assert calls[0].config.config.studio.varied is True


@pytest.mark.mistake(
    "predict, flags", "a pattern without quotes, which the shell expands", "understood"
)
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("predict --images a b --out o c d", (["a"], ["b", "c", "d"])),
        ("--images=a predict b --out o", (["a"], ["b"])),
        ("--images a predict b --out=o", (["a"], ["b"])),
        ("predict --images a --images b c", (["a", "b"], ["c"])),
    ],
)
def test_words_behind_predict_are_more_pictures(words, expected, calls):
    assert main(words.split()) == 0
    assert (calls[0].images, calls[0].words) == expected


def test_the_flags_of_predict(calls):
    words = ("predict --workdir runs/x --images p --out o --bbox -3,2,50,45 --focal 900 --left "
             "--refine --mesh-every 5 --keypoints k.json --detector d.task")  # fmt: skip
    assert main(words.split()) == 0
    (given,) = calls
    assert (given.bbox, given.focal, given.mesh_every) == ("-3,2,50,45", 900.0, 5)
    assert given.left and not given.right and given.refine and given.meshes and given.overlay
    assert (given.keypoints, given.detector) == (Path("k.json"), Path("d.task"))


@pytest.mark.mistake("predict, flags", "--left and --right together, or --noleft", "refused")
def test_the_sides_exclude_each_other(capsys):
    words = "predict --workdir runs/x --images p --out o --bbox whole --left --right"
    assert main(words.split()) == 2
    assert "--left and --right exclude each other" in capsys.readouterr().err
    assert main([*words.split()[:-2], "--noleft"]) == 2
    assert "--noleft" in capsys.readouterr().err


def test_predict_can_leave_out_meshes_and_overlay(calls):
    words = "--no-meshes --no-overlay --workdir r --images p --out o"
    assert main(["predict", *words.split()]) == 0
    assert not calls[0].meshes and not calls[0].overlay


def test_a_sweep_hands_settings_and_files_on(calls):
    words = ["--config.train.epochs=2", "--jobs", "2", "--workdir", "r", "b.py"]
    assert main(["sweep", "a.py", *words]) == 0
    (given,) = calls
    assert given.settings == ("--config.train.epochs=2",) and given.words == ["a.py", "b.py"]
    assert (given.jobs, given.workdir) == (2, Path("r"))


def test_lists_are_split_at_commas(calls):
    main(["ablate", "--config", TINY, "--variants", "full,no_pose", "--subjects=1,2"])
    main(["benchmark", "--what", "scaling", "--step-ms", "6,16"])
    ablation, benchmark = calls
    assert (ablation.variants, ablation.subjects) == (["full", "no_pose"], ["1", "2"])
    assert (benchmark.what, benchmark.step_ms) == ("scaling", ["6", "16"])


@pytest.mark.mistake(
    "launch.py", "`~` behind an equal sign, which a shell leaves as it is", "understood"
)
def test_every_path_may_begin_with_the_home_of_the_user(calls, monkeypatch, home):
    monkeypatch.setenv("HOME", str(home / "me"))
    (home / "me").mkdir()
    (home / "me" / "mine.py").write_bytes(Path(TINY).read_bytes())
    main(["train", "--config=~/mine.py", "--workdir=~/run", "--replay=~/r",
          "--config.capture=~/capture"])  # fmt: skip
    given = calls.pop()
    assert given.config.file == home / "me" / "mine.py"
    assert (given.workdir, given.replay) == (home / "me" / "run", home / "me" / "r")
    assert given.config.config.capture == str(home / "me" / "capture")
    main(["predict", "--images=~/*.jpg", "--images", "a.jpg", "--out=~/o", "--keypoints=~/k",
          "--detector=~/d"])  # fmt: skip
    given = calls.pop()
    assert given.images == [str(home / "me" / "*.jpg"), "a.jpg"]
    assert all(path.parent == home / "me" for path in (given.out, given.keypoints, given.detector))


def _documented_commands():
    """The command lines in README.md, docs/ and configs/, but for those with gaps."""
    files = [REPOSITORY / "README.md", *REPOSITORY.glob("docs/*.md"), *REPOSITORY.glob("configs/*")]
    found = set()
    for file in filter(Path.is_file, files):
        found |= set(re.findall(r"(?:python launch\.py|^ *dhm) ([^`\n]+)", file.read_text(), re.M))
    return sorted(one for one in found if "..." not in one and "|evaluate" not in one)


@pytest.mark.parametrize("words", _documented_commands())
def test_every_documented_command_is_understood(words, calls, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    words = re.sub(r"[\[\]]", "", words).replace("configs/x.py", "configs/tiny.py")
    words = words.replace("$JOB_COMPLETION_INDEX", "1")
    argv = [
        one
        for word in shlex.split(words)
        for one in (glob.glob(word) if word.startswith("configs/subject*") else [word])
    ]
    assert main(argv) == 0
    assert len(calls) == ("--help" not in argv)


def test_every_flag_is_used_and_every_command_explains_itself(capsys):
    used = {flag for command in _ALL.values() for flag in command.flags}
    assert used == FLAGS.keys()
    assert main(["--help"]) == 0
    overview = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(command.summary)}$", overview, re.MULTILINE)
        assert main([name, "--help"]) == 0
        text = capsys.readouterr().out
        assert all(flag in text for flag in command.flags)
        assert " ".join(command.description.split())[:40] in " ".join(text.split())


def test_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"dhm {dhm.__version__}\n"


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["predict", "--workdir", "x"]])
def test_help_and_refusals_load_nothing_slow(words):
    code = (
        "import sys\nfrom dhm.cli.main import main\nmain(sys.argv[1:])\n"
        "slow = {'jax', 'numpy', 'ml_collections', 'absl'} & sys.modules.keys()\n"
        "assert not slow, slow"
    )
    subprocess.run(
        [sys.executable, "-c", code, *words], cwd=REPOSITORY, check=True, capture_output=True
    )


@pytest.mark.parametrize(
    ("missing", "command", "said"),
    [
        ("cv2", "train", 'train needs the package cv2, which is not installed: pip install '
                         '"dhm[train]"'),
        ("cv2.foo", "predict", 'pip install "dhm[photo]"'),
        ("jinja2", "evaluate", 'evaluate needs the package jinja2, which is not installed: '
                               'pip install "dhm[report]"'),
        ("orbax.checkpoint", "report", 'pip install "dhm[report]"'),
        ("data_prep.toy", "benchmark", "benchmark needs configs/ and data_prep/, which a clone"),
        ("configs", None, "training needs configs/ and data_prep/, which a clone of the project"),
    ],
)  # fmt: skip
def test_what_is_not_installed_is_said_in_a_line(missing, command, said, monkeypatch, capsys):
    def run(arguments):
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    monkeypatch.setitem(_ALL, command, _ALL[command]._replace(run=run, config="optional"))
    assert main([command] if command else []) == 1
    found = capsys.readouterr().err
    assert said in found and found.startswith("error: ") and found.count("\n") == 1


def test_a_module_of_the_project_s_own_is_no_package_to_install(monkeypatch):
    def run(arguments):
        raise ModuleNotFoundError("No module named 'dhm.gone'", name="dhm.gone")

    monkeypatch.setitem(_ALL, "report", _ALL["report"]._replace(run=run))
    with pytest.raises(ModuleNotFoundError):
        main(["report"])


@pytest.mark.parametrize("words", [["sweep", "a.py"], ["ablate", "--config", TINY]])
def test_outside_of_a_clone_what_needs_one_says_so(words, monkeypatch, capsys, home):
    monkeypatch.setattr(installation, "_ROOT", home)
    assert main(words) == 1
    assert "which a clone of the project has" in capsys.readouterr().err


def test_benchmark_outside_of_a_clone_has_a_hand_but_no_records(monkeypatch, home):
    given = []
    monkeypatch.setattr("dhm.cli.study_commands.has_clone", lambda: False)
    monkeypatch.setattr("dhm.studies.benchmarks.report.benchmark", lambda *a: given.extend(a))
    assert main(["benchmark", "--what", "losses"]) == 0
    template, prepare, what, *_ = given
    assert (template.num_vertices, prepare, what) == (12_583, None, "losses")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (Interrupted(15, " at step 3; saved"), 143, "SIGTERM at step 3; saved\n"),
        (DhmError("it is so"), 1, "error: it is so\n"),
        (OSError(28, "No space left on device"), 1, "error: [Errno 28] No space left on device\n"),
    ],
)
def test_exit_codes(error, code, said, monkeypatch, capsys):
    def run(arguments):
        raise error

    monkeypatch.setitem(_ALL, "report", _ALL["report"]._replace(run=run))
    assert main(["report"]) == code
    assert capsys.readouterr().err == said


def test_other_errors_of_the_system_are_faults_of_the_program(monkeypatch):
    def run(arguments):
        raise OSError(22, "Invalid argument")

    monkeypatch.setitem(_ALL, "report", _ALL["report"]._replace(run=run))
    with pytest.raises(OSError, match="Invalid"):
        main(["report"])


def test_the_words_of_a_command_line_are_told_apart():
    words = ["--workdir", "w", "--left", "fit", "--config.a", "1", "--config=x", "--evidence", "e"]
    command, config, others = split_command(words, COMMANDS)
    assert (command, config) == ("fit", ["--config=x", "--config.a", "1"])
    assert others == ["--workdir=w", "--left", "--evidence=e"]


def test_a_config_file_that_fails_is_named(home):
    (home / "bad.py").write_text("def get_config():\n    raise ValueError('no such luck')\n")
    with pytest.raises(DhmError, match=r"bad\.py:2: found ValueError: no such luck"):
        read_config(["--config=bad.py"])
    with pytest.raises(UsageError, match="surplus"):
        read_config([f"--config={TINY}", "surplus"])
    assert read_config([]) is None


def test_without_a_clone_a_run_takes_prepared_records_alone(monkeypatch):
    monkeypatch.setattr(run_commands, "has_clone", lambda: False)
    monkeypatch.setattr(installation, "has_clone", lambda: False)
    source = run_commands.data_source()
    with pytest.raises(DhmError, match=r"\(config\.prepared\) needs configs/ and data_prep/"):
        source.records(None)
    with pytest.raises(DhmError, match=r"\(config\.mano\.path\) needs configs/ and data_prep/"):
        source.linear_model()


@pytest.mark.slow
def test_without_a_clone_a_benchmark_takes_the_hand_of_a_run(monkeypatch, home, toy_model):
    settings, model, variables = toy_model
    save_model(home / "run" / "export", variables, model.template, settings, {})
    called = []
    monkeypatch.setattr(report, "benchmark", lambda *arguments: called.append(arguments))
    monkeypatch.setattr(study_commands, "has_clone", lambda: False)
    assert main(["benchmark", "--workdir", "run", "--what", "raster"]) == 0
    ((template, prepare, what, *_),) = called
    assert (prepare, what) == (None, "raster")
    assert template.num_vertices == model.template.num_vertices
