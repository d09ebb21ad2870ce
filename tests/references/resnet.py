"""ResNet from a dict of torch-named tensors, written with NumPy's windows. NCHW, float64."""

import numpy as np


def _conv(x, weight, stride, padding):
    size = weight.shape[-1]
    x = np.pad(x, [(0, 0), (padding, padding), (padding, padding)])
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))
    return np.einsum("chwij,ocij->ohw", windows[:, ::stride, ::stride], weight, optimize=True)


def _norm(x, tensors, name):
    mean, var, weight, bias = (
        tensors[f"{name}.{key}"][:, None, None]
        for key in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / np.sqrt(var + 1e-5) * weight + bias


def _max_pool(x):
    x = np.pad(x, [(0, 0), (1, 1), (1, 1)], constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
    return windows[:, ::2, ::2].max(axis=(-1, -2))


def resnet_features(image, tensors, blocks):
    """Mean features of one image [3 h w]; `blocks` is the number of blocks of each stage."""
    x = np.maximum(_norm(_conv(image, tensors["conv1.weight"], 2, 3), tensors, "bn1"), 0)
    x = _max_pool(x)
    for stage, count in enumerate(blocks, start=1):
        for block in range(count):
            name, y = f"layer{stage}.{block}", x
            stride = 2 if stage > 1 and block == 0 else 1
            last = 3 if f"{name}.conv3.weight" in tensors else 2
            for i in range(1, last + 1):
                weight = tensors[f"{name}.conv{i}.weight"]
                # torchvision strides in the 3x3 of a bottleneck, in the first 3x3 otherwise.
                step = stride if i == (2 if last == 3 else 1) else 1
                y = _norm(_conv(y, weight, step, weight.shape[-1] // 2), tensors, f"{name}.bn{i}")
                y = np.maximum(y, 0) if i < last else y
            if f"{name}.downsample.0.weight" in tensors:
                x = _conv(x, tensors[f"{name}.downsample.0.weight"], stride, 0)
                x = _norm(x, tensors, f"{name}.downsample.1")
            x = np.maximum(x + y, 0)
    return x.mean(axis=(1, 2))
