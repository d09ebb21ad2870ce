"""Depth maps as 16-bit codes under zstd.

A code q stands for z = offset + step (q - 1); q = 0 is background. With a step of 0.01 mm the codes
reach 655.34 mm beyond the offset, several times a hand's depth; `data_prep.records.crop` turns
depths outside into background.
"""

from typing import NamedTuple

import cv2
import numpy as np
import zstandard
from jaxtyping import Float, UInt16

DEPTH_STEP_MM = 0.01
MAX_CODE = np.iinfo(np.uint16).max
DEPTH_RANGE_MM = DEPTH_STEP_MM * (MAX_CODE - 1)

ZSTD_LEVEL = 3


def encode_depth(depth: Float[np.ndarray, "h w"], offset: float) -> bytes:
    """Compresses a depth map; its decoding differs by at most half a step (0.005 mm).

    Args:
        depth: Depth along the camera's z in mm, 0 = background.
        offset: Depth of the first code, mm.

    Returns:
        The compressed codes, little-endian and row by row, with a checksum.

    Raises:
        ValueError: A foreground depth lies outside [offset, offset + DEPTH_RANGE_MM].
    """
    foreground = depth > 0
    codes = np.round((depth.astype(np.float64) - offset) / DEPTH_STEP_MM) + 1
    codes = np.where(foreground, codes, 0)
    if np.any(foreground & ((codes < 1) | (codes > MAX_CODE))):
        raise ValueError(
            f"depth reaches {depth[foreground].min()}..{depth.max()} mm, the codes only "
            f"{offset}..{offset + DEPTH_RANGE_MM} mm"
        )
    compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True)
    return compressor.compress(codes.astype("<u2").tobytes())


class DepthCodes(NamedTuple):
    """A depth map as its codes.

    Attributes:
        codes: 0 = background.
        offset: Depth of the first code, mm.
        step: Depth between two codes, mm.
    """

    codes: UInt16[np.ndarray, "h w"]
    offset: float
    step: float

    def depth(self) -> Float[np.ndarray, "h w"]:
        """Returns the depth in mm as float32, 0 = background."""
        depth = np.empty(self.codes.shape, np.float32)
        self.fill(depth)
        return depth

    def fill(self, depth: Float[np.ndarray, "h w"]) -> None:
        """Writes the depth in mm into an existing float32 array."""
        nearer = self.offset - self.step
        cv2.addWeighted(self.codes, self.step, self.codes, 0, nearer, dst=depth, dtype=cv2.CV_32F)
        # The background is now `nearer`; any other depth is a step or more above.
        cv2.threshold(depth, self.offset - self.step / 2, 0, cv2.THRESH_TOZERO, dst=depth)


def decode_depth(data: bytes, shape: tuple[int, int], offset: float, step: float) -> DepthCodes:
    """Decompresses what `encode_depth` compressed.

    Args:
        data: The compressed codes.
        shape: (height, width) of the map.
        offset: Depth of the first code, mm.
        step: Depth between two codes, mm.

    Raises:
        ValueError: The data are damaged or belong to a map of another shape.
    """
    expected = 2 * shape[0] * shape[1]
    try:
        claimed = zstandard.frame_content_size(data)
        raw = zstandard.ZstdDecompressor().decompress(data) if claimed == expected else b""
    except zstandard.ZstdError as error:
        raise ValueError(f"damaged depth data ({error})") from error
    if len(raw) != expected:
        raise ValueError(f"{claimed} bytes of depth codes for a map of shape {shape}")
    return DepthCodes(np.frombuffer(raw, "<u2").reshape(shape), offset, step)
