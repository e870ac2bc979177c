"""Small instances of every family, with odd sizes and settled weights, for tests to compile."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .autoencoder import autoencoder
from .blocks import settle
from .c2f import c2f_detector
from .conv_tasnet import conv_tasnet
from .densenet import densenet
from .ds_cnn import ds_cnn
from .efficientnet import efficientnet
from .inception import inception
from .mobilenet_v1 import mobilenet_v1
from .mobilenet_v2 import mobilenet_v2
from .mobilenet_v3 import mobilenet_v3
from .recurrent import recurrent
from .resnet import Bottleneck, resnet
from .shufflenet_v2 import shufflenet_v2
from .squeezenet import squeezenet
from .swin import swin
from .temporal_convolution import temporal_convolution
from .transformer import text_transformer
from .unet import unet
from .vit import vit

Family = Callable[[], tuple[nn.Module, tuple[Tensor, ...]]]


def numbers(*shape: int, seed: int = 1) -> Tensor:
    """Return float32 numbers of the normal distribution."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def words(*shape: int, count: int, seed: int = 1) -> Tensor:
    """Return int64 word numbers below `count`."""
    return torch.randint(count, shape, generator=torch.Generator().manual_seed(seed))


def _case(build: Callable[[], nn.Module], *inputs: Tensor) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return settle(build()), inputs


FAMILIES: dict[str, Family] = {
    "resnet-basic": lambda: _case(
        lambda: resnet(width=37, depths=(1, 1), stem="cifar", classes=11), numbers(1, 3, 31, 31)
    ),
    "resnet-bottleneck": lambda: _case(
        lambda: resnet(width=13, depths=(2, 1), block=Bottleneck, classes=7), numbers(1, 3, 47, 31)
    ),
    "mobilenet-v1": lambda: _case(lambda: mobilenet_v1(width=0.29, blocks=5, classes=7), numbers(1, 3, 31, 45)),
    "mobilenet-v2": lambda: _case(lambda: mobilenet_v2(width=0.37, stages=4, classes=11), numbers(1, 3, 31, 31)),
    "mobilenet-v3": lambda: _case(lambda: mobilenet_v3(width=0.73, blocks=7, classes=5), numbers(1, 3, 45, 31)),
    "efficientnet": lambda: _case(lambda: efficientnet(width=0.41, stages=4, classes=9), numbers(1, 3, 31, 31)),
    "efficientnet-lite": lambda: _case(
        lambda: efficientnet(width=0.23, stages=5, lite=True, classes=3), numbers(1, 3, 37, 37)
    ),
    "shufflenet-v2": lambda: _case(
        lambda: shufflenet_v2(stem=11, stages=(22, 46), repeats=(2, 3), features=37, classes=5), numbers(1, 3, 63, 45)
    ),
    "squeezenet": lambda: _case(lambda: squeezenet(width=0.27, classes=13), numbers(1, 3, 41, 37)),
    "densenet": lambda: _case(lambda: densenet(growth=7, stem=17, depths=(2, 3), classes=5), numbers(1, 3, 31, 37)),
    "unet": lambda: _case(lambda: unet(width=5, levels=3, classes=3), numbers(1, 3, 31, 45)),
    "inception": lambda: _case(lambda: inception(width=0.19, classes=7), numbers(1, 3, 31, 31)),
    "c2f": lambda: _case(lambda: c2f_detector(width=14, depth=2, scores=7), numbers(1, 3, 36, 28)),
    "vit": lambda: _case(lambda: vit(pixels=35, patch=5, dim=39, depth=2, heads=3, classes=11), numbers(2, 3, 35, 35)),
    "swin": lambda: _case(
        lambda: swin(pixels=36, patch=3, dim=21, heads=3, window=3, classes=5), numbers(2, 3, 36, 36)
    ),
    "text": lambda: _case(
        lambda: text_transformer(words=101, tokens=19, dim=37, depth=2, heads=1, classes=3), words(2, 19, count=101)
    ),
    "text-causal": lambda: _case(
        lambda: text_transformer(words=101, tokens=13, dim=42, depth=2, heads=3, classes=3, causal=True),
        words(1, 13, count=101),
    ),
    "text-masked": lambda: _case(
        lambda: text_transformer(words=101, tokens=17, dim=30, depth=2, heads=5, classes=3),
        words(2, 17, count=101),
        torch.arange(17)[None] < torch.tensor([[17], [9]]),
    ),
    "gru": lambda: _case(lambda: recurrent("gru", features=13, hidden=37, classes=5), numbers(1, 11, 13)),
    "gru-bidirectional": lambda: _case(
        lambda: recurrent("gru", features=7, hidden=19, bidirectional=True, classes=5), numbers(2, 9, 7)
    ),
    "lstm": lambda: _case(lambda: recurrent("lstm", features=13, hidden=31, classes=5), numbers(1, 11, 13)),
    "lstm-bidirectional": lambda: _case(
        lambda: recurrent("lstm", features=7, hidden=17, bidirectional=True, classes=5), numbers(3, 9, 7)
    ),
    "temporal-convolution": lambda: _case(
        lambda: temporal_convolution(features=13, width=37, depth=3, classes=5), numbers(1, 13, 31)
    ),
    "conv-tasnet": lambda: _case(lambda: conv_tasnet(filters=37, length=10, channels=19, depth=3), numbers(2, 1, 205)),
    "ds-cnn": lambda: _case(lambda: ds_cnn(width=37, blocks=2, classes=5), numbers(1, 1, 49, 10)),
    "autoencoder": lambda: _case(lambda: autoencoder(features=61, width=37, code=3), numbers(1, 61)),
}
