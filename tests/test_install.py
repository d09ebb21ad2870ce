"""The package that `pip install .` gives: what it needs, what is in it, and that it works alone."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import dhm
from dhm.cli import installation
from dhm.export.package import save_model
from tests.conftest import REPOSITORY

_PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
_EXTRAS = _PROJECT["project"]["optional-dependencies"]


def _requirements(lines) -> set[str]:
    """Package and bounds of each line, with the extras of the project that lines name."""
    found = set()
    for line in lines:
        text = line.split("#")[0].strip()
        if not text:
            continue
        requirement = Requirement(text)
        if requirement.name == "dhm":
            for extra in requirement.extras:
                found |= _requirements(_EXTRAS[extra])
        else:
            found.add(str(requirement))
    return found


def _listed(name: str) -> set[str]:
    return _requirements((REPOSITORY / name).read_text().splitlines())


def test_requirements_are_those_of_the_core_and_the_extras():
    core = _requirements(_PROJECT["project"]["dependencies"])
    assert _listed("requirements.txt") == core | _requirements(_EXTRAS["all"])
    assert _listed("requirements-dev.txt") == _requirements(_EXTRAS["dev"])
    extras = set().union(*(_requirements(_EXTRAS[name]) for name in _EXTRAS if name != "dev"))
    assert _requirements(_EXTRAS["all"]) == extras


def test_a_package_has_the_same_bounds_everywhere():
    bounds = {}
    for line in sorted(_listed("requirements.txt") | _listed("requirements-dev.txt")):
        requirement = Requirement(line)
        assert bounds.setdefault(requirement.name, requirement.specifier) == requirement.specifier
        assert any(one.operator == "<" for one in requirement.specifier), line


def test_messages_name_extras_that_bring_the_missing_package():
    installed = packages_distributions()
    for module, extras in installation._EXTRAS.items():
        wanted = {canonicalize_name(name) for name in installed[module]}
        if module == "markupsafe":  # Jinja's own
            wanted = {"jinja2"}
        for extra in extras:
            brought = {Requirement(line).name for line in _requirements(_EXTRAS[extra])}
            assert wanted & {canonicalize_name(name) for name in brought}, (module, extra)


def _is_data(path: Path) -> bool:
    return path.is_file() and path.suffix not in (".py", ".pyc")


def test_every_file_that_is_no_module_is_package_data():
    patterns = _PROJECT["tool"]["setuptools"]["package-data"]["dhm"]
    package = REPOSITORY / "dhm"
    listed = {path for pattern in patterns for path in package.glob(pattern)}
    assert {path for path in package.rglob("*") if _is_data(path)} <= listed


def _run(*words, check: bool = True, **options) -> subprocess.CompletedProcess:
    """A process without the project's folder on its path."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, words)), env=environment, capture_output=True, text=True, check=False,
        **options,
    )  # fmt: skip
    assert not check or done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    reachable = _run(
        sys.executable, "-m", "pip", "download", "--no-deps", "--dest", folder / "index",
        "setuptools>=77", check=False,
    )  # fmt: skip
    if reachable.returncode:
        reason = reachable.stderr.strip().splitlines()[-1]
        pytest.skip(f"pip finds no packages, which a new environment needs: {reason}")
    # A copy: setuptools leaves build/ and dhm.egg-info/ where it builds.
    source = folder / "source"
    shutil.copytree(REPOSITORY / "dhm", source / "dhm", ignore=shutil.ignore_patterns("*.pyc"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source / name)
    _run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, source)
    return next(folder.glob("dhm-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The folder of the programs of a new environment with the wheel and the core's packages."""
    folder = tmp_path_factory.mktemp("environment")
    _run(sys.executable, "-m", "venv", folder)
    _run(folder / "bin" / "python", "-m", "pip", "install", "--quiet", wheel)
    return folder / "bin"


@pytest.mark.slow
def test_the_wheel_has_every_file_of_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    package = (path for path in (REPOSITORY / "dhm").rglob("*") if path.is_file())
    expected = {str(path.relative_to(REPOSITORY)) for path in package if path.suffix != ".pyc"}
    assert names == expected
    assert "dhm/py.typed" in names


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [
    ("pose_a_hand.py", "RUN"), ("render_depth.py",), ("fit_to_joints.py", "RUN"),
    ("animate.py", "RUN"), ("batched_kinematics.py",), ("train_loop.py", "RUN"),
], ids=lambda arguments: arguments[0])  # fmt: skip
def test_examples_run_with_the_core_alone(installed, toy_model, tmp_path, arguments):
    settings, model, variables = toy_model
    config = {"data": {"image_size": 32}}
    save_model(tmp_path / "run" / "export", variables, model.template, settings, config)
    name, *rest = arguments
    words = [tmp_path / "run" if word == "RUN" else word for word in rest]
    _run(installed / "python", REPOSITORY / "examples" / name, *words, cwd=tmp_path)


@pytest.mark.slow
def test_the_command_works_anywhere_and_names_the_extra_that_is_missing(installed, tmp_path):
    done = _run(installed / "dhm", "--version", cwd=tmp_path)
    assert done.stdout.strip() == f"dhm {dhm.__version__}"
    words = ("predict", "--workdir", "run", "--images", "a.jpg", "--out", "hands")
    refused = _run(installed / "dhm", *words, cwd=tmp_path, check=False)
    assert refused.returncode == 1
    assert 'pip install "dhm[photo]"' in refused.stderr
    assert "Traceback" not in refused.stderr
