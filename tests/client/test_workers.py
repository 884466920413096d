"""Worker processes and the client that started them."""

from __future__ import annotations

import os
import subprocess
import sys

import wukong
from tests.conftest import until

# As text, as a function of this module would load this module, and with it what tests need.
LOADED = "[one for one in ('numpy', 'pandas', 'boto3') if one in __import__('sys').modules]"


def test_a_run_of_plain_python_loads_nothing_that_its_tasks_do_not_need(valkey_url: str) -> None:
    config = wukong.Config().changed("store", url=valkey_url)
    with wukong.Client(config, platform="local", workers=1) as client:
        assert client.submit(eval, LOADED).result() == []


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
