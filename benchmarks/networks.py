"""The networks that are timed: architectures as published, random weights from a fixed seed, batch 1."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tests.networks.autoencoder import autoencoder
from tests.networks.blocks import settle
from tests.networks.ds_cnn import ds_cnn
from tests.networks.efficientnet import efficientnet
from tests.networks.mobilenet_v1 import mobilenet_v1
from tests.networks.mobilenet_v2 import mobilenet_v2
from tests.networks.recurrent import recurrent
from tests.networks.resnet import Bottleneck, resnet
from tests.networks.shufflenet_v2 import shufflenet_v2
from tests.networks.transformer import text_transformer
from tests.networks.unet import unet
from tests.networks.vit import vit


@dataclass(frozen=True)
class Network:
    """One network.

    Attributes:
        build: makes the module.
        shape: of its one input.
        words: vocabulary where the input is int64 word numbers, 0 where it is float32.
        day_zero: belongs to the geometric mean that the README prints.
    """

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    words: int = 0
    day_zero: bool = True

    def make(self) -> tuple[nn.Module, Tensor]:
        """Return the network in eval mode with settled weights, and an input for it."""
        torch.manual_seed(0)
        module = settle(self.build())
        generator = torch.Generator().manual_seed(1)
        if self.words:
            return module, torch.randint(self.words, self.shape, generator=generator)
        return module, torch.randn(self.shape, generator=generator)


NETWORKS: dict[str, Network] = {
    # MLPerf Tiny: image classification, keyword spotting, visual wake words, anomaly detection.
    "resnet8": Network(lambda: resnet(width=16, depths=(1, 1, 1), stem="cifar", classes=10), (1, 3, 32, 32)),
    "ds-cnn": Network(ds_cnn, (1, 1, 49, 10)),
    "mobilenet-v1-0.25": Network(lambda: mobilenet_v1(width=0.25, classes=2), (1, 3, 96, 96)),
    "autoencoder": Network(autoencoder, (1, 640)),
    "mobilenet-v2": Network(mobilenet_v2, (1, 3, 224, 224)),
    "resnet18": Network(resnet, (1, 3, 224, 224)),
    "efficientnet-lite0": Network(lambda: efficientnet(lite=True), (1, 3, 224, 224)),
    "gru": Network(lambda: recurrent("gru"), (1, 50, 40)),
    "vit": Network(lambda: vit(depth=6), (1, 3, 224, 224)),
    "resnet50": Network(lambda: resnet(depths=(3, 4, 6, 3), block=Bottleneck), (1, 3, 224, 224), day_zero=False),
    "shufflenet-v2": Network(shufflenet_v2, (1, 3, 224, 224), day_zero=False),
    "unet": Network(lambda: unet(width=16, levels=4), (1, 3, 128, 128), day_zero=False),
    "text": Network(text_transformer, (1, 64), words=30522, day_zero=False),
}
