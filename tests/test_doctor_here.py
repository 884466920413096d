"""`wukong doctor` for this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from wukong.config import Config
from wukong.doctor import here
from wukong.doctor.finding import Level
from wukong.doctor.here import examine_here

CONFIG = Config().changed("local", workers=2)


def test_a_machine_that_works_has_no_problem() -> None:
    findings = list(examine_here(CONFIG))
    checks = {one.check for one in findings}
    assert checks == {"memory", "disk", "history", "store", "versions", "trial run"}
    assert not [one for one in findings if one.level is Level.PROBLEM], findings


def test_a_store_that_is_not_there_ends_the_examination() -> None:
    config = CONFIG.changed("store", url="valkey://127.0.0.1:9")
    *_, last = examine_here(config)
    assert (last.check, last.level) == ("store", Level.PROBLEM)
    assert "127.0.0.1:9" in last.message


def test_a_configured_store_is_the_one_that_is_used(valkey_url: str) -> None:
    findings = list(examine_here(CONFIG.changed("store", url=valkey_url)))
    assert findings[-1].check == "trial run"
    assert findings[-1].level is Level.OK


def test_too_little_memory_disk_and_a_closed_history_are_warnings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(here, "WORKER_BYTES", 1 << 60)
    monkeypatch.setattr(here, "DISK_BYTES", 1 << 60)
    (tmp_path / "file").touch()
    monkeypatch.setenv("WUKONG_HOME", str(tmp_path / "file"))
    found = {one.check: one for one in here.machine(2)}
    assert [found[name].level for name in ("memory", "disk", "history")] == [Level.WARNING] * 3
    assert all(one.remedy for one in found.values())
