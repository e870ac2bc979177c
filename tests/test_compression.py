"""Requests for compression are checked when they are made."""

from typing import Any

import pytest

from prunus.compression import LowRank, Prune
from prunus.errors import LowRankError, PruneError


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "no budget"),
        ({"macs": 0.5, "bytes": 0.5}, "the budgets macs, bytes"),
        ({"macs": 0}, "macs=0"),
        ({"ratio": 1.5}, "at most 1"),
        ({"latency_ms": -1}, "latency_ms=-1"),
        ({"macs": 0.5, "keep": "head.*"}, "keep=\\['head"),
        ({"macs": 0.5, "steps": 0}, "steps=0"),
        ({"macs": 0.5, "floor": 1.0}, "floor=1.0"),
    ],
)
def test_wrong_request(given: dict[str, Any], message: str) -> None:
    with pytest.raises(PruneError, match=message):
        Prune(**given)


def test_budget_and_amount() -> None:
    assert (Prune(latency_ms=12).budget, Prune(latency_ms=12).amount) == ("latency_ms", 12.0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_error": 0.1, "bytes": 0.5}, "both max_error= and bytes="),
        ({"max_error": 1.0}, "max_error=1.0"),
        ({"max_error": float("nan")}, "max_error=nan"),
        ({"bytes": 0}, "bytes=0"),
        ({"save": "byte"}, "use 'bytes'"),
        ({"methods": ["tucker"]}, "use 'tucker2'"),
        ({"methods": "svd"}, "methods=\\['svd'\\]"),
        ({"keep": "head.*"}, "keep=\\['head"),
        ({"multiple_of": 0}, "multiple_of=0"),
        ({"max_total_error": 0}, "max_total_error=0"),
        ({"least_saving": 1}, "least_saving=1"),
    ],
)
def test_wrong_request_of_low_rank(given: dict[str, Any], message: str) -> None:
    with pytest.raises(LowRankError, match=message):
        LowRank(**given)
