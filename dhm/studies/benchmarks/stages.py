"""Where a training step's time goes: `--what step`, with a profiler trace by the step's stages.

What XLA fuses counts to the stage that it ends in.
"""

import importlib.util
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from dhm.networks.build import ModelSettings
from dhm.studies.benchmarks.step import (
    compile_step,
    encoder_step,
    floor_rows,
    fresh_model,
    make_batch,
    repeated_step,
    step_rows,
)
from dhm.studies.benchmarks.timing import BenchmarkRow, interleaved, median_ms, median_ratio
from dhm.types import HandTemplate

# The step's scopes (jax.named_scope), with colours for the picture.
STAGES = {
    "encode": (88, 130, 190), "decode": (110, 190, 150), "rasterize": (225, 150, 70),
    "joint_loss": (235, 215, 90), "depth_loss": (200, 90, 80), "penetration_loss": (160, 110, 190),
    "laplacian_loss": (235, 150, 190), "fit": (150, 120, 90), "update": (110, 110, 110),
}  # fmt: skip
OTHER = "other"
_METADATA = re.compile(r'^\s*(?:ROOT )?%?([\w.\-]+) = .*op_name="([^"]*)"')
_BETWEEN = 2e-3  # of a step: pieces of one stage so close together are drawn as one


def benchmark_step(
    template: HandTemplate,
    *,
    batch_size: int | None = None,
    image_size: int = 256,
    views: int = 6,
    settings: ModelSettings | None = None,
    repeats: int = 9,
    picture: Path | None = None,
) -> list[BenchmarkRow]:
    """Times the paper's training step (ResNet-50, 256x256, 6 views) in turns with its parts.

    The bare encoder's step is forward, backward and Adam of the same encoder with as many images,
    without a hand. PyTorch's is the same ResNet on the CPU, where torch is installed.

    Args:
        template: The hand.
        batch_size: Over all devices; by default 32 a device on an accelerator, 4 on a CPU.
        image_size: Side of the pictures and depth maps, pixels.
        views: Target depth maps a sample.
        settings: Sizes of the networks; the paper's by default.
        repeats: Rounds; medians are reported, of ratios the median over the rounds.
        picture: File that gets a timeline of one step by its stages, or None.
    """
    on_cpu, devices = jax.default_backend() == "cpu", jax.local_devices()
    batch_size = batch_size or (4 if on_cpu else 32) * len(devices)
    settings = settings or ModelSettings()
    model, variables = fresh_model(template, settings, image_size, len(devices))
    batch = make_batch(model, variables, batch_size, image_size, views)
    compiled = compile_step(model, variables, batch, devices)
    whole = repeated_step(compiled, model, variables, batch, devices)
    runs = {"whole": whole, "encoder": encoder_step(model, variables, batch, devices)}
    if on_cpu and importlib.util.find_spec("torch"):
        from dhm.studies.benchmarks.torch_resnet import torch_step

        runs["torch"] = torch_step(settings.depth, settings.width, batch.image)
    times = interleaved(runs, repeats)
    title = f"ResNet-{settings.depth}, {image_size}x{image_size}, batch {batch_size}, {views} views"
    rows = step_rows(times, title, batch_size)
    if "torch" in times:
        number = median_ratio(times["encoder"], times["torch"])
        value = f"{number:.2f}  (PyTorch's takes {median_ms(times['torch']):.0f} ms)"
        rows.append(BenchmarkRow("encoder's step / PyTorch's", value, "<= 1.2", number=number))
    elif on_cpu:
        rows.append(BenchmarkRow("encoder's step / PyTorch's", "-  (torch is not installed)"))
    spans = trace_spans(whole, compiled.hlo)
    if picture is not None:
        import imageio.v3 as imageio  # the picture alone needs it, and cv2

        imageio.imwrite(picture, draw_timeline(spans))
    listed = ", ".join(f"{stage} {share:.1%}" for stage, share in shares(spans).items())
    return [
        *rows,
        *floor_rows(compiled.cost, times["whole"]),
        BenchmarkRow("time by stage", listed),
    ]


class Span(NamedTuple):
    """One piece of work of one thread or stream on one stage.

    Attributes:
        stage: Its name.
        thread: Index of the thread.
        begin: Seconds from the step's first work.
        end: Seconds.
    """

    stage: str
    thread: int
    begin: float
    end: float


def stage_of(op_name: str) -> str:
    """Returns the stage of an operation from its scopes in XLA's metadata, in either pass."""
    scopes = re.split(r"[/()]", op_name.replace("rasterize_backward", "rasterize"))
    return next((stage for stage in STAGES if stage in scopes), OTHER)


def stages_of_program(hlo: str) -> dict[str, str]:
    """Returns the stage of each instruction of a compiled program, by its name."""
    found = map(_METADATA.match, hlo.splitlines())
    return {match[1]: stage_of(match[2]) for match in found if match}


def trace_spans(run: Callable[[], object], hlo: str) -> list[Span]:
    """Traces one run of a compiled step, which must have run before.

    Args:
        run: Runs it; what it returns is waited for.
        hlo: The text of the compiled program.

    Returns:
        The innermost work of each thread that names an instruction of the program, by time.
    """
    with tempfile.TemporaryDirectory(prefix="trace") as folder:
        with jax.profiler.trace(folder):
            jax.block_until_ready(run())
        (path,) = Path(folder).rglob("*.xplane.pb")
        data = jax.profiler.ProfileData.from_serialized_xspace(path.read_bytes())
    stages, events = stages_of_program(hlo), []
    lines = [line for plane in data.planes for line in plane.lines]
    for thread, line in enumerate(lines):
        for event in line.events:
            if event.name in stages:
                events.append((thread, event.start_ns, event.end_ns, stages[event.name]))
    if not events:
        return []
    first = min(begin for _, begin, _, _ in events)
    threads = sorted({thread for thread, *_ in events})
    spans = [
        Span(stage, threads.index(thread), (begin - first) / 1e9, (end - first) / 1e9)
        for thread, begin, end, stage in _innermost(events)
    ]
    return sorted(spans, key=lambda span: span.begin)


def _innermost(events: list[tuple]) -> list[tuple]:
    """Drops events that contain others of their thread: a loop contains its body's."""
    kept = []
    for thread in {event[0] for event in events}:
        mine = sorted((e for e in events if e[0] == thread), key=lambda e: (e[1], -e[2]))
        for event, following in zip(mine, [*mine[1:], None], strict=True):
            if following is None or following[1] >= event[2]:
                kept.append(event)
    return kept


def shares(spans: list[Span]) -> dict[str, float]:
    """Returns each stage's share of the time that all threads worked, largest first."""
    total = sum(span.end - span.begin for span in spans)
    found = {span.stage for span in spans}
    sums = {s: sum(x.end - x.begin for x in spans if x.stage == s) / total for s in found}
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def merged(spans: list[Span]) -> list[Span]:
    """Joins spans of one thread and stage that a picture could not show apart."""
    gap = _BETWEEN * max(span.end for span in spans)
    result: dict[int, list[Span]] = {}
    for span in spans:
        row = result.setdefault(span.thread, [])
        if row and row[-1].stage == span.stage and span.begin - row[-1].end < gap:
            row[-1] = row[-1]._replace(end=max(span.end, row[-1].end))
        else:
            row.append(span)
    return [span for row in result.values() for span in row]


def draw_timeline(spans: list[Span]) -> np.ndarray:
    """Draws the work of each thread as a row, time to the right: [h w 3] RGB."""
    width, row, legend = 1200, 26, 34
    threads, end = max(span.thread for span in spans) + 1, max(span.end for span in spans)
    picture = np.full((threads * row + legend + 24, width, 3), 255, np.uint8)
    for span in merged(spans):
        left, right = (int(width * time / end) for time in (span.begin, span.end))
        top = span.thread * row
        picture[top + 3 : top + row - 3, left : max(right, left + 1)] = _colour(span.stage)
    _write(picture, f"0 to {1e3 * end:.0f} ms", (4, threads * row + 16), (90, 90, 90))
    x = 4
    for stage, share in shares(spans).items():
        text = f"{stage} {share:.1%}"
        _write(picture, text, (x, threads * row + legend + 12), _colour(stage))
        x += 10 * len(text) + 8
    return picture


def _colour(stage: str) -> tuple[int, int, int]:
    return STAGES.get(stage, (190, 190, 190))


def _write(picture: np.ndarray, text: str, place: tuple[int, int], colour) -> None:
    import cv2

    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
