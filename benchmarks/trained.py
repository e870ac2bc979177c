"""The trained models of a folder beside the checkout: model, samples, labels, and what their outputs decide.

The folder holds one folder a model, as `DATA` names them; models that are absent are left out.
"""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

DATA = Path(__file__).resolve().parents[1] / "../shared/data"

Run = Callable[..., Sequence[np.ndarray]]
"""One inference: arrays in, arrays out."""


def top(run: Run, samples: np.ndarray) -> np.ndarray:
    """Return the class with the highest score of the first output, sample by sample."""
    return np.array([run(sample[None])[0].argmax() for sample in samples])


@dataclass(frozen=True)
class Case:
    """One model with the data that judges it.

    Attributes:
        name: model and format.
        model: a module in eval mode, or the path of an ONNX or Keras file.
        example: inputs that fix the shapes.
        samples: what `decide` goes through.
        labels: the truth for each decision; None where there is none.
        decide: all decisions, made by calling the given `Run`.
        constant_inputs: inputs of an ONNX file that never change.
    """

    name: str
    model: nn.Module | Path
    example: tuple[np.ndarray, ...]
    samples: np.ndarray
    labels: np.ndarray | None
    decide: Callable[[Run, np.ndarray], np.ndarray] = top
    constant_inputs: dict[str, Any] = field(default_factory=dict)


def cases(data: Path = DATA) -> list[Case]:
    """Read every model that is there."""
    makers = {
        "fashion-resnet": fashion,
        "kws": keywords,
        "vad": voice,
        "text-sentiment": sentiment,
        "text-magika": magika,
        "face-mtcnn": faces,
        "efficientnet-lite0": efficientnet,
        "keras-fashion": keras_fashion,
        "keras-smartlock": keras_smartlock,
    }
    return [case for folder, make in makers.items() if (data / folder).is_dir() for case in make(data / folder)]


def fashion(folder: Path) -> list[Case]:
    """Pictures of clothes: module and ONNX file."""
    code, data = _code(folder), np.load(folder / "data.npz")
    samples = code.preprocess(data["x_test"]).numpy()
    return _both("fashion-resnet", code.ResNet8(), folder, "model", samples, data["y_test"])


def keywords(folder: Path) -> list[Case]:
    """Spoken commands and digits: module and ONNX file of each."""
    result = []
    for name in ("commands", "digits"):
        data = np.load(folder / f"{name}.npz")
        samples = data["x_test"][:, None].astype(np.float32) * np.float32(data["scale"])
        result += _both(f"kws {name}", _code(folder).DSCNN(), folder, name, samples, data["y_test"])
    return result


def voice(folder: Path) -> list[Case]:
    """Voice activity: PulseVAD on windows, Silero on streams."""
    with np.load(folder / "clips.npz") as clips:
        audio, speech = clips["audio"].astype(np.float32) / 32768, clips["speech"]
    windows = log_mel(audio.reshape(-1, 3200), np.load(folder / "mel_filterbank.npy"))
    pulse = Case(
        "pulsevad, ONNX", folder / "pulsevad_2.1k.onnx", (windows[:1],), windows, _speech_windows(speech, 3200).ravel()
    )
    silero = Case(
        "silero, ONNX",
        folder / "silero_vad_16k_op15.onnx",
        (np.zeros((1, 576), np.float32), np.zeros((2, 1, 128), np.float32)),
        audio,
        _speech_windows(speech, 512).ravel(),
        stream,
        {"sr": 16000},
    )
    return [pulse, silero]


def stream(run: Run, clips: np.ndarray) -> np.ndarray:
    """Run Silero over each clip, 512 new samples with the 64 before them, and the state carried on."""
    decisions = []
    for clip in clips:
        state, before = np.zeros((2, 1, 128), np.float32), np.zeros(64, np.float32)
        for chunk in clip[: len(clip) // 512 * 512].reshape(-1, 512):
            probability, state = run(np.concatenate([before, chunk])[None], state)
            before = chunk[-64:]
            decisions.append(probability.item() > 0.5)
    return np.array(decisions)


def sentiment(folder: Path) -> list[Case]:
    """Sentences, as word numbers."""
    weights, data = load_file(folder / "model.safetensors"), np.load(folder / "data.npz")
    module = _code(folder).TextCNN(len(weights["embedding.weight"]))
    module.load_state_dict(weights)
    samples = data["x_test"].astype(np.int64)
    return [Case("text-sentiment, module", module.eval(), (samples[:1],), samples, data["y_test"])]


def magika(folder: Path) -> list[Case]:
    """First and last bytes of files."""
    data = np.load(folder / "data.npz")
    samples = data["bytes"].astype(np.int32)
    return [Case("text-magika, ONNX", folder / "model.onnx", (samples[:1],), samples, data["label"])]


def faces(folder: Path) -> list[Case]:
    """Grey patches, half of them faces."""
    code, data = _code(folder), np.load(folder / "data.npz")
    result = []
    for network, size in ((code.PNet(), 12), (code.RNet(), 24)):
        name = type(network).__name__.lower()
        network.load_state_dict(load_file(folder / f"{name}.safetensors"))
        samples = code.preprocess(data["patches"], size).numpy()
        result.append(Case(f"mtcnn {name}, module", network.eval(), (samples[:1],), samples, data["label"], is_face))
    return result


def is_face(run: Run, patches: np.ndarray) -> np.ndarray:
    """Tell for each patch whether its probability of a face is above 0.5."""
    return np.array([run(patch[None])[1].ravel()[1] > 0.5 for patch in patches])


def efficientnet(folder: Path) -> list[Case]:
    """Forty views of five photos, without labels."""
    code, data = _code(folder), np.load(folder / "reference.npz")
    module = code.EfficientNetLite0()
    module.load_state_dict(load_file(folder / "model.safetensors"))
    samples = code.preprocess(code.views(data["photos"])).numpy()
    return [Case("efficientnet-lite0, module", module.eval(), (samples[:1],), samples, None)]


def keras_fashion(folder: Path) -> list[Case]:
    """The same pictures of clothes for a network of Keras, channels last; they lie in the folder beside."""
    data = np.load(folder.parent / "fashion-resnet/data.npz")
    samples = channels_last(data["x_test"])
    return [Case("keras-fashion, Keras", folder / "model.keras", (samples[:1],), samples, data["y_test"])]


def channels_last(pixels: np.ndarray) -> np.ndarray:
    """Turn (N, 28, 28) uint8 into (N, 28, 28, 1) float32 from 0 to 1."""
    return (pixels[..., None] / np.float32(255)).astype(np.float32)


def keras_smartlock(folder: Path) -> list[Case]:
    """Patches of pictures with and without a face, by day and by night."""
    data = np.load(folder / "data.npz")
    return [
        Case(f"keras-smartlock {part}, Keras", folder / "model.keras", (samples[:1],), samples, data["y_test"])
        for part, samples in (("day", enlarged(data["x_test"])), ("night", enlarged(data["night_test"])))
    ]


def enlarged(patches: np.ndarray) -> np.ndarray:
    """Turn (N, 25, 25) uint8 into (N, 96, 96, 3) float32 of the same numbers, every pixel about four times."""
    at = np.arange(96) * 25 // 96
    return np.repeat(patches[:, at][:, :, at][..., None], 3, 3).astype(np.float32)


def _both(name: str, module: nn.Module, folder: Path, stem: str, samples: np.ndarray, labels: np.ndarray) -> list[Case]:
    module.load_state_dict(load_file(folder / f"{stem}.safetensors"))
    return [
        Case(f"{name}, module", module.eval(), (samples[:1],), samples, labels),
        Case(f"{name}, ONNX", folder / f"{stem}.onnx", (samples[:1],), samples, labels),
    ]


def _code(folder: Path) -> ModuleType:
    """Import the folder's model.py."""
    spec = importlib.util.spec_from_file_location(f"trained_{folder.name.replace('-', '_')}", folder / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _speech_windows(speech: np.ndarray, samples: int) -> np.ndarray:
    """Return 1 for each window of which at least half is speech; `speech` has a mark for each 160 samples."""
    marks = np.repeat(speech, 160, axis=1)
    count = marks.shape[1] // samples
    return marks[:, : count * samples].reshape(len(marks), count, samples).mean(2) >= 0.5


def log_mel(sound: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """Turn (N, 3200) sound into the (N, 64, 21) spectrum that PulseVAD was trained with."""
    emphasised = np.concatenate([sound[:, :1], sound[:, 1:] - 0.97 * sound[:, :-1]], axis=1)
    scaled = (emphasised - emphasised.mean(1, keepdims=True)) / (emphasised.std(1, keepdims=True) + 1e-5)
    padded = np.pad(scaled, ((0, 0), (256, 256)), mode="reflect")
    window = np.zeros(512)
    window[56:456] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    frames = padded[:, 160 * np.arange(21)[:, None] + np.arange(512)] * window
    mel = np.log(np.abs(np.fft.rfft(frames)) ** 2 @ filters + 1e-5).transpose(0, 2, 1)
    return ((mel - mel.mean(2, keepdims=True)) / (mel.std(2, keepdims=True) + 1e-5)).astype(np.float32)


def tensors(arrays: Sequence[np.ndarray]) -> tuple[torch.Tensor, ...]:
    """Return the arrays as tensors."""
    return tuple(map(torch.from_numpy, arrays))
