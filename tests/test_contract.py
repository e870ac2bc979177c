"""What compression may cost, under perturbations too."""

import itertools

import pytest
import torch
from torch import nn

from prunus.contract import Contract, Verdict
from prunus.errors import PruneError
from prunus.frontend import import_model
from prunus.passes import CANONICAL, Graph, run_passes
from prunus.robustness import BRIGHTNESS, NOISE, STEP, perturbations

X = torch.randn(6, 3, 9, 7, generator=torch.Generator().manual_seed(0)) * 2 + 1


@pytest.fixture(scope="module")
def graph() -> Graph:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(140, 5)).eval()
    return run_passes(import_model(module, example_inputs=(X[:1],)), CANONICAL)


def test_perturbations_change_as_much_as_they_say(graph: Graph) -> None:
    changes = {name: change(X)[0] - X for name, change in perturbations(graph).items()}
    deviation = float(X.std(correction=0))
    assert list(changes) == ["noise", "blur", "brightness", "fgsm"]
    assert float(changes["noise"].std()) == pytest.approx(NOISE * deviation, rel=0.1)
    torch.testing.assert_close(changes["brightness"], torch.full_like(X, BRIGHTNESS * deviation))
    assert float(changes["fgsm"].abs().max()) == pytest.approx(STEP * deviation, rel=1e-3)
    blurred = changes["blur"] + X
    torch.testing.assert_close(blurred[..., 1:-1, 1:-1], nn.functional.avg_pool2d(X, 3, stride=1))


def test_perturbations_repeat_themselves(graph: Graph) -> None:
    for change in perturbations(graph).values():
        assert torch.equal(change(X)[0], change(X)[0])


def test_fgsm_makes_the_answer_less_certain(graph: Graph) -> None:
    """One small step along the gradient, against the definition in plain PyTorch."""
    leaf = X.clone().requires_grad_()
    scores = graph_on(graph, leaf)
    loss = nn.functional.cross_entropy(scores, scores.detach().argmax(1), reduction="sum")
    loss.backward()
    (changed,) = perturbations(graph)["fgsm"](X)
    assert leaf.grad is not None
    torch.testing.assert_close(changed, X + STEP * X.std(correction=0) * leaf.grad.sign())
    after = nn.functional.cross_entropy(graph_on(graph, changed), scores.detach().argmax(1), reduction="sum")
    assert float(after.detach()) > float(loss.detach())


def graph_on(graph: Graph, x: torch.Tensor) -> torch.Tensor:
    return torch.cat([graph(sample[None])[0] for sample in x])


def test_words_are_left_alone(graph: Graph) -> None:
    words = torch.arange(5)
    for name in ("noise", "blur", "brightness"):
        assert perturbations(graph)[name](words)[0] is words


def test_breaches_are_named(graph: Graph) -> None:
    contract = Contract(graph, lambda run: float(run(X).shape[0]) / 10, max_drop=0.1, robustness=True)
    before = contract.baseline
    assert before.accuracy == 0.6
    assert [name for name, _ in before.robustness] == ["noise", "blur", "brightness", "fgsm"]
    assert contract.breach(before) == ""
    assert contract.breach(Verdict(0.45, before.robustness)) == "accuracy 0.4500, at least 0.5000 wanted"
    worse = tuple((name, 0.5 if name == "blur" else found) for name, found in before.robustness)
    assert contract.breach(Verdict(0.6, worse)) == "accuracy under blur 0.5000, at least 0.5500 wanted"


def test_without_a_measure_everything_passes(graph: Graph) -> None:
    contract = Contract(graph, None, robustness=True)
    assert contract.baseline == Verdict()
    assert contract.breach(contract.judge(graph)) == ""


@pytest.mark.parametrize(
    ("evaluate", "match"),
    [(lambda run: float("nan"), "returned NaN"), (lambda run: 1 / 0, "raised ZeroDivisionError")],
)
def test_measures_that_fail(graph: Graph, evaluate: object, match: str) -> None:
    with pytest.raises(PruneError, match=match):
        Contract(graph, evaluate)  # type: ignore[arg-type]


def test_a_measure_that_changes_its_mind(graph: Graph) -> None:
    numbers = itertools.count()
    with pytest.raises(PruneError, match="returned 0 and 1"):
        Contract(graph, lambda run: float(next(numbers)))
