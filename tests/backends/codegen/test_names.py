"""Names that can stand in C, and names that cannot."""

import pytest

from prunus.backends.codegen.names import check_name
from prunus.errors import BuildError


@pytest.mark.parametrize("name", ["kws", "Model_2", "x"])
def test_identifiers_pass(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    "name", ["", "2nd", "my-model", "a b", "größe", "_model", "float", "class", "main", "../x", "a;b", "x\n"]
)
def test_others_do_not(name: str) -> None:
    with pytest.raises(BuildError, match="cannot stand in C"):
        check_name(name)
