"""Stages of a step: scopes, nested events, the timeline, and the trace of a known program."""

import jax
import jax.numpy as jnp
import pytest

from dhm.studies.benchmarks.stages import (
    OTHER,
    Span,
    _innermost,
    draw_timeline,
    merged,
    shares,
    stage_of,
    trace_spans,
)


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("jit(f)/jvp(HandModel.encode)/encode/encoder/backbone/conv1/dot_general", "encode"),
        ("jit(f)/transpose(jvp(HandModel.decode))/decode/mul", "decode"),
        ("jit(f)/transpose(jvp(rasterize))/rasterize_backward/scatter", "rasterize"),
        ("jit(f)/update/encoder_update/add", "update"),
        ("jit(f)/jvp()/convert", OTHER),
    ],
)
def test_stage_of_scopes(name, stage):
    assert stage_of(name) == stage


def test_innermost_drops_the_loop_around_its_body():
    loop, body, after = (0, 0, 10, "loop"), (0, 2, 4, "body"), (0, 10, 12, "after")
    elsewhere = (1, 0, 10, "elsewhere")
    assert sorted(_innermost([loop, body, after, elsewhere])) == sorted([body, after, elsewhere])


def test_shares_are_sorted_and_add_up():
    spans = [Span("encode", 0, 0.0, 3.0), Span("update", 1, 3.0, 4.0)]
    assert shares(spans) == {"encode": 0.75, "update": 0.25}
    assert list(shares(spans[::-1])) == ["encode", "update"]


def test_neighbouring_spans_are_drawn_as_one():
    spans = [
        Span("encode", 0, 0.0, 1.0),
        Span("encode", 0, 1.001, 2.0),
        Span("decode", 0, 2.0, 3.0),
    ]
    assert merged(spans) == [Span("encode", 0, 0.0, 2.0), Span("decode", 0, 2.0, 3.0)]
    picture = draw_timeline(spans)
    left, right = picture[13, 300], picture[13, 1000]
    assert (left != right).any() and (left != 255).any() and (right != 255).any()


def test_trace_finds_the_heavy_stage():
    @jax.jit
    def program(x):
        with jax.named_scope("encode"):
            x = jnp.sort(jnp.sort(x), axis=0)
        with jax.named_scope("update"):
            return jnp.sum(x * 2)

    x = jax.random.normal(jax.random.key(0), (700, 700))
    compiled = program.lower(x).compile()
    jax.block_until_ready(program(x))
    found = shares(trace_spans(lambda: program(x), compiled.as_text()))
    assert next(iter(found)) == "encode" and found["encode"] > 0.8
    assert "update" in found
