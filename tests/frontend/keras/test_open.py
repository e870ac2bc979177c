"""Layers and models without a rule: what they are made of is imported."""

import keras
import numpy as np
import pytest
import torch
from keras import ops

from prunus.errors import ImportModelError, UnsupportedOperators
from prunus.frontend.keras import import_keras, rule
from prunus.passes.graph import aten, calls
from tests.frontend.keras.harness import check, model_of, noise, randomize


class Squeeze(keras.Layer):  # type: ignore[misc]
    """Squeeze and excite, with layers of its own."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool = keras.layers.GlobalAveragePooling2D(keepdims=True)
        self.down = keras.layers.Conv2D(channels // 2, 1, activation="relu")
        self.up = keras.layers.Conv2D(channels, 1, activation="sigmoid")

    def call(self, x):
        return x * self.up(self.down(self.pool(x)))


class Upsample(keras.Layer):  # type: ignore[misc]
    """Operations on variables of its own, some of them in a list."""

    def build(self, shape) -> None:
        self.kernel = self.add_weight(shape=(4, 4, 3, shape[-1]), name="kernel")
        self.scales = [self.add_weight(shape=(3,), name=f"scale_{index}") for index in range(2)]

    def call(self, x):
        y = ops.conv_transpose(x, self.kernel, strides=2, padding="same")
        return self.scales[0] * y + ops.cast(self.scales[1], "float32")


class Scores(keras.Layer):  # type: ignore[misc]
    """Asks its variable for more than a symbol has."""

    def build(self, shape) -> None:
        self.bias = self.add_weight(shape=(shape[-1],), name="bias")

    def call(self, x):
        return ops.add(x, self.bias.value)


class Doubled(keras.layers.Dense):  # type: ignore[misc]
    """A subclass that computes something else than its base."""

    def call(self, x):
        return 2 * super().call(x)


class Network(keras.Model):  # type: ignore[misc]
    """A model that declares no inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = keras.layers.Dense(6, activation="gelu"), keras.layers.BatchNormalization()
        self.last = keras.layers.Dense(2)

    def call(self, x, training=False):
        hidden = self.norm(self.first(x), training=training)
        return {"scores": self.last(hidden), "hidden": hidden} if not training else self.last(hidden)


class Opaque(keras.Layer):  # type: ignore[misc]
    """Leaves Keras for NumPy."""

    def call(self, x):
        return ops.convert_to_tensor(np.tanh(np.asarray(x)))


def test_layers_in_a_layer() -> None:
    x = noise(2, 6, 5, 4)
    graph = check(model_of(Squeeze(4), x), x)
    assert len(list(graph.parameters())) == 4


def test_variables_of_a_layer_stay_parameters() -> None:
    x = noise(1, 4, 5, 2)
    graph = check(model_of(Upsample(), x), x)
    assert {name.split(".")[-1] for name, _ in graph.named_parameters()} == {"kernel", "scale_0", "scale_1"}


def test_variables_that_are_asked_for_their_value() -> None:
    x = noise(2, 5)
    check(model_of(Scores(), x), x)


def test_subclass_does_not_take_the_rule_of_its_base() -> None:
    x = noise(2, 5)
    graph = check(model_of(Doubled(3, activation="tanh"), x), x)
    assert len(list(calls(graph, aten.linear.default))) == 1


def test_model_without_declared_inputs() -> None:
    x = noise(2, 5)
    model = Network()
    model(x)
    randomize(model)
    graph = check(model, x)
    assert graph.meta["input_names"] == ["input"]
    assert sorted(graph.meta["output_names"]) == ["hidden", "scores"]


def test_models_in_models() -> None:
    x = noise(2, 6, 6, 3)
    inner = keras.Sequential([keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization(), keras.layers.ReLU()])
    branch = model_of(lambda x: (inner(x), keras.layers.MaxPooling2D(3, 1)(x)), noise(1, 6, 6, 3))

    def network(x):
        first, second = branch(x)
        return keras.layers.Concatenate()([first, second, branch(2 * x)[0]])

    graph = check(model_of(network, x), x, tolerance=1e-4)
    assert len(list(graph.parameters())) == 4


def test_functions() -> None:
    x = noise(2, 5)
    check(model_of(keras.layers.Lambda(lambda x: ops.exp(-(x**2))), x), x)
    check(model_of(keras.layers.Activation(lambda x: x * ops.sigmoid(1.7 * x)), x), x)


def test_several_inputs_by_name() -> None:
    inputs = {"picture": keras.Input((4,), name="picture"), "age": keras.Input((1,), name="age")}
    joined = keras.layers.Concatenate()([inputs["picture"], inputs["age"]])
    model = keras.Model(inputs, {"class": keras.layers.Dense(3)(joined), "kept": inputs["age"]})
    graph = import_keras(model)
    assert graph.meta["input_names"] == [tensor.name for tensor in model.inputs]
    by_name = {"picture": noise(1, 4), "age": noise(1, 1)}
    found = graph(*(torch.from_numpy(by_name[name]) for name in graph.meta["input_names"]))
    wanted = model(by_name)
    for name, result in zip(graph.meta["output_names"], found, strict=True):
        np.testing.assert_allclose(result.detach(), keras.ops.convert_to_numpy(wanted[name]), atol=1e-6)


def test_mixed_precision_is_computed_in_float32() -> None:
    x = noise(2, 6, 6, 3)
    inputs = keras.Input(x.shape[1:])
    policy = "mixed_bfloat16"
    hidden = keras.layers.BatchNormalization(dtype=policy)(keras.layers.Conv2D(4, 3, dtype=policy)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2, dtype="float32")(keras.layers.Flatten(dtype=policy)(hidden)))
    graph = import_keras(model)
    (found,) = import_keras(model, example_inputs=[torch.from_numpy(x)])(torch.from_numpy(x))
    assert all(parameter.dtype is torch.float32 for parameter in graph.parameters())
    np.testing.assert_allclose(found.detach(), keras.ops.convert_to_numpy(model(x)), atol=0.05)


def test_all_that_is_missing_is_listed_at_once() -> None:
    inputs = keras.Input((5,))
    opaque = [Opaque(name=name) for name in ("first", "second")]
    for layer in opaque:
        layer.compute_output_shape = lambda shape: shape  # Keras cannot find it out either
        layer.compute_output_spec = lambda x: keras.KerasTensor(x.shape, x.dtype)
    hidden = opaque[1](keras.layers.Dense(4)(opaque[0](inputs)))
    model = keras.Model(inputs, ops.bincount(ops.cast(ops.round(hidden), "int32"), minlength=3))
    with pytest.raises(UnsupportedOperators) as raised:
        import_keras(model)
    message = str(raised.value)
    assert f"{Opaque.__module__}.Opaque" in message
    assert "x2: 'first', 'second'" in message
    assert "ops.Bincount" in message
    assert "prunus.frontend.keras.rule" in message


def test_model_that_is_missing_itself() -> None:
    with pytest.raises(UnsupportedOperators, match="Opaque"):
        import_keras(Opaque(), example_inputs=(torch.zeros(1, 5),))


def test_own_rule() -> None:
    inputs = keras.Input((5,))
    layer = Opaque()
    layer.compute_output_spec = lambda x: keras.KerasTensor(x.shape, x.dtype)
    model = keras.Model(inputs, layer(inputs))

    @rule(f"{Opaque.__module__}.Opaque")
    def opaque(build, call):
        return build.call(aten.tanh.default, call.x)

    x = noise(1, 5)
    (found,) = import_keras(model)(torch.from_numpy(x))
    np.testing.assert_allclose(found, np.tanh(x), atol=1e-6)


def test_weights_that_are_not_finite() -> None:
    x = noise(1, 5)
    layer = keras.layers.Dense(3)
    model = model_of(layer, x)
    layer.bias.assign([0.0, float("nan"), 1.0])
    with pytest.raises(ImportModelError, match="not finite"):
        import_keras(model)
