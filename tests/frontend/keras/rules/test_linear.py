"""Dense layers, products, embeddings and attention."""

import keras
import pytest

from prunus.errors import ImportModelError
from prunus.frontend.keras import import_keras
from prunus.passes.graph import aten, calls
from tests.frontend.keras.harness import check, model_of, noise, places

layers = keras.layers


def test_dense() -> None:
    for x in (noise(2, 5), noise(2, 3, 5), noise(2, 3, 4, 5)):
        graph = check(model_of(layers.Dense(4, activation="relu"), x), x)
        assert len(list(calls(graph, aten.linear.default))) == 1
    check(model_of(layers.Dense(4, use_bias=False), x), x)


def test_dense_with_adapters() -> None:
    x, layer = noise(2, 5), layers.Dense(4)
    model = model_of(layer, x)
    layer.enable_lora(2)
    layer.lora_kernel_b.assign(noise(2, 4))
    check(model, x)


@pytest.mark.parametrize(
    ("equation", "shape", "bias", "linear"),
    [
        ("abc,cd->abd", (None, 6), "d", True),
        ("abc,cde->abde", (None, 3, 2), "de", True),
        ("abc,cde->abde", (None, 3, 2), "e", True),
        ("...x,xy->...y", (4,), "y", True),
        ("abc,bd->adc", (7, 5), None, False),
    ],
)
def test_einsum_dense(equation: str, shape, bias, linear: bool) -> None:
    x = noise(2, 4, 5)
    layer = layers.EinsumDense(equation, shape if linear else (7, 5), bias_axes=bias)
    graph = check(model_of(layer, x), x)
    assert bool(list(calls(graph, aten.linear.default))) == linear


def test_einsum_over_two_dimensions() -> None:
    x = noise(2, 4, 3, 2)
    graph = check(model_of(layers.EinsumDense("abcd,cde->abe", (None, 6), bias_axes="e"), x), x)
    assert len(list(calls(graph, aten.linear.default))) == 1


@pytest.mark.parametrize("as_floats", [False, True])
def test_embedding(as_floats: bool) -> None:
    x = places(9, 2, 6)
    x = x.astype("float32") if as_floats else x
    graph = check(model_of(layers.Embedding(9, 4), x), x)
    assert [name.split(".")[1] for name, _ in graph.named_parameters()] == ["embeddings"]


@pytest.mark.parametrize("options", [{}, {"output_shape": 7}, {"use_bias": False}], ids=str)
def test_multi_head_attention(options) -> None:
    x = noise(2, 6, 8)
    graph = check(model_of(lambda x: layers.MultiHeadAttention(2, 3, **options)(x, x), x), x)
    assert len(list(calls(graph, aten.linear.default))) == 4
    assert len(list(calls(graph, aten.scaled_dot_product_attention.default))) == 1


def test_attention_with_masks() -> None:
    x, y = noise(2, 6, 8), noise(2, 5, 8, seed=1)
    check(model_of(lambda x: layers.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True), x), x)
    seen = places(2, 2, 6, 5).astype(bool)
    seen[..., 0] = True
    check(
        model_of(lambda x, y, seen: layers.MultiHeadAttention(2, 3)(x, y, attention_mask=seen), x, y, seen), x, y, seen
    )
    tokens = places(7, 2, 6) + 1
    tokens[:, 4:] = 0

    def masked(tokens):
        embedded = layers.Embedding(9, 8, mask_zero=True)(tokens)
        return layers.MultiHeadAttention(2, 3)(embedded, embedded)

    check(model_of(masked, tokens), tokens)


def test_scores() -> None:
    x = noise(2, 6, 8)
    check(model_of(lambda x: layers.MultiHeadAttention(2, 3)(x, x, return_attention_scores=True), x), x)


def test_other_attention() -> None:
    x, y = noise(2, 6, 8), noise(2, 5, 8, seed=1)
    check(model_of(lambda x, y: layers.GroupQueryAttention(3, 4, 2)(x, y), x, y), x, y)
    check(model_of(lambda x, y: layers.Attention()([x, y]), x, y), x, y)
    check(model_of(lambda x, y: layers.Attention(use_scale=True, score_mode="concat")([x, y]), x, y), x, y)
    check(model_of(lambda x, y: layers.AdditiveAttention()([x, y]), x, y), x, y)


def test_products() -> None:
    x, y, ops = noise(2, 3, 4), noise(2, 4, 5, seed=1), keras.ops
    check(model_of(ops.matmul, x, y), x, y)
    check(model_of(lambda x: ops.matmul(x, noise(4, 6)), x), x)
    check(model_of(lambda x: ops.dot(x, noise(4, 6)), x), x)
    check(model_of(lambda x, y: ops.einsum("abc,acd->abd", x, y), x, y), x, y)
    check(model_of(lambda x: ops.tensordot(x, noise(3, 4, 5), axes=[[1, 2], [0, 1]]), x), x)
    check(model_of(lambda x: ops.tensordot(x, noise(4, 5), axes=1), x), x)
    check(model_of(lambda x, y: layers.Dot(axes=(2, 1))([x, y]), x, y), x, y)
    check(model_of(lambda x: layers.Dot(axes=1, normalize=True)([x, x]), x), x)


def test_weights_that_keras_has_quantised_are_refused() -> None:
    x = noise(2, 5)
    model = model_of(layers.Dense(4), x)
    model.quantize("int8")
    with pytest.raises(ImportModelError, match="Keras has quantised its weights"):
        import_keras(model)
