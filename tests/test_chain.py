"""The compression chain in one call, on a trained model with real pictures."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from examples.data.fashion.model import load
from examples.trained import FASHION
from torch import nn

import prunus
from prunus.errors import InputError
from prunus.manifest import CompressionStep

Run = Callable[..., Any]
SAMPLES = 100


@pytest.fixture(scope="module")
def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    samples = FASHION.samples()
    return torch.from_numpy(np.concatenate(samples.inputs[:SAMPLES])), torch.from_numpy(samples.labels[:SAMPLES])


def accuracy_on(samples: torch.Tensor, labels: torch.Tensor) -> Callable[[Run], float]:
    return lambda run: float((run(samples).argmax(1) == labels).float().mean())


def steps(artifact: prunus.Artifact) -> list[CompressionStep]:
    return list(artifact.manifest.compression)


def compiled(artifact: prunus.Artifact, samples: torch.Tensor) -> torch.Tensor:
    return torch.cat([artifact(sample[None]) for sample in samples])


def test_quantized_library_computes_the_graph(pictures: tuple[torch.Tensor, torch.Tensor]) -> None:
    samples, labels = pictures
    artifact = prunus.compile(
        load(), example_inputs=(samples[:1],), name="net", quantize=prunus.Quantize(calibration=[samples]),
        evaluate=accuracy_on(samples, labels), max_drop=0.02,
    )  # fmt: skip
    original, quantized = steps(artifact)
    assert not quantized.notes
    assert quantized.weight_bytes < original.weight_bytes / 3
    expected = torch.cat([artifact.module(sample[None])[0] for sample in samples[:20]])
    assert torch.equal(compiled(artifact, samples[:20]), expected)


def test_pruned_and_trained(pictures: tuple[torch.Tensor, torch.Tensor]) -> None:
    samples, _ = pictures
    artifact = prunus.compile(
        load(), example_inputs=(samples[:1],), name="net", prune=prunus.Prune(macs=0.6, importance="l1", steps=1),
        calibration=[samples], fine_tune=lambda module: train_a_little(module, samples),
    )  # fmt: skip
    original, pruned = steps(artifact)
    assert pruned.weight_bytes < original.weight_bytes
    assert sum(step.macs for step in artifact.program.steps) < 0.65 * 9_240_000
    expected = artifact.module(samples[:1])[0].detach()
    torch.testing.assert_close(artifact(samples[:1]), expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def train_a_little(module: nn.Module, samples: torch.Tensor) -> None:
    """Check that a user's training can run: any batch, gradients, both modes."""
    module.train()
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-4)
    module(samples[:16]).square().mean().backward()
    optimizer.step()


def test_steps_that_cost_too_much_are_taken_back(pictures: tuple[torch.Tensor, torch.Tensor]) -> None:
    samples, labels = pictures
    artifact = prunus.compile(
        load(), example_inputs=(samples[:1],), name="net", prune=prunus.Prune(macs=0.3, importance="random", steps=2),
        calibration=[samples[:50]], evaluate=accuracy_on(samples[:60], labels[:60]), max_drop=0.01,
    )  # fmt: skip
    original, pruned = steps(artifact)
    assert original.accuracy is not None
    assert pruned.accuracy is not None
    assert pruned.accuracy >= original.accuracy - 0.01
    assert pruned.weight_bytes == original.weight_bytes


def test_all_three_on_a_network_with_low_rank() -> None:
    torch.manual_seed(0)
    first = nn.Linear(96, 96)
    module = nn.Sequential(first, nn.ReLU(), nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 4)).eval()
    with torch.no_grad():
        first.weight.copy_(torch.randn(96, 8) @ torch.randn(8, 96) / 30)
    x = torch.randn(200, 96)
    with torch.no_grad():
        labels = module(x).argmax(1)
    artifact = prunus.compile(
        module, example_inputs=(x[:1],), name="net", calibration=[x], evaluate=accuracy_on(x, labels), max_drop=0.1,
        prune=prunus.Prune(macs=0.9, importance="l1"), low_rank=prunus.LowRank(max_error=0.01, save="bytes"),
        quantize=prunus.Quantize(calibration=[x], where="everywhere"), fine_tune=lambda module: None,
    )  # fmt: skip
    found = steps(artifact)
    assert [step.name for step in found] == ["original", "prune", "low_rank", "quantize"]
    assert all((step.accuracy or 0) >= 0.9 for step in found)
    sizes = [step.weight_bytes for step in found]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 4
    assert any("stays: " in note for note in found[2].notes)
    torch.testing.assert_close(artifact.run_samples(x[:5]), torch.cat([artifact.module(one[None])[0] for one in x[:5]]))


def test_distillation_is_heard_before_a_step_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Teaching that never helps: the step that breaks the contract is taught once, and then taken back."""
    taught = []
    monkeypatch.setattr("prunus.chain._Chain._train", lambda self, graph, lesson: taught.append(graph))
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8)).eval()
    x = torch.randn(300, 64)
    with torch.no_grad():
        labels = module(x).argmax(1)
    artifact = prunus.compile(
        module, example_inputs=(x[:1],), name="net", calibration=[x], evaluate=accuracy_on(x, labels), max_drop=0.0,
        prune=prunus.Prune(macs=1 / 16, importance="random", floor=0.0), fine_tune="distill",
    )  # fmt: skip
    original, pruned = steps(artifact)
    assert len(taught) == 1
    assert [note.split(":")[0] for note in pruned.notes] == ["step 1 of 5 taken back"]
    assert pruned.weight_bytes == original.weight_bytes


def test_loud_layers_stay_in_float32(pictures: tuple[torch.Tensor, torch.Tensor]) -> None:
    """With 2 bits the network is useless; the contract leaves only so many layers in integers as it bears."""
    samples, labels = pictures
    artifact = prunus.compile(
        load(), example_inputs=(samples[:1],), name="net", evaluate=accuracy_on(samples[:60], labels[:60]),
        quantize=prunus.Quantize(calibration=[samples[:60]], bits=2, where="everywhere"), max_drop=0.01,
    )  # fmt: skip
    original, quantized = steps(artifact)
    assert original.accuracy is not None
    assert quantized.accuracy is not None
    assert quantized.accuracy >= original.accuracy - 0.01
    (note,) = quantized.notes
    assert note.startswith(("left in float32 for the contract: ", "taken back: "))
    kept = note.removeprefix("left in float32 for the contract: ").split(", ")
    rows = artifact.module.meta.get("quantization", ())
    assert [row.layer for row in rows if row.precision == "float32"] == [row.layer for row in rows if row.layer in kept]


def test_robustness_is_measured(pictures: tuple[torch.Tensor, torch.Tensor]) -> None:
    samples, labels = pictures
    artifact = prunus.compile(
        load(), example_inputs=(samples[:1],), name="net", evaluate=accuracy_on(samples[:60], labels[:60]),
        quantize=prunus.Quantize(calibration=[samples[:60]]), max_drop=0.02, robustness=True,
    )  # fmt: skip
    for step in steps(artifact):
        assert list(step.robustness) == ["noise", "blur", "brightness", "fgsm"]
        assert step.robustness["fgsm"] < (step.accuracy or 0)
    assert "fgsm" in str(artifact.report)


def test_fine_tune_says_what_it_takes(pictures: tuple[torch.Tensor, torch.Tensor]) -> None:
    with pytest.raises(InputError, match="fine_tune='distil'"):
        prunus.compile(load(), example_inputs=(pictures[0][:1],), prune=prunus.Prune(macs=0.5), fine_tune="distil")


def test_quantized_through_training(pictures: tuple[torch.Tensor, torch.Tensor]) -> None:
    """A short lesson makes 4 bits better than rounding alone, on the calibration inputs themselves."""
    samples, _ = pictures
    module = load()
    with torch.no_grad():
        truth = module(samples)
    errors = []
    for training in (None, "lsq"):
        artifact = prunus.compile(
            module, example_inputs=(samples[:1],), name="net", fine_tune=prunus.Distill(steps=40, batch_size=25),
            quantize=prunus.Quantize(calibration=[samples], bits=4, where="everywhere", training=training),
        )  # fmt: skip
        found = artifact.run_samples(samples)
        torch.testing.assert_close(found[:5], torch.cat([artifact.module(one[None])[0] for one in samples[:5]]))
        errors.append(float((found - truth).square().mean()))
    assert errors[1] < 0.8 * errors[0]
    with torch.no_grad():
        assert torch.equal(module(samples), truth)  # the user's weights stay as they are


def test_distillation_needs_inputs(pictures: tuple[torch.Tensor, torch.Tensor]) -> None:
    samples, _ = pictures
    with pytest.raises(InputError, match="no inputs to teach on"):
        prunus.compile(
            load(), example_inputs=(samples[:1],), prune=prunus.Prune(macs=0.5, importance="l1"), fine_tune="distill"
        )
