"""Architectures of other libraries: which of them compile, quantise and prune, and how well the numbers are met.

python -m benchmarks.zoo timm     python -m benchmarks.zoo transformers     (after pip install timm transformers)
"""

import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import prunus
from benchmarks.machine import caption
from prunus.errors import PrunusError
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
    """One architecture with settled random weights.

    Attributes:
        inputs: makes inputs for one sample.
    """

    name: str
    module: nn.Module
    inputs: Callable[[], tuple[Tensor, ...]]


def _picture(side: int) -> tuple[Tensor, ...]:
    return (torch.rand(1, 3, side, side),)


# What models of transformers call their main input.
INPUTS: dict[str, Callable[[], tuple[Tensor, ...]]] = {
    "input_ids": lambda: (torch.randint(WORDS, (1, 16)),),
    "pixel_values": partial(_picture, 64),
    "input_values": lambda: (torch.randn(1, 1600),),
}


def of_timm(models: str) -> Iterator[Model]:
    """Build the networks of timm whose name has `models` in it."""
    import timm

    for side, names in TIMM.items():
        for name in names.split():
            if models in name:
                yield Model(name, settle(timm.create_model(name, num_classes=10)), partial(_picture, side))


def of_transformers(models: str) -> Iterator[Model]:
    """Build small networks of transformers whose class has `models` in its name."""
    import transformers

    transformers.logging.set_verbosity_error()
    for name, settings in TRANSFORMERS.items():
        if models.lower() in name.lower():
            kind = getattr(transformers, name)
            module = settle(kind(kind.config_class(**settings)))
            yield Model(name, module, INPUTS[str(module.main_input_name)])


LIBRARIES = {"timm": of_timm, "transformers": of_transformers}


def results(result: Any) -> list[Tensor]:
    """Return the tensors that a model returns."""
    return [result] if isinstance(result, Tensor) else list(result.values() if hasattr(result, "values") else result)


def compiled(model: Model) -> str:
    """Return the largest error of the library, as a share of the largest output."""
    inputs = model.inputs()
    artifact = prunus.compile(model.module, example_inputs=inputs, name="net")
    with torch.no_grad():
        pairs = zip(results(model.module(*inputs)), results(artifact(*inputs)), strict=True)
    return f"{max(largest_error(expected, found) for expected, found in pairs):.0e}"


def quantised(model: Model) -> str:
    """Return the ratio of signal to noise of the int8 library's first output on its calibration samples, in dB."""
    samples = [model.inputs() for _ in range(8)]
    artifact = prunus.compile(
        model.module, example_inputs=samples[0], name="net", quantize=prunus.Quantize(calibration=samples)
    )
    signal = noise = 0.0
    for inputs in samples:
        with torch.no_grad():
            expected, found = results(model.module(*inputs))[0], results(artifact(*inputs))[0]
        signal += float(expected.double().square().sum())
        noise += float((expected - found).double().square().sum())
    return f"{10 * math.log10(signal / noise):.1f}" if noise else "exact"


def pruned(model: Model) -> str:
    """Return the share of the multiplications that a plan for 0.6 of them leaves."""
    graph = prunus.import_model(model.module, example_inputs=model.inputs())
    smaller = prunus.prune(graph, prunus.Prune(macs=0.6, importance="l1", steps=2))
    smaller(*model.inputs())
    plan = smaller.meta["prune"]
    return f"{plan.after / plan.before:.2f}"


def main(
    library: Annotated[Literal["timm", "transformers"], typer.Argument(help="Where the architectures come from.")],
    models: Annotated[str, typer.Option(help="Only models with this in their name.")] = "",
) -> None:
    """Print for each architecture the error in float32, the signal in int8, and what pruning reaches."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    table = Table(title=f"Architectures of {library}, random weights", caption=caption())
    for column in ("model", "parameters", "float32 error", "int8 dB", "pruned", "seconds"):
        table.add_column(column, justify="left" if column == "model" else "right")
    console = Console()
    for model in LIBRARIES[library](models):
        start, cells = time.perf_counter(), []
        for measure in (compiled, quantised, pruned):
            with console.status(f"{model.name}, {measure.__name__}"):
                try:
                    cells.append(measure(model))
                except PrunusError as error:
                    cells.append("refused")
                    console.print(f"{model.name}, {measure.__name__}: {error}")
        count = sum(parameter.numel() for parameter in model.module.parameters())
        table.add_row(model.name, f"{count:,}", *cells, f"{time.perf_counter() - start:.0f}")
        console.print(model.name, *cells)
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
