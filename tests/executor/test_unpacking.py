"""Parts of a bundle are unpacked side by side, into one folder."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from executor.unpacking import _extract


def test_a_folder_that_another_part_makes_meanwhile_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("package/inner/module.py", "")
        archive.writestr("top.py", "")
    make = os.makedirs

    def somebody_was_first(name: Any, mode: int = 0o777, exist_ok: bool = False) -> None:
        make(name, mode, exist_ok=True)
        make(name, mode, exist_ok)

    monkeypatch.setattr(os, "makedirs", somebody_was_first)
    _extract(data.getvalue(), tmp_path)
    assert (tmp_path / "package" / "inner" / "module.py").is_file()
    assert (tmp_path / "top.py").is_file()
