"""Every error that Prunus raises for its users.

    PrunusError
    ├── ImportModelError          a model cannot be read
    │   ├── UnsupportedOperators  operators without a rule, all of them at once
    │   ├── UnsafeModel           a file that reaches outside its folder, is truncated or too large
    │   ├── DynamicShape          symbolic dimensions that nobody fixed
    │   └── MissingInputs         a module without example inputs
    ├── GraphError                a graph that breaks the contract of `passes/check.py`
    │   └── PassError             a pass that broke a graph or its numbers
    ├── PruneError                a pruning that cannot be, or a wrong request for one
    ├── LowRankError              a factorisation that cannot be, or a wrong request for one
    ├── QuantizeError             a quantisation that cannot be, or a wrong request for one
    ├── TuneError                 tuning that cannot be, or a wrong request for it
    ├── InputError                wrong shape, dtype, number or layout of inputs
    ├── TargetError               an unknown target, or one that this machine cannot run
    ├── BuildError                a kernel or a library that could not be built
    │   └── OutputError           a folder that cannot be written
    └── ArtifactError             a saved library that does not load, or refuses to run

Messages say what was found, what was expected, and what to do.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class PrunusError(Exception):
    """Base of every error raised for users.

    Args:
        found: what is wrong, in one sentence.
        expected: what would have been right; left out where `found` says it all.
        do: the way out.
    """

    def __init__(self, found: str, *, expected: str = "", do: str = "") -> None:
        self.found, self.expected, self.do = found, expected, do
        lines = [found]
        if expected:
            lines.append(f"Expected {expected}")
        if do:
            lines.append(f"Do: {do}")
        super().__init__("\n".join(lines))


class ImportModelError(PrunusError):
    """A model cannot be read."""


class UnsupportedOperators(ImportModelError):
    """Operators without a rule: the message lists all of them with counts, nodes and shapes."""


class UnsafeModel(ImportModelError):
    """A file that reaches outside its folder, is truncated, or asks for more memory than it holds."""


class DynamicShape(ImportModelError):
    """Symbolic dimensions that neither `example_inputs` nor `input_shapes` fixes."""


class MissingInputs(ImportModelError):
    """A module was given without example inputs."""


class GraphError(PrunusError):
    """A graph that breaks the contract of `passes/check.py`."""


class PassError(GraphError):
    """A pass that broke a graph or changed its numbers beyond its budget."""


class PruneError(PrunusError):
    """A pruning that cannot be (the message says what can), or a wrong request for one."""


class LowRankError(PrunusError):
    """A factorisation that cannot be, or a wrong request for one."""


class QuantizeError(PrunusError):
    """A quantisation that cannot be (no data, NaN), or a wrong request for one."""


class TuneError(PrunusError):
    """Tuning that cannot be on this machine, or a wrong request for it."""


class InputError(PrunusError):
    """Wrong shape, dtype, number or layout of inputs."""


class TargetError(PrunusError):
    """An unknown target, or one that cannot run here."""


class BuildError(PrunusError):
    """A kernel or a library could not be built."""


class OutputError(BuildError):
    """A folder cannot be written; nothing was left half-written."""


class ArtifactError(PrunusError):
    """A saved library does not load, or refuses to run."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a sentence with the nearest known names, for the `do` part of a message."""
    known = sorted(known)
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    return f"use {' or '.join(map(repr, near))}" if near else f"use one of {', '.join(known)}"
