"""Measures an accelerator with one command: accuracy, speed and bfloat16, within eight minutes.

    python -m dhm.studies.gpu [--out gpu.json] [--small]

It runs from a clone with jax, flax, optax, NumPy and jaxtyping alone. It prints one table, and
writes the rows and the loss curves as JSON. Each part is independent: one that fails is a row of
the table, the others still run, and the exit code is 1. `--small` takes sizes for a CPU, to try the
command; its times mean nothing.
"""

import argparse
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dhm.errors import BadInputError
from dhm.formats.json_file import write_json
from dhm.formats.paths import existing, require_writable_place
from dhm.geometry.hand_rig import joint_limits
from dhm.networks.build import ModelSettings
from dhm.networks.hand_model import HandModel
from dhm.rendering import render_depth
from dhm.studies.benchmarks.model_parts import benchmark_inference
from dhm.studies.benchmarks.rasterizer import batch_row, cameras_around
from dhm.studies.benchmarks.step import (
    CompiledStep,
    compile_step,
    encoder_step,
    fresh_model,
    fresh_state,
    make_batch,
    on_devices,
    repeated_step,
    step_rows,
)
from dhm.studies.benchmarks.timing import (
    BenchmarkRow,
    format_table,
    interleaved,
    machine,
    plain_rows,
)
from dhm.studies.procedural_hand import procedural_hand
from dhm.studies.recorded_depth import compare, record
from dhm.training.state import initial_variables
from dhm.types import Batch, Camera


class Sizes(NamedTuple):
    """How much is measured.

    Attributes:
        num_vertices: Of the hand.
        image_size: Side of pictures and depth maps, pixels.
        views: Depth maps a sample.
        batch_size: Samples of a training step and of the rasterizer's batch.
        settings: Sizes of the networks.
        repeats: Rounds of each timing.
        steps: Of the trainings that compare precisions.
        batches: Different batches that those see in turn.
    """

    num_vertices: int = 12_500
    image_size: int = 256
    views: int = 6
    batch_size: int = 32
    settings: ModelSettings = ModelSettings()
    repeats: int = 20
    steps: int = 200
    batches: int = 8


FULL = Sizes()
SMALL = Sizes(
    600, 32, 2, 4, ModelSettings(18, 4, (8,), skeleton_hidden=8, skin_hidden=8),
    repeats=2, steps=12, batches=2,
)  # fmt: skip
_SMOOTHED = 10  # of the steps in the means of a smoothed curve: every tenth part


class Measured(NamedTuple):
    """What one part found.

    Attributes:
        rows: For the table.
        curves: Total losses by step, by name.
    """

    rows: list[BenchmarkRow]
    curves: Mapping[str, list[float]] = MappingProxyType({})


class Accelerator:
    """The parts of a measurement on the first device.

    Args:
        sizes: How much is measured.
    """

    def __init__(self, sizes: Sizes):
        self.sizes = sizes
        self.devices = jax.local_devices()[:1]
        self.hand = procedural_hand(sizes.num_vertices)
        self.compiled = cache(self._compiled)  # two parts use the step in bfloat16

    def parts(self) -> dict[str, Callable[[], Measured]]:
        """Returns what measures each part, by the part's name."""
        return {
            "accuracy of the rasterizer": lambda: Measured(compare()),
            "speed of the rasterizer": self.raster_speed,
            "training step": self.step_speed,
            "bfloat16 and float32": self.precision,
            "prediction": self.prediction,
        }

    def raster_speed(self) -> Measured:
        """Times the depth maps of a training batch with their gradient."""
        size = self.sizes.image_size
        row = batch_row(
            self.hand.v_template, self.hand.faces, image_size=(size, size),
            views=self.sizes.views, samples=self.sizes.batch_size, repeats=self.sizes.repeats,
        )  # fmt: skip
        return Measured([row])

    def step_speed(self) -> Measured:
        """Times the training step in bfloat16, in turns with that of the bare encoder."""
        model, variables, batch, compiled = self.compiled(jnp.bfloat16)
        runs = {
            "whole": repeated_step(compiled, model, variables, batch, self.devices),
            "encoder": encoder_step(model, variables, batch, self.devices),
        }
        size, depth = self.sizes.image_size, self.sizes.settings.depth
        title = f"ResNet-{depth}, {size}x{size}, batch {len(batch.image)}, {self.sizes.views} views"
        times = interleaved(runs, self.sizes.repeats)
        return Measured(step_rows(times, title, len(batch.image)))

    def _compiled(self, dtype: Any) -> tuple[HandModel, dict, Batch, CompiledStep]:
        sizes = self.sizes
        model, variables = fresh_model(self.hand, sizes.settings, sizes.image_size, 1, dtype)
        batch = make_batch(model, variables, sizes.batch_size, sizes.image_size, sizes.views)
        return model, variables, batch, compile_step(model, variables, batch, self.devices)

    def precision(self) -> Measured:
        """Trains in both precisions on the same batches, and in float32 from other weights."""
        batches = self._learnable_batches()
        curves = {
            "float32": self._train(jnp.float32, 0, batches),
            "bfloat16": self._train(jnp.bfloat16, 0, batches),
            "float32, another seed": self._train(jnp.float32, 1, batches),
        }
        rows = []
        for name, curve in curves.items():
            first, last = _smoothed(curve)[[0, -1]]
            title = f"loss over {len(curve)} steps, {name}"
            rows.append(BenchmarkRow(title, f"{first:.4g} -> {last:.4g}", number=last))
        noise = _largest_gap(curves["float32, another seed"], curves["float32"])
        gap = _largest_gap(curves["bfloat16"], curves["float32"])
        title = "largest gap of the smoothed losses, bfloat16 to float32"
        aim = f"<= {noise:.1%}, another seed's"
        rows.append(BenchmarkRow(title, f"{gap:.1%}", "", aim, gap))
        return Measured(rows, {name: curve.tolist() for name, curve in curves.items()})

    def _train(self, dtype: Any, seed: int, batches: Sequence[Batch]) -> np.ndarray:
        """Returns the total loss of each step."""
        model, variables, _, compiled = self.compiled(dtype)
        if seed:
            size = self.sizes.image_size
            variables = initial_variables(model, seed=seed, subject=1, image_size=size)
        state = fresh_state(model, variables, self.devices)
        totals = []
        for step in range(self.sizes.steps):
            state, metrics = compiled.step(state, batches[step % len(batches)])
            totals.append(metrics["total"])
        totals = np.array(jax.device_get(totals))
        if not np.isfinite(totals).all():
            raise FloatingPointError(f"the loss of step {np.argmin(np.isfinite(totals))}")
        return totals

    def _learnable_batches(self) -> list[Batch]:
        """Draws hands in random poses; the picture of each is its first depth map in grey."""
        sizes, rng = self.sizes, np.random.default_rng(0)
        model, variables, like, _ = self.compiled(jnp.float32)
        size = (sizes.image_size, sizes.image_size)
        camera = cameras_around(self.hand.v_template, size, sizes.views)
        camera = Camera(*(jnp.broadcast_to(x, (sizes.batch_size, *x.shape)) for x in camera))
        faces = jnp.asarray(self.hand.faces)

        @jax.jit
        def draw(theta):
            hand = model.apply(variables, theta, method="decode")
            return hand.joints, render_depth(hand.vertices, faces, camera, size)

        low, high = joint_limits(self.hand.joint_names)
        batches = []
        for _ in range(sizes.batches):
            theta = 0.5 * rng.uniform(low, high, (sizes.batch_size, len(low)))
            joints, depth = draw(jnp.asarray(theta, jnp.float32))
            near, first = 900.0, depth[:, 0]
            grey = jnp.where(first > 0, jnp.clip(255 - (first - near), 30, 255), 0)
            image = jnp.repeat(grey.astype(jnp.uint8)[..., None], 3, axis=-1)
            batch = like._replace(
                image=image, joints=joints, target_depth=depth, target_camera=camera
            )
            batches.append(on_devices(batch, self.devices))
        return batches

    def prediction(self) -> Measured:
        """Times the decoder and the whole prediction from one picture."""
        sizes = self.sizes
        rows = benchmark_inference(
            self.hand, image_size=sizes.image_size, settings=sizes.settings, repeats=sizes.repeats
        )
        return Measured(rows)


def _smoothed(curve: np.ndarray) -> np.ndarray:
    width = max(len(curve) // _SMOOTHED, 1)
    return np.convolve(curve, np.full(width, 1 / width), mode="valid")


def _largest_gap(curve: np.ndarray, reference: np.ndarray) -> float:
    """Returns the largest relative difference of two smoothed curves."""
    reference = _smoothed(reference)
    return float(np.max(np.abs(_smoothed(curve) - reference) / reference))


def measure(parts: dict[str, Callable[[], Measured]]) -> tuple[list[BenchmarkRow], dict[str, Any]]:
    """Runs the parts one after another, whatever becomes of each.

    Args:
        parts: What measures each part, by name.

    Returns:
        All rows, and the content of the JSON file: seconds, error, rows and curves of each part.
    """
    rows, content, began = [], {}, time.monotonic()
    for name, part in parts.items():
        start = time.monotonic()
        print(f"[{start - began:5.0f} s] {name}", flush=True)
        error = None
        try:
            found = part()
        except Exception as failure:  # of any kind: it is a row, and the exit code
            traceback.print_exc()
            error = f"{type(failure).__name__}: {failure}".splitlines()[0]
            found = Measured([BenchmarkRow(name, f"FAILED  {error[:160]}")])
        rows += found.rows
        content[name] = {
            "seconds": time.monotonic() - start,
            "error": error,
            "rows": plain_rows(found.rows),
            "curves": dict(found.curves),
        }
    print(f"[{time.monotonic() - began:5.0f} s] done\n", flush=True)
    return rows, content


def _commit() -> str | None:
    """Returns the commit of the clone that this file is in, None outside of one."""
    command = ("git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty")
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        "python -m dhm.studies.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", default="gpu.json", help="the JSON file")
    parser.add_argument("--small", action="store_true", help="sizes for a CPU")
    parser.add_argument("--record", action="store_true", help="only record the CPU's depth maps")
    options = parser.parse_args(arguments)
    if options.record:
        record()
        return 0
    try:
        out = existing(options.out)
        require_writable_place("--out", out)
        if not options.small and (backend := jax.default_backend()) == "cpu":
            expected = (
                "an accelerator, which JAX does not find here; or --small, to try the command"
            )
            raise BadInputError("the device", backend, expected)
    except (BadInputError, RuntimeError) as error:  # RuntimeError: a platform that is not there
        parser.error(str(error))
    hardware = machine() | {"commit": _commit(), "small": options.small}
    print(", ".join(f"{name} {value}" for name, value in hardware.items()), flush=True)
    rows, content = measure(Accelerator(SMALL if options.small else FULL).parts())
    print(format_table("GPU" if not options.small else "small sizes", rows), flush=True)
    write_json(out, {"machine": hardware, "parts": content})
    print(f"\n{out}")
    return int(any(part["error"] for part in content.values()))


if __name__ == "__main__":
    sys.exit(main())
