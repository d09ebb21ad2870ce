"""`import dhm`: its public names, and what it loads."""

import ast
import subprocess
import sys

import pytest

import dhm
from tests.conftest import REPOSITORY


def _loaded_after(program: str) -> set[str]:
    """Modules that a new process has loaded after a program."""
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys\nprint(*sys.modules)"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_else():
    loaded = _loaded_after("import dhm, typing, importlib\ndir(dhm)\ndhm.__all__\ndhm.__version__")
    assert not {"jax", "jaxlib", "numpy", "flax", "optax", "jaxtyping"} & loaded
    assert {name for name in loaded if name.startswith("dhm.")} == set()


def test_a_name_loads_what_it_needs_alone():
    loaded = _loaded_after("import dhm\ndhm.render_depth")
    assert "dhm.rendering" in loaded
    assert not {"flax", "optax", "dhm.networks", "dhm.export.hand"} & loaded


@pytest.mark.parametrize("name", dhm.__all__)
def test_every_public_name_is_there(name):
    assert name in dir(dhm)
    assert getattr(dhm, name).__doc__
    assert name in vars(dhm)  # kept: found at once the next time


def test_what_is_public():
    wanted = {
        "load", "Hand", "HandModel", "HandTemplate", "HandOutput", "Camera", "Batch",
        "render_depth", "rasterize", "forward_kinematics", "linear_blend_skinning",
        "rigid_alignment", "euler_angles_to_matrix", "joint_loss", "depth_loss", "laplacian_loss",
        "fit_pose", "fit_evidence", "mano", "DhmError", "BadInputError", "__version__",
    }  # fmt: skip
    assert wanted <= set(dhm.__all__)
    assert dhm.__all__ == sorted(dhm.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'dhm' has no attribute 'lod'"):
        dhm.lod  # noqa: B018


def test_type_checkers_see_the_names_where_they_are_found_at_run_time():
    tree = ast.parse((REPOSITORY / "dhm" / "__init__.py").read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: line.module for line in block.body for alias in line.names}
    assert seen == dhm._MODULE_OF
    assert {*seen, "__version__"} == set(dhm.__all__)
