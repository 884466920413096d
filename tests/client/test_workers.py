"""Worker processes and the client that started them."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.conftest import until


def test_a_worker_whose_client_died_while_it_started_ends_without_taking_an_event(
    valkey_url: str,
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait()
    settings = {
        "WUKONG_STORE_URL": valkey_url,
        "WUKONG_QUEUE_URL": valkey_url,
        "WUKONG_QUEUE": "of-a-client-that-died",
        "WUKONG_WORKER": "w",
        "WUKONG_PARENT": str(gone.pid),
    }
    worker = subprocess.Popen(
        [sys.executable, "-m", "wukong.platform.worker"], env={**os.environ, **settings}
    )
    try:
        assert until(lambda: worker.poll() is not None, "the worker's end")
        assert worker.returncode == 0
    finally:
        worker.kill()
        worker.wait()
