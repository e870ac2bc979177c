"""The file of records: nothing that was recorded is lost, nothing that does not fit is used."""

import dataclasses
import errno
import json
import multiprocessing
import os
from pathlib import Path

import pytest

from prunus.backends.plan.knobs import Choice
from prunus.backends.tune.record import Record, Source, Verdict, knob_fields
from prunus.backends.tune.records import Records, default_path
from prunus.backends.tune.versions import spec_key, target_key, template_version, tvm_version
from prunus.errors import OutputError
from tests.backends.tune.families import Knob, task

KNOBS = [Knob("right", count) for count in (1, 2, 3)]
TASK = task(*KNOBS)


def record(made_by: Knob, verdict: Verdict = Verdict.FASTER, gain: float = 2.0, **changes: object) -> Record:
    family = TASK.family
    made = Record(
        spec=spec_key(family, TASK.problem), target=target_key(TASK.target), template=template_version(family),
        tvm=tvm_version(), target_name="native", family=family.name, layer="doubling", knob=knob_fields(made_by),
        verdict=verdict, gain=gain, source=Source.MEASURED, machine="here",
    )  # fmt: skip
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def write(path: Path, *made: Record) -> Path:
    records = Records(path)
    for one in made:
        records.append(one)
    return path


def choice(path: Path) -> Choice:
    return Records(path)(TASK.family, TASK.match, TASK.target)


def test_lines_are_read_as_they_were_written() -> None:
    made = record(KNOBS[0])
    assert Record.from_line(made.to_line()) == made


def test_without_records_the_first_guess_is_chosen(tmp_path: Path) -> None:
    assert choice(tmp_path / "missing") == Choice(TASK.candidates[0])


def test_the_fastest_wins_whatever_the_order(tmp_path: Path) -> None:
    made = [record(knob, gain=gain) for knob, gain in zip(KNOBS, (1.2, 1.4, 1.3), strict=True)]
    for order in (made, made[::-1]):
        path = write(tmp_path / f"{order[0].gain}", *order)
        assert choice(path) == Choice(KNOBS[1], "measured")


def test_measurements_come_before_estimates(tmp_path: Path) -> None:
    path = write(tmp_path / "r", record(KNOBS[0], gain=1.1), record(KNOBS[1], gain=3.0, source=Source.ESTIMATED))
    assert choice(path) == Choice(KNOBS[0], "measured")
    assert choice(write(tmp_path / "e", record(KNOBS[1], source=Source.ESTIMATED))).tuned == "estimated"


@pytest.mark.parametrize("verdict", [verdict for verdict in Verdict if verdict != Verdict.FASTER])
def test_only_what_was_faster_is_chosen(verdict: Verdict, tmp_path: Path) -> None:
    assert choice(write(tmp_path / "r", record(KNOBS[0], verdict))) == Choice(TASK.candidates[0])


def test_the_last_word_on_a_knob_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "r", record(KNOBS[0]), record(KNOBS[1], gain=1.1), record(KNOBS[0], Verdict.WITHDRAWN))
    assert choice(path).knob == KNOBS[1]


@pytest.mark.parametrize(
    ("change", "remark"),
    [
        ({"template": "old"}, "another version of their kernels"),
        ({"tvm": "0.1"}, "another version of TVM"),
        ({"knob": {"way": "right", "repeats": 1000}}, "their family does not offer"),
        ({"target": "another"}, ""),
        ({"spec": "another"}, ""),
    ],
)
def test_a_record_that_does_not_fit_is_reported_and_not_used(
    change: dict[str, object], remark: str, tmp_path: Path
) -> None:
    records = Records(write(tmp_path / "r", record(KNOBS[0], **change)))  # type: ignore[arg-type]
    assert records(TASK.family, TASK.match, TASK.target) == Choice(TASK.candidates[0])
    assert len(records.remarks) == bool(remark)
    assert remark in "".join(records.remarks)


@pytest.mark.parametrize("cut", [1, 40, 200])
def test_a_truncated_line_costs_itself_only(cut: int, tmp_path: Path) -> None:
    path = write(tmp_path / "r", record(KNOBS[0]), record(KNOBS[1], gain=9.0))
    path.write_bytes(path.read_bytes()[:-cut])
    assert choice(path).knob == KNOBS[1 if cut == 1 else 0]
    write(path, record(KNOBS[2], gain=3.0))
    assert choice(path).knob == KNOBS[1 if cut == 1 else 2]
    assert len(Records(path).remarks) == (cut > 1)


@pytest.mark.parametrize(
    "line", [b"", b"{}", b"[]", b"\xff\xfe", b'"text"', b"null", b'{"format":2}', b"{" * 5000], ids=str
)
def test_any_other_line_is_no_record(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "r"
    path.write_bytes(line + b"\n")
    records = Records(write(path, record(KNOBS[0])))
    assert records(TASK.family, TASK.match, TASK.target).knob == KNOBS[0]
    assert len(records.remarks) == bool(line)


@pytest.mark.parametrize("field", ["knob", "gain", "verdict", "source", "spec"])
def test_a_field_of_another_type_is_no_record(field: str) -> None:
    table = json.loads(record(KNOBS[0]).to_line())
    with pytest.raises(ValueError):
        Record.from_line(json.dumps({**table, field: ["x"]}).encode())


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "r", record(KNOBS[0]))
    before = path.read_bytes()
    write_some = os.write

    def full(descriptor: int, data: bytes) -> int:
        write_some(descriptor, data[:50])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for writing in (full, lambda descriptor, data: write_some(descriptor, data[:50])):
        monkeypatch.setattr(os, "write", writing)
        with pytest.raises(OutputError, match="No space left"):
            write(path, record(KNOBS[1]))
        assert path.read_bytes() == before


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="the tuning records"):
        write(tmp_path / "file" / "records", record(KNOBS[0]))


def test_tuners_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    path, each, tuners = tmp_path / "r", 200, 4
    path.write_bytes(record(KNOBS[0]).to_line()[:-30])
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_append_many, args=(path, number, each)) for number in range(tuners)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    lines = [line for line in path.read_bytes().splitlines()[1:] if line]
    found = [Record.from_line(line) for line in lines]
    assert len(found) == each * tuners
    for number in range(tuners):
        assert [one.gain for one in found if one.layer == str(number)] == list(range(each))


def _append_many(path: Path, number: int, count: int) -> None:
    records = Records(path)
    for index in range(count):
        records.append(record(KNOBS[0], gain=index, layer=str(number)))


def test_the_default_file_lies_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNUS_CACHE", str(tmp_path))
    assert default_path() == tmp_path / "tuning.jsonl"
