"""A candidate that fails, in whatever way, costs itself only; nothing wrong wins."""

from pathlib import Path

import pytest

from prunus.backends.codegen.compile import kernel_of
from prunus.backends.tune.bench import Bench, FirstGuessFailed, Workshop
from prunus.backends.tune.record import Record, Verdict
from prunus.backends.tune.records import Records
from prunus.backends.tune.task import Task
from tests.backends.tune.families import Knob, Misbehaving, task

FAST = Knob("right", 1)
FAILURES = {
    "aborts": Verdict.UNCOMPILABLE,
    "raises": Verdict.UNCOMPILABLE,
    "hangs": Verdict.HUNG,
    "wrong": Verdict.WRONG,
    "behind": Verdict.CORRUPTING,
    "in front": Verdict.CORRUPTING,
    "input": Verdict.CORRUPTING,
    "far": Verdict.CRASHED,
    "reads": Verdict.CRASHED,
}


def bench(made: Task, shop: Workshop, path: Path) -> Bench:
    first = shop.pool.submit(shop.builder.build, made, made.candidates[0])
    return Bench(made, Records(path), shop, first)


def run(made: Task, shop: Workshop, path: Path) -> list[Record]:
    """Try everything and keep the records."""
    records, found = Records(path), []
    for record in bench(made, shop, path).trials():
        records.append(record)
        found.append(record)
    return found


@pytest.mark.parametrize("way", FAILURES)
def test_failures(way: str, shop: Workshop, tmp_path: Path) -> None:
    made, path = task(Knob(way), FAST), tmp_path / "records"
    found = run(made, shop, path)
    verdicts = [record.verdict for record in found]
    # Some of what overwrites memory, the guards end before the canaries are looked at.
    expected = {FAILURES[way]} | ({Verdict.CRASHED} if FAILURES[way] == Verdict.CORRUPTING else set())
    assert verdicts[0] in expected, found
    assert verdicts[1] == Verdict.FASTER
    best = Records(path).best(made.family, made.problem, made.target)
    assert best is not None
    assert best[0] == FAST


def test_a_slower_candidate_does_not_win(shop: Workshop, tmp_path: Path) -> None:
    made = task(Knob("right", 80))
    found = run(made, shop, tmp_path / "records")
    assert [record.verdict for record in found] == [Verdict.SLOWER]
    assert Records(tmp_path / "records").best(made.family, made.problem, made.target) is None


def test_gains_multiply_and_winners_are_in_the_cache(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRUNUS_CACHE", str(tmp_path / "cache"))
    middle, fast = Knob("right", 10), Knob("right", 1)
    made = task(middle, fast)
    found = run(made, shop, tmp_path / "records")
    assert [record.verdict for record in found] == [Verdict.FASTER, Verdict.FASTER]
    assert found[1].gain > 1.5 * found[0].gain > 1.5
    assert all(kernel_of(made.spec(knob), made.target).object_path.exists() for knob in (middle, fast))


def test_a_knob_that_is_offered_twice_is_tried_once(shop: Workshop, tmp_path: Path) -> None:
    slow = Knob("right", 80)
    assert task(FAST, slow, FAST, Knob("right", 40)).candidates[1:] == (FAST, slow)
    assert len(run(task(FAST, slow, FAST, slow), shop, tmp_path / "records")) == 2


def test_what_was_tried_is_not_tried_again(shop: Workshop, tmp_path: Path) -> None:
    path = tmp_path / "records"
    made = task(Knob("wrong"), FAST)
    assert len(run(made, shop, path)) == 2
    again = bench(made, shop, path)
    assert not again.has_more
    assert again.knob == FAST
    assert [record.knob["repeats"] for record in run(task(Knob("wrong"), FAST, Knob("right", 99)), shop, path)] == [99]


def test_a_first_guess_that_fails_leaves_nothing_to_compare_with(shop: Workshop, tmp_path: Path) -> None:
    made = task()
    for way in ("far", "behind"):
        broken = Task(Misbehaving(Knob(way, 40), FAST), made.match, made.target, "broken", 1)
        with pytest.raises(FirstGuessFailed):
            run(broken, shop, tmp_path / "records")
    assert not (tmp_path / "records").exists()
