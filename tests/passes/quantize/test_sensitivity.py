"""The noise of each layer alone, against integer graphs with that layer alone in int8."""

import pytest
import torch

from prunus.passes.quantize import quantize
from prunus.passes.quantize.sensitivity import rank_layers
from prunus.passes.trainable import TrainableGraph
from prunus.targets import load_target
from tests.passes.quantize.networks import BY_NAME, everywhere, samples

RPI4 = load_target("rpi4")


@pytest.mark.parametrize("bits", [8, 4])
def test_noise_is_that_of_the_layer_alone(folded, bits: int) -> None:
    network = BY_NAME["chain"]
    graph, x = folded(network), samples(network)
    ranked = rank_layers(graph, everywhere(network, bits=bits), RPI4)
    names = [name for name, _ in ranked]
    assert [noise for _, noise in ranked] == sorted((noise for _, noise in ranked), reverse=True)
    assert sorted(names) == sorted(row.layer for row in quantize(graph, everywhere(network)).meta["quantization"])
    with torch.no_grad():
        truth = TrainableGraph(graph)(x)
        for name, noise in ranked:
            alone = everywhere(network, bits=bits, keep=[other for other in names if other != name], correct_bias=False)
            found = TrainableGraph(quantize(graph, alone, target=RPI4))(x)
            expected = float((found - truth).square().mean() / truth.var(correction=0))
            assert noise == pytest.approx(expected, rel=0.05)
