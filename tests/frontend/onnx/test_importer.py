"""What the importer promises beyond single operators: names, inputs, branches, errors."""

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from prunus.errors import DynamicShape, ImportModelError, InputError
from prunus.frontend.onnx import import_onnx
from prunus.passes.graph import Graph, aten, calls, inputs, shape
from prunus.passes.graph import outputs as graph_outputs
from tests.frontend.onnx.harness import case, check_model, held, model_of, noise


def _model(
    nodes: list[onnx.NodeProto],
    given: dict[str, tuple[Any, ...]],
    outputs: list[str],
    constants: dict[str, Any] | None = None,
    dtypes: dict[str, int] | None = None,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "test",
        [
            helper.make_tensor_value_info(name, (dtypes or {}).get(name, TensorProto.FLOAT), dims)
            for name, dims in given.items()
        ],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _add(*names: str) -> onnx.NodeProto:
    return helper.make_node("Add", list(names[:2]), [names[2]], name=f"add_{names[2]}")


def test_names_are_kept_and_cleaned() -> None:
    model = _model(
        [helper.make_node("Conv", ["image:0", "encoder/conv.0/kernel:0"], ["scores:0"])],
        {"image:0": (1, 3, 5, 5)}, ["scores:0"], {"encoder/conv.0/kernel:0": noise(2, 3, 3, 3)},
    )  # fmt: skip
    graph = import_onnx(model)
    assert [node.target for node in inputs(graph)] == ["image_0"]
    assert (graph.meta["input_names"], graph.meta["output_names"]) == (["image:0"], ["scores:0"])
    assert [name for name, _ in graph.named_parameters()] == ["encoder.conv.0.kernel_0"]


def test_names_that_stand_in_each_others_way() -> None:
    """`a` cannot be a tensor and a module, `training` and `forward` are taken by PyTorch."""
    names = ["a", "a.b", "a.b.c", "training", "forward", "x.parameters.y"]
    nodes = [_add("x0", names[0], "x1")]
    nodes += [_add(f"x{index}", name, f"x{index + 1}") for index, name in enumerate(names) if index]
    model = _model(nodes, {"x0": (3,)}, [f"x{len(names)}"], {name: noise(3, seed=i) for i, name in enumerate(names)})
    check_model(model, [noise(3, seed=9)])


def test_an_input_that_nobody_reads_stays() -> None:
    graph = import_onnx(_model([helper.make_node("Relu", ["x"], ["y"])], {"x": (3,), "unused": (2, 2)}, ["y"]))
    assert graph.meta["input_names"] == ["x", "unused"]
    assert [shape(node) for node in inputs(graph)] == [(3,), (2, 2)]


def test_outputs_may_be_inputs_or_constants() -> None:
    graph = import_onnx(
        _model([helper.make_node("Identity", ["x"], ["y"])], {"x": (3,)}, ["y", "c"], {"c": [1.0, 2.0]})
    )
    x = torch.randn(3)
    y, c = graph(x)
    assert torch.equal(y, x)
    assert c.tolist() == [1.0, 2.0]


def test_nodes_may_stand_in_any_order() -> None:
    model = _model([_add("a", "x", "y"), helper.make_node("Relu", ["x"], ["a"])], {"x": (3,)}, ["y"])
    x = torch.randn(3)
    assert torch.equal(import_onnx(model)(x)[0], x.relu() + x)


def test_a_cycle_is_named() -> None:
    model = _model([_add("x", "b", "a"), _add("a", "x", "b")], {"x": (3,)}, ["b"])
    with pytest.raises(ImportModelError, match=r"cycle through or before 'add_a', 'add_b'"):
        import_onnx(model)


def test_a_missing_value_is_named() -> None:
    with pytest.raises(ImportModelError, match="reads 'lost', which nothing produces"):
        import_onnx(_model([_add("x", "lost", "y")], {"x": (3,)}, ["y"]))


def test_a_value_written_twice() -> None:
    model = _model([_add("x", "x", "y"), helper.make_node("Relu", ["x"], ["y"])], {"x": (3,)}, ["y"])
    with pytest.raises(ImportModelError, match="more than once"):
        import_onnx(model)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_weights_must_be_finite(number: float) -> None:
    weight = noise(2, 3, 3, 3)
    weight[0, 1, 2, 0] = number
    with pytest.raises(ImportModelError, match="input_1"):
        import_onnx(model_of(case("Conv", noise(1, 3, 5, 5), held(weight))))


def test_shapes_that_do_not_fit_name_the_node(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ImportModelError, match="MatMul node 'node' does not work out"):
        import_onnx(model_of(case("MatMul", noise(2, 3), held(noise(4, 5)))))
    assert not caplog.records


def test_inputs_with_defaults_are_constants() -> None:
    """Before version 4 of the format every initializer is an input too."""
    model = _model([_add("x", "w", "y")], {"x": (3,), "w": (3,)}, ["y"], {"w": noise(3)})
    model.ir_version = 3
    graph = import_onnx(model)
    assert graph.meta["input_names"] == ["x"]
    torch.testing.assert_close(graph(torch.zeros(3))[0], torch.from_numpy(noise(3)))


def test_one_weight_read_in_two_shapes_is_two_tensors() -> None:
    """Two parameters that share memory would change each other in training."""
    nodes = [helper.make_node("PRelu", ["x", "slope"], ["p"]), helper.make_node("Mul", ["p", "slope"], ["y"])]
    graph = import_onnx(_model(nodes, {"x": (2, 3, 4, 5)}, ["y"], {"slope": noise(3, 1, 1)}))
    tensors = [*graph.parameters(), *graph.buffers()]
    assert len({tensor.data_ptr() for tensor in tensors}) == len(tensors) == 2


def test_long_sequences_are_not_stepped_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch finds the shapes of a recurrent network by running it; the importer knows them."""
    monkeypatch.setattr("prunus.frontend.builder.graph_builder._description", _refuse_recurrent)
    weights = held(noise(1, 6, 3)), held(noise(1, 6, 2)), held(noise(1, 12))
    one = case("GRU", noise(4000, 1, 3), *weights, hidden_size=2, linear_before_reset=1, outputs=2)
    graph = import_onnx(model_of(one))
    assert [shape(node) for node in graph_outputs(graph)] == [(4000, 1, 1, 2), (1, 1, 2)]


def _refuse_recurrent(node: torch.fx.Node) -> Any:
    assert node.meta["val"].shape != (4000, 1, 3)
    return node.meta["val"]


def test_functions_of_the_file_are_put_in() -> None:
    function = helper.make_function(
        "mine", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    model = _model([helper.make_node("Twice", ["x"], ["y"], domain="mine")], {"x": (3,)}, ["y"])
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("mine", 1))
    x = torch.randn(3)
    assert torch.equal(import_onnx(model)(x)[0], x + x)


class TestSymbolicDimensions:
    MODEL = _model([_add("x", "y", "z")], {"x": ("batch", 3), "y": ("batch", "width")}, ["z"])

    def test_all_are_listed(self) -> None:
        with pytest.raises(DynamicShape) as caught:
            import_onnx(self.MODEL)
        assert "x (batch, 3), y (batch, width)" in str(caught.value)
        assert 'input_shapes={"x": (1, 3), "y": (1, 1)}' in str(caught.value)

    def test_a_name_is_fixed_for_all_inputs(self) -> None:
        with pytest.raises(DynamicShape, match=r"y \(4, width\)"):
            import_onnx(self.MODEL, input_shapes={"x": (4, 3)})

    def test_fixed_by_shapes(self) -> None:
        assert _shapes(import_onnx(self.MODEL, input_shapes={"y": (4, 3)})) == [(4, 3), (4, 3)]

    def test_fixed_by_examples(self) -> None:
        assert _shapes(import_onnx(self.MODEL, example_inputs=[torch.ones(2, 3), torch.ones(2, 1)])) == [(2, 3), (2, 1)]

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"input_shapes": {"x": (4, 5), "y": (4, 3)}}, r"shape \(4, 5\) for input 'x'"),
            ({"input_shapes": {"x": (4,), "y": (4, 3)}}, r"shape \(4,\) for input 'x'"),
            ({"input_shapes": {"z": (4, 3)}}, "'z', which is no input"),
            ({"example_inputs": [torch.ones(2, 3)]}, "1 example inputs for a model with 2"),
            ({"example_inputs": [torch.ones(2, 3).long(), torch.ones(2, 3)]}, "is torch.int64"),
            ({"constant_inputs": {"w": 1}}, "'w', which is no input"),
            ({"constant_inputs": {"x": torch.ones(3)}}, r"'x' the shape \(3,\)"),
        ],
    )
    def test_what_does_not_fit(self, options: dict[str, Any], reason: str) -> None:
        with pytest.raises(InputError, match=reason):
            import_onnx(self.MODEL, **options)


class TestBranches:
    """y = x + 1 if flag else nested(x), where the branches read `x` from outside."""

    @staticmethod
    def model() -> onnx.ModelProto:
        def branch(name: str, nodes: list[onnx.NodeProto], output: str) -> onnx.GraphProto:
            one = numpy_helper.from_array(np.float32(1), f"{name}_one")
            return helper.make_graph(nodes, name, [], [onnx.ValueInfoProto(name=output)], [one])

        inner = helper.make_node(
            "If", ["is_square"], ["nested"],
            then_branch=branch("square", [helper.make_node("Mul", ["x", "x"], ["s"])], "s"),
            else_branch=branch("negative", [helper.make_node("Neg", ["x"], ["n"])], "n"),
        )  # fmt: skip
        outer = helper.make_node(
            "If", ["flag"], ["y"],
            then_branch=branch("plus", [_add("x", "plus_one", "p")], "p"),
            else_branch=branch("other", [inner], "nested"),
        )  # fmt: skip
        flags = {"flag": TensorProto.BOOL, "is_square": TensorProto.BOOL}
        return _model([outer], {"x": (3,), "flag": (), "is_square": ()}, ["y"], dtypes=flags)

    @pytest.mark.parametrize(
        ("flag", "square", "target"), [(True, True, aten.add), (False, True, aten.mul), (False, False, aten.neg)]
    )
    def test_the_branch_that_is_taken_replaces_the_node(self, flag: bool, square: bool, target: object) -> None:
        graph = import_onnx(self.model(), constant_inputs={"flag": flag, "is_square": square})
        assert [node.target.overloadpacket for node in calls(graph)] == [target]  # type: ignore[union-attr]
        assert graph.meta["input_names"] == ["x"]

    def test_a_condition_on_an_input_says_how_to_fix_it(self) -> None:
        with pytest.raises(ImportModelError, match="constant_inputs"):
            import_onnx(self.model())

    def test_a_shape_on_an_input_says_how_to_fix_it(self) -> None:
        model = model_of(case("Reshape", noise(2, 3), np.array([3, 2])))
        with pytest.raises(ImportModelError, match=r"constant_inputs"):
            import_onnx(model)
        graph = import_onnx(model, constant_inputs={"input_1": torch.tensor([3, 2])})
        assert graph(torch.ones(2, 3))[0].shape == (3, 2)


def _shapes(graph: Graph) -> list[tuple[int, ...]]:
    return [shape(node) for node in inputs(graph)]
