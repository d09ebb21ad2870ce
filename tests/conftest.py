"""Fixtures that several test folders share."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # before JAX is imported

import jax
import pytest
from jaxtyping import install_import_hook

# Before JAX computes. The multi-device tests need four devices.
_FLAGS = os.environ.get("XLA_FLAGS", "")
if "xla_force_host_platform_device_count" not in _FLAGS:
    _FLAGS += " --xla_force_host_platform_device_count=4"
if "xla_backend_optimization_level" not in _FLAGS:
    # Most programs run once; compiled without optimisation, they are ready in a third of the time.
    _FLAGS += " --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    _FLAGS += " --xla_cpu_parallel_codegen_split_count=1"
    if jax.__version_info__ < (0, 11):  # later versions do not know the flag, and stop
        _FLAGS += " --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] = _FLAGS

install_import_hook(
    ["dhm.types", "dhm.geometry", "dhm.rendering", "dhm.losses", "dhm.networks"],
    "beartype.beartype",
)

REPOSITORY = Path(__file__).resolve().parents[1]


# What takes longest begins first, so that no worker ends with it alone.
_LONG = ("tests/report/test_page.py", "tests/training/", "tests/evidence/", "tests/networks/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sorts modules; tests keep their order within them."""
    items.sort(key=lambda item: next(
        (i for i, long in enumerate(_LONG) if item.nodeid.startswith(long)), len(_LONG)
    ))  # fmt: skip


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory, worker_id) -> Path:
    """A folder that all workers share."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session", autouse=True)
def compiled_programs(shared_folder) -> None:
    """What one test has compiled is there for the others, of all workers and their processes.

    JAX_COMPILATION_CACHE_DIR keeps it for the next run of the tests, too.
    """
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR") or str(shared_folder / "compiled")
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder


@pytest.fixture(scope="module", autouse=True)
def settled_garbage_collector() -> Iterator[None]:
    """What JAX keeps of a module's programs, millions of objects, is not searched again."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def release_mini() -> Path:
    """A small capture in the released layout, made by somebody else; not part of the project."""
    path = REPOSITORY.parent / "shared" / "captures" / "release_mini"
    if not path.is_dir():
        pytest.skip(f"needs a capture in the released layout at {path}, see docs/testing.md")
    return path


@pytest.fixture(scope="session")
def toy_prepared(tmp_path_factory) -> Path:
    """Records of a small built-in capture: 32x32 pixels, 6 views to train on and 6 held out.

    Tests must not change it.
    """
    from data_prep.prepare import prepare
    from data_prep.toy.capture import write_toy_capture

    root = tmp_path_factory.mktemp("toy")
    write_toy_capture(
        root / "capture",
        sequences={"0001_RT_fist": "fist", "0002_RT_spread": "spread"},
        frames_per_sequence=2,
        num_cameras=3,
        num_vertices=800,
    )
    prepare(root / "capture", 1, root / "prepared", image_size=32, test_sequences="spread")
    return root / "prepared"


@pytest.fixture(scope="session")
def toy_model(toy_prepared):
    """Settings, a small model of the toy hand and its random variables; not to be changed."""
    from dhm.data.prepared_data import PreparedData
    from dhm.networks.build import ModelSettings, build_model
    from dhm.training.state import initial_variables

    settings = ModelSettings(
        depth=18, width=4, head_hidden=(8,), skeleton_hidden=8, skin_hidden=8, identity_size=4
    )
    model = build_model(PreparedData(toy_prepared).template, settings)
    variables = initial_variables(model, seed=0, subject=1, image_size=32)
    return settings, model, variables


@pytest.fixture(scope="session")
def exported_run(toy_model, tmp_path_factory) -> Path:
    """Folder of a run with the exported toy model; not to be changed."""
    from dhm.export.package import save_model

    settings, model, variables = toy_model
    folder = tmp_path_factory.mktemp("run")
    config = {"data": {"image_size": 32}}
    save_model(folder / "export", variables, model.template, settings, config)
    return folder


@pytest.fixture(scope="session")
def predictor(exported_run):
    """The exported toy model, compiled to predict hands."""
    from dhm.photos.predictor import Predictor

    return Predictor(exported_run / "export")
