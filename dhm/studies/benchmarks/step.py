"""The training step on synthetic batches: compiled, timed beside the bare encoder's, its floors."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dhm.losses.objective import ObjectiveSettings
from dhm.networks.build import ModelSettings, build_model
from dhm.networks.hand_model import HandModel
from dhm.rendering import render_depth
from dhm.studies.benchmarks.rasterizer import cameras_around
from dhm.studies.benchmarks.timing import BenchmarkRow, interleaved, median_ms, median_ratio
from dhm.training.state import TrainState, create_train_state, initial_variables
from dhm.training.step import (
    AXIS,
    ParallelStep,
    axis_over,
    make_parallel_step,
    make_step_spec,
    replicate,
    shard,
)
from dhm.types import Batch, Camera, HandTemplate

PAPER = ObjectiveSettings(
    joint=1.0, depth=1.0, penetration=1.0, laplacian=5.0, non_rigid=5.0, skeleton=0.1,
    depth_reduction="foreground", penetration_reduction="mean", depth_beta=1.0,
)  # fmt: skip
# One for all states: a compiled step takes no state of another optimiser.
_OPTIMISER = optax.adam(1e-4)


def fresh_model(
    template: HandTemplate,
    settings: ModelSettings,
    image_size: int,
    num_devices: int,
    dtype: Any = None,
) -> tuple[HandModel, dict]:
    """Builds a model as training does, and draws its variables.

    Args:
        template: The hand.
        settings: Sizes of the networks.
        image_size: Side of the pictures, pixels.
        num_devices: That a step runs on.
        dtype: Of the encoder's activations; by default bfloat16 on an accelerator.
    """
    if dtype is None:
        dtype = jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16
    model = build_model(template, settings, axis_over(num_devices), dtype)
    return model, initial_variables(model, seed=0, subject=1, image_size=image_size)


def make_batch(model: HandModel, variables: dict, size: int, image_size: int, views: int) -> Batch:
    """Returns noise for images, and joints and depth maps of one hand."""
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


class CompiledStep(NamedTuple):
    """The training step, compiled for batches of one size.

    Attributes:
        step: Takes a state from `fresh_state` and a batch from `on_devices`.
        cost: XLA's estimate of one device's part of it.
        hlo: The text of its program.
    """

    step: ParallelStep
    cost: dict[str, float]
    hlo: str


def fresh_state(model: HandModel, variables: dict, devices: Sequence[jax.Device]) -> TrainState:
    """Returns a state at step 0 on the devices, which a step may take over."""
    state = create_train_state(model, jax.device_get(variables), _OPTIMISER)
    return replicate(state, devices)


def on_devices(batch: Batch, devices: Sequence[jax.Device]) -> Batch:
    """Returns a batch with a share on each device, where training's transfers hide behind steps."""
    sharding = NamedSharding(Mesh(np.array(devices), (AXIS,)), PartitionSpec(AXIS))
    return jax.device_put(shard(batch, len(devices)), sharding)


def compile_step(
    model: HandModel, variables: dict, batch: Batch, devices: Sequence[jax.Device]
) -> CompiledStep:
    """Compiles the paper's training step for batches like one."""
    step = make_parallel_step(make_step_spec(model, PAPER, axis_over(len(devices))), devices)
    state = fresh_state(model, variables, devices)
    compiled = step.lower(state, on_devices(batch, devices)).compile()
    cost = compiled.cost_analysis()
    return CompiledStep(compiled, cost[0] if isinstance(cost, list) else cost, compiled.as_text())


def repeated_step(
    compiled: CompiledStep,
    model: HandModel,
    variables: dict,
    batch: Batch,
    devices: Sequence[jax.Device],
) -> Callable[[], dict]:
    """Returns a function that makes one more step on the same batch."""
    state, batch = fresh_state(model, variables, devices), on_devices(batch, devices)

    def run():
        nonlocal state
        state, metrics = compiled.step(state, batch)
        return metrics

    return run


def encoder_step(
    model: HandModel, variables: dict, batch: Batch, devices: Sequence[jax.Device]
) -> Callable[[], Any]:
    """Returns a function that trains the encoder alone for a step: forward, backward and Adam."""

    def loss(encoder, stats, images):
        params = variables["params"] | {"encoder": encoder}
        theta, updates = model.apply(
            variables | {"batch_stats": stats, "params": params},
            images, train=True, method="encode", mutable=["batch_stats"],
        )  # fmt: skip
        return jnp.mean(theta**2), updates["batch_stats"]

    def step(state, images):
        encoder, opt_state, stats = state
        gradient, stats = jax.grad(loss, has_aux=True)(encoder, stats, images)
        if len(devices) > 1:
            gradient = jax.lax.psum(gradient, AXIS)
        updates, opt_state = _OPTIMISER.update(gradient, opt_state, encoder)
        return optax.apply_updates(encoder, updates), opt_state, stats

    parallel = jax.pmap(
        step, axis_name=AXIS, in_axes=(None, 0), out_axes=None, devices=devices,
        donate_argnums=(0,),
    )  # fmt: skip
    encoder = jax.device_get(variables["params"]["encoder"])
    first = encoder, _OPTIMISER.init(encoder), jax.device_get(variables["batch_stats"])
    state = replicate(first, devices)
    images = on_devices(batch, devices).image

    def run():
        nonlocal state
        state = parallel(state, images)
        return state

    return run


def step_rows(times: dict[str, list[float]], title: str, batch_size: int) -> list[BenchmarkRow]:
    """Returns the rows of the whole step's and the bare encoder's times.

    Args:
        times: Seconds of "whole" and "encoder", in turns.
        title: What the step is.
        batch_size: Images over all devices.
    """
    on_cpu = jax.default_backend() == "cpu"
    ratio = median_ratio(times["whole"], times["encoder"])
    rates = {name: 1e3 * batch_size / median_ms(times[name]) for name in ("whole", "encoder")}
    return [
        BenchmarkRow(
            f"training step, {title}",
            f"{median_ms(times['whole']):.4g} ms  ({rates['whole']:.3g} images/s)",
            "" if on_cpu else ">= 2000 images/s",
            number=rates["whole"],
            unit="images/s",
        ),
        BenchmarkRow(
            "bare encoder's step",
            f"{median_ms(times['encoder']):.4g} ms  ({rates['encoder']:.3g} images/s)",
            number=rates["encoder"],
            unit="images/s",
        ),
        BenchmarkRow(
            "whole step / bare encoder's step",
            f"{ratio:.2f}",
            "<= 1.15" if on_cpu else "<= 1.3",
            number=ratio,
        ),
    ]


def floor_rows(cost: dict[str, float], seconds: list[float]) -> list[BenchmarkRow]:
    """Returns how long the step's arithmetic and its memory traffic would take at least.

    Args:
        cost: From `compile_step`.
        seconds: Times of the step.
    """
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


def _peak_flops(repeats: int = 5) -> float:
    on_cpu = jax.default_backend() == "cpu"
    x = jnp.ones((2048, 2048), jnp.float32) if on_cpu else jnp.ones((4096, 4096), jnp.bfloat16)
    product = jax.jit(lambda x: x @ x)
    seconds = min(interleaved({"product": lambda: product(x)}, repeats)["product"])
    return 2 * float(x.shape[0]) ** 3 / seconds


def _peak_bandwidth(size: int = 1 << 26, repeats: int = 5) -> float:
    x = jnp.ones(size, jnp.float32)
    copy = jax.jit(lambda x: x + 1)
    return 2 * x.nbytes / min(interleaved({"copy": lambda: copy(x)}, repeats)["copy"])
