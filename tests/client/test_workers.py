"""Worker processes and the client that started them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

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


def sleep(path: str) -> None:
    """Tell that this runs, and do not end."""
    Path(path).write_text(str(os.getpid()))
    time.sleep(600)


def begun(file: Path) -> int:
    """Give the process in which a task runs."""
    return int(until(lambda: file.exists() and file.read_text(), "the task"))


def has_ended(process: int) -> bool:
    found = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() in {"", "Z"}


def test_a_cancelled_run_frees_its_worker_though_a_task_is_running(
    valkey_url: str, tmp_path: Path
) -> None:
    config = wukong.Config().changed("store", url=valkey_url)
    with wukong.Client(config, platform="local", workers=1) as client:
        client.submit(sleep, str(tmp_path / "task"))
        worker = begun(tmp_path / "task")
        client.cancel()
        assert client.submit(os.getpid).result(60) == worker, "the same process, which began anew"
        assert client.submit(os.getpid).result(60) == worker


CLIENT = """
import sys
import wukong
from tests.client.test_workers import sleep
url, file = sys.argv[1:]
config = wukong.Config().changed("store", url=url)
with wukong.Client(config, platform="local", workers=1) as client:
    client.submit(sleep, file).result()
"""


def test_a_worker_ends_soon_after_its_client_was_killed_though_a_task_is_running(
    valkey_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "task"
    with subprocess.Popen([sys.executable, "-c", CLIENT, valkey_url, str(file)]) as client:
        worker = begun(file)
        client.kill()
    until(lambda: has_ended(worker), "the worker's end")
