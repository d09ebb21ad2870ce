"""A model of the step's time on many devices, from times on one and the bytes exchanged.

A step on n devices takes `a + b k` for the k images of a device, both measured, and the time of its
messages. A ring of n moves `2 (n - 1) / n` times the bytes of an all-reduce and `n - 1` times those
that each device gives to an all-gather, over the slowest link. An all-reduce waits for the messages
of a tree, up and down, an all-gather one way. Nothing overlaps: the step exchanges BatchNorm's
statistics layer by layer and sums the gradients at its end.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.extend
import optax

from dhm.networks.build import ModelSettings
from dhm.networks.hand_model import HandModel
from dhm.studies.benchmarks.step import (
    PAPER,
    compile_step,
    fresh_model,
    make_batch,
    repeated_step,
)
from dhm.studies.benchmarks.timing import BenchmarkRow, interleaved, median_ms
from dhm.training.state import create_train_state
from dhm.training.step import AXIS, make_step_spec, train_step
from dhm.types import Batch, HandTemplate

_DEVICES = (1, 2, 4, 8, 16, 32, 64)
_BATCH = 32  # the paper's, over all devices
_IMAGES, _EPOCHS = 100_000, 35
_SUBJECTS = 10
_UPDATE = "update"  # the step's named scope


class Link(NamedTuple):
    """A connection between devices, by its data sheet.

    Attributes:
        bandwidth: Bytes a second, one way.
        latency: Seconds a message.
    """

    bandwidth: float
    latency: float


# Assumed, not measured: NVLink among the eight GPUs of a machine, 400 Gbit/s between machines.
_MACHINE = 8
_INSIDE, _BETWEEN = Link(450e9, 5e-6), Link(50e9, 15e-6)


class Traffic(NamedTuple):
    """What the devices exchange in a step.

    Attributes:
        all_reduces: Number of sums over the devices.
        num_bytes: Bytes that they sum.
        all_gathers: Number of all-gathers.
        gathered_bytes: Bytes that each device gives to them.
    """

    all_reduces: int
    num_bytes: int
    all_gathers: int = 0
    gathered_bytes: int = 0


class StepTime(NamedTuple):
    """Seconds of a step on one device: `fixed + image k` for k images."""

    fixed: float
    image: float


def benchmark_scaling(
    template: HandTemplate,
    *,
    step_ms: tuple[float, float] | None = None,
    image_size: int = 256,
    views: int = 6,
    settings: ModelSettings | None = None,
    repeats: int = 5,
) -> list[BenchmarkRow]:
    """Times the paper's step with few and with many images on one device, and models it on more.

    Args:
        template: The hand.
        step_ms: Times of a step with 8 and with 32 images on one device, instead of measured ones.
        image_size: Side of the pictures and depth maps, pixels.
        views: Target depth maps a sample.
        settings: Sizes of the networks; the paper's by default.
        repeats: Rounds; medians are taken.
    """
    settings = settings or ModelSettings()
    model, variables = fresh_model(template, settings, image_size, 2)
    traffic = count_traffic(model, variables, make_batch(model, variables, 1, image_size, views))
    sizes = (8, 32) if step_ms or jax.default_backend() != "cpu" else (1, 4)
    if step_ms is None:
        runs, devices = {}, jax.local_devices()[:1]
        model, variables = fresh_model(template, settings, image_size, 1)
        for size in sizes:
            batch = make_batch(model, variables, size, image_size, views)
            compiled = compile_step(model, variables, batch, devices)
            runs[size] = repeated_step(compiled, model, variables, batch, devices)
        step_ms = tuple(map(median_ms, interleaved(runs, repeats).values()))
    one = line_through(sizes, [milliseconds / 1e3 for milliseconds in step_ms])
    times = " and ".join(
        f"{milliseconds:.3g} ms with {size}"
        for size, milliseconds in zip(sizes, step_ms, strict=True)
    )
    rows = [
        BenchmarkRow("one device's step, images", times),
        BenchmarkRow(
            "exchanged between devices a step",
            f"{traffic.num_bytes / 1e6:.1f} MB in {traffic.all_reduces} all-reduces, "
            f"{traffic.gathered_bytes / 1e6:.1f} MB of each in {traffic.all_gathers} all-gathers",
            number=traffic.num_bytes / 1e6,
            unit="MB",
        ),
    ]
    return rows + [_row(one, traffic, devices) for devices in _DEVICES]


def line_through(sizes: tuple[int, int], seconds: list[float]) -> StepTime:
    """Returns the line through two measured times of a step; neither part is negative."""
    image = max(seconds[1] - seconds[0], 0.0) / (sizes[1] - sizes[0])
    return StepTime(max(seconds[0] - image * sizes[0], 0.0), image)


def exchange_seconds(traffic: Traffic, devices: int) -> float:
    """Returns the time of a step's messages on a number of devices, eight to a machine."""
    if devices == 1:
        return 0.0
    link = _INSIDE if devices <= _MACHINE else _BETWEEN
    moved = (devices - 1) * (2 * traffic.num_bytes / devices + traffic.gathered_bytes)
    levels = math.ceil(math.log2(min(devices, _MACHINE)))
    between = math.ceil(math.log2(max(devices // _MACHINE, 1)))
    one_way = levels * _INSIDE.latency + between * _BETWEEN.latency
    return moved / link.bandwidth + (2 * traffic.all_reduces + traffic.all_gathers) * one_way


def step_seconds(one: StepTime, traffic: Traffic, devices: int, images: float) -> float:
    """Returns the time of a step with that many images on each device."""
    return one.fixed + one.image * images + exchange_seconds(traffic, devices)


def _row(one: StepTime, traffic: Traffic, devices: int) -> BenchmarkRow:
    alone = step_seconds(one, traffic, 1, _BATCH)
    large = step_seconds(one, traffic, devices, _BATCH)
    rate = devices * _BATCH / large
    parts = [f"messages {1e3 * exchange_seconds(traffic, devices):.2f} ms"]
    queued = math.ceil(_SUBJECTS / devices) * _hours(alone)
    together = "-"
    if devices <= _BATCH:
        small = step_seconds(one, traffic, devices, _BATCH / devices)
        parts.append(f"batch {_BATCH}: {_BATCH / small:,.0f} images/s, x{alone / small:.2f}")
        together = f"{_SUBJECTS * _hours(small):.1f} h"
    parts.append(f"{_BATCH} a device: {rate:,.0f} images/s, x{devices * alone / large:.2f}")
    parts.append(f"{_SUBJECTS} subjects: queued {queued:.1f} h, in turn {together}")
    title = f"{devices} device{'s' if devices > 1 else ''}"
    return BenchmarkRow(title, "; ".join(parts), number=rate, unit="images/s")


def _hours(step: float) -> float:
    """Returns the hours of one subject's training at the paper's batch."""
    return step * _IMAGES * _EPOCHS / _BATCH / 3600


def count_traffic(model: HandModel, variables: dict, batch: Batch) -> Traffic:
    """Counts what the program of a training step exchanges between devices."""
    state = create_train_state(model, variables, optax.adam(1e-4))
    spec = make_step_spec(model, PAPER, AXIS)
    program = jax.make_jaxpr(lambda s, b: train_step(s, b, spec), axis_env=[(AXIS, 2)])
    found = list(_exchanges(program(state, batch).jaxpr))
    gathered = [size for primitive, _, size in found if primitive == "all_gather"]
    sums = [(scope, size) for primitive, scope, size in found if primitive == "psum"]
    # Gradients and metrics do not wait for each other: XLA sums them together.
    count = len([scope for scope, _ in sums if _UPDATE not in scope]) + 1
    return Traffic(count, sum(size for _, size in sums), len(gathered), sum(gathered))


def _exchanges(jaxpr: Any) -> Iterator[tuple[str, str, int]]:
    """Yields primitive, named scope and bytes of each exchange between devices in a program."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("psum", "all_gather"):
            shapes = [variable.aval for variable in equation.invars]
            size = sum(math.prod(shape.shape) * shape.dtype.itemsize for shape in shapes)
            yield equation.primitive.name, str(equation.source_info.name_stack), size
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            yield from _exchanges(inner)
