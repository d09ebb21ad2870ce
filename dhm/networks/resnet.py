"""ResNet-18 to 152 (He et al., CVPR 2016) with torchvision's module names and strides."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from dhm.networks.batch_norm import BatchNorm

STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3),
          152: (3, 8, 36, 3)}  # fmt: skip
BOTTLENECK_DEPTHS = (50, 101, 152)
# Side in pixels of a result up to which it is too small for XLA's CPU convolutions: at 8x8 with
# 512 channels they and their gradients take 1.3 times as long as the product, at 2x2 ten times.
_SMALL = 8
_kernel_init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def _as_matrix_product(
    x: Float[Array, "b h w c"], kernel: Float[Array, "k k c d"], stride: int
) -> Float[Array, "b h2 w2 d"]:
    """Convolves by one matrix product with the patches side by side."""
    size, (_, height, width, _) = kernel.shape[0], x.shape
    x = jnp.pad(x, ((0, 0), (size // 2,) * 2, (size // 2,) * 2, (0, 0)))
    rows, columns = (range(0, side, stride) for side in (height, width))
    patches = jnp.concatenate(
        [
            x[:, i : i + rows[-1] + 1 : stride, j : j + columns[-1] + 1 : stride]
            for i in range(size)
            for j in range(size)
        ],
        axis=-1,
    )
    flat = jnp.dot(patches.reshape(-1, patches.shape[-1]), kernel.reshape(-1, kernel.shape[-1]))
    return flat.reshape(*patches.shape[:-1], kernel.shape[-1])


class Conv(nn.Module):
    """Convolution without bias and with torch's symmetric padding.

    A 1x1 kernel runs as a product of two matrices: XLA's CPU backend computes the weight gradient
    of a 1x1 convolution at a fraction of the speed. So does a larger one on a map of a few pixels.
    """

    features: int
    size: int
    stride: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", _kernel_init, shape, jnp.float32)
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        if self.size == 1:
            x = x[:, :: self.stride, :: self.stride]
            flat = jnp.dot(x.reshape(-1, x.shape[-1]), kernel[0, 0])
            return flat.reshape(*x.shape[:-1], self.features)
        if jax.default_backend() == "cpu" and max(x.shape[1:3]) <= _SMALL * self.stride:
            return _as_matrix_product(x, jnp.asarray(kernel), self.stride)
        return jax.lax.conv_general_dilated(
            x, kernel, (self.stride, self.stride), [(self.size // 2, self.size // 2)] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )  # fmt: skip


def max_pool(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """Max-pools 3x3 with stride 2 and padding 1, along one axis after the other.

    XLA's CPU backend takes ten times as long for the gradient of its own pooling.
    """
    return _maxima(_maxima(x, axis=2), axis=1)


def _maxima(x: Float[Array, "b h w c"], axis: int) -> Float[Array, "b h2 w2 c"]:
    """Takes the maximum of each even entry and its two neighbours.

    By slices of pairs: strided slices take longer.
    """
    count = (x.shape[axis] + 1) // 2
    x = _padded(x, axis, 0, 2 * count - x.shape[axis])
    pairs = x.reshape(*x.shape[:axis], count, 2, *x.shape[axis + 1 :])
    even, odd = (jax.lax.index_in_dim(pairs, i, axis + 1, keepdims=False) for i in range(2))
    before = _padded(jax.lax.slice_in_dim(odd, 0, count - 1, axis=axis), axis, 1, 0)
    return jnp.maximum(jnp.maximum(even, odd), before)


def _padded(x: Float[Array, "b h w c"], axis: int, before: int, after: int) -> Array:
    pad = [(0, 0)] * x.ndim
    pad[axis] = (before, after)
    return jnp.pad(x, pad, constant_values=-jnp.inf)


class Block(nn.Module):
    """Residual block: two 3x3 convolutions, or 1x1, 3x3, 1x1 with four times the channels out."""

    features: int
    stride: int
    bottleneck: bool
    conv: Any
    norm: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        out_features = self.features * (4 if self.bottleneck else 1)
        if self.bottleneck:
            layers = ((self.features, 1, 1), (self.features, 3, self.stride), (out_features, 1, 1))
        else:
            layers = ((self.features, 3, self.stride), (out_features, 3, 1))
        y = x
        for i, (features, size, stride) in enumerate(layers, start=1):
            y = self.norm(name=f"bn{i}")(self.conv(features, size, stride, name=f"conv{i}")(y))
            y = nn.relu(y) if i < len(layers) else y
        if x.shape[-1] != out_features or self.stride > 1:
            x = self.conv(out_features, 1, self.stride, name="downsample_0")(x)
            x = self.norm(name="downsample_1")(x)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """Image features, mean over the last map.

    Attributes:
        depth: 18, 34, 50, 101 or 152.
        width: Channels of the first stage; 64 in the paper, less only for tests.
        axis_name: Name of the pmap axis over which BatchNorm averages its statistics, or None.
        dtype: Of the activations; parameters and BatchNorm's statistics are float32 in any case.
    """

    depth: int = 50
    width: int = 64
    axis_name: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"], train: bool = False) -> Float[Array, "b c"]:
        """Returns features of normalised RGB images; `train` uses the batch's statistics."""
        norm = partial(BatchNorm, train, self.axis_name, dtype=self.dtype)
        conv = partial(Conv, dtype=self.dtype)
        x = nn.relu(norm(name="bn1")(conv(self.width, 7, 2, name="conv1")(x)))
        x = max_pool(x)
        for stage, blocks in enumerate(STAGES[self.depth], start=1):
            for block in range(blocks):
                x = Block(
                    features=self.width * 2 ** (stage - 1),
                    stride=2 if stage > 1 and block == 0 else 1,
                    bottleneck=self.depth in BOTTLENECK_DEPTHS,
                    conv=conv,
                    norm=norm,
                    name=f"layer{stage}_{block}",
                )(x)
        return jnp.mean(x, axis=(1, 2), dtype=jnp.float32)
