"""Where a training step's time goes: a profiler trace of it, by the stages that the step names.

What XLA fuses counts to the stage that it ends in.
"""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import jax
import numpy as np

# The step's scopes (jax.named_scope), with colours for the picture.
STAGES = {
    "encode": (88, 130, 190), "decode": (110, 190, 150), "rasterize": (225, 150, 70),
    "joint_loss": (235, 215, 90), "depth_loss": (200, 90, 80), "penetration_loss": (160, 110, 190),
    "laplacian_loss": (235, 150, 190), "fit": (150, 120, 90), "update": (110, 110, 110),
}  # fmt: skip
OTHER = "other"
_METADATA = re.compile(r'^\s*(?:ROOT )?%?([\w.\-]+) = .*op_name="([^"]*)"')
_BETWEEN = 2e-3  # of a step: pieces of one stage so close together are drawn as one


class Span(NamedTuple):
    """Work of one thread or stream on one stage.

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
    """The stage of an operation by the path of scopes that XLA keeps, forwards or backwards."""
    scopes = re.split(r"[/()]", op_name.replace("rasterize_backward", "rasterize"))
    return next((stage for stage in STAGES if stage in scopes), OTHER)


def stages_of_program(hlo: str) -> dict[str, str]:
    """Stages by the names of a compiled program's instructions."""
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
    """Events without those that others of their thread lie in: a loop holds its body's."""
    kept = []
    for thread in {event[0] for event in events}:
        mine = sorted((e for e in events if e[0] == thread), key=lambda e: (e[1], -e[2]))
        for event, following in zip(mine, [*mine[1:], None], strict=True):
            if following is None or following[1] >= event[2]:
                kept.append(event)
    return kept


def shares(spans: list[Span]) -> dict[str, float]:
    """Each stage's share of the time that all threads worked, largest first."""
    total = sum(span.end - span.begin for span in spans)
    found = {span.stage for span in spans}
    sums = {s: sum(x.end - x.begin for x in spans if x.stage == s) / total for s in found}
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def merged(spans: list[Span]) -> list[Span]:
    """The same with neighbours of one thread and stage as one: what a picture can show."""
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
    """A picture of who worked on what, time to the right, a row for each thread: [h w 3] RGB."""
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
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
