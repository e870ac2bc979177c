"""Passes of users: the decorator, the entry points, and the default chain with both in place."""

from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import overload

from prunus.errors import PassError, did_you_mean
from prunus.passes.run import Pass, pass_name

GROUP = "prunus.passes"
_registered: dict[str, Pass] = {}


@overload
def graph_pass(function: Pass) -> Pass: ...


@overload
def graph_pass(
    *, after: str | None = None, before: str | None = None, max_error: float | None = None
) -> Callable[[Pass], Pass]: ...


def graph_pass(
    function: Pass | None = None,
    *,
    after: str | None = None,
    before: str | None = None,
    max_error: float | None = None,
) -> Pass | Callable[[Pass], Pass]:
    """Register a pass under its function's name: every compilation runs it from now on.

    Args:
        function: a function `Graph -> Graph`.
        after: name of the pass that it follows.
        before: name of the pass that it precedes; without either it runs last.
        max_error: how much it may change the outputs, as a share of the largest; 1e-5 by default.

    Raises:
        PassError: both `after` and `before`.

    >>> @graph_pass(after="decompose", max_error=0.01)
    ... def round_weights(graph): ...
    """
    if after is not None and before is not None:
        raise PassError(
            f"graph_pass got after={after!r} and before={before!r}", expected="at most one of them", do="drop one"
        )

    def register(one_pass: Pass) -> Pass:
        one_pass.after, one_pass.before = after, before  # type: ignore[attr-defined]
        if max_error is not None:
            one_pass.max_error = max_error  # type: ignore[attr-defined]
        _registered[pass_name(one_pass)] = one_pass
        return one_pass

    return register if function is None else register(function)


def unregister(name: str) -> None:
    """Forget a pass that `graph_pass` registered."""
    _registered.pop(name, None)


def installed_passes() -> list[Pass]:
    """Return the passes of installed packages (entry points of the group `prunus.passes`), in order of their names.

    Raises:
        PassError: an entry point that does not load, or that is no function.
    """
    found = []
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            one_pass = point.load()
        except Exception as error:
            raise PassError(
                f"the installed pass {point.name!r} ({point.value}) does not load: {error}",
                do="mend or uninstall its package",
            ) from error
        if not callable(one_pass):
            raise PassError(f"the installed pass {point.name!r} is {type(one_pass).__name__}", expected="a function")
        found.append(one_pass)
    return found


def place(chain: Sequence[Pass], extra: Sequence[Pass]) -> list[Pass]:
    """Return `chain` with each pass of `extra` where its attributes `after` or `before` ask, else at the end.

    Raises:
        PassError: it asks for a pass that is not in the chain.
    """
    placed = list(chain)
    for one_pass in extra:
        names = [pass_name(other) for other in placed]
        after, before = getattr(one_pass, "after", None), getattr(one_pass, "before", None)
        wanted = after or before
        if wanted is None:
            placed.append(one_pass)
        elif wanted not in names:
            raise PassError(
                f"pass {pass_name(one_pass)!r} asks to run beside {wanted!r}, which is not in the chain",
                do=did_you_mean(wanted, names),
            )
        elif after:
            placed.insert(len(names) - names[::-1].index(after), one_pass)
        else:
            placed.insert(names.index(wanted), one_pass)
    return placed


def with_plugins(chain: Sequence[Pass]) -> list[Pass]:
    """Return `chain` with the passes of installed packages and of `graph_pass` in their places."""
    loaded = {pass_name(one_pass): one_pass for one_pass in installed_passes()}
    return place(chain, list((loaded | _registered).values()))
