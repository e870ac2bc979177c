"""Names of the file as names of a state dict."""

import onnx
import pytest

from prunus.frontend.onnx.names import dotted, identifier, is_anonymous, module_of


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


def test_invented_names() -> None:
    assert all(
        is_anonymous(name) for name in ("onnx::Conv_3", "17", "val_104", "/fc/Constant_1_output_0", "Constant_7")
    )
    assert not any(is_anonymous(name) for name in ("fc.weight", "positions", "conv1"))


@pytest.mark.parametrize(
    ("name", "scopes", "expected"),
    [
        ("/layers.0/mlp/mlp.2/MatMul", None, "layers.0.mlp.2"),
        ("/head/Gemm", None, "head"),
        ("MatMul_12", None, ""),
        ("node_linear", "['', 'layers.0', 'layers.0.mlp.2', 'linear']", "layers.0.mlp.2"),
        ("node_add", "['', 'add']", ""),
    ],
)
def test_module_of(name: str, scopes: str | None, expected: str) -> None:
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"], name=name)
    if scopes is not None:
        node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=scopes)
    assert module_of(node) == expected
