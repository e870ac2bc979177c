"""Every classic family, small and odd, compiled for this machine and compared with PyTorch."""

import pytest
import torch

import prunus
from tests.comparison import assert_close
from tests.networks import FAMILIES


@pytest.mark.parametrize("name", FAMILIES)
def test_family_equals_pytorch(name: str) -> None:
    module, inputs = FAMILIES[name]()
    artifact = prunus.compile(module, target="native", example_inputs=inputs, name="net")
    assert_close(module, inputs, artifact(*inputs))


@pytest.mark.parametrize("name", FAMILIES)
def test_family_depends_on_its_input(name: str) -> None:
    """A network whose output does not move would pass any comparison."""
    module, inputs = FAMILIES[name]()
    other = tuple(x.flip(-1) for x in inputs)
    with torch.no_grad():
        first, second = (
            leaf if isinstance(leaf, torch.Tensor) else leaf[0] for leaf in (module(*inputs), module(*other))
        )
    assert (first - second).abs().max() > 0.02 * first.abs().max()
