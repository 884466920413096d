"""A worker process of the local platform: takes events and calls the handler, one after another.

Run as `python -m wukong.platform.worker` with WUKONG_STORE_URL, WUKONG_QUEUE_URL, WUKONG_QUEUE,
WUKONG_WORKER and WUKONG_PARENT in its environment. It ends when its parent has gone, so that no
process outlives a client that was killed, and gives up what is not wanted any more (`watchdog.py`).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import uuid
from typing import Any

from valkey import Valkey
from valkey.exceptions import ValkeyError

from wukong.platform import surroundings
from wukong.platform.context import LocalContext
from wukong.platform.handlers import EXECUTOR, load_handler
from wukong.platform.local import events_key, taken_key
from wukong.platform.watchdog import Watchdog
from wukong.storage import RunState

LISTEN_SECONDS = 1.0


def main() -> int:
    """Work until the parent process ends or the store is gone; gives the exit status."""
    # From who started it: that may be dead before this line.
    parent = int(os.environ["WUKONG_PARENT"])
    # Ctrl-C is for the client, which then ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    queue, worker = os.environ["WUKONG_QUEUE"], os.environ["WUKONG_WORKER"]
    server: Any = Valkey.from_url(os.environ["WUKONG_QUEUE_URL"], socket_timeout=30.0)
    waiting, taken = events_key(queue), taken_key(queue, worker)
    handler = load_handler(EXECUTOR)
    watchdog = Watchdog(parent, has_ended)
    watchdog.start()
    try:
        # What this process was about before it began anew.
        server.delete(taken)
        while os.getppid() == parent:
            event = server.blmove(waiting, taken, LISTEN_SECONDS, "LEFT", "RIGHT")
            if event is None:
                continue
            message = json.loads(event)
            with watchdog.busy(message["run"]):
                handler(message, LocalContext(uuid.uuid4().hex, started=time.monotonic()))
            server.lrem(taken, 1, event)
    except ValkeyError as error:
        print(f"wukong worker: the store is gone: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def has_ended(run: str) -> bool:
    """Tell whether nobody waits for a run any more, according to the store."""
    return surroundings.store().status(run).state is not RunState.RUNNING


if __name__ == "__main__":
    sys.exit(main())
