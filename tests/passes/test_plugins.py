"""Users' passes: registered, installed, and placed in the default chain."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from prunus.errors import PassError
from prunus.frontend.torch import import_torch
from prunus.passes import DEFAULT, Graph, default_passes, graph_pass, run_passes
from prunus.passes.plugins import installed_passes, place, unregister
from prunus.passes.run import pass_name

PLUGIN = '''
from prunus.passes import graph_pass
from prunus.passes.graph import aten, calls, tidy


def tanh_twice_is_once(graph):
    """Written like any pass, after = where it runs."""
    for node in calls(graph, aten.tanh.default):
        print("saw", node.name)
    return tidy(graph)


tanh_twice_is_once.after = "decompose"
'''


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package with one pass, installed in a folder of its own."""
    (tmp_path / "cherry.py").write_text(PLUGIN)
    info = tmp_path / "cherry-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cherry\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[prunus.passes]\ncherry = cherry:tanh_twice_is_once\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("cherry", None)


def names(passes: list) -> list[str]:  # type: ignore[type-arg]
    return [pass_name(one_pass) for one_pass in passes]


@pytest.mark.usefixtures("plugin")
def test_an_installed_pass_runs(capsys: pytest.CaptureFixture[str]) -> None:
    chain = default_passes()
    assert names(chain)[:2] == ["decompose", "tanh_twice_is_once"]
    graph = run_passes(import_torch(nn.Tanh(), (torch.randn(3),)), chain)
    assert capsys.readouterr().out == "saw tanh\n"
    assert "tanh_twice_is_once" in [record.name for record in graph.meta["passes"]]


def test_without_plugins_the_chain_is_the_default() -> None:
    assert default_passes() == DEFAULT


@pytest.mark.usefixtures("plugin")
def test_a_broken_plugin_is_named(tmp_path: Path) -> None:
    (tmp_path / "cherry.py").write_text("import nowhere")
    with pytest.raises(PassError, match=r"'cherry' \(cherry:tanh_twice_is_once\) does not load"):
        installed_passes()


@pytest.mark.parametrize(
    ("where", "expected"),
    [({"after": "a"}, "apb"), ({"before": "b"}, "apb"), ({"before": "a"}, "pab"), ({}, "abp")],
)
def test_places(where: dict[str, Any], expected: str) -> None:
    def a(graph: Graph) -> Graph:
        return graph

    def b(graph: Graph) -> Graph:
        return graph

    def p(graph: Graph) -> Graph:
        return graph

    try:
        decorate: Any = graph_pass(**where)
        registered = decorate(p)
        assert "".join(names(place([a, b], [registered]))) == expected
    finally:
        unregister("p")


def test_bare_decorator_and_order_of_registration() -> None:
    @graph_pass
    def mine(graph: Graph) -> Graph:
        return graph

    try:
        assert default_passes() == [*DEFAULT, mine]
    finally:
        unregister("mine")


def test_an_unknown_neighbour_is_answered_with_near_names() -> None:
    @graph_pass(after="fold_batchnrom")
    def mine(graph: Graph) -> Graph:
        return graph

    try:
        with pytest.raises(PassError, match="'fold_batchnorm'"):
            default_passes()
    finally:
        unregister("mine")


def test_after_and_before_exclude_each_other() -> None:
    with pytest.raises(PassError, match="at most one"):
        graph_pass(after="a", before="b")
