"""With their defaults, the families have the numbers of parameters that their publications report."""

from collections.abc import Callable

import pytest
from torch import nn

from tests.networks.densenet import densenet
from tests.networks.efficientnet import efficientnet
from tests.networks.mobilenet_v1 import mobilenet_v1
from tests.networks.mobilenet_v2 import mobilenet_v2
from tests.networks.resnet import Bottleneck, resnet
from tests.networks.shufflenet_v2 import shufflenet_v2
from tests.networks.squeezenet import squeezenet
from tests.networks.vit import vit

PARAMETERS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "ResNet-18": (resnet, 11_689_512),
    "ResNet-50": (lambda: resnet(depths=(3, 4, 6, 3), block=Bottleneck), 25_557_032),
    "MobileNetV1": (mobilenet_v1, 4_231_976),
    "MobileNetV2": (mobilenet_v2, 3_504_872),
    "EfficientNet-B0": (efficientnet, 5_288_548),
    "EfficientNet-Lite0": (lambda: efficientnet(lite=True), 4_652_008),
    "ShuffleNetV2": (shufflenet_v2, 2_278_604),
    "SqueezeNet 1.1": (squeezenet, 1_235_496),
    "DenseNet-121": (densenet, 7_978_856),
    "ViT-Tiny": (vit, 5_717_416),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_as_published(name: str) -> None:
    build, published = PARAMETERS[name]
    assert sum(parameter.numel() for parameter in build().parameters()) == published
