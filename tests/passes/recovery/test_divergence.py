"""Divergence of classes, against its definition."""

import torch

from prunus.passes.recovery.divergence import are_probabilities, divergence, logits_of


def test_probabilities_diverge_as_their_logits_do() -> None:
    ours, theirs = torch.randn(2, 16, 5, generator=torch.Generator().manual_seed(0)).unbind()
    expected = divergence(ours, theirs)
    torch.testing.assert_close(divergence(logits_of(ours.softmax(1)), logits_of(theirs.softmax(1))), expected)
    torch.testing.assert_close(divergence(theirs, theirs), torch.tensor(0.0), atol=1e-6, rtol=0)
    probabilities = ((theirs / 2).softmax(1), (ours / 2).softmax(1))
    by_definition = (probabilities[0] * (probabilities[0] / probabilities[1]).log()).sum(1).mean() * 4
    torch.testing.assert_close(expected, by_definition)


def test_what_counts_as_probabilities() -> None:
    logits = torch.randn(16, 5, generator=torch.Generator().manual_seed(0))
    assert are_probabilities(logits.softmax(1))
    assert not are_probabilities(logits)
    assert not are_probabilities(logits.sigmoid())
    assert not are_probabilities(torch.ones(4, 3, 5) / 5)
