"""`python launch.py benchmark`: every part's table, and all rows as JSON."""

import itertools
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dhm.errors import BadInputError
from dhm.formats.json_file import write_json
from dhm.formats.paths import refuse_overwriting, require_writable_place
from dhm.studies.benchmarks.model_parts import benchmark_inference, benchmark_losses
from dhm.studies.benchmarks.rasterizer import benchmark_rasterizer
from dhm.studies.benchmarks.scaling import benchmark_scaling
from dhm.studies.benchmarks.stages import benchmark_step
from dhm.studies.benchmarks.timing import (
    BenchmarkRow,
    format_table,
    machine,
    one_core,
    plain_rows,
)
from dhm.types import HandTemplate

ALL = "all"
_INPUT = "input"
TITLES = {
    "raster": "rasterizer, 256x256",
    "losses": "decoder and losses, batch 1",
    "step": "training",
    "infer": "one picture",
    _INPUT: "input",
    "scaling": "scaling, modelled",
}


def benchmark(
    template: HandTemplate,
    prepare: Callable[[Path], Path] | None,
    what: str = ALL,
    json_file: Path | None = None,
    step_ms: tuple[float, float] | None = None,
    picture: Path | None = None,
    batch_size: int | None = None,
    given: Sequence[Path] = (),
) -> None:
    """Measures the parts, prints the table of each, and writes all rows as JSON.

    Args:
        template: A hand of about 12,500 vertices.
        prepare: Prepares records of 256x256 pixels under a folder and returns their folder; None
            leaves the input out of "all".
        what: A part, one of TITLES, or "all".
        json_file: File for the rows and the machine; None writes none.
        step_ms: As in `benchmark_scaling`.
        picture: As in `benchmark_step`.
        batch_size: As in `benchmark_step`.
        given: Files that the hand comes from, over which no result is written.

    Raises:
        BadInputError: If there is no such part, a setting is another part's, or a result would be
            written over a file of `given` or over the other result.
        OSError: If the file cannot be written.
    """
    if what not in (ALL, *TITLES):
        raise BadInputError("--what", repr(what), f"one of {', '.join([*TITLES, ALL])}")
    results = {"--json": json_file, "--picture": picture}
    for flag, file in results.items():
        if file is not None:  # before minutes of measuring
            require_writable_place(flag, file)
            others = [one for name, one in results.items() if name != flag and one is not None]
            refuse_overwriting(flag, [file], [*given, *others])
    if picture is not None and picture.suffix.lower() != ".png":
        raise BadInputError("--picture", f"{picture}", "the name of a .png")
    for flag, value, part in (
        ("--batch", batch_size, "step"), ("--picture", picture, "step"),
        ("--step-ms", step_ms, "scaling"),
    ):  # fmt: skip
        if value is not None and what not in (ALL, part):
            raise BadInputError("--what", what, f"{part}, which alone has {flag}, or {ALL}")
    if prepare is None and what == _INPUT:
        raise BadInputError("--what", what, "another part: there is nothing to prepare records of")
    measure = {
        "raster": lambda: benchmark_rasterizer(template.v_template, template.faces),
        "losses": lambda: benchmark_losses(template),
        "step": lambda: benchmark_step(template, batch_size=batch_size, picture=picture),
        "infer": lambda: benchmark_inference(template),
        _INPUT: lambda: _input_rows(prepare),
        "scaling": lambda: benchmark_scaling(template, step_ms=step_ms),
    }
    hardware = machine()
    print(", ".join(f"{name} {value}" for name, value in hardware.items()))
    print(f"hand of {template.num_vertices} vertices and {len(template.faces)} faces", flush=True)
    tables = {}
    parts = [part for part in TITLES if prepare is not None or part != _INPUT]
    for part in parts if what == ALL else (what,):
        rows = tables[part] = measure[part]()
        print("\n" + format_table(TITLES[part], rows), flush=True)
    if json_file is not None:
        content = {"machine": hardware, **{part: plain_rows(rows) for part, rows in tables.items()}}
        write_json(json_file, content)


def _input_rows(prepare: Callable[[Path], Path]) -> list[BenchmarkRow]:
    with tempfile.TemporaryDirectory(prefix="benchmark") as folder:
        return benchmark_input(prepare(Path(folder)))


def benchmark_input(
    prepared: Path, *, batch_size: int = 32, views: int = 6, batches: int = 30
) -> list[BenchmarkRow]:
    """Counts the images a second that one thread on one core reads, decodes and stacks.

    Args:
        prepared: A folder of prepared records.
        batch_size: Samples a batch.
        views: Target depth maps a sample.
        batches: How many are timed, after one that is not.
    """
    from dhm.data.input_pipeline import make_dataset  # no other part needs the data packages
    from dhm.data.prepared_data import PreparedData

    data = PreparedData(prepared)
    stream = iter(
        make_dataset(
            data, "train", batch_size=batch_size, num_views=views, seed=0, shuffle=True,
            num_threads=0,
        )
    )  # fmt: skip
    with one_core():
        next(stream)
        began = time.perf_counter()
        count = sum(len(batch.image) for batch in itertools.islice(stream, batches))
        rate = count / (time.perf_counter() - began)
    side = data.image_size
    name = f"input, {side}x{side}, {views} depth maps a sample, one core"
    return [BenchmarkRow(name, f"{rate:.0f} images/s", ">= 500 images/s", "", rate, "images/s")]
