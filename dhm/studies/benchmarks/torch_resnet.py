"""The encoder's training step in PyTorch, for comparison; needs torch, not torchvision."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from dhm.networks.resnet import BOTTLENECK_DEPTHS, STAGES


class _Block(nn.Module):
    def __init__(self, inputs: int, features: int, stride: int, bottleneck: bool):
        super().__init__()
        outputs = 4 * features if bottleneck else features
        if bottleneck:
            layers = ((inputs, features, 1, 1), (features, features, 3, stride),
                      (features, outputs, 1, 1))  # fmt: skip
        else:
            layers = (inputs, features, 3, stride), (features, outputs, 3, 1)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, size, stride, size // 2, bias=False), nn.BatchNorm2d(o))
            for i, o, size, stride in layers
        )
        self.shortcut = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for i, layer in enumerate(self.layers, start=1):
            y = layer(y)
            y = functional.relu(y) if i < len(self.layers) else y
        return functional.relu(y + self.shortcut(x))


def torch_resnet(depth: int, width: int, outputs: int = 28, hidden: int = 512) -> nn.Module:
    """Returns the image encoder: a ResNet with the sizes of `dhm.networks.resnet`, and its head."""
    bottleneck = depth in BOTTLENECK_DEPTHS
    layers: list[nn.Module] = [
        nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]  # fmt: skip
    inputs = width
    for stage, blocks in enumerate(STAGES[depth]):
        features = width * 2**stage
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            layers.append(_Block(inputs, features, stride, bottleneck))
            inputs = 4 * features if bottleneck else features
    head = nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *head)


def torch_step(depth: int, width: int, images: np.ndarray) -> Callable[[], float]:
    """Returns a training step on 8-bit pictures [b h w 3]: forward, backward and Adam."""
    model = torch_resnet(depth, width).to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.Adam(model.parameters(), 1e-4)
    pictures = torch.from_numpy(images).permute(0, 3, 1, 2)

    def run() -> float:
        optimiser.zero_grad()
        loss = model(pictures.float() / 255).square().mean()
        loss.backward()
        optimiser.step()
        return float(loss.detach())

    return run
