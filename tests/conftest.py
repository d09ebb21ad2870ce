"""Fixtures that several test folders share."""

import os
from pathlib import Path

# Before JAX starts: the multi-device tests need four devices, and all must run on a CPU.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = (
        os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
    )

import pytest
from jaxtyping import install_import_hook

install_import_hook(
    ["dhm.types", "dhm.geometry", "dhm.rendering", "dhm.losses", "dhm.networks"],
    "beartype.beartype",
)

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def release_mini() -> Path:
    """A small capture in the released layout, made by somebody else; not part of the project."""
    path = REPOSITORY.parent / "shared" / "captures" / "release_mini"
    if not path.is_dir():
        pytest.skip(f"no foreign capture at {path}")
    return path
