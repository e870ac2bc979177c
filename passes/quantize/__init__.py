"""Quantisation-aware rewriting: from float graphs, trained or in training, to integer graphs.

    annotate -> calibrate -> prepare -> [train] -> write_qdq -> fold_qdq

A plan says which values become int8; calibration chooses their grids; `prepare` writes both into the graph as fake
quantisation. Static quantisation goes on at once, training first moves weights and steps (`lsq`). Then each fake
quantisation becomes a pair of `quantize` and `dequantize`, the form in which quantised ONNX models arrive too, and one
set of rules turns float operators between such pairs into integer operators.

The observers are our own and not those of torchao's PT2E: there, annotations, observers and their conversion work on
exported programs with modules for observers and operators of `quantized_decomposed` in the end, while everything here
is a pass on one kind of graph, needs a histogram only once for all observers, and shares the last step with ONNX.
"""

from prunus.passes.quantize.annotate import Plan, annotate
from prunus.passes.quantize.batch_norm import freeze_batch_norm
from prunus.passes.quantize.calibrate import calibrate
from prunus.passes.quantize.correct_bias import correct_bias
from prunus.passes.quantize.equalize import equalize
from prunus.passes.quantize.fold_qdq import fold_qdq
from prunus.passes.quantize.precision import measure_precision
from prunus.passes.quantize.prepare import prepare
from prunus.passes.quantize.static import convert, prepare_training, quantize
from prunus.passes.quantize.weight_only import quantize_embeddings, quantize_linear_weights
from prunus.passes.quantize.write_qdq import write_qdq

__all__ = [
    "Plan",
    "annotate",
    "calibrate",
    "convert",
    "correct_bias",
    "equalize",
    "fold_qdq",
    "freeze_batch_norm",
    "measure_precision",
    "prepare",
    "prepare_training",
    "quantize",
    "quantize_embeddings",
    "quantize_linear_weights",
    "write_qdq",
]
