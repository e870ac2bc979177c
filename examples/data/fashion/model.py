"""ResNet-8 for 28x28 grey pictures of ten kinds of clothes (Fashion-MNIST)."""

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

LABELS = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


class Block(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.skip = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + self.skip(x))


class ResNet8(nn.Module):
    """(N, 1, 28, 28) float32 to (N, 10) logits, in the order of `LABELS`."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.blocks = nn.Sequential(Block(width, width, 1), Block(width, 2 * width, 2), Block(2 * width, 4 * width, 2))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4 * width, len(LABELS))

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.relu(self.bn(self.conv(x))))
        return self.fc(self.pool(x).flatten(1))


def load() -> nn.Module:
    """Return the trained network in eval mode."""
    network = ResNet8()
    network.load_state_dict(load_file(Path(__file__).with_name("model.safetensors")))
    return network.eval()


def preprocess(pictures: Tensor) -> Tensor:
    """Turn uint8 (N, 28, 28) into float32 (N, 1, 28, 28) of mean 0 and deviation 1 over the training set."""
    return ((pictures.float() / 255 - 0.2860) / 0.3530).unsqueeze(1)
