"""Times of training steps: the whole one, the bare encoder's, PyTorch's, and the floor."""

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import imageio.v3 as imageio
import jax
import jax.numpy as jnp
import numpy as np
import optax

from dhm.losses.objective import ObjectiveSettings
from dhm.networks.build import ModelSettings, build_model
from dhm.networks.hand_model import HandModel
from dhm.rendering import render_depth
from dhm.studies.benchmarks.rasterizer import cameras_around
from dhm.studies.benchmarks.stages import Span, draw_timeline, shares, trace_spans
from dhm.studies.benchmarks.timing import BenchmarkRow, interleaved
from dhm.training.parallel import AXIS, axis_over, make_parallel_step, replicate, shard
from dhm.training.state import create_train_state, initial_variables
from dhm.training.step import make_step_spec
from dhm.types import Batch, Camera, HandTemplate

PAPER = ObjectiveSettings(
    joint=1.0, depth=1.0, penetration=1.0, laplacian=5.0, non_rigid=5.0, skeleton=0.1,
    depth_reduction="foreground", penetration_reduction="mean", depth_beta=1.0,
)  # fmt: skip


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

    The bare encoder's step is forward, backward and Adam of the same encoder with the same numbers
    of images, without a hand. PyTorch's is the same ResNet on the CPU, where it is installed.

    Args:
        template: The hand.
        batch_size: Over all devices; 32 a device on an accelerator, 4 on a CPU.
        image_size: Side of the pictures and depth maps, pixels.
        views: Target depth maps a sample.
        settings: Sizes of the networks; the paper's by default.
        repeats: Rounds; medians are reported, of ratios the median over the rounds.
        picture: File that gets a timeline of one step by its stages, or None.
    """
    on_cpu = jax.default_backend() == "cpu"
    devices = jax.local_devices()
    batch_size = batch_size or (4 if on_cpu else 32) * len(devices)
    settings = settings or ModelSettings()
    model, variables = fresh_model(template, settings, image_size, len(devices))
    batch = make_batch(model, variables, batch_size, image_size, views)
    whole = whole_step(model, variables, batch, devices)
    runs = {"whole": whole.run, "encoder": _encoder_step(model, variables, batch.image)}
    if on_cpu and importlib.util.find_spec("torch"):
        from dhm.studies.benchmarks.torch_resnet import torch_step

        runs["torch"] = torch_step(settings.depth, settings.width, batch.image)
    times = interleaved(runs, repeats)
    what = f"ResNet-{settings.depth}, {image_size}x{image_size}, batch {batch_size}"
    rows = _rows(times, what, batch_size, views, on_cpu)
    spans = trace_spans(whole.run, whole.hlo)
    if picture is not None:
        imageio.imwrite(picture, draw_timeline(spans))
    return [*rows, *_floor_rows(whole.cost, times["whole"]), _stage_row(spans)]


def _stage_row(spans: list[Span]) -> BenchmarkRow:
    listed = ", ".join(f"{stage} {share:.1%}" for stage, share in shares(spans).items())
    return BenchmarkRow("time by stage", listed)


def _rows(times, what: str, batch_size: int, views: int, on_cpu: bool) -> list[BenchmarkRow]:
    def median(name):
        return float(np.median(times[name]))

    def ratio(name, other):
        return float(np.median(np.divide(times[name], times[other])))

    number = ratio("whole", "encoder")
    rows = [
        BenchmarkRow(
            f"training step, {what}, {views} views",
            f"{1e3 * median('whole'):.0f} ms  ({batch_size / median('whole'):.3g} images/s)",
            "" if on_cpu else ">= 2000 images/s",
            number=batch_size / median("whole"),
            unit="images/s",
        ),
        BenchmarkRow(
            "whole step / bare encoder's step",
            f"{number:.2f}  (the encoder's takes {1e3 * median('encoder'):.0f} ms)",
            "<= 1.15" if on_cpu else "<= 1.3",
            number=number,
        ),
    ]
    if "torch" in times:
        number = ratio("encoder", "torch")
        value = f"{number:.2f}  (PyTorch's takes {1e3 * median('torch'):.0f} ms)"
        rows.append(BenchmarkRow("encoder's step / PyTorch's", value, "<= 1.2", number=number))
    elif on_cpu:
        rows.append(BenchmarkRow("encoder's step / PyTorch's", "-  (torch is not installed)"))
    return rows


def _floor_rows(cost: dict[str, float], seconds: list[float]) -> list[BenchmarkRow]:
    """What the step would take if this machine did nothing but its sums, or move its bytes."""
    flops, moved = cost.get("flops", 0.0), cost.get("bytes accessed", 0.0)
    peak, bandwidth = _peak_flops(), _peak_bandwidth()
    return [
        BenchmarkRow(
            f"floor by {flops / 1e9:.0f} GFLOP at the {peak / 1e9:.0f} GFLOP/s of a large product",
            f"{1e3 * flops / peak:.0f} ms  ({flops / peak / np.median(seconds):.0%} of the step)",
            number=1e3 * flops / peak,
            unit="ms",
        ),
        BenchmarkRow(
            f"floor by {moved / 1e9:.1f} GB, each operation's own, at {bandwidth / 1e9:.0f} GB/s",
            f"{1e3 * moved / bandwidth:.0f} ms",
            number=1e3 * moved / bandwidth,
            unit="ms",
        ),
    ]


def _peak_flops(size: int = 4096, repeats: int = 5) -> float:
    dtype = jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16
    x = jnp.ones((size // 2 if dtype == jnp.float32 else size,) * 2, dtype)
    product = jax.jit(lambda x: x @ x)
    seconds = min(interleaved({"product": lambda: product(x)}, repeats)["product"])
    return 2 * float(x.shape[0]) ** 3 / seconds


def _peak_bandwidth(size: int = 1 << 26, repeats: int = 5) -> float:
    x = jnp.ones(size, jnp.float32)
    copy = jax.jit(lambda x: x + 1)
    return 2 * x.nbytes / min(interleaved({"copy": lambda: copy(x)}, repeats)["copy"])


def fresh_model(
    template: HandTemplate, settings: ModelSettings, image_size: int, num_devices: int
) -> tuple[HandModel, dict]:
    """A model as training makes it on so many devices of this machine, and its variables."""
    dtype = jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16
    model = build_model(template, settings, axis_over(num_devices), dtype)
    return model, initial_variables(model, seed=0, subject=1, image_size=image_size)


class CompiledStep(NamedTuple):
    """The training step on one batch, compiled.

    Attributes:
        run: Makes a step.
        cost: What XLA says that one device's part of it costs.
        hlo: Its program.
    """

    run: Callable[[], dict]
    cost: dict[str, float]
    hlo: str


def whole_step(
    model: HandModel, variables: dict, batch: Batch, devices: Sequence[jax.Device]
) -> CompiledStep:
    """Compiles the step for some devices; it is run on them over and over."""
    step = make_parallel_step(make_step_spec(model, PAPER, axis_over(len(devices))), devices)
    # A copy: the step takes over the buffers.
    fresh = create_train_state(model, jax.device_get(variables), optax.adam(1e-4))
    state, sharded = replicate(fresh, devices), shard(batch, len(devices))
    compiled = step.lower(state, sharded).compile()

    def run():
        nonlocal state
        state, metrics = step(state, sharded)
        return metrics

    cost = compiled.cost_analysis()
    return CompiledStep(run, cost[0] if isinstance(cost, list) else cost, compiled.as_text())


def _encoder_step(model: HandModel, variables: dict, images: np.ndarray):
    devices = jax.local_devices()
    optimiser = optax.adam(1e-4)

    def loss(encoder, stats, images):
        everything = variables | {"batch_stats": stats}
        everything["params"] = variables["params"] | {"encoder": encoder}
        theta, updates = model.apply(
            everything, images, train=True, method="encode", mutable=["batch_stats"]
        )
        return jnp.mean(theta**2), updates["batch_stats"]

    def step(state, images):
        encoder, opt_state, stats = state
        gradient, stats = jax.grad(loss, has_aux=True)(encoder, stats, images)
        if len(devices) > 1:
            gradient = jax.lax.psum(gradient, AXIS)
        updates, opt_state = optimiser.update(gradient, opt_state, encoder)
        return optax.apply_updates(encoder, updates), opt_state, stats

    parallel = jax.pmap(step, axis_name=AXIS, in_axes=(None, 0), out_axes=None, donate_argnums=(0,))
    encoder = jax.device_get(variables["params"]["encoder"])
    first = encoder, optimiser.init(encoder), jax.device_get(variables["batch_stats"])
    state = replicate(first, devices)
    sharded = images.reshape(len(devices), -1, *images.shape[1:])

    def run():
        nonlocal state
        state = parallel(state, sharded)
        return state

    return run


def make_batch(model: HandModel, variables: dict, size: int, image_size: int, views: int) -> Batch:
    """Noise for images; joints and depth maps of one hand."""
    rng, shape = np.random.default_rng(0), (image_size, image_size)
    hand = model.apply(variables, jnp.full((1, 28), 0.3), method="decode")
    camera = cameras_around(np.asarray(hand.vertices[0]), shape, views)
    faces = jnp.asarray(model.template.faces, jnp.int32)
    depth = jax.jit(lambda v, c: render_depth(v, faces, c, shape))(hand.vertices[0], camera)

    def repeated(x):
        return np.broadcast_to(np.asarray(x), (size, *x.shape)).copy()

    return Batch(
        image=rng.integers(0, 255, (size, *shape, 3), np.uint8),
        joints=repeated(hand.joints[0]),
        joint_valid=np.ones((size, hand.joints.shape[1]), bool),
        target_depth=repeated(depth),
        target_camera=Camera(*map(repeated, camera)),
        frame=np.zeros(size, np.int32),
        record=np.arange(size, dtype=np.int32),
    )
