"""Decompositions that `passes/decompose.py` applies, one file a kind of operator."""

from prunus.passes.decompositions import (
    attention,
    convolution,
    creation,
    indexing,
    joins,
    matrix,
    norms,
    padding,
    pointwise,
    pooling,
    reductions,
    resize,
    splits,
    views,
)
from prunus.passes.decompositions.registry import RULES, Replacement, Rule, rule

__all__ = [
    "RULES",
    "Replacement",
    "Rule",
    "attention",
    "convolution",
    "creation",
    "indexing",
    "joins",
    "matrix",
    "norms",
    "padding",
    "pointwise",
    "pooling",
    "reductions",
    "resize",
    "rule",
    "splits",
    "views",
]
