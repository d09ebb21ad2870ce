"""Times of the hand model's parts: the decoder, each loss, and a prediction from one picture."""

import jax
import jax.numpy as jnp
import numpy as np

from dhm.losses.objective import objective_topology, penetration_terms, reduce_depth
from dhm.losses.terms import depth_loss, joint_loss, laplacian_loss
from dhm.networks.build import ModelSettings, build_model
from dhm.networks.compiled import compiled
from dhm.rendering import render_depth
from dhm.studies.benchmarks.rasterizer import cameras_around
from dhm.studies.benchmarks.step import PAPER
from dhm.studies.benchmarks.timing import BenchmarkRow, interleaved, median_ms
from dhm.training.state import initial_variables
from dhm.types import Camera, HandOutput, HandTemplate

_SIZE = (256, 256)
_VIEWS = 6


def benchmark_losses(template: HandTemplate, *, repeats: int = 15) -> list[BenchmarkRow]:
    """Times the paper's decoder and losses at batch 1, each loss with its gradient.

    `must` was set for about 12,500 vertices and two cores.

    Args:
        template: The hand.
        repeats: Rounds; medians are reported.
    """
    model = build_model(template, ModelSettings())
    variables = initial_variables(model, seed=0, subject=1, image_size=64)
    theta = jnp.full((1, 28), 0.2)
    decode = jax.jit(lambda v, t: model.apply(v, t, method="decode"))
    output = decode(variables, theta)
    around = cameras_around(np.asarray(output.vertices[0]), _SIZE, _VIEWS)
    runs = {"decode": lambda: decode(variables, theta).vertices}
    for name, loss in _losses(template, output, jax.tree.map(lambda x: x[None], around)).items():
        step = jax.jit(jax.value_and_grad(loss))
        runs[f"{name}, value and gradient"] = lambda step=step: step(output)
    musts = {"decode": "<= 5 ms", "penetration": "<= 15 ms", "Laplacian": "<= 2 ms"}
    rows = []
    for name, seconds in interleaved(runs, repeats).items():
        must, number = musts.get(name.split()[0], ""), median_ms(seconds)
        rows.append(BenchmarkRow(name, f"{number:.2f} ms", must, number=number, unit="ms"))
    return rows


def _losses(template: HandTemplate, output: HandOutput, camera: Camera) -> dict:
    """Returns each loss as a function of the decoder's output."""
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
            term.sum() for term in penetration_terms(o, topology.parts, PAPER).values()
        ),
        "Laplacian loss": lambda o: laplacian_loss(o.vertices, topology.neighbours).mean(),
    }


def benchmark_inference(
    template: HandTemplate,
    *,
    image_size: int = 256,
    settings: ModelSettings | None = None,
    repeats: int = 30,
) -> list[BenchmarkRow]:
    """Times one 8-bit picture through the paper's encoder and decoder as `predict` runs them.

    The results, angles, vertices and joints, are fetched to the host.

    Args:
        template: The hand.
        image_size: Side of the picture, pixels.
        settings: Sizes of the networks; the paper's by default.
        repeats: Rounds; medians are reported.
    """
    settings = settings or ModelSettings()
    model = build_model(template, settings)
    variables = initial_variables(model, seed=0, subject=1, image_size=image_size)
    shape = (1, image_size, image_size, 3)
    picture = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    theta = np.zeros((1, model.encoder.num_dofs), np.float32)
    encode, decode = compiled(model, variables)
    network = f"ResNet-{settings.depth}, {image_size}x{image_size}"
    size = f"{template.num_vertices} vertices"
    decoder = f"decode, {size}"
    runs = {
        f"encode, {network}": lambda: jax.device_get(encode(jnp.asarray(picture))),
        decoder: lambda: jax.device_get(decode(jnp.asarray(theta))),
        f"both, {network}, {size}": lambda: jax.device_get(decode(encode(jnp.asarray(picture)))),
    }
    rows = []
    for name, seconds in interleaved(runs, repeats).items():
        number = median_ms(seconds)
        value = f"{number:.2f} ms  ({1e3 / number:.3g} a second)"
        must = ">= 200 a second on 2 cores" if name == decoder else ""
        rows.append(BenchmarkRow(name, value, must, number=number, unit="ms"))
    return rows
