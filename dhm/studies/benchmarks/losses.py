"""Times of the decoder and of each loss with its gradient."""

import jax
import jax.numpy as jnp
import numpy as np

from dhm.losses.depth import depth_loss
from dhm.losses.joint import joint_loss
from dhm.losses.laplacian import laplacian_loss
from dhm.losses.objective import objective_topology, penetration_terms, reduce_depth
from dhm.networks.build import ModelSettings, build_model
from dhm.rendering import render_depth
from dhm.studies.benchmarks.rasterizer import cameras_around
from dhm.studies.benchmarks.step import PAPER
from dhm.studies.benchmarks.timing import BenchmarkRow, interleaved
from dhm.training.state import initial_variables
from dhm.types import Camera, HandOutput, HandTemplate

_SIZE = (256, 256)
_VIEWS = 6


def benchmark_losses(template: HandTemplate, *, repeats: int = 15) -> list[BenchmarkRow]:
    """Times the paper's decoder and losses on a template, each loss with its gradient, at batch 1.

    `must` was set for about 12,500 vertices and two cores.

    Args:
        template: The hand.
        repeats: Rounds; the median of each is reported.
    """
    model = build_model(template, ModelSettings())
    variables = initial_variables(model, seed=0, subject=1, image_size=64)
    theta = jnp.full((1, 28), 0.2)
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
            number=1e3 * float(np.median(seconds)),
            unit="ms",
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
            term.sum() for term in penetration_terms(o, topology.parts, PAPER).values()
        ),
        "Laplacian loss": lambda o: laplacian_loss(o.vertices, topology.neighbours).mean(),
    }
