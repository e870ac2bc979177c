"""Architectures of other libraries: which of them compile, quantise and prune, and how well the numbers are met.

python -m benchmarks.zoo keras
python -m benchmarks.zoo timm     python -m benchmarks.zoo transformers     (after pip install timm transformers)
"""

import logging
import math
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import onnxruntime
import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import prunus
from benchmarks import onnxruntime_int8
from benchmarks.accuracy import of_session
from benchmarks.machine import caption
from benchmarks.trained import Run
from prunus.errors import PrunusError
from prunus.frontend.keras.load import keras_module
from prunus.passes import DEFAULT, run_passes
from prunus.passes.export_onnx import export_onnx
from prunus.passes.numbers import largest_error
from tests.networks.blocks import settle

# Some of timm's smallest by the side of a picture in pixels: more than 64 where the architecture asks for it.
TIMM = {
    64: """
        test_resnet test_efficientnet test_convnext test_nfnet test_byobnet test_mambaout
        mobilenetv4_conv_small_035 mobilenetv3_small_050 ghostnet_050 mobileone_s0 repvgg_a0 repghostnet_050 fastvit_t8
        mobilevit_xxs mobilevitv2_050 edgenext_xx_small efficientvit_b0 tinynet_e lcnet_035 mnasnet_small mixnet_s
        fbnetc_100 hgnetv2_b0 poolformer_s12 pvt_v2_b0 regnetx_002 regnety_002 resnest14d skresnet18 dla46x_c dpn48b
        vovnet39a darknet17 cspresnet50 rexnet_100 starnet_s1 repvit_m0_9 swiftformer_xs resnetv2_18
    """,
    160: "test_vit test_vit4",
    224: "levit_128s efficientformerv2_s0 efficientvit_m0 pit_ti_224 visformer_tiny nest_tiny_jx",
    256: "maxvit_pico_rw_256 botnet26t_256",
}
# Of keras.applications; NASNet does not run on PyTorch.
KERAS = """
    MobileNet MobileNetV2 MobileNetV3Small MobileNetV3Large EfficientNetB0 EfficientNetV2B0 ResNet50 ResNet50V2
    DenseNet121 Xception InceptionV3 ConvNeXtTiny VGG16
"""
KERAS_SIDE = 96
SAMPLES = 16
FATAL = 4
WIDTH = 110
WORDS = 101
_COMMON: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
}
_TEXT = {**_COMMON, "vocab_size": WORDS, "max_position_embeddings": 64, "use_cache": False}
_PICTURES = {**_COMMON, "image_size": 64}
_SOUND = {
    **_COMMON, "conv_dim": (32, 32), "conv_stride": (5, 4), "conv_kernel": (10, 8), "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4, "classifier_proj_size": 32,
}  # fmt: skip
# Class of a model of transformers: the settings of a small one.
TRANSFORMERS: dict[str, dict[str, Any]] = {
    "BertForSequenceClassification": _TEXT,
    "RobertaForSequenceClassification": _TEXT,
    "AlbertForSequenceClassification": _TEXT | {"embedding_size": 32},
    "ElectraForSequenceClassification": _TEXT | {"embedding_size": 32},
    "MPNetForSequenceClassification": _TEXT,
    "SqueezeBertForSequenceClassification": _TEXT | {"embedding_size": 64},
    "DebertaV2ForSequenceClassification": _TEXT,
    "CLIPTextModelWithProjection": _TEXT | {"projection_dim": 32, "eos_token_id": 2},
    "LlamaForCausalLM": _TEXT | {"num_key_value_heads": 2},
    "Qwen2ForCausalLM": _TEXT | {"num_key_value_heads": 2},
    "MambaForCausalLM": {"vocab_size": WORDS, "hidden_size": 32, "num_hidden_layers": 2, "use_cache": False},
    "ViTForImageClassification": _PICTURES,
    "DeiTForImageClassification": _PICTURES,
    "YolosForObjectDetection": _PICTURES | {"image_size": [64, 64], "num_detection_tokens": 5},
    "SegformerForSemanticSegmentation": {"hidden_sizes": [16, 32, 40, 64], "num_attention_heads": [1, 2, 4, 4]},
    "SwinForImageClassification": {"image_size": 64, "embed_dim": 24, "depths": [1, 1], "num_heads": [2, 4]},
    "Wav2Vec2ForSequenceClassification": _SOUND,
    "HubertForSequenceClassification": _SOUND,
}


@dataclass(frozen=True)
class Model:
    """One architecture with random weights.

    Attributes:
        samples: inputs for calibration, one by one.
        others: inputs for measuring.
    """

    name: str
    module: nn.Module
    samples: list[Tensor]
    others: list[Tensor]


def _model(name: str, module: nn.Module, sample: Callable[[], Tensor]) -> Model:
    samples, others = ([sample() for _ in range(SAMPLES)] for _ in range(2))
    return Model(name, normalised(module, torch.cat(samples)), samples, others)


def normalised(module: nn.Module, samples: Tensor) -> nn.Module:
    """Give `module` random weights, and batch norms the statistics of `samples`; returns it in eval mode.

    With statistics of anything else signals grow from layer to layer, in StarNet to 1e12, where float32 itself is off
    by as much as the output: no measure of a compiler.
    """
    for layer in settle(module).modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.momentum = 1.0
            layer.train()
    with torch.no_grad():
        module(samples)
    return module.eval()


# What models of transformers call their main input: how a sample of it is made.
SAMPLE: dict[str, Callable[[], Tensor]] = {
    "input_ids": partial(torch.randint, WORDS, (1, 16)),
    "pixel_values": partial(torch.rand, 1, 3, 64, 64),
    "input_values": partial(torch.randn, 1, 1600),
}


def of_timm(models: str) -> Iterator[Model]:
    """Build the networks of timm whose name has `models` in it."""
    import timm

    for side, names in TIMM.items():
        for name in names.split():
            if models in name:
                yield _model(name, timm.create_model(name, num_classes=10), partial(torch.rand, 1, 3, side, side))


def of_transformers(models: str) -> Iterator[Model]:
    """Build small networks of transformers whose class has `models` in its name."""
    import transformers

    transformers.logging.set_verbosity_error()
    for name, settings in TRANSFORMERS.items():
        if models.lower() in name.lower():
            kind = getattr(transformers, name)
            module = kind(kind.config_class(**settings))
            yield _model(name, module, SAMPLE[str(module.main_input_name)])


def of_keras(models: str) -> Iterator[Model]:
    """Build the networks of keras.applications whose name has `models` in it, batch norms as in `normalised`."""
    keras = keras_module()
    keras.utils.set_random_seed(0)
    for name in KERAS.split():
        if models.lower() not in name.lower():
            continue
        samples, others = ([255 * torch.rand(1, KERAS_SIDE, KERAS_SIDE, 3) for _ in range(SAMPLES)] for _ in range(2))
        network = getattr(keras.applications, name)(
            weights=None, classes=10, classifier_activation=None, input_shape=samples[0].shape[1:]
        )
        for layer in network._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = 0.0
        with torch.no_grad():
            network(torch.cat(samples), training=True)
        yield Model(name, network, samples, others)


LIBRARIES = {"keras": of_keras, "timm": of_timm, "transformers": of_transformers}


def results(result: Any) -> list[Tensor]:
    """Return the tensors that a model returns."""
    return [result] if isinstance(result, Tensor) else list(result.values() if hasattr(result, "values") else result)


def compiled(model: Model) -> float:
    """Return the largest error of the library, as a share of the largest output."""
    x = model.others[0]
    artifact = prunus.compile(model.module, example_inputs=(x,), name="net")
    with torch.no_grad():
        pairs = zip(results(model.module(x)), results(artifact(x)), strict=True)
    return max(largest_error(expected, found) for expected, found in pairs)


def quantised(model: Model) -> float:
    """Return the ratio of signal to noise of the int8 library's first output, in dB."""
    calibration = [(x,) for x in model.samples]
    artifact = prunus.compile(
        model.module, example_inputs=calibration[0], name="net", quantize=prunus.Quantize(calibration=calibration)
    )
    return decibels(model, lambda x: results(artifact(x))[0])


def quantised_by_onnxruntime(model: Model) -> float:
    """Return the ratio of signal to noise of the same output of ONNX Runtime, from the same samples, in dB.

    The better of weights with 8 and with 7 bits: without VNNI its sums of products saturate with 8, unless told not to,
    which it does not take in every graph.
    """
    graph = run_passes(prunus.import_model(model.module, example_inputs=(model.samples[0],)), DEFAULT)
    with tempfile.TemporaryDirectory() as folder:
        file = export_onnx(graph, Path(folder, "net.onnx")).read_bytes()
    samples = torch.cat(model.samples).numpy()
    found = []
    for fewer_bits in (False, True):
        session = of_session(onnxruntime_int8.quantised(file, samples, fewer_bits=fewer_bits), {})
        found.append(decibels(model, partial(_first, session)))
    return max(found)


def _first(session: Run, x: Tensor) -> Tensor:
    return torch.from_numpy(session(x.numpy())[0])


def decibels(model: Model, run: Callable[[Tensor], Tensor]) -> float:
    """Return the ratio of signal to noise of what `run` returns for samples that were not for calibration, in dB."""
    signal = noise = 0.0
    for x in model.others:
        with torch.no_grad():
            expected = results(model.module(x))[0]
        signal += float(expected.double().square().sum())
        noise += float((expected - run(x)).double().square().sum())
    return 10 * math.log10(signal / noise) if noise else math.inf


def pruned(model: Model) -> float:
    """Return the share of the multiplications that a plan for 0.6 of them leaves."""
    graph = prunus.import_model(model.module, example_inputs=(model.samples[0],))
    smaller = prunus.prune(graph, prunus.Prune(macs=0.6, importance="l1", steps=2))
    smaller(model.samples[0])
    plan = smaller.meta["prune"]
    return float(plan.after / plan.before)


# Titles of columns: what fills them, and how it is written.
MEASURES: dict[str, tuple[Callable[[Model], float], str]] = {
    "float32 error": (compiled, ".0e"),
    "int8 dB": (quantised, ".1f"),
    "ONNX Runtime's": (quantised_by_onnxruntime, ".1f"),
    "pruned": (pruned, ".2f"),
}


def main(
    library: Annotated[
        Literal["keras", "timm", "transformers"], typer.Argument(help="Where the architectures come from.")
    ],
    models: Annotated[str, typer.Option(help="Only models with this in their name.")] = "",
) -> None:
    """Print for each architecture the error in float32, the signal in int8, and what pruning reaches."""
    warnings.simplefilter("ignore")
    logging.getLogger().setLevel(logging.ERROR)
    onnxruntime.set_default_logger_severity(FATAL)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    table = Table(title=f"Architectures of {library}, random weights", caption=caption())
    table.add_column("model", no_wrap=True)
    for column in ("parameters", *MEASURES, "seconds"):
        table.add_column(column, justify="right")
    console = Console(width=max(Console().width, WIDTH))
    for model in LIBRARIES[library](models):
        start, cells = time.perf_counter(), []
        for title, (measure, form) in MEASURES.items():
            with console.status(f"{model.name}, {title}"):
                try:
                    cells.append(format(measure(model), form))
                except PrunusError as error:
                    cells.append("refused")
                    console.print(f"{model.name}, {title}: {error}")
        count = sum(parameter.numel() for parameter in model.module.parameters())
        table.add_row(model.name, f"{count:,}", *cells, f"{time.perf_counter() - start:.0f}")
        console.print(model.name, *cells)
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
