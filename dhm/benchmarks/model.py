"""Times of the decoder, of each loss with its gradient, and of one training step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dhm.benchmarks.rasterizer import cameras_around
from dhm.benchmarks.timing import BenchmarkRow, interleaved
from dhm.losses.depth import depth_loss
from dhm.losses.joint import joint_loss
from dhm.losses.laplacian import laplacian_loss
from dhm.losses.objective import (
    ObjectiveSettings,
    objective_topology,
    penetration_terms,
    reduce_depth,
)
from dhm.networks.build import ModelSettings, build_model
from dhm.rendering import render_depth
from dhm.training.parallel import AXIS, make_parallel_step, replicate, shard
from dhm.training.state import create_train_state, initial_variables
from dhm.training.step import make_step_spec
from dhm.types import Batch, Camera, HandOutput, HandTemplate

_PAPER = ObjectiveSettings(
    joint=1.0, depth=1.0, penetration=1.0, laplacian=5.0, non_rigid=5.0,
    depth_reduction="foreground", penetration_reduction="mean", depth_beta=1.0,
)  # fmt: skip
_SIZE = (256, 256)
_VIEWS = 6


def benchmark_model(
    template: HandTemplate, *, batch_size: int | None = None, repeats: int = 15
) -> list[BenchmarkRow]:
    """Times the paper's model (ResNet-50, 256x256, 6 views) on a template.

    Decoder and losses run at batch 1, each loss with its gradient. `must` was set for about
    12,500 vertices and two cores.

    Args:
        template: The hand.
        batch_size: Of the training step; 32 on an accelerator, 2 on a CPU.
        repeats: Rounds; the median of each is reported.
    """
    model = build_model(template, ModelSettings(), AXIS)
    variables = initial_variables(model, seed=0, subject=1, image_size=_SIZE[0])
    rows = _decoder_and_loss_rows(model, variables, repeats)
    batch_size = batch_size or (2 if jax.default_backend() == "cpu" else 32)
    return [*rows, _step_row(model, variables, batch_size, repeats)]


def _decoder_and_loss_rows(model, variables, repeats) -> list[BenchmarkRow]:
    template, theta = model.template, jnp.full((1, 28), 0.2)
    decode = jax.jit(lambda v, t: model.apply(v, t, method="decode"))
    output = decode(variables, theta)
    camera = jax.tree.map(
        lambda x: x[None], cameras_around(np.asarray(output.vertices[0]), _SIZE, _VIEWS)
    )
    runs = {"decode": lambda: decode(variables, theta).vertices}
    for name, loss in _losses(template, output, camera).items():
        step = jax.jit(jax.value_and_grad(loss))
        runs[name] = lambda step=step: step(output)
    times = interleaved(runs, repeats)
    musts = {"decode": "<= 5 ms", "penetration loss": "<= 15 ms", "Laplacian loss": "<= 2 ms"}
    return [
        BenchmarkRow(
            name if name == "decode" else f"{name}, value and gradient",
            f"{1e3 * np.median(seconds):.2f} ms",
            musts.get(name, ""),
        )
        for name, seconds in times.items()
    ]


def _losses(template: HandTemplate, output: HandOutput, camera: Camera) -> dict:
    """Each loss as a function of the decoder's output, to be differentiated."""
    topology = objective_topology(template)
    faces = jnp.asarray(template.faces, jnp.int32)
    target, valid = output.joints + 3, jnp.ones(output.joints.shape[:2], bool)
    depth = render_depth(output.vertices + 2, faces, camera, _SIZE)

    def depth_term(o):
        rendered = render_depth(o.vertices, faces, camera, _SIZE)
        return reduce_depth(*depth_loss(rendered, depth), "foreground").sum()

    return {
        "pose loss": lambda o: joint_loss(o.joints, target, valid).mean(),
        f"depth loss with {_VIEWS} depth maps": depth_term,
        "penetration loss": lambda o: sum(
            term.sum() for term in penetration_terms(o, topology.parts, "mean").values()
        ),
        "Laplacian loss": lambda o: laplacian_loss(o.vertices, topology.neighbours).mean(),
    }


def _step_row(model, variables, batch_size: int, repeats: int) -> BenchmarkRow:
    devices = jax.local_devices()
    step = make_parallel_step(make_step_spec(model, _PAPER, AXIS), devices)
    state = replicate(create_train_state(model, variables, optax.adam(1e-4)), devices)
    batch = shard(_batch(model, variables, batch_size), len(devices))

    def run():
        nonlocal state
        state, metrics = step(state, batch)
        return metrics

    seconds = np.median(interleaved({"step": run}, repeats)["step"])
    name = f"training step, ResNet-50, {_SIZE[0]}x{_SIZE[1]}, batch {batch_size}, {_VIEWS} views"
    rate = f"{batch_size / seconds:.3g} images/s on {len(devices)} device(s)"
    return BenchmarkRow(name, f"{1e3 * seconds:.0f} ms  ({rate})")


def _batch(model, variables, size: int) -> Batch:
    """Noise for images; joints and depth maps of one hand."""
    rng = np.random.default_rng(0)
    hand = model.apply(variables, jnp.full((1, 28), 0.3), method="decode")
    camera = cameras_around(np.asarray(hand.vertices[0]), _SIZE, _VIEWS)
    faces = jnp.asarray(model.template.faces, jnp.int32)
    depth = jax.jit(lambda v, c: render_depth(v, faces, c, _SIZE))(hand.vertices[0], camera)

    def repeated(x):
        return np.broadcast_to(np.asarray(x), (size, *x.shape)).copy()

    return Batch(
        image=rng.integers(0, 255, (size, *_SIZE, 3), np.uint8),
        joints=repeated(hand.joints[0]),
        joint_valid=np.ones((size, hand.joints.shape[1]), bool),
        target_depth=repeated(depth),
        target_camera=Camera(*map(repeated, camera)),
        frame=np.zeros(size, np.int32),
        record=np.arange(size, dtype=np.int32),
    )
