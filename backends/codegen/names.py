"""Names of models: each becomes a type and a prefix in C and C++."""

import re

from prunus.errors import BuildError

_WORDS = """
alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t char32_t char8_t class co_await
co_return co_yield compl concept const const_cast consteval constexpr constinit continue decltype default delete do
double dynamic_cast else enum explicit export extern false float for friend goto if inline int long main mutable
namespace new noexcept not not_eq nullptr operator or or_eq private protected public register reinterpret_cast requires
restrict return short signed sizeof static static_assert static_cast struct switch template this thread_local throw true
try typedef typeid typename union unsigned using virtual void volatile wchar_t while xor xor_eq
"""
_RESERVED = frozenset(_WORDS.split())


def check_name(name: str) -> None:
    """Make sure that `name` can stand in C and C++.

    Raises:
        BuildError: it cannot.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or name in _RESERVED:
        raise BuildError(
            f"the name {name!r} cannot stand in C",
            expected="a letter, then letters, digits and underscores; no word of C or C++",
            do='pass another: name="model"',
        )
