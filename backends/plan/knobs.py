"""How the planner asks for knobs: a function, so that planning stays pure and records stay outside."""

from dataclasses import dataclass
from typing import Any, Protocol

from prunus.backends.kernels.family import Family, Match
from prunus.targets import Target


@dataclass(frozen=True)
class Choice:
    """One way of computing a kernel.

    Attributes:
        knob: of the family's `knobs` for this problem.
        tuned: "measured" or "estimated" where tuning found it, empty for the first guess.
    """

    knob: Any
    tuned: str = ""


class KnobChooser(Protocol):
    """Chooses among `family.knobs(match.problem, target)`."""

    def __call__(self, family: Family, match: Match, target: Target) -> Choice:
        """Return the choice; equal problems must get equal answers within one plan."""


def first_guess(family: Family, match: Match, target: Target) -> Choice:
    """Choose what follows from facts of the target alone."""
    return Choice(family.knobs(match.problem, target)[0])
