"""ONNX Runtime's own static quantisation, as a user calls it."""

import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands calibration samples to ONNX Runtime, one at a time."""

    def __init__(self, name: str, samples: np.ndarray) -> None:
        self._items = iter([{name: sample[None]} for sample in samples])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._items, None)


def quantised(
    model: bytes,
    samples: np.ndarray,
    *,
    form: QuantFormat = QuantFormat.QDQ,
    activations: QuantType = QuantType.QInt8,
    per_channel: bool = True,
    fewer_bits: bool = False,
) -> bytes:
    """Return the ONNX file `model`, which has one input, in int8.

    Args:
        samples: for calibration, samples first.
        per_channel: weights have a scale for each channel.
        fewer_bits: weights have 7 bits, as ONNX Runtime wants it on processors whose sums of products saturate.
    """
    name = onnxruntime.InferenceSession(model).get_inputs()[0].name
    with tempfile.TemporaryDirectory() as folder:
        source, prepared, whole = (Path(folder, f"{step}.onnx") for step in ("source", "prepared", "int8"))
        source.write_bytes(model)
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared, whole, Reader(name, samples), form, per_channel=per_channel, reduce_range=fewer_bits,
            activation_type=activations, weight_type=QuantType.QInt8,
        )  # fmt: skip
        return whole.read_bytes()
