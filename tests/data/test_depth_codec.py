"""Depth maps as codes: precision, range and damage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dhm.data.depth_codec import DEPTH_RANGE_MM, DEPTH_STEP_MM, decode_depth, encode_depth

OFFSET = 812.5


@settings(max_examples=25, deadline=None)
@given(
    hnp.arrays(
        np.float64,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
        elements=st.one_of(st.just(0.0), st.floats(0, 1)),
    )
)
def test_decoded_depth_is_within_half_a_step_and_background_exact(fractions):
    depth = np.where(fractions > 0, OFFSET + fractions * DEPTH_RANGE_MM, 0)
    back = decode_depth(encode_depth(depth, OFFSET), depth.shape, OFFSET, DEPTH_STEP_MM).depth()
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back == 0, depth == 0)
    # float32 resolves 6e-5 mm at a metre and a half.
    np.testing.assert_allclose(back, depth, atol=DEPTH_STEP_MM / 2 + 2e-4, rtol=0)


def test_the_codes_resolve_a_hundredth_mm_over_a_hand():
    assert DEPTH_STEP_MM <= 0.01
    assert DEPTH_RANGE_MM > 600


@pytest.mark.parametrize("z", [OFFSET - 0.02, OFFSET + DEPTH_RANGE_MM + 0.02])
def test_depths_outside_the_range_are_refused(z):
    with pytest.raises(ValueError, match="the codes only"):
        encode_depth(np.array([[OFFSET + 1, z]]), OFFSET)


def test_damaged_data_are_refused():
    data = bytearray(encode_depth(np.full((8, 8), 900.0), OFFSET))
    data[-1] ^= 1
    with pytest.raises(ValueError, match="damaged depth data"):
        decode_depth(bytes(data), (8, 8), OFFSET, DEPTH_STEP_MM)
    with pytest.raises(ValueError, match="damaged depth data"):
        decode_depth(bytes(data[:9]), (8, 8), OFFSET, DEPTH_STEP_MM)


def test_a_map_of_another_shape_is_refused():
    data = encode_depth(np.full((8, 8), 900.0), OFFSET)
    with pytest.raises(ValueError, match="128 bytes of depth codes"):
        decode_depth(data, (8, 9), OFFSET, DEPTH_STEP_MM)
