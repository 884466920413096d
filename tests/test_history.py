"""The folder of runs, and the form of its files."""

from __future__ import annotations

import os
from array import array
from dataclasses import replace
from pathlib import Path

import pytest

from wukong import history
from wukong.history import HistoryError
from wukong.record import Outline, RecordError, RunRecord, Summary


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WUKONG_HOME", str(tmp_path))
    return tmp_path


def record(run: str) -> RunRecord:
    outline = Outline(
        names=("sum-1a2b",),
        name=array("I", [0, 0]),
        index=("(0)", "(1)"),
        kinds=("sum",),
        kind=array("I", [0, 0]),
        tasks=array("I", [1, 1]),
        root=array("B", [0, 1]),
        needs=array("I", [0, 1]),
        inputs=array("I", [0]),
    )
    return RunRecord(Summary(run, title="sum", segments=2), outline)


def test_a_record_is_loaded_as_it_was_saved() -> None:
    saved = record("abcdef")
    history.save(saved)
    assert history.load("abcdef") == saved
    assert saved.outline.label(1) == "sum-1a2b(1)"
    assert list(saved.outline.edges()) == [(0, 1)]


def test_the_beginning_of_an_id_is_enough_where_only_one_run_has_it() -> None:
    for run in ("abc1", "abd2", "abd22"):
        history.save(record(run))
    assert history.load("abc").summary.run == "abc1"
    assert history.load("abd2").summary.run == "abd2"
    with pytest.raises(HistoryError, match="2 runs begin with 'abd'"):
        history.load("abd")


def test_an_unknown_run_is_named_with_those_that_are_near() -> None:
    history.save(record("abcdef01"))
    with pytest.raises(HistoryError, match=r"no run 'abcdef02'[\s\S]*abcdef01"):
        history.load("abcdef02")


def test_the_list_is_newest_first_and_the_oldest_are_deleted(home: Path) -> None:
    for number in range(5):
        file = history.save(record(f"run{number}"), most=3)
        assert file is not None
        os.utime(file, ns=(number, number))
    assert [one.run for one in history.summaries()] == ["run4", "run3", "run2"]
    assert len(list((home / "runs").iterdir())) == 3


def test_a_list_leaves_out_what_is_no_record(home: Path) -> None:
    history.save(record("good"))
    (home / "runs" / "bad.run").write_bytes(b"\xff\xff")
    (home / "runs" / "cut.run").write_bytes(b"\x10\x00\x00\x00{")
    assert [one.run for one in history.summaries()] == ["good"]
    with pytest.raises(RecordError, match=r"bad\.run"):
        history.load("bad")


def test_a_file_that_another_process_deletes_meanwhile_hides_no_other(home: Path) -> None:
    history.save(record("good"))
    (home / "runs" / "gone.run").symlink_to(home / "nothing")
    assert [one.run for one in history.summaries()] == ["good"]


def test_a_record_of_a_later_release_says_so(home: Path) -> None:
    data = record("later").to_bytes().replace(b'{"v":1,', b'{"v":9,', 1)
    (home / "runs").mkdir()
    (home / "runs" / "later.run").write_bytes(data)
    with pytest.raises(RecordError, match="version 9"):
        history.load("later")


def test_a_folder_that_cannot_be_written_is_a_warning(home: Path) -> None:
    (home / "runs").write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="what run full did is not kept"):
        assert history.save(record("full")) is None


def test_a_summary_keeps_what_others_put_with_it() -> None:
    one = record("more")
    history.save(replace(one, summary=replace(one.summary, more={"estimate": 1.5})))
    (summary,) = history.summaries()
    assert summary.more == {"estimate": 1.5}
