"""The trained models of this folder and their real samples.

    python -m examples.trained

prints the accuracy of each in its original runtime.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent / "data"


@dataclass(frozen=True)
class Samples:
    """Inputs with a batch of 1 each, as the model takes them, and the class that each belongs to."""

    inputs: list[np.ndarray]
    labels: np.ndarray

    def accuracy(self, scores: list[np.ndarray]) -> float:
        """Return the share of samples whose highest score is at their label."""
        return float(np.mean([score.argmax() for score in scores] == self.labels))


@dataclass(frozen=True)
class Trained:
    """One model.

    Attributes:
        name: its folder.
        task: what it tells apart.
        path: the ONNX file.
        input_name: name of its one input.
    """

    name: str
    task: str
    input_name: str

    @property
    def path(self) -> Path:
        return FOLDER / self.name / "model.onnx"

    def samples(self) -> Samples:
        """Read the samples and bring them into the form that the model takes."""
        with np.load(FOLDER / self.name / "samples.npz") as file:
            inputs = PREPROCESS[self.name](file)
            return Samples(list(inputs[:, None]), file["labels"].astype(np.int64))


# (N, ...) arrays of the file to (N, ...) inputs without the batch.
PREPROCESS = {
    "fashion": lambda file: (file["pictures"][:, None] / np.float32(255) - np.float32(0.2860)) / np.float32(0.3530),
    "commands": lambda file: file["mfcc"][:, None] * np.float32(file["scale"]),
    "voice": lambda file: file["log_mel"].astype(np.float32),
    "sentences": lambda file: file["ids"].astype(np.int64),
}

FASHION = Trained("fashion", "ten kinds of clothes", "image")
COMMANDS = Trained("commands", "ten spoken commands, other words, silence", "mfcc")
VOICE = Trained("voice", "speech or not", "log_mel")
SENTENCES = Trained("sentences", "sentences that praise or complain", "ids")
TRAINED = (FASHION, COMMANDS, VOICE, SENTENCES)


def main() -> None:
    """Print the accuracy of each model in ONNX Runtime, and of the picture classifier in PyTorch as well."""
    import onnxruntime

    for trained in TRAINED:
        samples = trained.samples()
        session = onnxruntime.InferenceSession(trained.path, providers=["CPUExecutionProvider"])
        scores = [session.run(None, {trained.input_name: x})[0] for x in samples.inputs]
        print(f"{trained.name:10}{samples.accuracy(scores):.4f} of {len(scores)} samples, ONNX Runtime")
        if trained is FASHION:
            print(f"{trained.name:10}{samples.accuracy(pytorch_scores(samples)):.4f} of {len(scores)} samples, PyTorch")


def pytorch_scores(samples: Samples) -> list[np.ndarray]:
    """Return what the picture classifier's PyTorch module says of `samples`."""
    import torch
    from examples.data.fashion.model import load

    network = load()
    with torch.no_grad():
        return [network(torch.from_numpy(x)).numpy() for x in samples.inputs]


if __name__ == "__main__":
    main()
