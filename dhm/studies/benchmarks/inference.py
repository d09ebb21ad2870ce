"""Time from one picture to the angles and the mesh."""

import jax
import jax.numpy as jnp
import numpy as np

from dhm.networks.build import ModelSettings, build_model
from dhm.networks.compiled import compiled
from dhm.studies.benchmarks.timing import BenchmarkRow, interleaved
from dhm.training.state import initial_variables
from dhm.types import HandTemplate

_DECODE_MUST = ">= 200 a second on 2 cores"


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
    runs = {
        "encode": lambda: jax.device_get(encode(jnp.asarray(picture))),
        "decode": lambda: jax.device_get(decode(jnp.asarray(theta))),
        "both": lambda: jax.device_get(decode(encode(jnp.asarray(picture)))),
    }
    network = f"ResNet-{settings.depth}, {image_size}x{image_size}"
    size = f"{template.num_vertices} vertices"
    titles = {
        "encode": f"encode, {network}",
        "decode": f"decode, {size}",
        "both": f"both, {network}, {size}",
    }
    rows = []
    for name, seconds in interleaved(runs, repeats).items():
        number = 1e3 * float(np.median(seconds))
        value = f"{number:.2f} ms  ({1e3 / number:.3g} a second)"
        must = _DECODE_MUST if name == "decode" else ""
        rows.append(BenchmarkRow(titles[name], value, must, number=number, unit="ms"))
    return rows
