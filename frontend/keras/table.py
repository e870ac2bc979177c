"""The table of rules, and the decorator that adds to it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prunus.errors import ImportModelError
from prunus.frontend.builder import Value

if TYPE_CHECKING:
    from prunus.frontend.keras.builder import Builder

Rule = Callable[["Builder", "Call"], Any]


@dataclass(frozen=True)
class Call:
    """One call of a layer, or of one of `keras.ops`, whose tensors are known.

    Attributes:
        operation: the `keras.Layer` or `keras.Operation`; what was given to its constructor stands in its attributes.
        args: positional arguments; tensors and variables in them are values.
        kwargs: keyword arguments likewise.
    """

    operation: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def __str__(self) -> str:
        name = getattr(self.operation, "name", None)
        return name_of(self.operation) if name is None else f"{name_of(self.operation)} {name!r}"

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the operation: `call.axis`."""
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.operation, name)

    @property
    def x(self) -> Value:
        """The first argument."""
        value: Value = self.args[0] if self.args else next(iter(self.kwargs.values()))
        return value

    def argument(self, index: int, name: str, default: Any = None) -> Any:
        """Return an argument by position, else by name, else `default`."""
        return self.args[index] if index < len(self.args) else self.kwargs.get(name, default)

    def refuse(self, found: str, *, expected: str = "", do: str = "") -> ImportModelError:
        """Return the error for a variant of the operation that has no form here."""
        return ImportModelError(f"{self}: {found}", expected=expected, do=do or "write a rule of your own for it")


_RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Add a rule for classes of layers or operations, by their names; a later rule replaces an earlier one.

    The rule gets a `Builder` and a `Call` and returns the output, or all outputs in Keras' structure:

        @rule("my.layers.Swish")
        def swish(build, call):
            return build.call(torch.ops.aten.silu.default, call.x)

    Rules are for what cannot be opened: layers and models that are written in `keras.ops` need none.

    Args:
        names: Keras' own by their public name, `layers.Conv2D`, `ops.Relu`, `activations.mish`; yours with the module,
            `my.layers.Swish`.
    """

    def add(function: Rule) -> Rule:
        for name in names:
            _RULES[name] = function
        return function

    return add


def find_rule(operation: Any) -> Rule | None:
    """Return the rule for an object's own class, or for a function; a subclass that is not Keras' has none but its own.

    A subclass may compute anything, so that the rule of its base says nothing about it.
    """
    return _RULES.get(name_of(operation))


def name_of(operation: Any) -> str:
    """Return the name that rules know an operation's class, or a function, by."""
    described = operation if hasattr(operation, "__qualname__") else type(operation)
    package, *path = described.__module__.split(".")
    if package == "keras" and len(path) > 1:
        return f"{path[1]}.{described.__name__}"
    return f"{described.__module__}.{described.__qualname__}"
