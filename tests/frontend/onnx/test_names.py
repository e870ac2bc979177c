"""Names that exporters note in a file, and those that they invent."""

import onnx
import pytest

from prunus.frontend.onnx.names import is_anonymous, module_of


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
