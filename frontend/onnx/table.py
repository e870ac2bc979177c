"""The table of operators, and the decorator that adds to it."""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from prunus.errors import ImportModelError
from prunus.frontend.builder import Value
from prunus.frontend.onnx.values import Results

if TYPE_CHECKING:
    from prunus.frontend.onnx.builder import Builder

Rule = Callable[["Builder", "Operation"], Results]


@dataclass(frozen=True)
class Operation:
    """One ONNX node whose inputs are known.

    Attributes:
        op_type: name of the operator, `Conv`.
        domain: empty for ONNX's own operators.
        name: the node's name in the file, or that of its first output.
        module: path of the module that it belongs to, as far as the file tells, else its name.
        inputs: the values; None for an optional input that is left out.
        attributes: Python values: numbers, strings, lists, tensors; graphs stay as they are in the file.
        outputs: names of the outputs; empty for one that nobody wants.
    """

    op_type: str
    domain: str
    name: str
    module: str
    inputs: tuple[Any, ...]
    attributes: Mapping[str, Any]
    outputs: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.op_type} node {self.name!r}"

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute, or `default` where the node has none."""
        return self.attributes.get(name, default)

    def optional(self, index: int) -> Value | None:
        """Return input `index`, None where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def value(self, index: int) -> Value:
        """Return input `index`.

        Raises:
            ImportModelError: it is left out.
        """
        value = self.optional(index)
        if value is None:
            raise ImportModelError(f"{self} has no input {index}", do="check the file with onnx.checker.check_model")
        return value

    def constant(self, index: int) -> torch.Tensor | None:
        """Return input `index`, which must be known while importing; None where it is left out.

        Raises:
            ImportModelError: it depends on the values of the model's inputs.
        """
        value = self.optional(index)
        if value is None or isinstance(value, torch.Tensor):
            return value
        raise ImportModelError(
            f"input {index} of {self} depends on the values of the model's inputs",
            expected="a constant, or one that follows from shapes",
            do="pass constant_inputs={...} for the inputs that decide it",
        )

    def ints(self, name: str, index: int | None = None) -> tuple[int, ...] | None:
        """Return integers that older versions hold in attribute `name` and newer ones in input `index`."""
        if name in self.attributes:
            return tuple(self.attributes[name])
        held = self.constant(index) if index is not None else None
        return None if held is None else tuple(int(number) for number in held.reshape(-1).tolist())

    def refuse(self, found: str, *, do: str = "") -> ImportModelError:
        """Return the error for a variant of the operator that has no form here."""
        return ImportModelError(
            f"{self}: {found}", do=do or "export the model in another way, or add a rule of your own"
        )


@dataclass
class _Versions:
    since: list[int] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)


_TABLE: dict[tuple[str, str], _Versions] = {}


def operator(op_type: str, *, since: int = 1, domain: str = "") -> Callable[[Rule], Rule]:
    """Add a rule for an ONNX operator, your own or one that is missing; a later rule replaces an earlier one.

    The rule gets a `Builder` and an `Operation` and returns the output, or all outputs in order:

        @operator("Swish", domain="my.company")
        def swish(build, op):
            return build.call(torch.ops.aten.silu.default, op.value(0))

    Args:
        op_type: name of the operator.
        since: first version of its operator set that the rule is right for; the newest one that is not newer than the
            model's is taken.
        domain: its operator set; empty for ONNX's own.
    """

    def add(rule: Rule) -> Rule:
        versions = _TABLE.setdefault((domain_key(domain), op_type), _Versions())
        at = bisect_right(versions.since, since)
        if at and versions.since[at - 1] == since:
            versions.rules[at - 1] = rule
        else:
            versions.since.insert(at, since)
            versions.rules.insert(at, rule)
        return rule

    return add


def find_rule(domain: str, op_type: str, version: int) -> Rule | None:
    """Return the newest rule that is not newer than `version` of the operator set, None if there is none."""
    versions = _TABLE.get((domain_key(domain), op_type))
    if versions is None:
        return None
    at = bisect_right(versions.since, version)
    return versions.rules[at - 1] if at else None


def domain_key(domain: str) -> str:
    """Return the short form of a domain: ONNX's own has two names."""
    return "" if domain == "ai.onnx" else domain
