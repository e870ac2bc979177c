"""Random networks, compiled for this machine and compared with PyTorch.

`pytest tests/test_random_graphs.py --hypothesis-profile=deep` draws many more.
"""

import pytest
from hypothesis import given

import prunus
from tests.comparison import assert_close
from tests.random_graphs import RandomNetwork, random_networks


@given(random_networks())
def test_random_network_equals_pytorch(network: RandomNetwork) -> None:
    module, inputs = network.build()
    try:
        artifact = prunus.compile(module, target="native", example_inputs=inputs, name="net")
        assert_close(module, inputs, artifact(*inputs))
    except Exception as error:
        pytest.fail(f"seed {network.seed}: {type(error).__name__}: {error}\nTo see it again:\n\n{network}\n")
