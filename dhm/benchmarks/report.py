"""`python launch.py benchmark`: every table, on the built-in hand."""

import os
import platform

import jax

from dhm.benchmarks.model import benchmark_model
from dhm.benchmarks.rasterizer import benchmark_rasterizer
from dhm.benchmarks.timing import format_table
from dhm.types import HandTemplate


def benchmark(template: HandTemplate) -> None:
    """Measures the rasterizer, the decoder, the losses and the training step, and prints tables.

    Args:
        template: A hand of about 12,500 vertices.
    """
    print(_machine())
    print(f"hand of {template.num_vertices} vertices and {len(template.faces)} faces\n")
    rows = benchmark_rasterizer(template.v_template, template.faces)
    print(format_table("rasterizer, 256x256", rows), end="\n\n", flush=True)
    print(format_table("model, batch 1 unless said", benchmark_model(template)))


def _machine() -> str:
    devices = ", ".join(sorted({device.device_kind for device in jax.devices()}))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    host = f"{platform.machine()}, {cores} cores"
    return f"jax {jax.__version__} on {jax.device_count()} x {devices}; {host}"
