"""Quantised operators against ONNX Runtime: results are the same integers."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from prunus.errors import ImportModelError
from prunus.frontend.onnx import import_onnx
from prunus.passes import DEFAULT, run_passes
from prunus.passes.graph import calls
from tests.frontend.onnx.harness import IR_VERSION, Case, case, check_case, check_model, held, integers, model_of, noise

F, U, I = "float32", "uint8", "int8"  # noqa: E741
CASES = [
    case("QuantizeLinear", noise(3, 7), held(0.02, F), held(3, I)),
    case("QuantizeLinear", noise(3, 7), held(0.02, F), held(130, U)),
    case("QuantizeLinear", noise(3, 7), held(0.02, F)),
    case("QuantizeLinear", noise(2, 5), held(0.02, F), held(3, I), domain="com.microsoft"),
    case("DequantizeLinear", integers(3, 7, low=-128, high=128, dtype=I), held(0.02, F), held(-5, I)),
    case("DequantizeLinear", integers(3, 7, high=256, dtype=U), held(0.02, F), held(131, U)),
    case("DequantizeLinear", integers(3, 7, high=256, dtype=U), held(0.02, F)),
    case("DequantizeLinear", integers(3, 7, low=-999, high=999, dtype="int32"), held(0.02, F)),
    case(
        "DequantizeLinear",
        integers(2, 3, low=-9, high=9, dtype=I),
        held([0.1, 0.2, 0.4], F),
        held([1, 0, -1], I),
        axis=-1,
    ),
    case("DequantizeLinear", integers(3, 5, high=256, dtype=U), held([0.1, 0.2, 0.4], F), held([1, 0, 255], U), axis=0),
]


@pytest.mark.parametrize("one", CASES, ids=str)
def test_equals_onnx_runtime(one: Case) -> None:
    check_case(one, tolerance=0)


def model(
    nodes: list[onnx.NodeProto], outputs: dict[str, int], constants: dict[str, np.ndarray], size: list[int]
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "quantised", [helper.make_tensor_value_info("x", TensorProto.FLOAT, size)],
        [helper.make_tensor_value_info(name, dtype, None) for name, dtype in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def microsoft(op_type: str, inputs: str, output: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs.split(), [output], domain="com.microsoft", **attributes)


def network(signed: bool) -> onnx.ModelProto:
    """Return a small QOperator network with most of its operators.

    Weights have seven bits: with more, ONNX Runtime's sums of products saturate on x86 without VNNI. The convolution's
    sums end in steps of 0.008, so that none lies halfway between two results, where the scale's last bit would decide.
    """
    random, dtype = np.random.default_rng(0), np.int8 if signed else np.uint8
    zero = 0 if signed else 128

    def grid(name: str, scale: float, zero_point: int) -> dict[str, np.ndarray]:
        return {f"{name}_s": np.array(scale, np.float32), f"{name}_z": np.array(zero_point + zero).astype(dtype)}

    constants = grid("x", 0.02, -8) | grid("c", 0.05, -18) | grid("g", 1 / 256, -128) | grid("m", 0.07, -38)
    constants |= {
        "w": random.integers(-64, 64, (8, 3, 3, 3)).astype(np.int8),
        "w_s": np.array(0.02, np.float32), "w_z": np.array(0, np.int8),
        "b": random.integers(-500, 500, 8).astype(np.int32),
        "v": random.integers(64, 192, (8, 10)).astype(np.uint8),
        "v_s": np.array(0.01, np.float32), "v_z": np.array(128, np.uint8),
        "u": random.integers(-64, 64, (5, 8)).astype(np.int8),
        "u_s": random.uniform(0.005, 0.02, 5).astype(np.float32), "u_z": np.zeros(5, np.int8),
        "a": random.integers(-500, 500, 5).astype(np.int32),
    }  # fmt: skip
    convolved = ["q", "x_s", "x_z", "w", "w_s", "w_z", "c_s", "c_z", "b"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "x_s", "x_z"], ["q"]),
        helper.make_node("QLinearConv", convolved, ["c"], pads=[1, 0, 0, 1]),
        helper.make_node("MaxPool", ["c"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        microsoft("QLinearSigmoid", "p c_s c_z g_s g_z", "g"),
        microsoft("QLinearMul", "p c_s c_z g g_s g_z m_s m_z", "m"),
        microsoft("QLinearAdd", "m m_s m_z p c_s c_z c_s c_z", "t"),
        microsoft("QLinearLeakyRelu", "t c_s c_z m_s m_z", "l", alpha=0.1),
        microsoft("QLinearConcat", "m_s m_z l m_s m_z p c_s c_z", "k", axis=1),
        microsoft("QLinearGlobalAveragePool", "l m_s m_z m_s m_z", "o", channels_last=0),
        helper.make_node("Flatten", ["o"], ["f"]),
        helper.make_node("QLinearMatMul", ["f", "m_s", "m_z", "v", "v_s", "v_z", "c_s", "c_z"], ["n"]),
        microsoft("QGemm", "f m_s m_z u u_s u_z a", "z", transB=1, alpha=1.0),
        helper.make_node("DequantizeLinear", ["n", "c_s", "c_z"], ["y"]),
    ]
    kind = TensorProto.INT8 if signed else TensorProto.UINT8
    if signed:  # ONNX Runtime multiplies int8 by int8 weights only
        constants |= {"v": (constants["v"].astype(np.int16) - 128).astype(np.int8), "v_z": np.array(0, np.int8)}
    return model(nodes, {"y": TensorProto.FLOAT, "z": TensorProto.FLOAT, "k": kind}, constants, [1, 3, 9, 9])


@pytest.mark.parametrize("signed", [False, True], ids=["uint8", "int8"])
def test_a_network_is_integers_and_equal(signed: bool) -> None:
    proto = network(signed)
    graph = check_model(proto, [noise(1, 3, 9, 9)], tolerance=1e-6)
    whole = run_passes(graph, DEFAULT)
    x = torch.from_numpy(noise(1, 3, 9, 9, seed=1))
    with torch.no_grad():
        for before, after in zip(graph(x), whole(x), strict=True):
            assert torch.allclose(before.double(), after.double(), atol=1e-5)
    floats = [str(node.target) for node in calls(whole) if node.meta["val"].dtype == torch.float32]
    assert floats == ["prunus.qlinear_dequant.default", "prunus.dequantize.default"]


def test_weights_around_a_zero_point_too_far_are_real_numbers() -> None:
    constants: dict[str, np.ndarray] = {
        "s": np.array(0.02, np.float32), "z": np.array(3, np.int8),
        "w": np.random.default_rng(0).integers(0, 256, (4, 5)).astype(np.uint8), "w_z": np.array(9, np.uint8),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "s", "w_z"], ["v"]),
        helper.make_node("Gemm", ["d", "v"], ["y"], transB=1),
    ]
    proto = model(nodes, {"y": TensorProto.FLOAT}, constants, [2, 5])
    graph = run_passes(check_model(proto, [noise(2, 5)]), DEFAULT)
    assert list(calls(graph, torch.ops.aten.linear))


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (
            case("QuantizeLinear", noise(3, 2), held([0.1, 0.2], F), held([0, 0], I), axis=1),
            "activations with 2 scales",
        ),
        (case("QuantizeLinear", noise(3, 2), held(0.1, F), held(0, "int16"), opset=21), "int16"),
        (case("DequantizeLinear", integers(2, 3, dtype="int16"), held(0.1, F), opset=21), "int16"),
    ],
    ids=["by channel", "to int16", "from int16"],
)
def test_forms_without_an_integer_kernel_are_refused(one: Case, message: str) -> None:
    with pytest.raises(ImportModelError, match=message):
        import_onnx(model_of(one))
