"""Time from one picture to the angles and the mesh."""

import jax
import jax.numpy as jnp
import numpy as np

from dhm.benchmarks.timing import BenchmarkRow, interleaved
from dhm.networks.build import ModelSettings, build_model
from dhm.training.state import initial_variables
from dhm.types import HandTemplate


def benchmark_inference(
    template: HandTemplate,
    *,
    image_size: int = 256,
    settings: ModelSettings | None = None,
    repeats: int = 15,
) -> list[BenchmarkRow]:
    """Times one 8-bit picture through the paper's encoder and decoder, result on the host.

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
    encode = jax.jit(lambda image: model.apply(variables, image, method="encode"))
    both = jax.jit(lambda image: model.apply(variables, image)[1].vertices)
    runs = {
        "encode": lambda: jax.device_get(encode(jnp.asarray(picture))),
        "encode and decode": lambda: jax.device_get(both(jnp.asarray(picture))),
    }
    rows = []
    for name, seconds in interleaved(runs, repeats).items():
        number = 1e3 * float(np.median(seconds))
        title = f"{name}, ResNet-{settings.depth}, {image_size}x{image_size}, one picture"
        value = f"{number:.1f} ms  ({1e3 / number:.3g} a second)"
        rows.append(BenchmarkRow(title, value, number=number, unit="ms"))
    return rows
