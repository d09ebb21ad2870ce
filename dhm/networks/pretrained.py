"""Backbone weights from a local .safetensors file with torchvision's or timm's names."""

import re
from pathlib import Path

import jax
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from dhm.errors import BadInputError

_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
# Of the layers that every weight counts in; not torch's counters of batches.
_LAYER = re.compile(r"layer\d+\.(?!.*num_batches_tracked)")


def _torch_name(path: tuple) -> str:
    """Turns (0, layer1_0, downsample_0, kernel) into layer1.0.downsample.0.weight."""
    _, *modules, leaf = (getattr(entry, "key", None) for entry in path)
    return ".".join([module.replace("_", ".") for module in modules] + [_LEAVES[leaf]])


def _tensor(name: str, shape: tuple[int, ...], tensors: dict[str, np.ndarray], file: Path):
    if name not in tensors:
        raise BadInputError(file, f"no tensor {name}", "a ResNet with torchvision's names")
    value = tensors[name]
    value = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value
    if value.shape != shape:
        raise BadInputError(file, f"{name} of shape {value.shape}", f"{shape} (as H, W, I, O)")
    if not np.isfinite(value).all():
        raise BadInputError(file, f"{name} with NaN or infinity", "finite weights")
    return np.asarray(value, np.float32)


def load_backbone(file: Path, params: dict, batch_stats: dict) -> tuple[dict, dict]:
    """Replaces a ResNet's variables by those of a file.

    Args:
        file: A .safetensors file of the same ResNet; its classifier is ignored.
        params: The backbone's "params", for names and shapes.
        batch_stats: The backbone's "batch_stats".

    Returns:
        New params and batch_stats, float32.

    Raises:
        BadInputError: If the file is absent or not safetensors, a tensor is missing, has another
            shape or is not finite, or there are layers that the ResNet has not.
    """
    file = Path(file)
    if not file.is_file():
        raise BadInputError(
            file,
            "no such file",
            "ImageNet weights of the ResNet as .safetensors (timm or torchvision names), or an "
            "empty config.encoder.weights to start from random ones",
        )
    try:
        tensors = load_file(file)
    except SafetensorError as error:
        raise BadInputError(file, str(error), "a .safetensors file") from error
    loaded = jax.tree_util.tree_map_with_path(
        lambda path, leaf: _tensor(_torch_name(path), leaf.shape, tensors, file),
        (params, batch_stats),
    )
    used = {_torch_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(loaded)}
    surplus = [name for name in sorted(tensors) if _LAYER.match(name) and name not in used]
    if surplus:  # all tensors of a ResNet-18 are in a ResNet-34, too
        raise BadInputError(file, f"the tensor {surplus[0]}", "those of config.encoder.depth alone")
    return loaded
