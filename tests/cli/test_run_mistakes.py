"""Likely mistakes in the commands of runs: refused in a line, before anything is made."""

import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import pytest
from pytest import mark, param

from dhm.cli.main import main
from tests.conftest import REPOSITORY
from tests.launcher import command, environment

TINY = str(REPOSITORY / "configs" / "tiny.py")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _refusal(words: list[str], code: int, capsys) -> str:
    """What a command says that refuses to work."""
    assert main(words) == code
    said = capsys.readouterr()
    assert said.err.startswith("error: ") and said.err.count("\n") == 1, said.err
    assert not said.out
    return said.err


@mark.parametrize(
    ("words", "code", "message"),
    [
        param("", 2, "--config is missing, e.g. --config configs/tiny.py",
              marks=mark.mistake("launch.py", "no config", "refused, with an example")),
        param("trian --config TINY", 2, "unknown task trian; did you mean train?",
              marks=mark.mistake("launch.py", "a misspelt command",
                                 "refused, with the command that is meant")),
        param("train report --config TINY", 2, "unrecognized arguments: report",
              marks=mark.mistake("launch.py", "two commands at once", "refused")),
        param("train --config TINY --workdirr x", 2, "no flag --workdirr; did you mean --workdir?",
              marks=mark.mistake("launch.py", "a misspelt flag",
                                 "refused, with the flag that is meant")),
        param("train --config TINY --images x", 2, "--images is a flag of predict, not of train",
              marks=mark.mistake("launch.py", "a flag of another command",
                                 "refused, with the commands that have it")),
        param("train TINY", 2, "unrecognized arguments: ",
              marks=mark.mistake("launch.py", "a config file without --config", "refused")),
        param("--config TINY --config TINY", 2, "--config is given twice",
              marks=mark.mistake("launch.py", "two config files",
                                 "refused; a sweep takes several")),
        param("--config.train.epochs=2", 2, "--config.train.epochs=2: --config is missing",
              marks=mark.mistake("launch.py", "settings without a config file", "refused")),
        param("--config tinny.py", 1, "tinny.py: found no such file, expected a config file",
              marks=mark.mistake("config files", "a file that is not there", "refused")),
        param("--config configs.tiny", 1, "configs.tiny: found no such file, expected a config f",
              marks=mark.mistake("config files", "the name of a module, configs.tiny",
                                 "refused, with the form of a file's name")),
        param("--config CONFIGS", 1, "configs: found a folder, expected a config file",
              marks=mark.mistake("config files", "a folder", "refused")),
        param("--config CONFIGS/../README.md", 1, "README.md: found no Python file",
              marks=mark.mistake("config files", "a file of another kind",
                                 "refused")),
        param("--config TINY --config.train.batch_sise=8", 1,
              "config.train.batch_sise; did you mean --config.train.batch_size?",
              marks=mark.mistake("config settings", "misspelt",
                                 "refused, with the setting that is meant")),
        param("--config TINY --config.epochs=8", 1, "did you mean --config.train.epochs?",
              marks=mark.mistake("config settings", "without its section: --config.epochs",
                                 "refused, with the setting that is meant")),
        param("--config TINY --config.train.batch_size=many", 1, "invalid literal for int()",
              marks=mark.mistake("config settings", "text for a number", "refused")),
        param("--config TINY --config.train.epochs=2.5", 1, "invalid literal for int()",
              marks=mark.mistake("config settings", "a fraction for a whole number", "refused")),
        param("--config TINY --config.train.learning_rate=0,001", 1, "could not convert string",
              marks=mark.mistake("config settings", "a decimal comma", "refused")),
        param("--config TINY --config.train.learning_rate=-1e-3", 1,
              "config.train.learning_rate: found -0.001, expected a positive number",
              marks=mark.mistake("config settings", "an impossible number",
                                 "refused, with what is possible")),
        param("--config TINY --config.train.optimiser=sgd", 1,
              "config.train.optimiser: found 'sgd', expected one of adam, muon",
              marks=mark.mistake("config settings", "a name that is none of the choices",
                                 "refused, with the choices")),
        param("--config TINY --config.data.test_sequences=['fist','spread']", 1,
              "expected a regular expression, such as 'a|b'",
              marks=mark.mistake("config settings",
                                 "a list as the pattern of sequences: ['a', 'b'], one of letters "
                                 "as a regular expression",
                                 "refused, with the form that is right")),
        param("--config TINY --config.data.test_sequences=0001*", 1,
              "config.data.test_sequences: found '0001*', expected a regular expression",
              marks=mark.mistake("config settings",
                                 "a pattern of files, `0001*`, as that of sequences", "refused")),
        param("--config TINY --config.profile.steps=(9,3)", 1,
              "config.profile.steps: found (9, 3), expected () or (first, last) step",
              marks=mark.mistake("config settings", "the first and last step of a profile swapped",
                                 "refused")),
        param("--config TINY --config.capture=nowhere", 1,
              "config.capture: found nowhere, expected an existing folder",
              marks=mark.mistake("train", "a capture that is not there", "refused")),
        param("--config TINY --config.capture=. --config.studio.frames=9", 1,
              "config.studio.frames: found a setting without effect, expected none, as the data",
              marks=mark.mistake("config settings",
                                 "without effect: the studio's beside a capture, epochs of drops "
                                 "beside a cosine",
                                 "refused on the command line")),
        param("--config TINY --config.encoder.weights=resnet.pth", 1,
              "config.encoder.weights: found resnet.pth, expected an existing file",
              marks=mark.mistake("pretrained weights", "a file that is not there", "refused")),
        param("--config TINY --config.decoder.trained=x --config.loss.depth=2.0", 1,
              "config.loss.depth: found a setting without effect, expected none, as this run",
              marks=mark.mistake("train, a trained decoder",
                                 "weights of losses that such a run does not have",
                                 "refused on the command line")),
        param("--config TINY --replay gone.msgpack", 1, "gone.msgpack: found ",
              marks=mark.mistake("train, --replay", "a file that is not there", "refused")),
        param("train --config TINY --process-id 1", 1, "--coordinator: found nothing, expected",
              marks=mark.mistake("train, several processes", "no --coordinator", "refused")),
        param("evaluate --config TINY --workdir x", 1, "x holds no checkpoint: train first",
              marks=mark.mistake("evaluate", "before any training, or another workdir",
                                 "refused: train first")),
        param("report --workdir nowhere", 1, "nowhere/config.json: found no such file",
              marks=mark.mistake("report", "a wrong workdir",
                                 "refused, and nothing is made there")),
        param("report", 2, "--workdir is missing, e.g. --workdir runs/demo",
              marks=mark.mistake("report", "no workdir", "refused, with an example")),
        param("export --workdir nowhere", 1, "nowhere/config.json: found no such file",
              marks=mark.mistake("export", "a wrong workdir",
                                 "refused, and nothing is made there")),
        param("sweep --config.train.epochs=2", 1, "sweep: found no config, expected files",
              marks=mark.mistake("sweep", "no config file", "refused")),
        param("sweep 'configs/subjct*.py'", 1, "found no such file, expected a config file",
              marks=mark.mistake("sweep", "a pattern that matches nothing", "refused")),
        param("sweep a.py --config.train.epochs 2", 2, "write it as --config.key=value",
              marks=mark.mistake("sweep", "a setting without its equal sign", "refused")),
        param("sweep --config TINY", 2, "--config is a flag of train, evaluate, export, report, ",
              marks=mark.mistake("sweep", "--config before a file", "refused")),
        param("sweep TINY --jobs 0", 2, "--jobs: found '0', expected a whole number from 1 on",
              marks=mark.mistake("sweep", "no or a negative number of --jobs", "refused")),
        param("ablate --config TINY --subjects one", 1, "--subjects: found one, expected numbers",
              marks=mark.mistake("ablate", "subjects by name", "refused")),
        param("ablate --config TINY --variants full,no_thumb", 1, "--variants: found 'no_thumb'",
              marks=mark.mistake("ablate", "a variant that does not exist",
                                 "refused, with those that do")),
        param("ablate --config TINY --seeds 0", 1, "--seeds: found 0, expected 1 or more",
              marks=mark.mistake("ablate", "no seeds", "refused")),
        param("benchmark --batch 0", 2, "--batch: found '0', expected a whole number from 1 on",
              marks=mark.mistake("benchmark", "a batch of 0", "refused")),
        param("benchmark --step-ms 16,6", 1, "--step-ms: found '16,6', expected two times in ms",
              marks=mark.mistake("benchmark", "the two times of --step-ms swapped", "refused")),
        param("benchmark --workdir x", 1, "x: found no such folder, expected an exported model",
              marks=mark.mistake("benchmark", "a wrong workdir", "refused")),
    ],
)  # fmt: skip
def test_mistakes_on_the_command_line(words, code, message, capsys, home):
    words = words.replace("TINY", TINY).replace("CONFIGS", str(REPOSITORY / "configs"))
    assert message in _refusal(words.replace("'configs", "configs").split(), code, capsys)
    assert not any(home.iterdir())


_CHANGED = """from configs import tiny


def get_config():
    config = tiny.get_config()
    {}
    return config
"""


@mark.parametrize(
    ("text", "message"),
    [
        param("def get_config(:\n    pass\n", "mine.py:1: found SyntaxError: ",
              marks=mark.mistake("config files", "a syntax error", "refused, with its line")),
        param("from configs import demoo\n", "mine.py:1: found ImportError: cannot import name",
              marks=mark.mistake("config files", "an import of what is not there",
                                 "refused, with its line")),
        param(_CHANGED.format("config.train.epochs = thirty"),
              "mine.py:6: found NameError: name 'thirty' is not defined",
              marks=mark.mistake("config files", "an undefined name", "refused, with its line")),
        param("epochs = 3\n", "mine.py: found no function get_config",
              marks=mark.mistake("config files", "no get_config", "refused")),
        param(_CHANGED.format("").replace("return config", "pass"),
              "found a NoneType as the result of get_config, expected a ConfigDict: `return con",
              marks=mark.mistake("config files", "no `return config`", "refused")),
        param(_CHANGED.format("config.train.learning_rate = '1e-3'"),
              "mine.py:6: found TypeError: ",
              marks=mark.mistake("config files", "the learning rate as a text",
                                 "refused, with its line")),
        param(_CHANGED.format("config.train.epochs = 2.5"), "mine.py:6: found TypeError: ",
              marks=mark.mistake("config files", "a fraction of epochs", "refused, with its line")),
        param(_CHANGED.format("config.train.learningrate = 1e-3"),
              "config.train.learningrate: found a field that nothing reads, expected the fields",
              marks=mark.mistake("config files", "a misspelt setting", "refused")),
        param(_CHANGED.format("config.train = dict(epochs=3)"),
              "config.",
              marks=mark.mistake("config files", "a section that replaces all of its settings",
                                 "refused")),
    ],
)  # fmt: skip
def test_mistakes_in_a_config_file(text, message, capsys, home):
    (home / "mine.py").write_text(text)
    assert message in _refusal(["train", "--config", "mine.py"], 1, capsys)
    assert not (home / "runs").exists()


@mark.mistake("sweep", "a wrong setting or a syntax error in one of the configs",
              "refused before a run begins, with the file")  # fmt: skip
def test_a_sweep_begins_with_none_if_one_config_cannot_run(capsys, home):
    wrong = home / "wrong.py"
    for change, message in (
        ("config.train.epochs = 0", "wrong.py: config.train.epochs: found 0, expected 1 or more"),
        ("config.train.epochs =", "wrong.py:6: found SyntaxError"),
    ):
        wrong.write_text(_CHANGED.format(change))
        assert message in _refusal(["sweep", TINY, "wrong.py"], 1, capsys)
    refused = _refusal(["sweep", TINY, "--config.train.batch_sise=8"], 1, capsys)
    assert "did you mean --config.train.batch_size?" in refused
    assert not (home / "runs").exists()


@mark.mistake("ablate", "a variant that has no effect: another studio's template for a capture",
              "refused before a run begins")  # fmt: skip
def test_an_ablation_begins_with_none_if_one_variant_cannot_run(capsys, home):
    (home / "capture").mkdir()
    words = ["ablate", "--config", TINY, "--config.capture=capture", "--variants=full,coarse"]
    assert "config.studio.template: found a setting without effect" in _refusal(words, 1, capsys)
    assert not (home / "runs").exists()


@mark.parametrize(
    "words",
    [
        param("train --config TINY --workdir results",
              marks=mark.mistake("train", "a file as --workdir", "refused")),
        param("evaluate --config TINY --workdir results"),
        param("export --workdir results",
              marks=mark.mistake("export", "a file as --workdir", "refused")),
        param("report --workdir results",
              marks=mark.mistake("report", "a file as --workdir", "refused")),
        param("sweep TINY --workdir results",
              marks=mark.mistake("sweep", "a file as --workdir", "refused")),
    ],
)  # fmt: skip
def test_a_file_is_no_workdir(words, capsys, home, monkeypatch):
    monkeypatch.setattr("dhm.runs.sweep.device_slots", lambda each: [{}])
    (home / "results").write_text("mine")
    assert "results" in _refusal(words.replace("TINY", TINY).split(), 1, capsys)
    assert (home / "results").read_text() == "mine"


@mark.mistake("launch.py", "JAX_PLATFORMS misspelt, or a platform that is not there",
              "refused, with its value")  # fmt: skip
def test_a_platform_that_is_not_there_is_named(home):
    done = subprocess.run(
        command("train", "--config", TINY), cwd=home, env=environment(JAX_PLATFORMS="gpuu"),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and not (home / "runs").exists()
    assert "error: JAX_PLATFORMS='gpuu': " in done.stderr and "Traceback" not in done.stderr


@mark.mistake("launch.py", "a misspelt flag in XLA_FLAGS", "refused by XLA, which names the flag")
def test_an_unknown_flag_of_xla_is_named(home):
    done = subprocess.run(
        [sys.executable, "-c", "import jax; jax.devices()"], cwd=home,
        env={**os.environ, "XLA_FLAGS": "--xla_force_host_device_count=4"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0 and "--xla_force_host_device_count=4" in done.stderr


@mark.mistake("train", "a batch or pictures too large for the memory of the device", "refused")
def test_too_little_memory_is_said(capsys, monkeypatch):
    monkeypatch.setattr("dhm.runs.tasks.run", lambda *_: jnp.zeros(1 << 45).block_until_ready())
    refused = _refusal(["train", "--config", TINY], 1, capsys)
    assert "the device has too little memory, a smaller batch needs less" in refused


@mark.mistake("launch.py", "another working folder than the clone",
              "understood: data/ and runs/ are in the working folder")  # fmt: skip
def test_the_workdir_is_below_the_working_folder(home, monkeypatch):
    made = []
    monkeypatch.setattr("dhm.runs.tasks.run", lambda *of: made.append(of[2]))
    assert main(["train", "--config", TINY]) == 0
    assert made == [Path("runs/tiny")]
