"""The import arrows of docs/architecture.md, read off the source."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# What each room may import from inside the project, besides itself.
_BASE = {"dhm.types", "dhm.errors", "dhm.files", "dhm.arguments"}
_MODEL = _BASE | {"dhm.geometry", "dhm.rendering", "dhm.fitting", "dhm.networks"}
ALLOWED = {
    "dhm.types": set(),
    "dhm.errors": set(),
    "dhm.files": set(),
    "dhm.arguments": {"dhm.errors"},
    "dhm.formats": _BASE,
    "dhm.geometry": _BASE,
    "dhm.rendering": _BASE | {"dhm.geometry"},
    "dhm.losses": _BASE | {"dhm.geometry"},
    "dhm.fitting": _BASE | {"dhm.geometry"},
    "dhm.networks": _BASE | {"dhm.geometry", "dhm.fitting"},
    "dhm.data": _BASE | {"dhm.formats", "dhm.geometry"},
    "dhm.training": _MODEL | {"dhm.losses"},
    "dhm.evaluation": _MODEL | {"dhm.data", "dhm.formats"},
    "dhm.export": _MODEL | {"dhm.data", "dhm.formats"},
    "dhm.report": _MODEL | {"dhm.data", "dhm.formats", "dhm.evaluation", "dhm.export"},
    "dhm.evidence": _MODEL | {"dhm.data", "dhm.formats", "dhm.export"},
    "dhm.photos": _MODEL | {"dhm.data", "dhm.formats", "dhm.export", "dhm.evidence"},
    "dhm.runs": _MODEL | {"dhm.losses", "dhm.data", "dhm.formats", "dhm.training",
                          "dhm.evaluation", "dhm.export", "dhm.report"},
    "dhm.studies": _MODEL | {"dhm.losses", "dhm.data", "dhm.formats", "dhm.training",
                             "dhm.evaluation", "dhm.export", "dhm.report", "dhm.photos",
                             "dhm.runs"},
    "data_prep": _BASE | {"dhm.formats", "dhm.geometry", "dhm.rendering", "dhm.fitting",
                          "dhm.data"},
    "configs": set(),
    # The command line alone knows both.
    "dhm.cli": {"dhm.errors", "dhm.formats", "dhm.runs", "dhm.studies", "dhm.photos",
                "dhm.evidence", "dhm.training", "data_prep"},
    "launch": {"dhm.cli"},
    # The library's face, which imports what is asked for.
    "dhm.__init__": _MODEL | {"dhm.losses", "dhm.export"},
}  # fmt: skip
# Third-party packages that only some rooms may name.
ONLY_IN = {
    "flax": {"dhm.networks", "dhm.losses", "dhm.training", "dhm.export"},
    "tensorflow_datasets": {"dhm.data", "data_prep"},
    "grain": {"dhm.data"},
    "cv2": {"dhm.studies", "dhm.data", "dhm.formats", "dhm.photos", "dhm.export", "data_prep"},
    "PIL": {"dhm.formats"},
    "igl": {"dhm.evaluation", "data_prep"},
    "ml_collections": {"configs", "dhm.runs", "dhm.cli", "data_prep"},
    "absl": {"dhm.cli"},
    "jinja2": {"dhm.report"},
    "markupsafe": {"dhm.report"},
    "tensorboardX": {"dhm.training", "dhm.report"},
    "trimesh": {"dhm.formats"},
    "matplotlib": set(),
    "tensorflow": set(),
    "pickle": {"dhm.formats"},
}  # fmt: skip


def _room(module: str) -> str:
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "dhm" else parts[0]


def _sources():
    files = [*ROOT.glob("dhm/**/*.py"), *ROOT.glob("data_prep/**/*.py"), *ROOT.glob("configs/*.py")]
    for file in [*files, ROOT / "launch.py"]:
        yield ".".join(file.relative_to(ROOT).with_suffix("").parts), file


def _imports(file: Path):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield node.module
            if node.module == "dhm":
                yield from (f"dhm.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(("module", "file"), list(_sources()), ids=lambda value: str(value))
def test_imports_follow_the_arrows(module, file):
    room = _room(module)
    assert room in ALLOWED, f"{module} belongs to no room"
    for name in _imports(file):
        top = name.split(".")[0]
        if top in ("dhm", "data_prep", "configs", "tests"):
            target = _room(name)
            assert target in ALLOWED[room] | {room, "dhm"}, f"{module} imports {name}"
        if top in ONLY_IN:
            assert room in ONLY_IN[top], f"{module} imports {name}"


def test_the_arrows_go_one_way():
    TopologicalSorter(ALLOWED).prepare()  # raises if they meet


@pytest.mark.parametrize("package", ["dhm.training.loop", "dhm.training.step", "dhm.rendering"])
def test_the_step_needs_no_data_or_viewing_packages(package):
    code = (
        f"import sys, {package}; "
        "bad = {'tensorflow_datasets', 'trimesh', 'cv2', 'matplotlib', 'grain', 'tensorflow', "
        "'igl', 'ml_collections', 'viser'} & set(sys.modules); "
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
