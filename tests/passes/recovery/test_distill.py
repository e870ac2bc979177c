"""Label-free training."""

import pytest
import torch

from prunus.compression import Prune
from prunus.errors import InputError
from prunus.frontend import import_model
from prunus.passes import CANONICAL, run_passes
from prunus.passes.graph import Graph
from prunus.passes.prune import prune
from prunus.passes.recovery import Batches, Distill, distill, recalibrate_batchnorm
from prunus.passes.recovery.distill import _mixed
from prunus.passes.trainable import TrainableGraph


def network() -> Graph:
    torch.manual_seed(0)
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 3), torch.nn.BatchNorm2d(16), torch.nn.ReLU(), torch.nn.Dropout(0.5),
        torch.nn.Conv2d(16, 16, 3), torch.nn.BatchNorm2d(16), torch.nn.ReLU(), torch.nn.Flatten(),
        torch.nn.Linear(16 * 25, 4),
    )  # fmt: skip
    graph = run_passes(import_model(layers.eval(), example_inputs=(torch.randn(1, 1, 9, 9),)), CANONICAL)
    return recalibrate_batchnorm(graph, Batches([samples()]))


def samples(count: int = 256) -> torch.Tensor:
    return torch.randn(count, 1, 9, 9, generator=torch.Generator().manual_seed(1))


def error(student: Graph, teacher: Graph) -> float:
    fresh = torch.randn(64, 1, 9, 9, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        truth = TrainableGraph(teacher)(fresh)
        return float((TrainableGraph(student)(fresh) - truth).square().mean() / truth.var())


@pytest.mark.parametrize("config", [Distill(steps=60), Distill(steps=60, features=0.0, mix=False)], ids=str)
def test_the_student_comes_near_the_teacher(config: Distill) -> None:
    teacher = network()
    student = prune(teacher, Prune(macs=0.6, importance="l1"))
    before = error(student, teacher)
    assert distill(student, teacher, Batches([samples()]), config) is student
    assert error(student, teacher) < 0.5 * before


def test_the_same_seed_gives_the_same_weights() -> None:
    teacher = network()
    students = [prune(teacher, Prune(macs=0.6, importance="l1")) for _ in range(3)]
    for student, seed in zip(students, (0, 0, 1), strict=True):
        distill(student, teacher, Batches([samples(64)]), Distill(steps=5, seed=seed))
    weights = [next(student.parameters()) for student in students]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_the_teacher_stays_as_it_is() -> None:
    teacher = network()
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    distill(prune(teacher, Prune(macs=0.6, importance="l1")), teacher, Batches([samples(64)]), Distill(steps=3))
    for name, tensor in teacher.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_frozen_statistics_stay() -> None:
    teacher = network()
    student = prune(teacher, Prune(macs=0.6, importance="l1"))
    before = {name: tensor.clone() for name, tensor in student.named_buffers()}
    distill(student, teacher, Batches([samples(64)]), Distill(steps=3, frozen=True))
    for name, tensor in student.named_buffers():
        assert torch.equal(tensor, before[name]), name


def test_progress_counts_the_steps() -> None:
    teacher, seen = network(), []
    student = prune(teacher, Prune(macs=0.6, importance="l1"))
    distill(student, teacher, Batches([samples(64)]), Distill(steps=3), progress=lambda *pair: seen.append(pair))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_samples_that_are_not_finite() -> None:
    teacher = network()
    student = prune(teacher, Prune(macs=0.6, importance="l1"))
    batches = Batches([samples(64) * float("nan")])
    with pytest.raises(InputError, match="the loss is nan at step 0"):
        distill(student, teacher, batches, Distill(steps=3, frozen=True))
    with pytest.raises(InputError, match="running_mean is not finite on the calibration samples"):
        distill(student, teacher, batches, Distill(steps=3))


def test_half_of_a_batch_is_blended() -> None:
    batch = (torch.arange(8.0).reshape(8, 1), 10 * torch.arange(8.0).reshape(8, 1, 1))
    first, second = _mixed(batch, torch.Generator().manual_seed(0))
    assert torch.equal(first[4:], batch[0][4:])
    assert not torch.equal(first[:4], batch[0][:4])
    torch.testing.assert_close(second[:, 0], 10 * first)  # all inputs of a sample alike
    words = (torch.arange(8), batch[0])
    assert _mixed(words, torch.Generator()) == words
