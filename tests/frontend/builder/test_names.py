"""Names of other frameworks as names of a state dict."""

import pytest

from prunus.frontend.builder.names import dotted, identifier


@pytest.mark.parametrize(
    ("name", "expected"),
    [("image", "image"), ("image:0", "image_0"), ("1.input", "_1_input"), ("class", "_class"), ("größe", "gr__e")],
)
def test_identifier(name: str, expected: str) -> None:
    assert identifier(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("blocks.0.fc.weight", "blocks.0.fc.weight"),
        ("encoder/layer_0/kernel:0", "encoder.layer_0.kernel_0"),
        ("onnx::MatMul_12", "onnx.MatMul_12"),
        ("net.forward.training", "net.forward_.training_"),
        ("//", "constant"),
    ],
)
def test_dotted(name: str, expected: str) -> None:
    assert dotted(name) == expected
