"""Image encoder: RGB image to the 28 joint angles (paper section 4.2)."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, UInt8

from dhm.networks.resnet import ResNet

# Outside the backbone every weight starts from N(0, 0.01) (paper section 7).
dense_init = nn.initializers.normal(0.01)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class PoseHead(nn.Module):
    """Fully connected layers from image features to angles in (-pi, pi).

    Attributes:
        num_dofs: Number of angles.
        hidden: Sizes of the hidden layers, ReLU after each: (512,) in the paper, (512, 512) in
            the released code.
    """

    num_dofs: int
    hidden: tuple[int, ...] = (512,)

    @nn.compact
    def __call__(self, features: Float[Array, "b c"]) -> Float[Array, "b d"]:
        for size in self.hidden:
            features = nn.relu(nn.Dense(size, kernel_init=dense_init)(features))
        return jnp.pi * jnp.tanh(nn.Dense(self.num_dofs, kernel_init=dense_init)(features))


class ImageEncoder(nn.Module):
    """ResNet and pose head.

    Attributes:
        num_dofs: Number of angles.
        depth: Depth of the ResNet.
        width: Channels of its first stage.
        hidden: Hidden sizes of the pose head.
        imagenet_normalisation: Subtract ImageNet's mean and divide by its deviation, as weights
            trained there expect; otherwise the network sees RGB in [0, 1].
        axis_name: pmap axis for BatchNorm, or None.
        dtype: Of the backbone's activations; everything else is float32.
    """

    num_dofs: int = 28
    depth: int = 50
    width: int = 64
    hidden: tuple[int, ...] = (512,)
    imagenet_normalisation: bool = False
    axis_name: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, images: UInt8[Array, "b h w 3"] | Float[Array, "b h w 3"], train: bool = False
    ) -> Float[Array, "b d"]:
        """Returns pose vectors theta in radians of RGB images with values 0..255."""
        x = images.astype(jnp.float32) / 255
        if self.imagenet_normalisation:
            x = (x - jnp.array(IMAGENET_MEAN)) / jnp.array(IMAGENET_STD)
        backbone = ResNet(self.depth, self.width, self.axis_name, self.dtype, name="backbone")
        features = backbone(x, train)
        return PoseHead(self.num_dofs, self.hidden, name="head")(features)
