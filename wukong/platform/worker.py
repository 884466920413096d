"""A worker process of the local platform: takes events and calls the handler, one after another.

Run as `python -m wukong.platform.worker` with WUKONG_STORE_URL, WUKONG_QUEUE_URL, WUKONG_QUEUE,
WUKONG_WORKER and WUKONG_PARENT in its environment. It ends when its parent has gone, so that no
process outlives a client that was killed.
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

from wukong.platform.context import LocalContext
from wukong.platform.handlers import EXECUTOR, load_handler
from wukong.platform.local import events_key, taken_key

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
    try:
        while os.getppid() == parent:
            event = server.blmove(waiting, taken, LISTEN_SECONDS, "LEFT", "RIGHT")
            if event is None:
                continue
            handler(json.loads(event), LocalContext(uuid.uuid4().hex, started=time.monotonic()))
            server.lrem(taken, 1, event)
    except ValkeyError as error:
        print(f"wukong worker: the store is gone: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
