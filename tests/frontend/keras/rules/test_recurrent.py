"""Recurrent layers: PyTorch's operators where they compute the same, steps elsewhere."""

import keras
import pytest

from prunus.errors import ImportModelError
from prunus.frontend.keras import import_keras
from prunus.passes.graph import aten, calls
from tests.frontend.keras.harness import check, model_of, noise, places

layers = keras.layers
OPERATORS = (aten.lstm.input, aten.gru.input, aten.rnn_tanh.input, aten.rnn_relu.input)


def is_operator(graph) -> bool:
    return any(True for _ in calls(graph, *OPERATORS))


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"return_sequences": True},
        {"return_state": True},
        {"return_sequences": True, "return_state": True, "go_backwards": True},
        {"use_bias": False},
    ],
    ids=str,
)
def test_operators(kind: str, options) -> None:
    x = noise(2, 6, 5)
    assert is_operator(check(model_of(getattr(layers, kind)(4, **options), x), x))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("SimpleRNN", {"activation": "relu"}),
        ("LSTM", {"activation": "relu"}),
        ("LSTM", {"recurrent_activation": "hard_sigmoid"}),
        ("GRU", {"reset_after": False}),
    ],
    ids=str,
)
def test_other_cells(kind: str, options) -> None:
    x = noise(2, 5, 4)
    graph = check(model_of(getattr(layers, kind)(3, return_sequences=True, return_state=True, **options), x), x)
    assert is_operator(graph) == (kind == "SimpleRNN")


def test_initial_state() -> None:
    x, h, c = noise(2, 6, 5), noise(2, 4), noise(2, 4, seed=1)
    check(model_of(lambda x, h, c: layers.LSTM(4)(x, initial_state=[h, c]), x, h, c), x, h, c)
    check(model_of(lambda x, h: layers.GRU(4)(x, initial_state=h), x, h), x, h)


def test_stacked_cells() -> None:
    x = noise(2, 4, 5)
    check(model_of(layers.RNN([layers.LSTMCell(4), layers.GRUCell(3)], return_state=True), x), x)


@keras.saving.register_keras_serializable("tests")
class Leaky(keras.layers.Layer):  # type: ignore[misc]
    """A cell of one's own."""

    def __init__(self, units: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.units = self.state_size = units

    def build(self, input_shape) -> None:
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")

    def call(self, inputs, states):
        new = 0.9 * states[0] + keras.ops.matmul(inputs, self.kernel)
        return keras.ops.tanh(new), [new]


def test_own_cell() -> None:
    x = noise(2, 4, 5)
    graph = check(model_of(layers.RNN(Leaky(3), return_sequences=True), x), x)
    assert len(list(graph.parameters())) == 1


@pytest.mark.parametrize("mode", ["concat", "sum", "ave", "mul", None])
@pytest.mark.parametrize("sequences", [False, True])
def test_bidirectional(mode, sequences: bool) -> None:
    x = noise(2, 6, 5)
    for kind in (layers.LSTM, layers.GRU):
        check(model_of(layers.Bidirectional(kind(4, return_sequences=sequences), merge_mode=mode), x), x)


def test_bidirectional_states() -> None:
    x = noise(2, 6, 5)
    check(model_of(layers.Bidirectional(layers.LSTM(4, return_state=True)), x), x)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
@pytest.mark.parametrize("sequences", [False, True])
def test_masks(kind: str, sequences: bool) -> None:
    tokens = places(7, 3, 6) + 1
    tokens[0, 4:], tokens[1, :2], tokens[2, 3] = 0, 0, 0

    def network(tokens):
        return getattr(layers, kind)(4, return_sequences=sequences)(layers.Embedding(9, 5, mask_zero=True)(tokens))

    check(model_of(network, tokens), tokens)


def test_masks_reach_the_second_layer() -> None:
    tokens = places(7, 2, 6) + 1
    tokens[:, 4:] = 0

    def network(tokens):
        x = layers.Embedding(9, 5, mask_zero=True)(tokens)
        x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)
        return layers.LSTM(3)(layers.Dropout(0.5)(x))

    check(model_of(network, tokens), tokens)


def test_time_distributed() -> None:
    x = noise(2, 3, 8, 8, 2)
    check(model_of(layers.TimeDistributed(layers.Conv2D(4, 3)), x), x)
    check(
        model_of(lambda x: layers.TimeDistributed(layers.Dense(5))(layers.TimeDistributed(layers.Flatten())(x)), x), x
    )


def test_convolutional_cell() -> None:
    x = noise(1, 3, 6, 6, 2)
    check(model_of(layers.ConvLSTM2D(3, 3, padding="same", return_sequences=True), x), x)


def test_state_between_calls_is_refused() -> None:
    inputs = keras.Input(batch_shape=(1, 4, 3))
    model = keras.Model(inputs, layers.LSTM(2, stateful=True)(inputs))
    with pytest.raises(ImportModelError, match="keeps its state between calls"):
        import_keras(model)
