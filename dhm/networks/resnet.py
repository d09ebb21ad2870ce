"""ResNet-18 to 152 (He et al., CVPR 2016) with torchvision's module names and strides."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3),
          152: (3, 8, 36, 3)}  # fmt: skip
BOTTLENECK_DEPTHS = (50, 101, 152)
# Side in pixels up to which a map is too small for XLA's CPU convolutions: at 2x2 with 256
# channels they take ten times as long as the product.
_TINY = 4
_kernel_init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def _as_matrix_product(
    x: Float[Array, "b h w c"], kernel: Float[Array, "k k c d"], stride: int
) -> Float[Array, "b h2 w2 d"]:
    """The convolution as one product with the patches side by side."""
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
        if max(x.shape[1:3]) <= _TINY:
            return _as_matrix_product(x, jnp.asarray(kernel), self.stride)
        return jax.lax.conv_general_dilated(
            x, kernel, (self.stride, self.stride), [(self.size // 2, self.size // 2)] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )  # fmt: skip


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
        """Features of normalised RGB images; `train` uses and updates the batch's statistics."""
        norm = partial(
            nn.BatchNorm, use_running_average=not train, momentum=0.9, epsilon=1e-5,
            axis_name=self.axis_name if train else None,
            # E[x^2] - E[x]^2 cancels: gradients of one batch split over devices then differed
            # by 1e-3 from the whole batch's, with the exact formula by 2e-6.
            use_fast_variance=False, dtype=self.dtype,
        )  # fmt: skip
        conv = partial(Conv, dtype=self.dtype)
        x = nn.relu(norm(name="bn1")(conv(self.width, 7, 2, name="conv1")(x)))
        x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
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
