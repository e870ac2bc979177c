"""The whole way from a float graph to an integer graph: after training, or through it."""

from dataclasses import replace

from prunus.compression import Quantize
from prunus.manifest import LayerPrecision
from prunus.passes.fold_constants import fold_constants
from prunus.passes.graph import Graph, copy_graph
from prunus.passes.latency import EstimatedLatency
from prunus.passes.merge_duplicates import merge_duplicates
from prunus.passes.quantize.annotate import annotate
from prunus.passes.quantize.calibrate import calibrate
from prunus.passes.quantize.correct_bias import correct_bias
from prunus.passes.quantize.equalize import equalize
from prunus.passes.quantize.faster import faster_in_floats
from prunus.passes.quantize.fold_qdq import fold_qdq
from prunus.passes.quantize.precision import measure_precision
from prunus.passes.quantize.prepare import prepare
from prunus.passes.quantize.weight_only import quantize_embeddings
from prunus.passes.quantize.write_qdq import write_qdq
from prunus.passes.reasons import Reason, collect_reasons
from prunus.passes.recovery import Batches
from prunus.targets import Target, load_target

_ROUGHLY = 8
"""Samples for grids that are only good for estimating times."""


def quantize(graph: Graph, config: Quantize, *, target: str | Target = "native") -> Graph:
    """Return an integer graph that computes nearly the same; inputs and outputs keep their dtypes.

    before:  x -> conv -> relu -> conv -> y
    after:   x -> quantize -> qconv -> qconv_dequant -> y

    `graph.meta["quantization"]` of the result holds a `LayerPrecision` for each layer.

    Args:
        graph: float32, in evaluation mode, batch norm folded (`passes.DEFAULT`); it stays as it is.
        config: calibration samples and how to use them. `training` is for `prepare_training`.
        target: decides over the bits of weights.

    Raises:
        InputError: no samples, or samples that do not fit the graph.
        QuantizeError: NaN or infinite activations.
    """
    batches = Batches(config.calibration)
    original = copy_graph(graph)
    if config.equalize:
        original = equalize(original)
    leave = _left_in_floats(original, config, load_target(target))
    rounded = copy_graph(original)
    plan = annotate(rounded, load_target(target), bits=config.bits, keep=config.keep, leave=leave)
    prepare(rounded, plan, calibrate(rounded, plan, batches, config.observer))
    if config.correct_bias:
        correct_bias(original, rounded, plan, batches)
    floats = {node.name: reason for node, reason in plan.floats.items()}
    return _convert(rounded, measure_precision(original, rounded, floats, batches), embeddings=config.embeddings)


def _left_in_floats(graph: Graph, config: Quantize, target: Target) -> dict[str, str]:
    """Return the nodes of a folded float graph that are faster in float32, by name, with the reason."""
    if config.where == "everywhere":
        return {}
    samples = Batches([tuple(tensor[:_ROUGHLY] for tensor in Batches(config.calibration).tensors)])
    rounded = copy_graph(graph)
    plan = annotate(rounded, target, bits=config.bits, keep=config.keep)
    prepare(rounded, plan, calibrate(rounded, plan, samples, "min_max"))
    integer = fold_constants(fold_qdq(write_qdq(rounded)))
    times = EstimatedLatency(target)
    return faster_in_floats(
        annotate(graph, target, bits=config.bits, keep=config.keep),
        graph,
        times.steps(graph),
        times.steps(integer),
    )


def prepare_training(graph: Graph, config: Quantize, *, target: str | Target = "native") -> Graph:
    """Return a graph that rounds as the integer graph will, with learned steps, ready for training (`lsq`).

    Train it (`TrainableGraph`), then `freeze_batch_norm` and train on for a while, then `convert`.

    Args:
        graph: float32, in canonical form (`passes.CANONICAL`), batch norm and dropout in place; it stays as it is, but
            shares its parameters.
        config: samples for the first grids.
        target: decides over the bits of weights.

    Raises:
        InputError, QuantizeError: as `quantize`.
    """
    from prunus.passes import FOLD, run_passes

    leave = _left_in_floats(run_passes(graph, FOLD), config, load_target(target))
    prepared = copy_graph(graph)
    plan = annotate(prepared, load_target(target), bits=config.bits, keep=config.keep, leave=leave)
    grids = calibrate(prepared, plan, Batches(config.calibration), config.observer)
    prepare(prepared, plan, grids, learned=True)
    prepared.meta["floats"] = {node.name: reason for node, reason in plan.floats.items()}
    return prepared


def convert(prepared: Graph, config: Quantize) -> Graph:
    """Return the integer graph of a trained one.

    Args:
        prepared: what `prepare_training` has returned, in evaluation mode; it stays as it is.
        config: samples to measure the precision of each layer.
    """
    rows = measure_precision(prepared, prepared, prepared.meta["floats"], Batches(config.calibration))
    return _convert(copy_graph(prepared), rows, embeddings=config.embeddings)


def _convert(rounded: Graph, rows: tuple[LayerPrecision, ...], *, embeddings: bool) -> Graph:
    with collect_reasons() as reasons:
        graph = fold_qdq(write_qdq(rounded))
        if embeddings:
            graph = quantize_embeddings(graph)
    graph = merge_duplicates(fold_constants(graph))
    graph.meta["quantization"] = tuple(_as_converted(graph, row, reasons) for row in rows)
    return graph


def _as_converted(graph: Graph, row: LayerPrecision, reasons: list[Reason]) -> LayerPrecision:
    """Return the row of a layer as it is in the end: one whose sums could leave int32 stays in float32."""
    targets = {str(node.target) for node in graph.graph.nodes if node.name == row.layer}
    if row.precision == "float32" or any(name.startswith("prunus.") for name in targets):
        return row
    why = next((reason.text for reason in reasons if reason.node == row.layer), "it has no integer form")
    return replace(row, precision="float32", reason=why)
