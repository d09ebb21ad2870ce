"""`python launch.py benchmark`: the tables, on the built-in hand, and as JSON."""

import json
import os
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path

import jax

from dhm.errors import BadInputError
from dhm.studies.benchmarks.inference import benchmark_inference
from dhm.studies.benchmarks.input import benchmark_input
from dhm.studies.benchmarks.losses import benchmark_losses
from dhm.studies.benchmarks.rasterizer import benchmark_rasterizer
from dhm.studies.benchmarks.scaling import benchmark_scaling
from dhm.studies.benchmarks.step import benchmark_step
from dhm.studies.benchmarks.timing import BenchmarkRow, format_table
from dhm.types import HandTemplate

ALL = "all"
TITLES = {
    "raster": "rasterizer, 256x256",
    "losses": "decoder and losses, batch 1",
    "step": "training",
    "infer": "one picture",
    "input": "input",
    "scaling": "scaling, modelled",
}


def benchmark(
    template: HandTemplate,
    prepare: Callable[[Path], Path],
    what: str = ALL,
    json_file: Path | None = None,
    step_ms: tuple[float, float] | None = None,
    picture: Path | None = None,
    batch_size: int | None = None,
) -> None:
    """Measures, prints a table of each part, and writes them as JSON.

    Args:
        template: A hand of about 12,500 vertices.
        prepare: Writes records of 256x256 pixels under a folder, and returns theirs.
        what: A part, one of TITLES, or "all".
        json_file: Gets the rows, with the machine; None writes none.
        step_ms: For the model of scaling, as in `benchmark_scaling`.
        picture: Gets a timeline of a training step; None draws none.
        batch_size: Of that step, as in `benchmark_step`.

    Raises:
        BadInputError: If there is no such part.
        OSError: If the file cannot be written.
    """
    if what not in (ALL, *TITLES):
        raise BadInputError("--what", repr(what), f"one of {', '.join([*TITLES, ALL])}")
    measure = {
        "raster": lambda: benchmark_rasterizer(template.v_template, template.faces),
        "losses": lambda: benchmark_losses(template),
        "step": lambda: benchmark_step(template, batch_size=batch_size, picture=picture),
        "infer": lambda: benchmark_inference(template),
        "input": lambda: _input_rows(prepare),
        "scaling": lambda: benchmark_scaling(template, step_ms=step_ms),
    }
    machine = _machine()
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    print(f"hand of {template.num_vertices} vertices and {len(template.faces)} faces", flush=True)
    tables = {}
    for part in TITLES if what == ALL else (what,):
        rows = tables[part] = measure[part]()
        print("\n" + format_table(TITLES[part], rows), flush=True)
    if json_file is not None:
        content = {"machine": machine, **{part: _plain(rows) for part, rows in tables.items()}}
        json_file.write_text(json.dumps(content, indent=1) + "\n")


def _input_rows(prepare: Callable[[Path], Path]) -> list[BenchmarkRow]:
    with tempfile.TemporaryDirectory(prefix="benchmark") as folder:
        return benchmark_input(prepare(Path(folder)))


def _plain(rows: list[BenchmarkRow]) -> list[dict]:
    numbers = {row: None if row.number is None else float(row.number) for row in rows}
    return [row._asdict() | {"number": number} for row, number in numbers.items()]


def _machine() -> dict[str, str | int]:
    devices = ", ".join(sorted({device.device_kind for device in jax.devices()}))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "jax": jax.__version__,
        "devices": f"{jax.device_count()} x {devices}",
        "processor": platform.machine(),
        "cores": cores or 0,
    }
